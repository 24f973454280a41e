//! `plan`: the plan of a placement.

use super::super::args::{PlacementArgs, PlanCommand};
use super::super::session::Session;
use super::super::{Failure, json_request, output, print_line};
use crate::proto::v1::GetPlacementRequest;
use crate::proto::v1::placement_service as rpc;

/// Runs a command of `plan`.
///
/// # Errors
/// The client's.
pub async fn run(command: &PlanCommand) -> Result<(), Failure> {
    match command {
        PlanCommand::Push(args) => json_request::push("PutPlan", args).await,
        PlanCommand::Show(args) => show(args).await,
    }
}

/// Prints the newest plan, which is as long as its form: as JSON in either case.
async fn show(args: &PlacementArgs) -> Result<(), Failure> {
    let session = Session::open(&args.connection).await?;
    let request = GetPlacementRequest { placement_id: args.placement.clone() };
    let reply = session.read(rpc::GET_PLACEMENT, &request).await?;
    let Some(plan) = reply.plan else {
        return Err(Failure::refused("the placement has no plan, or this organisation does not read it"));
    };
    let json = output::to_json("Plan", &plan)?;
    print_line(&if session.is_json() { json.to_string() } else { format!("{json:#}") });
    output::check_written()
}
