//! Delivery of register statements: converts stored confirmations and notices of expected absence to messages for a
//! reader, and chooses their recipients.

use uuid::Uuid;

use super::register_statements::StatementRow;
use super::view::{ReaderView, session_to_proto};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, PolicyFacts, Refusal, RequestContext};
use crate::placements::parties::Access;
use crate::placements::{self, Placement, children};
use crate::proto::v1::{
    ChildIdentity, ConfirmedChild, DataClass, DeliveryKind, ExpectedAbsenceContent, StoredConfirmation,
    StoredExpectedAbsence,
};
use crate::register::agreements;
use crate::store::{EntryIndex, StoreError};

impl StatementRow {
    /// Returns the code for a reader, and whether it is withheld from the reader.
    pub fn code_for(&self, view: &ReaderView<'_>) -> (String, bool) {
        let code = self.code.clone().unwrap_or_default();
        if view.may_see_code(&code, &self.organisation) { (code, false) } else { (String::new(), true) }
    }

    /// Converts the statement to a confirmation for a reader.
    pub async fn to_stored_confirmation(
        &self,
        cx: &mut RequestContext,
        view: &ReaderView<'_>,
    ) -> Result<StoredConfirmation, Refusal> {
        let (session, _) = session_to_proto(self.slot);
        let (code, not_possible) = self.code_for(view);
        let mut sent = StoredConfirmation {
            placement_id: self.placement.hyphenated().to_string(),
            date: self.date.to_string(),
            session: session as i32,
            code,
            not_possible,
            confirmed_by: self.organisation.to_string(),
            revision: self.revision.to_u32(),
            received_time: Instant::from_micros(self.received).ok().map(Instant::to_proto),
            confirmation_id: self.submission_id.hyphenated().to_string(),
            suggested_code: self.suggested.clone(),
            mark_revision: self.mark_revision.to_u32(),
            ..self.note(cx).await?
        };
        if !view.may_see_reason(&self.organisation) {
            sent.correction_reason.clear();
        }
        Ok(sent)
    }

    /// Converts the statement to a notice of expected absence for a reader.
    async fn to_stored_absence(
        &self,
        cx: &mut RequestContext,
        view: &ReaderView<'_>,
    ) -> Result<StoredExpectedAbsence, Refusal> {
        let (session, start_time) = session_to_proto(self.slot);
        let (code, not_possible) = self.code_for(view);
        let opened: StoredExpectedAbsence = self.note(cx).await?;
        let cut = not_possible || (opened.not_possible && !view.may_see_reason(&self.organisation));
        Ok(StoredExpectedAbsence {
            date: self.date.to_string(),
            session: session as i32,
            start_time,
            code,
            not_possible,
            withdrawn: self.code.is_none(),
            notified_by: self.organisation.to_string(),
            revision: self.revision.to_u32(),
            received_time: Instant::from_micros(self.received).ok().map(Instant::to_proto),
            note: if cut { String::new() } else { opened.note },
        })
    }
}

/// Adds deliveries to the provider, the commissioner and the home schools of the statements' days, except the caller.
/// The LA of residence gets no delivery.
pub fn notify_parties(
    change: Change,
    cx: &RequestContext,
    (placement, rows): (&Placement, &[StatementRow]),
    kind: DeliveryKind,
    object: Uuid,
) -> Change {
    let mut parties = vec![&placement.provider, &placement.commissioner];
    for school in rows.iter().flat_map(|row| placement.schools_on(row.date)) {
        if !parties.contains(&school) {
            parties.push(school);
        }
    }
    let others = parties.into_iter().filter(|organisation| **organisation != cx.caller.organisation);
    others.fold(change, |change, organisation| change.deliver(organisation, kind, object, Some(placement.id)))
}

/// The delivered statements about one child.
pub struct DeliveredStatements<M> {
    /// The child's placement.
    pub placement: Uuid,
    /// The organisation that made the statements.
    pub sender: OrganisationId,
    /// The child.
    pub child: Uuid,
    /// The content.
    pub content: M,
}

/// Loads the confirmations that the exchange at an index stored, for the children that the recipient may read.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] if stored data cannot be decrypted.
pub async fn confirmations_at(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Vec<DeliveredStatements<ConfirmedChild>>, Refusal> {
    let mut children: Vec<DeliveredStatements<ConfirmedChild>> = Vec::new();
    for (placement, rows) in list_readable_at(cx, index).await? {
        let Some(first) = rows.first() else { continue };
        let (sender, child) = (first.organisation.clone(), first.child);
        let reader = cx.caller.organisation.clone();
        let mut content = ConfirmedChild {
            placement_id: placement.id.hyphenated().to_string(),
            child: identity_at(cx, &placement, index).await?,
            confirmations: Vec::new(),
        };
        for row in &rows {
            let view = ReaderView::for_delivery(&placement, &reader, row.date);
            content.confirmations.push(row.to_stored_confirmation(cx, &view).await?);
        }
        children.push(DeliveredStatements { placement: placement.id, sender, child, content });
    }
    Ok(children)
}

/// Loads the notice of expected absence that the exchange at an index stored, if the recipient may read the child.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] if stored data cannot be decrypted.
pub async fn absences_at(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Option<DeliveredStatements<ExpectedAbsenceContent>>, Refusal> {
    let Some((placement, rows)) = list_readable_at(cx, index).await?.into_iter().next() else {
        return Ok(None);
    };
    let Some(first) = rows.first() else { return Ok(None) };
    let (sender, child) = (first.organisation.clone(), first.child);
    let reader = cx.caller.organisation.clone();
    let mut content = ExpectedAbsenceContent {
        placement_id: placement.id.hyphenated().to_string(),
        child: identity_at(cx, &placement, index).await?,
        absences: Vec::new(),
    };
    for row in &rows {
        let view = ReaderView::for_delivery(&placement, &reader, row.date);
        content.absences.push(row.to_stored_absence(cx, &view).await?);
    }
    Ok(Some(DeliveredStatements { placement: placement.id, sender, child, content }))
}

/// Lists the statements that an exchange stored, by placement. Leaves out those that the caller may not read and those
/// whose key was destroyed.
async fn list_readable_at(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Vec<(Placement, Vec<StatementRow>)>, Refusal> {
    let mut found: Vec<(Placement, Vec<StatementRow>)> = Vec::new();
    for row in cx.snapshot.written_at::<StatementRow>(index).await? {
        let reader = cx.caller.organisation.clone();
        if let Some((placement, rows)) = found.iter_mut().find(|(found, _)| found.id == row.placement) {
            if placements::can_read_on(placement, &reader, row.date) {
                rows.push(row);
            }
            continue;
        }
        let placement = placements::by_id(&mut cx.snapshot, row.placement).await?;
        let is_readable = |placement: &Placement| placements::can_read_on(placement, &reader, row.date);
        let Some(placement) = placement.filter(is_readable) else {
            continue;
        };
        if children::load_key(cx, &row.organisation, row.child).await?.is_some() {
            found.push((placement, vec![row]));
        }
    }
    Ok(found)
}

/// Returns the child's identity from the commissioner's record as of an index. A former party gets None, because the
/// record may be newer than its time as a party.
async fn identity_at(
    cx: &mut RequestContext,
    placement: &Placement,
    index: EntryIndex,
) -> Result<Option<ChildIdentity>, Refusal> {
    match placement.access_by_role(&cx.caller.organisation) {
        Some(Access::Former(_)) => Ok(None),
        _ => children::load_identity_as_of(cx, placement, index).await,
    }
}

/// Loads the policy facts for statements about a placement: the caller's part, the placement's state, and the agreement
/// on attendance between commissioner and provider, also after it lapsed.
///
/// # Errors
/// Any [`StoreError`].
pub async fn load_facts(cx: &mut RequestContext, placement: &Placement) -> Result<PolicyFacts, StoreError> {
    let parties = [&placement.commissioner, &placement.provider];
    let (agreement, class, today) = (placement.agreement, DataClass::Attendance, cx.today);
    let basis = agreements::basis_or_lapsed(&mut cx.snapshot, agreement, &parties, class, today).await?;
    let part = placement.reading_role_on_any_day(&cx.caller.organisation);
    Ok(PolicyFacts { role: part, status: placement.role_status(), basis, guards: Vec::new() })
}
