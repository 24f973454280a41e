//! What was stated of sessions as it is sent: to readers of attendance, and to those to whom it is delivered.

use uuid::Uuid;

use super::statements::{self, StatementRow};
use super::view::{View, session};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Cx, Refusal};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{
    ConfirmedChild, DeliveryKind, ExpectedAbsenceContent, StoredConfirmation, StoredExpectedAbsence,
};

impl StatementRow {
    /// The code as a reader gets it, and whether it is held back.
    pub fn code_for(&self, view: &View<'_>) -> (String, bool) {
        let code = self.code.clone().unwrap_or_default();
        if view.may_have(&code, &self.organisation) { (code, false) } else { (String::new(), true) }
    }

    /// As a confirmation that is sent.
    pub async fn confirmation(&self, cx: &mut Cx, view: &View<'_>) -> Result<StoredConfirmation, Refusal> {
        let (session, _) = session(self.slot);
        let (code, not_possible) = self.code_for(view);
        let mut sent = StoredConfirmation {
            placement_id: self.placement.hyphenated().to_string(),
            date: self.date.to_string(),
            session: session as i32,
            code,
            not_possible,
            confirmed_by: self.organisation.to_string(),
            revision: u32::try_from(self.revision).unwrap_or(u32::MAX),
            received_time: Instant::from_micros(self.received).ok().map(Instant::to_proto),
            confirmation_id: self.object.hyphenated().to_string(),
            suggested_code: self.suggested.clone(),
            mark_revision: u32::try_from(self.mark_revision).unwrap_or(u32::MAX),
            ..self.note(cx).await?
        };
        if !view.may_have_reason(&self.organisation) {
            sent.correction_reason.clear();
        }
        Ok(sent)
    }

    /// As a notice that is sent.
    async fn absence(&self, cx: &mut Cx, view: &View<'_>) -> Result<StoredExpectedAbsence, Refusal> {
        let (session, start_time) = session(self.slot);
        let (code, not_possible) = self.code_for(view);
        let mut sent = StoredExpectedAbsence {
            date: self.date.to_string(),
            session: session as i32,
            start_time,
            code,
            not_possible,
            withdrawn: self.code.is_none(),
            notified_by: self.organisation.to_string(),
            revision: u32::try_from(self.revision).unwrap_or(u32::MAX),
            received_time: Instant::from_micros(self.received).ok().map(Instant::to_proto),
            ..self.note(cx).await?
        };
        if not_possible {
            sent.note.clear();
        }
        Ok(sent)
    }
}

/// Tells the provider and the other of commissioner and home school; the LA of residence is not concerned.
pub fn tell(
    change: Change,
    cx: &Cx,
    placement: &Placement,
    kind: DeliveryKind,
    object: Uuid,
    only: Option<Uuid>,
) -> Change {
    let all = [&placement.provider, &placement.commissioner].into_iter().chain(&placement.schools);
    let others = all.filter(|organisation| **organisation != cx.caller.organisation);
    others.fold(change, |change, organisation| change.deliver(organisation, kind, object, only))
}

/// What statements brought a recipient about one child.
pub struct StatedChild<M> {
    /// The child's placement.
    pub placement: Uuid,
    /// Who stated it.
    pub sender: OrganisationId,
    /// The child.
    pub child: Uuid,
    /// The content.
    pub content: M,
}

/// The confirmations that the exchange at an index wrote, of children that the recipient may read.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] when what is stored does not open.
pub async fn confirmed_at(cx: &mut Cx, index: i64) -> Result<Vec<StatedChild<ConfirmedChild>>, Refusal> {
    let mut children: Vec<StatedChild<ConfirmedChild>> = Vec::new();
    for (placement, rows) in readable_at(cx, index).await? {
        let Some(first) = rows.first() else { continue };
        let (sender, child) = (first.organisation.clone(), first.child);
        let reader = cx.caller.organisation.clone();
        let view = View::delivered(&placement, &reader);
        let mut content = ConfirmedChild {
            placement_id: placement.id.hyphenated().to_string(),
            child: children::identity(cx, &placement).await?,
            confirmations: Vec::new(),
        };
        for row in &rows {
            content.confirmations.push(row.confirmation(cx, &view).await?);
        }
        children.push(StatedChild { placement: placement.id, sender, child, content });
    }
    Ok(children)
}

/// The notice of expected absence that the exchange at an index wrote, if the recipient may read of its child.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] when what is stored does not open.
pub async fn absences_at(
    cx: &mut Cx,
    index: i64,
) -> Result<Option<StatedChild<ExpectedAbsenceContent>>, Refusal> {
    let Some((placement, rows)) = readable_at(cx, index).await?.into_iter().next() else {
        return Ok(None);
    };
    let Some(first) = rows.first() else { return Ok(None) };
    let (sender, child) = (first.organisation.clone(), first.child);
    let reader = cx.caller.organisation.clone();
    let view = View::delivered(&placement, &reader);
    let mut content = ExpectedAbsenceContent {
        placement_id: placement.id.hyphenated().to_string(),
        child: children::identity(cx, &placement).await?,
        absences: Vec::new(),
    };
    for row in &rows {
        content.absences.push(row.absence(cx, &view).await?);
    }
    Ok(Some(StatedChild { placement: placement.id, sender, child, content }))
}

/// What an exchange wrote, by placement, of those that the caller may read and whose keys still are.
async fn readable_at(cx: &mut Cx, index: i64) -> Result<Vec<(Placement, Vec<StatementRow>)>, Refusal> {
    let sql = statements::select!("WHERE s.idx = $1 ORDER BY s.ordinal");
    let rows = cx.snapshot.fetch(sql, vec![index.into()]).await?;
    let mut found: Vec<(Placement, Vec<StatementRow>)> = Vec::new();
    for row in &rows {
        let row = statements::read(row)?;
        if let Some((_, rows)) = found.iter_mut().find(|(placement, _)| placement.id == row.placement) {
            rows.push(row);
            continue;
        }
        let placement = placements::by_id(&mut cx.snapshot, row.placement).await?;
        let reader = cx.caller.organisation.clone();
        let Some(placement) = placement.filter(|placement| placements::readable(placement, &reader)) else {
            continue;
        };
        if children::key(cx, &row.organisation, row.child).await?.is_some() {
            found.push((placement, vec![row]));
        }
    }
    Ok(found)
}
