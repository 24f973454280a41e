//! `NotifyExpectedAbsence`: commissioner or home school tells the provider that a child is not expected. The
//! provider's mark, when it comes, stands as it is sent.

use std::collections::HashSet;

use prost::Message;
use uuid::Uuid;

use super::arrangement::Arrangement;
use super::rules::{self, Slot, within};
use super::stated::{self, tell};
use super::statements::{self, Stated, StatementRow};
use crate::calendar::{Date, Period};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Action, ChildPart, Cx, Decided, Facts, LeafRole, Part, Reason, Refusal};
use crate::placements::{self, Placement, children, plan};
use crate::proto::v1::{
    DeliveryKind, NotifyExpectedAbsenceRequest, NotifyExpectedAbsenceResponse, Session, StoredExpectedAbsence,
};
use crate::store::key::Key;

/// Most sessions of one notice.
const SESSIONS: usize = 200;

/// A notice whose shape holds.
struct Notice {
    placement: Uuid,
    sessions: Vec<(Date, Slot)>,
    /// None where it is taken back.
    code: Option<String>,
    note: String,
}

/// Takes a notice.
pub async fn notify_expected_absence(
    mut cx: Cx,
    m: NotifyExpectedAbsenceRequest,
) -> Result<Decided<NotifyExpectedAbsenceResponse>, Refusal> {
    let notice = read(&m)?;
    let found = placements::of_party(&mut cx.snapshot, notice.placement, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => stated::facts(&mut cx, placement).await?,
        None => Facts::own(Part::None),
    };
    let permit = cx.permit(Action::NotifyExpectedAbsence, &facts)?;
    let placement = found.ok_or(Reason::NotFound)?;
    hold(&notice, &placement, &cx.caller.organisation)?;
    let mut warnings = warnings(&mut cx, &notice, &placement).await?;
    if !permit.is_agreed() {
        warnings.push("AGREEMENT_LAPSED".to_owned());
    }
    let sender = cx.caller.organisation.clone();
    let key_of = |date, slot| statements::key(Stated::NotExpected, placement.id, date, slot, &sender);
    let keys: Vec<Key> = notice.sessions.iter().map(|(date, slot)| key_of(*date, *slot)).collect();
    let standing = statements::standing(&mut cx.snapshot, &keys).await?;
    let restricted = is_restricted(&mut cx, &notice, placement.id).await?;
    let object = cx.random.uuid_v7(cx.now);
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let (key, mut change) = children::own_key(&mut cx, change, &sender, placement.child).await?;
    let mut rows = Vec::new();
    for (date, slot) in &notice.sessions {
        let before = standing.iter().find(|before| (before.date, before.slot) == (*date, *slot));
        let revision = before.map_or(0, |before| before.revision);
        change = change.guard(key_of(*date, *slot), revision);
        if before.map_or(notice.code.is_none(), |before| before.code == notice.code) {
            continue;
        }
        let mut row = StatementRow {
            stated: Stated::NotExpected,
            placement: placement.id,
            date: *date,
            slot: *slot,
            organisation: sender.clone(),
            revision: revision + 1,
            code: notice.code.clone(),
            mark_revision: 0,
            suggested: String::new(),
            object,
            received: cx.now.micros(),
            child: placement.child,
            note: None,
        };
        // The note is one for all sessions of the notice, those that are not written again with them.
        let note = match notice.note.as_str() {
            "" => StoredExpectedAbsence::default(),
            text => StoredExpectedAbsence {
                note: text.to_owned(),
                not_possible: restricted,
                ..StoredExpectedAbsence::default()
            },
        };
        row.seal(&cx, &key, &note)?;
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
        let part = ChildPart { placement: placement_id, role, key: &key, reply: &encoded };
        let kind = DeliveryKind::ExpectedAbsence;
        change = tell(change.child(&part, &rows), &cx, (&placement, &rows), kind, object, Some(placement_id));
    }
    Ok(change.reply(&reply))
}

fn read(m: &NotifyExpectedAbsenceRequest) -> Result<Notice, Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let note = check.text("note", &m.note, TextRule::notes(2_000)).unwrap_or_default();
    if m.sessions.is_empty() {
        check.fault("sessions", "FIELD_REQUIRED");
    }
    let (mut sessions, mut seen) = (Vec::new(), HashSet::new());
    if check.list_len("sessions", m.sessions.len(), SESSIONS) {
        for (index, sent) in m.sessions.iter().enumerate() {
            let mut row = check.at("sessions").index(index);
            let date = row.date("date", &sent.date);
            let slot = match row.enum_value::<Session>("session", sent.session) {
                Some(Session::Timed) => row.time_of_day("start_time", &sent.start_time).map(Slot::timed),
                Some(Session::Am) => Some(Slot::AM),
                Some(Session::Pm) => Some(Slot::PM),
                Some(Session::Unspecified) | None => None,
            };
            let Some(session) = date.zip(slot) else { continue };
            if !seen.insert(session) {
                row.fault("", "CONFLICT_IN_BATCH");
            }
            sessions.push(session);
        }
    }
    if !m.withdrawn && check.required("code", &m.code).is_some() {
        code(&mut check, &m.code, &sessions);
    }
    check.finish()?;
    let code = (!m.withdrawn).then(|| m.code.clone());
    Ok(Notice { placement: placement.ok_or(Reason::Malformed)?, sessions, code, note })
}

/// A code of every day that says that the child is not there.
fn code(check: &mut Check, code: &str, sessions: &[(Date, Slot)]) {
    for (date, _) in sessions {
        let fault = match AttendanceCode::on(code, *date) {
            Ok(code) if code.class().is_attended() => "CODE_NOT_AN_ABSENCE",
            Ok(_) => continue,
            Err(error) => error.reason(),
        };
        check.fault("code", fault);
        return;
    }
}

/// Sessions lie in the caller's time, and inside the placement. In this order: what became of the placement after its
/// time is not told to a former party.
fn hold(notice: &Notice, placement: &Placement, caller: &OrganisationId) -> Result<(), Refusal> {
    let mut check = Check::new();
    for (index, (date, _)) in notice.sessions.iter().enumerate() {
        if placement.part_on(caller, *date) == Part::None {
            check.at("sessions").index(index).fault("date", "NOT_PARTY_ON_DAY");
        } else if !within(*date, placement.start, placement.end) {
            check.at("sessions").index(index).fault("date", "PLACEMENT_NOT_ACTIVE");
        }
    }
    Ok(check.finish()?)
}

/// Reports whether a restricted code was stated of a session of the notice, now or before, by anybody: then the note
/// may say so, and only the closest readers get it.
async fn is_restricted(cx: &mut Cx, notice: &Notice, placement: Uuid) -> Result<bool, Refusal> {
    if notice.code.as_deref().is_some_and(rules::is_restricted) {
        return Ok(true);
    }
    let days = || notice.sessions.iter().map(|(date, _)| *date);
    let Some(days) = days().min().zip(days().max()).and_then(|(from, to)| Period::new(from, to)) else {
        return Ok(false);
    };
    let stated = statements::of_placement(&mut cx.snapshot, Stated::NotExpected, placement, days).await?;
    let restricted = |row: &StatementRow| row.code.as_deref().is_some_and(rules::is_restricted);
    Ok(stated.iter().any(|row| restricted(row) && notice.sessions.contains(&(row.date, row.slot))))
}

/// Leave under a part-time timetable rests on one that is agreed and ends.
async fn warnings(cx: &mut Cx, notice: &Notice, placement: &Placement) -> Result<Vec<String>, Refusal> {
    if notice.code.as_deref() != Some("C2") {
        return Ok(Vec::new());
    }
    let plan = plan::newest(cx, placement).await?;
    let arrangement = Arrangement::of(placement, plan.as_ref().map(|(_, plan)| plan));
    let agreed = notice.sessions.iter().all(|(date, _)| arrangement.agreed_part_time(*date));
    Ok(if agreed { Vec::new() } else { vec!["PART_TIME_NOT_AGREED".to_owned()] })
}
