//! What was stated of sessions as it is sent: to readers of attendance, and to those to whom it is delivered.

use uuid::Uuid;

use super::statements::{self, StatementRow};
use super::view::{View, session};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Cx, Facts, Refusal};
use crate::placements::parties::Access;
use crate::placements::{self, Placement, children};
use crate::proto::v1::{
    ChildIdentity, ConfirmedChild, DataClass, DeliveryKind, ExpectedAbsenceContent, StoredConfirmation,
    StoredExpectedAbsence,
};
use crate::register::agreements;
use crate::store::StoreError;

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
        let kept: StoredExpectedAbsence = self.note(cx).await?;
        let cut = not_possible || (kept.not_possible && !view.may_have_reason(&self.organisation));
        Ok(StoredExpectedAbsence {
            date: self.date.to_string(),
            session: session as i32,
            start_time,
            code,
            not_possible,
            withdrawn: self.code.is_none(),
            notified_by: self.organisation.to_string(),
            revision: u32::try_from(self.revision).unwrap_or(u32::MAX),
            received_time: Instant::from_micros(self.received).ok().map(Instant::to_proto),
            note: if cut { String::new() } else { kept.note },
        })
    }
}

/// Delivers to the provider and the other of commissioner and the home schools of the days that are stated of; the LA
/// of residence is not concerned.
pub fn tell(
    change: Change,
    cx: &Cx,
    (placement, rows): (&Placement, &[StatementRow]),
    kind: DeliveryKind,
    object: Uuid,
    only: Option<Uuid>,
) -> Change {
    let mut all = vec![&placement.provider, &placement.commissioner];
    for school in rows.iter().flat_map(|row| placement.schools_on(row.date)) {
        if !all.contains(&school) {
            all.push(school);
        }
    }
    let others = all.into_iter().filter(|organisation| **organisation != cx.caller.organisation);
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
        let mut content = ConfirmedChild {
            placement_id: placement.id.hyphenated().to_string(),
            child: identity(cx, &placement, index).await?,
            confirmations: Vec::new(),
        };
        for row in &rows {
            let view = View::delivered(&placement, &reader, row.date);
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
    let mut content = ExpectedAbsenceContent {
        placement_id: placement.id.hyphenated().to_string(),
        child: identity(cx, &placement, index).await?,
        absences: Vec::new(),
    };
    for row in &rows {
        let view = View::delivered(&placement, &reader, row.date);
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
        let reader = cx.caller.organisation.clone();
        if let Some((placement, rows)) = found.iter_mut().find(|(found, _)| found.id == row.placement) {
            if placements::readable_on(placement, &reader, row.date) {
                rows.push(row);
            }
            continue;
        }
        let placement = placements::by_id(&mut cx.snapshot, row.placement).await?;
        let theirs = |placement: &Placement| placements::readable_on(placement, &reader, row.date);
        let Some(placement) = placement.filter(theirs) else {
            continue;
        };
        if children::key(cx, &row.organisation, row.child).await?.is_some() {
            found.push((placement, vec![row]));
        }
    }
    Ok(found)
}

/// The child as the commissioner's record knew it at an index; a former party is given no record that was made after its time.
async fn identity(cx: &mut Cx, placement: &Placement, index: i64) -> Result<Option<ChildIdentity>, Refusal> {
    match placement.access(&cx.caller.organisation) {
        Some(Access::Former(_)) => Ok(None),
        _ => children::identity_at(cx, placement, index).await,
    }
}

/// Reads the facts of a notice about a placement: the agreement of its commissioner and provider covers attendance, or did
/// until it lapsed.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn facts(cx: &mut Cx, placement: &Placement) -> Result<Facts, StoreError> {
    let parties = [&placement.commissioner, &placement.provider];
    let (agreement, class, today) = (placement.agreement, DataClass::Attendance, cx.today);
    let basis = agreements::basis_or_lapsed(&mut cx.snapshot, agreement, &parties, class, today).await?;
    let part = placement.reader_of_any_day(&cx.caller.organisation);
    Ok(Facts { part, standing: placement.standing(), basis, guards: Vec::new() })
}
