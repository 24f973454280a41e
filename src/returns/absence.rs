//! `NotifyExpectedAbsence`: records a notice from the commissioner or home school that a child is not expected, and
//! delivers it to the provider. The notice does not change the provider's mark.

use std::collections::{BTreeSet, HashSet};

use prost::Message;
use uuid::Uuid;

use super::arrangement::Arrangement;
use super::register_statements::{self, StatementKind, StatementRow};
use super::rules::{self, SessionSlot, is_within};
use super::statement_delivery::{self, notify_parties};
use crate::calendar::{Date, Period};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{
    CallerRole, Decided, LeafInput, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
};
use crate::placements::{self, Placement, children, plan};
use crate::proto::v1::{
    DeliveryKind, LeafRole, NotifyExpectedAbsenceRequest, NotifyExpectedAbsenceResponse, PlacementState,
    RecordKind, Session, StoredExpectedAbsence,
};
use crate::register::moments;
use crate::store::Revision;
use crate::store::version_key::VersionKey;
use crate::violation_reason::ViolationReason;

/// Maximum number of sessions in a notice.
const MAX_SESSIONS_PER_NOTICE: usize = 200;

/// A notice that passed the checks of its format.
struct Notice {
    placement: Uuid,
    sessions: Vec<(Date, SessionSlot)>,
    /// The absence code; None if the notice is withdrawn.
    code: Option<String>,
    note: String,
}

/// Handles `NotifyExpectedAbsence`.
pub async fn notify_expected_absence(
    mut cx: RequestContext,
    m: NotifyExpectedAbsenceRequest,
) -> Result<Decided<NotifyExpectedAbsenceResponse>, Refusal> {
    let notice = parse_request(&m)?;
    let found =
        placements::by_id_for_party(&mut cx.snapshot, notice.placement, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => statement_delivery::load_facts(&mut cx, placement).await?,
        None => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts)?;
    let placement = found.ok_or(Reason::NotFound)?;
    check_sessions(&notice, &placement, &cx.caller.organisation)?;
    let mut warnings = notice_warnings(&mut cx, &notice, &placement).await?;
    if !permit.has_agreement_in_force() {
        warnings.push("AGREEMENT_LAPSED".to_owned());
    }
    let sender = cx.caller.organisation.clone();
    let key_of = |date, slot| {
        register_statements::statement_key(StatementKind::NotExpected, placement.id, date, slot, &sender)
    };
    let keys: Vec<VersionKey> = notice.sessions.iter().map(|(date, slot)| key_of(*date, *slot)).collect();
    let standing = register_statements::list_current(&mut cx.snapshot, &keys).await?;
    let restricted = has_restricted_code(&mut cx, &notice, placement.id).await?;
    let object = cx.random.uuid_v7(cx.now);
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let (key, mut change) = children::load_or_generate_key(&mut cx, change, &sender, placement.child).await?;
    let mut rows = Vec::new();
    for (date, slot) in &notice.sessions {
        let before = standing.iter().find(|before| (before.date, before.slot) == (*date, *slot));
        let revision = before.map_or(Revision::ABSENT, |before| before.revision);
        change = change.guard(key_of(*date, *slot), revision);
        if before.map_or(notice.code.is_none(), |before| before.code == notice.code) {
            continue;
        }
        let mut row = StatementRow {
            kind: StatementKind::NotExpected,
            placement: placement.id,
            date: *date,
            slot: *slot,
            organisation: sender.clone(),
            revision: revision.next(),
            code: notice.code.clone(),
            mark_revision: Revision::ABSENT,
            suggested: String::new(),
            submission_id: object,
            received: cx.now.micros(),
            child: placement.child,
            note: None,
        };
        // The note applies to all sessions of the notice, also to those that are unchanged and not written again. So
        // `restricted` was decided over all of them.
        let note = match notice.note.as_str() {
            "" => StoredExpectedAbsence::default(),
            text => StoredExpectedAbsence {
                note: text.to_owned(),
                not_possible: restricted,
                ..StoredExpectedAbsence::default()
            },
        };
        row.seal_note(&cx, &key, &note)?;
        rows.push(row);
    }
    let count = |sessions: usize| u32::try_from(sessions).unwrap_or(u32::MAX);
    let reply = NotifyExpectedAbsenceResponse {
        notice_id: object.hyphenated().to_string(),
        stored: count(rows.len()),
        unchanged: count(notice.sessions.len() - rows.len()),
        warnings,
        receipt: None,
    };
    if !rows.is_empty() {
        let encoded = reply.encode_to_vec();
        let (placement_id, role) = (placement.id, LeafRole::Submitted);
        let (record, sender) =
            (RecordRef::unversioned(RecordKind::Statement, object), &cx.caller.organisation);
        let part = LeafInput { placement: placement_id, role, record, sender, key: &key, reply: &encoded };
        let kind = DeliveryKind::ExpectedAbsence;
        change = notify_parties(change.append_child(&part, &rows), &cx, (&placement, &rows), kind, object);
        for day in rows.iter().map(|row| row.date).collect::<BTreeSet<_>>() {
            change = moments::evaluate_provider_day(&mut cx, change, &placement.provider, day).await?;
        }
        // A mark that is sent later finds the notice by itself.
        let is_late = notice.sessions.iter().any(|(date, _)| *date <= cx.today);
        if is_late && placement.state == PlacementState::Active {
            let placement = [placement.id];
            change = placements::moments::evaluate_covered_now(&mut cx, change, &placement).await?;
        }
    }
    Ok(change.with_reply(&reply))
}

/// Parses the request; reports every fault.
fn parse_request(m: &NotifyExpectedAbsenceRequest) -> Result<Notice, Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let note = check.text("note", &m.note, TextRule::notes(2_000)).unwrap_or_default();
    if m.sessions.is_empty() {
        check.add_violation("sessions", ViolationReason::FieldRequired);
    }
    let (mut sessions, mut seen) = (Vec::new(), HashSet::new());
    if check.list_len("sessions", m.sessions.len(), MAX_SESSIONS_PER_NOTICE) {
        for (index, sent) in m.sessions.iter().enumerate() {
            let mut row = check.enter("sessions").index(index);
            let date = row.date("date", &sent.date);
            let slot = match row.enum_value::<Session>("session", sent.session) {
                Some(Session::Timed) => {
                    row.time_of_day("start_time", &sent.start_time).map(SessionSlot::timed)
                }
                Some(Session::Am) => Some(SessionSlot::AM),
                Some(Session::Pm) => Some(SessionSlot::PM),
                Some(Session::Unspecified) | None => None,
            };
            let Some(session) = date.zip(slot) else { continue };
            if !seen.insert(session) {
                row.add_violation("", ViolationReason::ConflictInBatch);
            }
            sessions.push(session);
        }
    }
    if !m.withdrawn && check.required("code", &m.code).is_some() {
        check_absence_code(&mut check, &m.code, &sessions);
    }
    check.finish()?;
    let code = (!m.withdrawn).then(|| m.code.clone());
    Ok(Notice { placement: placement.ok_or(Reason::Malformed)?, sessions, code, note })
}

/// Checks that the code is valid on every day of the sessions and that it is a code of absence.
fn check_absence_code(check: &mut Check, code: &str, sessions: &[(Date, SessionSlot)]) {
    for (date, _) in sessions {
        let fault = match AttendanceCode::parse_on(code, *date) {
            Ok(code) if code.class().is_attended() => ViolationReason::CodeNotAnAbsence,
            Ok(_) => continue,
            Err(error) => error.reason(),
        };
        check.add_violation("code", fault);
        return;
    }
}

/// Checks that each session lies in the caller's time as a party, and then that it lies inside the placement. The order
/// matters: a former party must not learn when the placement ended after its time.
///
/// # Errors
/// The violations of all sessions.
fn check_sessions(notice: &Notice, placement: &Placement, caller: &OrganisationId) -> Result<(), Refusal> {
    let mut check = Check::new();
    for (index, (date, _)) in notice.sessions.iter().enumerate() {
        if placement.role_on(caller, *date) == CallerRole::NoRole {
            check.enter("sessions").index(index).add_violation("date", ViolationReason::NotPartyOnDay);
        } else if !is_within(*date, placement.start_date, placement.end_date) {
            check.enter("sessions").index(index).add_violation("date", ViolationReason::PlacementNotActive);
        }
    }
    Ok(check.finish()?)
}

/// Returns whether any organisation has stated a restricted code for a session of the notice, now or before. The note
/// may then reveal it, so only sender, commissioner and home school get the note.
async fn has_restricted_code(
    cx: &mut RequestContext,
    notice: &Notice,
    placement: Uuid,
) -> Result<bool, Refusal> {
    if notice.code.as_deref().is_some_and(rules::is_restricted) {
        return Ok(true);
    }
    let days = || notice.sessions.iter().map(|(date, _)| *date);
    let Some(days) = days().min().zip(days().max()).and_then(|(from, to)| Period::new(from, to)) else {
        return Ok(false);
    };
    let statements = register_statements::list_for_placement(
        &mut cx.snapshot,
        StatementKind::NotExpected,
        placement,
        days,
    )
    .await?;
    let restricted = |row: &StatementRow| row.code.as_deref().is_some_and(rules::is_restricted);
    Ok(statements.iter().any(|row| restricted(row) && notice.sessions.contains(&(row.date, row.slot))))
}

/// Returns the warnings for a notice: code C2 (part-time timetable) needs a timetable that the parents agreed to and
/// that has an end.
async fn notice_warnings(
    cx: &mut RequestContext,
    notice: &Notice,
    placement: &Placement,
) -> Result<Vec<String>, Refusal> {
    if notice.code.as_deref() != Some("C2") {
        return Ok(Vec::new());
    }
    let plan = plan::load_newest(cx, placement).await?;
    let arrangement = Arrangement::new(placement, plan.as_ref().map(|(_, plan)| plan));
    let agreed = notice.sessions.iter().all(|(date, _)| arrangement.is_part_time_agreed(*date));
    Ok(if agreed { Vec::new() } else { vec!["PART_TIME_NOT_AGREED".to_owned()] })
}
