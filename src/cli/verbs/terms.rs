//! `terms`: the term dates of an organisation.

use super::super::args::{OrgArgs, TermsCommand};
use super::super::session::Session;
use super::super::{Failure, json_request, output};
use super::org::own_or;
use super::period_text;
use crate::proto::v1::register_service as rpc;
use crate::proto::v1::{GetTermDatesRequest, Period};

/// Runs a command of `terms`.
///
/// # Errors
/// The client's.
pub async fn run(command: &TermsCommand) -> Result<(), Failure> {
    match command {
        TermsCommand::Put(args) => json_request::push("PutTermDates", args).await,
        TermsCommand::Show(args) => show(args).await,
    }
}

async fn show(args: &OrgArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetTermDatesRequest { organisation: own_or(args)? };
    session
        .show(rpc::GET_TERM_DATES, &request, async |_, reply| {
            let mut rows = Vec::new();
            for dates in &reply.term_dates {
                let mut add = |what: &str, days: String| {
                    rows.push([dates.academic_year.to_string(), what.to_owned(), days]);
                };
                let text = |period: &Period| period_text(&period.first, &period.last);
                dates.terms.iter().for_each(|period| add("term", text(period)));
                dates.half_terms.iter().for_each(|period| add("holiday", text(period)));
                dates.inset_days.iter().for_each(|day| add("inset day", day.clone()));
            }
            output::print_table(["YEAR FROM", "KIND", "DAYS"], &rows);
            Ok(())
        })
        .await
}
