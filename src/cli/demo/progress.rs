//! A progress return: written in the provider's system against the plan, read in the local authority's.

use std::path::Path;

use super::super::{Failure, say};
use super::document::Document;
use super::mailbox::{Mailbox, collected};
use super::{Clients, ensure};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    Delivery, DeliveryKind, GetPlacementRequest, PlanOutcome, ProgressOutcome, ProgressReturn, Rag,
    SubmitProgressResponse, placement_service as placements,
};

/// The request as Riverside's system has it, but for placement and version of the plan.
const PROGRESS: Document = Document { method: "SubmitProgress", text: include_str!("progress.json") };

/// Submits a return against the plan that the provider was sent, has the commissioner read it, and submits the
/// same again.
pub async fn show(
    dir: &Path,
    clients: &Clients,
    mailbox: &mut Mailbox,
    placement: &str,
) -> Result<(), Failure> {
    say("7. Riverside submits a progress return for the same child, against the outcome in its plan");
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    let read = clients.riverside.call(placements::GET_PLACEMENT, &request).await?.message;
    let version = read.placement.map(|placement| placement.plan_etag).unwrap_or_default();
    let outcomes = read.plan.map(|plan| plan.outcomes).unwrap_or_default();
    let known = [("/placement_id", placement), ("/progress/plan_etag", version.as_str())];
    let submit = PROGRESS.send::<SubmitProgressResponse>(dir, &clients.riverside, &known);
    ensure(submit.await?.outcome() == ProgressOutcome::Stored, "the return was not stored")?;
    told(&mailbox.next().await?, placement, &outcomes)?;
    let again = PROGRESS.send::<SubmitProgressResponse>(dir, &clients.riverside, &known).await?;
    let same = again.outcome() == ProgressOutcome::Unchanged && again.revision == 1;
    ensure(same, "the same return was not unchanged")?;
    let there = collected(&clients.la).await?.0;
    let there = there.iter().filter(|one| one.kind == DeliveryKind::Progress as i32).count();
    ensure(there == 1, "the local authority was not told once")?;
    say("   Sent again, it is unchanged: the local authority was told once");
    Ok(())
}

/// What the local authority's officer reads.
fn told(delivery: &Delivery, placement: &str, outcomes: &[PlanOutcome]) -> Result<(), Failure> {
    let Some(Content::Progress(record)) = &delivery.content else {
        return Err(Failure::refused("another thing was delivered than the progress return"));
    };
    ensure(record.placement_id == placement, "the return is another child's")?;
    let Some(progress) = &record.progress else {
        return Err(Failure::refused("the return came without content"));
    };
    let ProgressReturn { from_date, to_date, outcomes: told, next_steps, .. } = progress;
    let attended = progress.attendance.as_ref().map(|told| (told.sessions_attended, told.sessions_offered));
    let (attended, offered) = attended.unwrap_or_default();
    say(&format!(
        "   Local authority A reads: {from_date} to {to_date}, {attended} of {offered} sessions attended"
    ));
    for outcome in told {
        let place = usize::try_from(outcome.outcome).unwrap_or(usize::MAX);
        let Some(planned) = outcomes.get(place) else {
            return Err(Failure::refused("an outcome is none of the plan's"));
        };
        let rag = outcome.rag().as_str_name().trim_start_matches("RAG_").to_lowercase();
        say(&format!("      Planned: {}, {} by {}", planned.outcome, planned.target, planned.target_date));
        say(&format!("      Rated {rag}: {}", outcome.evidence));
    }
    for step in next_steps {
        let owner = step.owner.as_ref().map(|owner| owner.name.as_str()).unwrap_or_default();
        say(&format!("      Next: {}, by {} ({owner})", step.action, step.due_date));
    }
    let whole = told.iter().any(|outcome| outcome.rag() == Rag::Amber) && next_steps.len() == 1;
    ensure(whole, "the return is another one")
}
