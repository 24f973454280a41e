//! `placement`: placements from the decision to the end.

use super::super::args::{
    DecidePlacementArgs, EndPlacementArgs, ListPlacementsArgs, PlacementArgs, PlacementCommand,
    StartPlacementArgs, UpdatePartiesArgs,
};
use super::super::session::{Session, enum_value, officer, word};
use super::super::{Failure, json_request, output, print_line};
use super::read_placement;
use crate::proto::v1::placement_service as rpc;
use crate::proto::v1::{
    DecidePlacementRequest, EndPlacementRequest, GetPlacementRequest, GetPlacementResponse,
    ListPlacementsRequest, Placement, StartPlacementRequest, UpdatePartiesRequest,
};

/// Runs a command of `placement`.
///
/// # Errors
/// The client's.
pub async fn run(command: &PlacementCommand) -> Result<(), Failure> {
    match command {
        PlacementCommand::Show(args) => show(args).await,
        PlacementCommand::List(args) => list(args).await,
        PlacementCommand::Decide(args) => decide(args).await,
        PlacementCommand::Start(args) => start(args).await,
        PlacementCommand::End(args) => end(args).await,
        PlacementCommand::Parties(args) => update_parties(args).await,
    }
}

async fn show(args: &PlacementArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetPlacementRequest { placement_id: args.placement.clone() };
    session
        .show(rpc::GET_PLACEMENT, &request, async |session, reply| {
            print_placement(session, &reply).await;
            Ok(())
        })
        .await
}

async fn print_placement(session: &Session<'_>, reply: &GetPlacementResponse) {
    let found = reply.placement.clone().unwrap_or_default();
    let ids = [&found.commissioner, &found.provider, &found.la_of_residence];
    let names = session.names(ids.into_iter().chain(&found.schools_on_roll).map(String::as_str)).await;
    let child = found.child.clone().unwrap_or_default();
    let items = reply.open_items.iter().map(|item| item.item.as_str()).collect::<Vec<_>>().join(", ");
    for (label, value) in [
        ("placement", found.placement_id.clone()),
        ("version", found.etag.clone()),
        ("state", state_word(&found)),
        ("child", format!("{} {}", child.legal_forename, child.legal_surname).trim().to_owned()),
        ("reference", found.provider_reference.clone()),
        ("commissioner", names.with_id(&found.commissioner)),
        ("provider", names.with_id(&found.provider)),
        ("schools on roll", names.all(&found.schools_on_roll)),
        ("residence", names.with_id(&found.la_of_residence)),
        ("start", found.start_date.clone()),
        ("planned end", found.planned_end_date.clone()),
        ("end", found.end_date.clone()),
        ("agreement", found.agreement_id.clone()),
        (
            "plan",
            if found.plan_etag.is_empty() { String::new() } else { format!("version {}", found.plan_etag) },
        ),
        ("lacks", items),
    ] {
        if !value.is_empty() {
            print_line(&format!("{label}: {}", output::escape_control(&value)));
        }
    }
}

fn state_word(placement: &Placement) -> String {
    word(placement.state().as_str_name(), "PLACEMENT_STATE_")
}

/// Lists placements, also for the older spelling `placements list`.
///
/// # Errors
/// The client's.
pub async fn list(args: &ListPlacementsArgs) -> Result<(), Failure> {
    let state =
        args.state.as_deref().map(|state| enum_value("PlacementState", "PLACEMENT_STATE_", "--state", state));
    let request = ListPlacementsRequest {
        state: state.transpose()?.unwrap_or_default(),
        provider: args.provider.clone().unwrap_or_default(),
        commissioner: args.commissioner.clone().unwrap_or_default(),
        from_date: args.from.clone().unwrap_or_default(),
        to_date: args.to.clone().unwrap_or_default(),
        ..ListPlacementsRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let pages = session.list(rpc::LIST_PLACEMENTS, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let found: Vec<Placement> = pages.into_iter().flat_map(|page| page.placements).collect();
    let ids = found.iter().flat_map(|found| [found.commissioner.as_str(), found.provider.as_str()]);
    let names = session.names(ids).await;
    let rows: Vec<_> = found
        .iter()
        .map(|found| {
            [
                found.placement_id.clone(),
                state_word(found),
                names.name_or_id(&found.commissioner),
                names.name_or_id(&found.provider),
                found.start_date.clone(),
                found.planned_end_date.clone(),
                found.end_date.clone(),
                found.provider_reference.clone(),
            ]
        })
        .collect();
    let heading =
        ["PLACEMENT", "STATE", "COMMISSIONER", "PROVIDER", "START", "PLANNED END", "END", "REFERENCE"];
    output::print_table(heading, &rows);
    output::check_written()
}

async fn decide(args: &DecidePlacementArgs) -> Result<(), Failure> {
    let decision = json_request::read_message("Decision", &args.file)?;
    let session = Session::open(&args.connection).await?;
    let request = DecidePlacementRequest {
        placement_id: args.placement.clone(),
        etag: read_placement(&session, &args.placement).await?.etag,
        decision: Some(decision),
        ..DecidePlacementRequest::default()
    };
    let changed = session.change(rpc::DECIDE_PLACEMENT, &request).await?;
    let state = word(changed.reply.state().as_str_name(), "PLACEMENT_STATE_");
    session.report(&changed, &format!("decided: placement {} is {state}", args.placement)).await
}

async fn start(args: &StartPlacementArgs) -> Result<(), Failure> {
    let missing =
        args.missing.iter().map(|item| enum_value("MissingItem", "MISSING_ITEM_", "--missing", item));
    let missing_items = missing.collect::<Result<Vec<_>, _>>()?;
    let session = Session::open(&args.connection).await?;
    let request = StartPlacementRequest {
        placement_id: args.placement.clone(),
        etag: read_placement(&session, &args.placement).await?.etag,
        start_date: args.date.clone(),
        officer: Some(officer(&args.officer)),
        missing_items,
        reason: args.reason.clone().unwrap_or_default(),
        ..StartPlacementRequest::default()
    };
    let changed = session.change(rpc::START_PLACEMENT, &request).await?;
    let open = changed.reply.open_items().map(|item| word(item.as_str_name(), "MISSING_ITEM_"));
    let open = open.collect::<Vec<_>>().join(", ");
    let mut text = format!("started placement {} on {}", args.placement, args.date);
    if !open.is_empty() {
        text = format!("{text}; still missing: {open}");
    }
    session.report(&changed, &text).await
}

async fn end(args: &EndPlacementArgs) -> Result<(), Failure> {
    let reason = enum_value("EndReason", "END_REASON_", "--reason", &args.reason)?;
    let session = Session::open(&args.connection).await?;
    let request = EndPlacementRequest {
        placement_id: args.placement.clone(),
        etag: read_placement(&session, &args.placement).await?.etag,
        end_date: args.date.clone(),
        reason,
        destination: args.destination.clone().unwrap_or_default(),
        note: args.note.clone().unwrap_or_default(),
        correction_reason: args.correction_reason.clone().unwrap_or_default(),
        ..EndPlacementRequest::default()
    };
    let changed = session.change(rpc::END_PLACEMENT, &request).await?;
    session.report(&changed, &format!("ended placement {} on {}", args.placement, args.date)).await
}

async fn update_parties(args: &UpdatePartiesArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = UpdatePartiesRequest {
        placement_id: args.placement.clone(),
        etag: read_placement(&session, &args.placement).await?.etag,
        schools_on_roll: args.schools.clone(),
        la_of_residence: args.residence.clone(),
        from_date: args.from.clone(),
        reason: args.reason.clone(),
        ..UpdatePartiesRequest::default()
    };
    let changed = session.change(rpc::UPDATE_PARTIES, &request).await?;
    session
        .report(&changed, &format!("changed the parties of placement {} from {}", args.placement, args.from))
        .await
}
