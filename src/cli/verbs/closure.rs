//! `closure`: days on which an organisation is closed.

use super::super::args::{ClosureCommand, DeclareClosureArgs, ListClosuresArgs};
use super::super::session::{Session, enum_value, word};
use super::super::{Failure, output};
use super::period_text;
use crate::proto::v1::register_service as rpc;
use crate::proto::v1::{DeclareClosureRequest, ListClosuresRequest};

/// Runs a command of `closure`.
///
/// # Errors
/// The client's.
pub async fn run(command: &ClosureCommand) -> Result<(), Failure> {
    match command {
        ClosureCommand::Declare(args) => declare(args).await,
        ClosureCommand::List(args) => list(args).await,
    }
}

async fn declare(args: &DeclareClosureArgs) -> Result<(), Failure> {
    let to = args.to.as_ref().unwrap_or(&args.from);
    let request = DeclareClosureRequest {
        closure_id: args.correct.clone().unwrap_or_default(),
        etag: args.etag.clone().unwrap_or_default(),
        site: args.site.clone().unwrap_or_default(),
        from_date: args.from.clone(),
        to_date: to.clone(),
        kind: enum_value("ClosureKind", "CLOSURE_KIND_", "--kind", &args.kind)?,
        reason_code: args.code.clone(),
        withdrawn: args.withdraw,
        ..DeclareClosureRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let changed = session.change(rpc::DECLARE_CLOSURE, &request).await?;
    let (id, done) = (&changed.reply.closure_id, if args.withdraw { "withdrew" } else { "declared" });
    let text =
        format!("{done} closure {id}, version {}: {}", changed.reply.etag, period_text(&args.from, to));
    session.report(&changed, &text).await
}

async fn list(args: &ListClosuresArgs) -> Result<(), Failure> {
    let request = ListClosuresRequest {
        organisation: args.organisation.clone().unwrap_or_default(),
        from_date: args.from.clone().unwrap_or_default(),
        to_date: args.to.clone().unwrap_or_default(),
    };
    let session = Session::open(&args.connection).await?;
    let pages = session.list(rpc::LIST_CLOSURES, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let rows: Vec<_> = pages
        .into_iter()
        .flat_map(|page| page.closures)
        .map(|closure| {
            let kind = word(closure.kind().as_str_name(), "CLOSURE_KIND_");
            let days = period_text(&closure.from_date, &closure.to_date);
            let state = if closure.withdrawn { "withdrawn" } else { "" };
            [
                closure.closure_id,
                closure.etag,
                days,
                kind,
                closure.reason_code,
                closure.site,
                state.to_owned(),
            ]
        })
        .collect();
    output::print_table(["CLOSURE", "VERSION", "DAYS", "KIND", "CODE", "SITE", "STATE"], &rows);
    output::check_written()
}
