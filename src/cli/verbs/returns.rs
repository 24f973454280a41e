//! `returns`: what was due, what came and what is missing.

use super::super::args::{DaysArgs, ListReturnsArgs, ReturnsCommand, ShowReturnsArgs, VoidReturnArgs};
use super::super::session::{Session, enum_value, word};
use super::super::{Failure, output};
use super::time_text;
use crate::proto::v1::returns_service as rpc;
use crate::proto::v1::{ExpectedReturn, ListExpectedReturnsRequest, ReturnState, VoidReturnRequest};

/// Runs a command of `returns`.
///
/// # Errors
/// The client's.
pub async fn run(command: &ReturnsCommand) -> Result<(), Failure> {
    match command {
        ReturnsCommand::List(args) => list_by_state(args).await,
        ReturnsCommand::Show(ShowReturnsArgs { placement, days }) => list(days, placement, Vec::new()).await,
        ReturnsCommand::Missing(days) => list(days, "", vec![ReturnState::Missing.into()]).await,
        ReturnsCommand::Void(args) => void(args).await,
    }
}

async fn list_by_state(args: &ListReturnsArgs) -> Result<(), Failure> {
    let states = args.states.iter().map(|state| enum_value("ReturnState", "RETURN_STATE_", "--state", state));
    list(&args.days, "", states.collect::<Result<_, _>>()?).await
}

async fn list(days: &DaysArgs, placement: &str, states: Vec<i32>) -> Result<(), Failure> {
    let request = ListExpectedReturnsRequest {
        from_date: days.from.clone(),
        to_date: days.to.as_ref().unwrap_or(&days.from).clone(),
        placement_id: placement.to_owned(),
        states,
        ..ListExpectedReturnsRequest::default()
    };
    let session = Session::open(&days.connection).await?;
    let pages = session.list(rpc::LIST_EXPECTED_RETURNS, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let rows: Vec<_> = pages.into_iter().flat_map(|page| page.returns).map(table_row).collect();
    output::print_table(["DATE", "SESSION", "PLACEMENT", "STATE", "DUE", "RECEIVED", "CODE", "SITE"], &rows);
    output::check_written()
}

fn table_row(found: ExpectedReturn) -> [String; 8] {
    let session = if found.start_time.is_empty() {
        word(found.session().as_str_name(), "SESSION_")
    } else {
        found.start_time.clone()
    };
    let state = word(found.state().as_str_name(), "RETURN_STATE_");
    let incomplete = if found.return_incomplete { ", incomplete" } else { "" };
    [
        found.date,
        session,
        found.placement_id,
        format!("{state}{incomplete}"),
        time_text(found.due_time.as_ref()),
        time_text(found.received_time.as_ref()),
        if found.not_possible { "not possible".to_owned() } else { found.code },
        found.site,
    ]
}

async fn void(args: &VoidReturnArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = VoidReturnRequest {
        return_id: args.return_id.clone(),
        reason: args.reason.clone(),
        part: args.part,
        ..VoidReturnRequest::default()
    };
    let changed = session.change(rpc::VOID_RETURN, &request).await?;
    let (voided, unchanged) = (changed.reply.voided, changed.reply.unchanged);
    let text =
        format!("withdrew return {}: {voided} marks, {unchanged} were replaced before", args.return_id);
    session.report(&changed, &text).await
}
