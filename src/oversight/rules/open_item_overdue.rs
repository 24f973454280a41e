//! `OPEN_ITEM_OVERDUE`: an item that the start of a placement left open, or that its plan lacks, was not supplied by its
//! due day. The alert ends when the item is supplied, or with the placement.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::exchange::change::row_write;
use crate::exchange::{Refusal, RequestContext, RoleStatus};
use crate::oversight::alerts::AlertRow;
use crate::oversight::rule::{
    Cause, ChildRecord, DuePage, DuePosition, Grounds, Moment, NewAlert, Raise, Rule, RuleFuture,
};
use crate::oversight::rule_book::PartyRole;
use crate::oversight::rule_id::RuleId;
use crate::oversight::subject::{DamagedSubject, Subject};
use crate::placements::open_items;
use crate::placements::remaining_items::{self, RemainingItems};
use crate::placements::{self, Placement};
use crate::store::{DamagedRow, Snapshot};

/// The rule.
pub struct OpenItemOverdue;

impl Rule for OpenItemOverdue {
    fn id(&self) -> RuleId {
        RuleId::OpenItemOverdue
    }

    fn may_tell(&self) -> &'static [PartyRole] {
        &[PartyRole::Commissioner, PartyRole::Provider]
    }

    fn raises_on(&self) -> &'static [Moment] {
        &[Moment::NewDay]
    }

    fn list_due<'a>(
        &'a self,
        snapshot: &'a mut Snapshot,
        now: Instant,
        after: &'a DuePosition,
        limit: i64,
    ) -> RuleFuture<'a, DuePage> {
        Box::pin(list_due(snapshot, Date::in_london(now), after, limit))
    }

    fn decide<'a>(
        &'a self,
        cx: &'a mut RequestContext,
        subject: &'a Subject,
    ) -> RuleFuture<'a, Option<Raise>> {
        Box::pin(decide(cx, subject))
    }

    fn find_cause<'a>(
        &'a self,
        cx: &'a mut RequestContext,
        alert: &'a AlertRow,
    ) -> RuleFuture<'a, Option<Cause>> {
        Box::pin(find_cause(cx, alert))
    }
}

async fn list_due(
    snapshot: &mut Snapshot,
    today: Date,
    after: &DuePosition,
    limit: i64,
) -> Result<DuePage, Refusal> {
    let from = (after.due.as_str(), after.position);
    let (items, last) = open_items::list_overdue(snapshot, today, from, limit).await?;
    let subjects = items.into_iter().map(|item| match item {
        Ok(item) => Ok(Subject::Placement(item.placement)),
        Err(DamagedRow { placement, error }) => {
            Err(DamagedSubject { subject: Subject::Placement(placement), error })
        }
    });
    let last = last.map(|(due, position)| DuePosition { due, position });
    Ok(DuePage { subjects: subjects.collect(), last })
}

/// Raises an alert for each overdue item that is still open, unless the placement has ended. All items count as checked,
/// so that none is raised again.
async fn decide(cx: &mut RequestContext, subject: &Subject) -> Result<Option<Raise>, Refusal> {
    let Some((placement, remaining)) = load(cx, subject).await? else { return Ok(None) };
    let is_live = placement.role_status() == RoleStatus::Live;
    let overdue = open_items::list_overdue_of_placement(&mut cx.snapshot, placement.id, cx.today).await?;
    let (mut versions, mut rows, mut alerts) = (Vec::new(), Vec::new(), Vec::new());
    for item in overdue {
        let is_raised = is_live && remaining.items.contains(&item.item);
        if is_raised {
            alerts.push(NewAlert { item: Some(item.item), due_date: item.due_date });
        }
        versions.push((item.key(), item.version));
        rows.push(row_write(&item.checked(is_raised)));
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let mut grounds = grounds(&placement, remaining);
    grounds.versions_read.extend(versions);
    Ok(Some(Raise { grounds, rows, alerts }))
}

async fn find_cause(cx: &mut RequestContext, alert: &AlertRow) -> Result<Option<Cause>, Refusal> {
    // Read first: a missing item is damage, and no supplied item.
    let item = alert.overdue_item()?;
    let Some((placement, remaining)) = load(cx, &alert.subject).await? else { return Ok(None) };
    // What is still open of a placement that has ended needs nobody's act any more.
    let holds = placement.role_status() == RoleStatus::Live && remaining.items.contains(&item);
    Ok(Some(Cause { holds, figures: None, rests_on: None, grounds: grounds(&placement, remaining) }))
}

/// Loads the placement and its open items. `None`: it does not exist, or the child's record was erased.
async fn load(
    cx: &mut RequestContext,
    subject: &Subject,
) -> Result<Option<(Placement, RemainingItems)>, Refusal> {
    let Subject::Placement(id) = subject else { return Ok(None) };
    let Some(placement) = placements::by_id(&mut cx.snapshot, *id).await? else { return Ok(None) };
    let remaining = remaining_items::load_remaining(cx, &placement).await?;
    Ok(remaining.map(|remaining| (placement, remaining)))
}

fn grounds(placement: &Placement, remaining: RemainingItems) -> Grounds {
    Grounds {
        versions_read: remaining.versions_read,
        child: Some(ChildRecord {
            placement: placement.id,
            child: placement.child,
            sender: placement.commissioner.clone(),
            key: remaining.key,
        }),
        placement: Some(placement.clone()),
    }
}
