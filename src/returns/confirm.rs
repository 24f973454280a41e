//! `ConfirmMarks`: records the code that the home school or commissioner has in its own register for a provider's
//! mark. An amended entry keeps the previous one and gives a reason (Working together to improve school attendance,
//! 2024).

use std::collections::{HashMap, HashSet};

use prost::Message;
use uuid::Uuid;

use super::mark_meaning::MarkMeaning;
use super::register_statements::{self, StatementKind, StatementRow};
use super::rows::{self, MarkRow};
use super::rules::SessionSlot;
use super::statement_delivery::{self, notify_parties};
use super::wire::MAX_MARKS_PER_SUBMISSION;
use crate::calendar::Date;
use crate::codes::attendance::{AttendanceCode, AttendanceCodeError, RegisterSession};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{
    CallerRole, Change, Decided, LeafInput, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
    RoleStatus,
};
use crate::placements::{Placement, children, moments, rows::by_ids};
use crate::proto::v1::{
    ConfirmMarksRequest, ConfirmMarksResponse, Confirmation, ConfirmationResult, DeliveryKind, LeafRole,
    MarkOutcome, Officer, PlacementState, RecordKind, Session, StoredConfirmation,
};
use crate::store::Revision;
use crate::store::version_key::VersionKey;
use crate::violation_reason::ViolationReason;

/// A confirmation that passed the checks of its format.
struct ParsedConfirmation {
    placement: Uuid,
    date: Date,
    slot: SessionSlot,
    code: AttendanceCode,
    reason: String,
}

/// The stored state of the sessions that are confirmed: placements, current marks, and the caller's current statements.
struct StoredSessions {
    placements: HashMap<Uuid, Placement>,
    marks: HashMap<(Uuid, Date, SessionSlot), MarkRow>,
    current: HashMap<(Uuid, Date, SessionSlot), StatementRow>,
}

/// Handles `ConfirmMarks`.
pub async fn confirm_marks(
    mut cx: RequestContext,
    m: ConfirmMarksRequest,
) -> Result<Decided<ConfirmMarksResponse>, Refusal> {
    let (stating, officer) = parse_request(&m)?;
    let officer = cx.attest(officer);
    let known = load_stored_sessions(&mut cx, &stating).await?;
    check_confirmations(&stating, &known, &cx.caller.organisation)?;
    let mut placements: Vec<&Placement> = known.placements.values().collect();
    placements.sort_unstable_by_key(|placement| placement.id);
    let facts = load_facts(&mut cx, &placements).await?;
    let permit = cx.permit(&facts)?;
    let confirmation_id = cx.random.uuid_v7(cx.now);
    let results: Vec<ConfirmationResult> =
        stating.iter().enumerate().map(|(at, stating)| confirmation_result(at, stating, &known)).collect();
    let mut change = cx.change(&permit);
    for placement in placements {
        let confirmed = PlacementConfirmations {
            placement,
            stored: &known,
            results: &results,
            officer: officer.as_ref(),
            confirmation_id,
        };
        change = confirmed.write_statements(&mut cx, change, &stating).await?;
    }
    let count = |outcome: MarkOutcome| {
        let same = results.iter().filter(|result| result.outcome() == outcome).count();
        u32::try_from(same).unwrap_or(u32::MAX)
    };
    let reply = ConfirmMarksResponse {
        confirmation_id: confirmation_id.hyphenated().to_string(),
        stored: count(MarkOutcome::Stored),
        unchanged: count(MarkOutcome::Unchanged),
        corrected: count(MarkOutcome::Corrected),
        results,
        warnings: if permit.has_agreement_in_force() {
            Vec::new()
        } else {
            vec!["AGREEMENT_LAPSED".to_owned()]
        },
        receipt: None,
    };
    Ok(change.with_reply(&reply))
}

/// Loads the policy facts for all the placements together and returns the least favourable: those of an ended placement
/// without an agreement, else those of a placement with a lapsed agreement. The log entry then records the lapse.
async fn load_facts(cx: &mut RequestContext, placements: &[&Placement]) -> Result<PolicyFacts, Refusal> {
    let mut read: HashMap<_, PolicyFacts> = HashMap::new();
    let mut worst: Option<PolicyFacts> = None;
    let rank = |facts: &PolicyFacts| (!facts.has_agreement_in_force(), facts.status == RoleStatus::Ended);
    for placement in placements {
        let agreed_by = (placement.agreement, &placement.commissioner, &placement.provider);
        let basis = match read.get(&agreed_by) {
            Some(facts) => facts.basis.clone(),
            None => statement_delivery::load_facts(cx, placement).await?.basis,
        };
        let part = placement.reading_role_on_any_day(&cx.caller.organisation);
        let facts = PolicyFacts { role: part, status: placement.role_status(), basis, guards: Vec::new() };
        if worst.as_ref().is_none_or(|worst| rank(worst) < rank(&facts)) {
            worst = Some(facts.clone());
        }
        read.insert(agreed_by, facts);
    }
    Ok(worst.unwrap_or_else(|| PolicyFacts::for_role(CallerRole::NoRole)))
}

/// Parses the request; reports every fault of every row.
fn parse_request(m: &ConfirmMarksRequest) -> Result<(Vec<ParsedConfirmation>, Option<Officer>), Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let officer = m.officer.as_ref().map(|sent| check.enter("officer").officer_fields(sent));
    if m.confirmations.is_empty() {
        check.add_violation("confirmations", ViolationReason::BatchEmpty);
    }
    if m.confirmations.len() > MAX_MARKS_PER_SUBMISSION {
        check.add_violation("confirmations", ViolationReason::BatchTooLarge);
    } else {
        for (index, sent) in m.confirmations.iter().enumerate() {
            parse_confirmation(&mut check.enter("confirmations").index(index), sent);
        }
    }
    check.finish()?;
    let mut again = Check::new();
    Ok((m.confirmations.iter().filter_map(|sent| parse_confirmation(&mut again, sent)).collect(), officer))
}

/// Parses a confirmation. Its session is AM or PM, because a statutory register has no other session.
fn parse_confirmation(row: &mut Check, sent: &Confirmation) -> Option<ParsedConfirmation> {
    let placement = row.uuid("placement_id", &sent.placement_id);
    let date = row.date("date", &sent.date);
    let session = row.enum_value::<Session>("session", sent.session);
    let (slot, half) = match session {
        Some(Session::Am) => (SessionSlot::AM, Some(RegisterSession::Morning)),
        _ => (SessionSlot::PM, (session == Some(Session::Pm)).then_some(RegisterSession::Afternoon)),
    };
    let code = date.zip(session).and_then(|(date, _)| {
        let read = half.map_or(Err(AttendanceCodeError::SessionMismatch), |half| {
            AttendanceCode::parse_in_session(&sent.code, date, half)
        });
        read.map_err(|error| row.add_violation("code", error.reason())).ok()
    });
    let reason = row.text("correction_reason", &sent.correction_reason, TextRule::line(500));
    Some(ParsedConfirmation {
        placement: placement?,
        date: date?,
        slot,
        code: code?,
        reason: reason.unwrap_or_default(),
    })
}

/// Loads the stored state of the confirmed sessions, for placements of which the caller is commissioner or home school.
async fn load_stored_sessions(
    cx: &mut RequestContext,
    stating: &[ParsedConfirmation],
) -> Result<StoredSessions, Refusal> {
    let caller = cx.caller.organisation.clone();
    let ids: HashSet<Uuid> = stating.iter().map(|stating| stating.placement).collect();
    let is_party = |placement: &Placement| {
        matches!(
            placement.reading_role_on_any_day(&caller),
            CallerRole::Commissioner | CallerRole::SchoolOnRoll
        )
    };
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let placements = by_ids(&mut cx.snapshot, &ids).await?.into_iter().filter(is_party);
    let placements: HashMap<Uuid, Placement> =
        placements.map(|placement| (placement.id, placement)).collect();
    let of_party = stating.iter().filter_map(|stating| Some((stating, placements.get(&stating.placement)?)));
    let (mut marks, mut keys): (Vec<VersionKey>, Vec<VersionKey>) = (Vec::new(), Vec::new());
    for (stating, placement) in of_party {
        marks.push(rows::mark_key(stating.date, &placement.provider, placement.id, stating.slot));
        keys.push(stating.statement_key(cx));
    }
    let found: Vec<MarkRow> = cx.snapshot.newest_by_keys(&marks).await?;
    let found = found.into_iter().map(|mark| ((mark.placement, mark.date, mark.slot), mark)).collect();
    let standing = register_statements::list_current(&mut cx.snapshot, &keys).await?;
    let standing = standing.into_iter().map(|row| ((row.placement, row.date, row.slot), row)).collect();
    Ok(StoredSessions { placements, marks: found, current: standing })
}

/// Checks each row: the caller is commissioner or home school of the child on that day, the session is named once, it
/// has a mark, and a changed code has a reason.
///
/// # Errors
/// The violations of all rows.
fn check_confirmations(
    stating: &[ParsedConfirmation],
    known: &StoredSessions,
    caller: &OrganisationId,
) -> Result<(), Refusal> {
    let (mut check, mut seen) = (Check::new(), HashSet::new());
    for (index, stating) in stating.iter().enumerate() {
        let mut row = check.enter("confirmations").index(index);
        let marked = known.marks.get(&stating.session_key());
        let of_day =
            known.placements.get(&stating.placement).map(|found| found.role_on(caller, stating.date));
        if !matches!(of_day, Some(CallerRole::Commissioner | CallerRole::SchoolOnRoll)) {
            row.add_violation("placement_id", ViolationReason::ChildNotFound);
        } else if !seen.insert(stating.session_key()) {
            row.add_violation("", ViolationReason::ConflictInBatch);
        } else if marked.is_none_or(MarkRow::is_withdrawn) {
            row.add_violation("date", ViolationReason::MarkNotFound);
        } else if stating.outcome(known) == MarkOutcome::Corrected && stating.reason.is_empty() {
            row.add_violation("correction_reason", ViolationReason::CorrectionReasonRequired);
        }
    }
    Ok(check.finish()?)
}

impl ParsedConfirmation {
    /// Identifies the session: placement, day and slot.
    fn session_key(&self) -> (Uuid, Date, SessionSlot) {
        (self.placement, self.date, self.slot)
    }

    /// Returns the natural key of the caller's statement.
    fn statement_key(&self, cx: &RequestContext) -> VersionKey {
        register_statements::statement_key(
            StatementKind::Confirmed,
            self.placement,
            self.date,
            self.slot,
            &cx.caller.organisation,
        )
    }

    fn outcome(&self, known: &StoredSessions) -> MarkOutcome {
        match known.current.get(&self.session_key()) {
            None => MarkOutcome::Stored,
            Some(standing) if standing.code.as_deref() == Some(self.code.as_str()) => MarkOutcome::Unchanged,
            Some(_) => MarkOutcome::Corrected,
        }
    }

    /// Returns the current revision of the caller's statement, [`Revision::ABSENT`] if there is none.
    fn current_revision(&self, known: &StoredSessions) -> Revision {
        known.current.get(&self.session_key()).map_or(Revision::ABSENT, |standing| standing.revision)
    }
}

fn confirmation_result(
    at: usize,
    stating: &ParsedConfirmation,
    known: &StoredSessions,
) -> ConfirmationResult {
    let outcome = stating.outcome(known);
    let before = stating.current_revision(known);
    let revision = if outcome == MarkOutcome::Unchanged { before } else { before.next() };
    ConfirmationResult {
        index: u32::try_from(at).unwrap_or(u32::MAX),
        outcome: outcome as i32,
        suggested_code: suggested_code(known.marks.get(&stating.session_key())),
        placement_id: stating.placement.hyphenated().to_string(),
        revision: revision.to_u32(),
    }
}

fn suggested_code(mark: Option<&MarkRow>) -> String {
    mark.and_then(|mark| mark.suggested).map(|code| code.as_str().to_owned()).unwrap_or_default()
}

/// The confirmations of one placement, with what is needed to store them.
struct PlacementConfirmations<'a> {
    placement: &'a Placement,
    stored: &'a StoredSessions,
    results: &'a [ConfirmationResult],
    officer: Option<&'a Officer>,
    confirmation_id: Uuid,
}

impl PlacementConfirmations<'_> {
    /// Adds the placement's statements, guards and deliveries to the change.
    async fn write_statements(
        &self,
        cx: &mut RequestContext,
        change: Change,
        stating: &[ParsedConfirmation],
    ) -> Result<Change, Refusal> {
        let sender = cx.caller.organisation.clone();
        let (key, change) = children::load_or_generate_key(cx, change, &sender, self.placement.child).await?;
        let mut change = change.guard(self.placement.key(), self.placement.version);
        let (mut rows, mut reply) = (Vec::new(), Vec::new());
        for (stating, result) in stating.iter().zip(self.results) {
            if stating.placement != self.placement.id {
                continue;
            }
            result.encode(&mut reply).map_err(|_| Reason::Failed)?;
            let mark = self.stored.marks.get(&stating.session_key()).ok_or(Reason::Failed)?;
            let before = stating.current_revision(self.stored);
            change = change.guard(stating.statement_key(cx), before);
            change = change.guard(mark.key(), mark.revision);
            if result.outcome() == MarkOutcome::Unchanged {
                continue;
            }
            let mut row = StatementRow {
                kind: StatementKind::Confirmed,
                placement: self.placement.id,
                date: stating.date,
                slot: stating.slot,
                organisation: sender.clone(),
                revision: before.next(),
                code: Some(stating.code.as_str().to_owned()),
                mark_revision: mark.revision,
                suggested: suggested_code(Some(mark)),
                submission_id: self.confirmation_id,
                received: cx.now.micros(),
                child: self.placement.child,
                note: None,
            };
            let note = StoredConfirmation {
                officer: self.officer.cloned(),
                correction_reason: stating.reason.clone(),
                ..StoredConfirmation::default()
            };
            row.seal_note(cx, &key, &note)?;
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(change);
        }
        if self.placement.state == PlacementState::Active && rows.iter().any(|row| self.is_evaluated(row)) {
            change = moments::evaluate_covered_now(cx, change, &[self.placement.id]).await?;
        }
        let (placement, role) = (self.placement.id, LeafRole::Submitted);
        let record = RecordRef::unversioned(RecordKind::Statement, self.confirmation_id);
        let part = LeafInput { placement, role, record, sender: &sender, key: &key, reply: &reply };
        let change = change.append_child(&part, &rows);
        Ok(notify_parties(
            change,
            cx,
            (self.placement, &rows),
            DeliveryKind::Confirmation,
            self.confirmation_id,
        ))
    }

    /// Returns whether a confirmation can explain an absence, or is one of illness.
    fn is_evaluated(&self, row: &StatementRow) -> bool {
        let mark = self.stored.marks.get(&(row.placement, row.date, row.slot));
        let meaning =
            mark.and_then(|mark| Some(MarkMeaning::from_statement(&mark.statement().ok()?, mark.date)));
        meaning == Some(MarkMeaning::Unexplained)
            || row.code.as_deref() == Some(AttendanceCode::Illness.as_str())
    }
}
