//! Step of the progress return: the provider's system writes it against the plan, and the local authority reads it.

use std::path::Path;

use super::super::{Failure, print_line};
use super::document::Document;
use super::mailbox::{Mailbox, collect_deliveries};
use super::{Clients, ensure};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    Delivery, DeliveryKind, GetPlacementRequest, PlanOutcome, ProgressOutcome, ProgressReturn, Rag,
    SubmitProgressResponse, placement_service as placements,
};

/// Request as written by Riverside's system, without placement and version of the plan.
const PROGRESS_REQUEST: Document = Document { method: "SubmitProgress", text: include_str!("progress.json") };

/// Submits a return against the plan that the provider received, reads it as the commissioner, and submits the same
/// return again.
pub async fn show(
    dir: &Path,
    clients: &Clients,
    mailbox: &mut Mailbox,
    placement: &str,
) -> Result<(), Failure> {
    print_line("7. Riverside submits a progress return for the same child, against the outcome in its plan");
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    let read = clients.riverside.call(placements::GET_PLACEMENT, &request).await?.message;
    let version = read.placement.map(|placement| placement.plan_etag).unwrap_or_default();
    let outcomes = read.plan.map(|plan| plan.outcomes).unwrap_or_default();
    let values = [("/placement_id", placement), ("/progress/plan_etag", version.as_str())];
    let submit = PROGRESS_REQUEST.send::<SubmitProgressResponse>(dir, &clients.riverside, &values);
    ensure(submit.await?.outcome() == ProgressOutcome::Stored, "the return was not stored")?;
    show_return(&mailbox.next().await?, placement, &outcomes)?;
    let again = PROGRESS_REQUEST.send::<SubmitProgressResponse>(dir, &clients.riverside, &values).await?;
    let same = again.outcome() == ProgressOutcome::Unchanged && again.revision == 1;
    ensure(same, "the repeated return was not unchanged")?;
    let there = collect_deliveries(&clients.la).await?.0;
    let there = there.iter().filter(|one| one.kind == DeliveryKind::Progress as i32).count();
    ensure(there == 1, "the local authority did not receive it exactly once")?;
    print_line("   Sent again, it is unchanged: the local authority received it once");
    Ok(())
}

/// Shows the return as the local authority's officer reads it.
fn show_return(delivery: &Delivery, placement: &str, outcomes: &[PlanOutcome]) -> Result<(), Failure> {
    let Some(Content::Progress(record)) = &delivery.content else {
        return Err(Failure::refused("the delivery is not the progress return"));
    };
    ensure(record.placement_id == placement, "the return is about another child")?;
    let Some(progress) = &record.progress else {
        return Err(Failure::refused("the return has no content"));
    };
    let ProgressReturn { from_date, to_date, outcomes: reported, next_steps, .. } = progress;
    let attended =
        progress.attendance.as_ref().map(|period| (period.sessions_attended, period.sessions_offered));
    let (attended, offered) = attended.unwrap_or_default();
    print_line(&format!(
        "   Local authority A reads: {from_date} to {to_date}, {attended} of {offered} sessions attended"
    ));
    for outcome in reported {
        let index = usize::try_from(outcome.outcome).unwrap_or(usize::MAX);
        let Some(planned) = outcomes.get(index) else {
            return Err(Failure::refused("an outcome is not in the plan"));
        };
        let rag = outcome.rag().as_str_name().trim_start_matches("RAG_").to_lowercase();
        print_line(&format!(
            "      Planned: {}, {} by {}",
            planned.outcome, planned.target, planned.target_date
        ));
        print_line(&format!("      Rated {rag}: {}", outcome.evidence));
    }
    for step in next_steps {
        let owner = step.owner.as_ref().map(|owner| owner.name.as_str()).unwrap_or_default();
        print_line(&format!("      Next: {}, by {} ({owner})", step.action, step.due_date));
    }
    let is_complete = reported.iter().any(|outcome| outcome.rag() == Rag::Amber) && next_steps.len() == 1;
    ensure(is_complete, "the return has another content")
}
