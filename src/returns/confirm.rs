//! `ConfirmMarks`: home school or commissioner states the code that its own register holds, beside the
//! provider's mark. An amended entry keeps the one before, and says why (Working together to improve school
//! attendance, 2024).

use std::collections::{HashMap, HashSet};

use prost::Message;
use uuid::Uuid;

use super::rows::{self, MarkRow};
use super::rules::{Slot, Statement};
use super::stated::{self, tell};
use super::statements::{self, Stated, StatementRow};
use super::wire::MARKS;
use crate::calendar::Date;
use crate::codes::attendance::{AttendanceCode, CodeError, RegisterSession};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{
    Action, Change, ChildPart, Cx, Decided, Facts, LeafRole, Part, Reason, Refusal, Standing,
};
use crate::placements::{Placement, children, rows::by_ids};
use crate::proto::v1::{
    ConfirmMarksRequest, ConfirmMarksResponse, Confirmation, ConfirmationResult, DeliveryKind, MarkOutcome,
    Officer, Session, StoredConfirmation,
};
use crate::store::key::Key;

/// A confirmation whose shape holds.
struct Stating {
    placement: Uuid,
    date: Date,
    slot: Slot,
    code: AttendanceCode,
    reason: String,
}

/// What is known of the sessions that are confirmed.
struct Known {
    placements: HashMap<Uuid, Placement>,
    marks: HashMap<(Uuid, Date, Slot), MarkRow>,
    standing: HashMap<(Uuid, Date, Slot), StatementRow>,
}

/// Takes what a register holds.
pub async fn confirm_marks(
    mut cx: Cx,
    m: ConfirmMarksRequest,
) -> Result<Decided<ConfirmMarksResponse>, Refusal> {
    let (stating, officer) = read(&m)?;
    let known = known(&mut cx, &stating).await?;
    hold(&stating, &known, &cx.caller.organisation)?;
    let mut placements: Vec<&Placement> = known.placements.values().collect();
    placements.sort_unstable_by_key(|placement| placement.id);
    let facts = facts(&mut cx, &placements).await?;
    let permit = cx.permit(Action::ConfirmMarks, &facts)?;
    let object = cx.random.uuid_v7(cx.now);
    let results: Vec<ConfirmationResult> =
        stating.iter().enumerate().map(|(at, stating)| result(at, stating, &known)).collect();
    let mut change = cx.change(&permit);
    for placement in placements {
        let of = Of { placement, known: &known, results: &results, officer: officer.as_ref(), object };
        change = of.write(&mut cx, change, &stating).await?;
    }
    let count = |outcome: MarkOutcome| {
        let same = results.iter().filter(|result| result.outcome() == outcome).count();
        u32::try_from(same).unwrap_or(u32::MAX)
    };
    let reply = ConfirmMarksResponse {
        confirmation_id: object.hyphenated().to_string(),
        stored: count(MarkOutcome::Stored),
        unchanged: count(MarkOutcome::Unchanged),
        corrected: count(MarkOutcome::Corrected),
        results,
        warnings: if permit.is_agreed() { Vec::new() } else { vec!["AGREEMENT_LAPSED".to_owned()] },
        receipt: None,
    };
    Ok(change.reply(&reply))
}

/// Reads the facts about all the placements: those of one that is over without an agreement, else of one whose agreement
/// has lapsed, so that the entry says so.
async fn facts(cx: &mut Cx, placements: &[&Placement]) -> Result<Facts, Refusal> {
    let mut read: HashMap<_, Facts> = HashMap::new();
    let mut worst: Option<Facts> = None;
    let rank = |facts: &Facts| (!facts.is_agreed(), facts.standing == Standing::Ended);
    for placement in placements {
        let of = (placement.agreement, &placement.commissioner, &placement.provider);
        let basis = match read.get(&of) {
            Some(facts) => facts.basis.clone(),
            None => stated::facts(cx, placement).await?.basis,
        };
        let part = placement.reader_of_any_day(&cx.caller.organisation);
        let facts = Facts { part, standing: placement.standing(), basis, guards: Vec::new() };
        if worst.as_ref().is_none_or(|worst| rank(worst) < rank(&facts)) {
            worst = Some(facts.clone());
        }
        read.insert(of, facts);
    }
    Ok(worst.unwrap_or_else(|| Facts::own(Part::None)))
}

fn read(m: &ConfirmMarksRequest) -> Result<(Vec<Stating>, Option<Officer>), Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let officer = m.officer.as_ref().map(|sent| {
        let mut at = check.at("officer");
        let name = at.text("name", &sent.name, TextRule::legal_name(200).required());
        let role = at.text("role", &sent.role, TextRule::line(200));
        Officer { name: name.unwrap_or_default(), role: role.unwrap_or_default() }
    });
    if m.confirmations.is_empty() {
        check.fault("confirmations", "BATCH_EMPTY");
    }
    if m.confirmations.len() > MARKS {
        check.fault("confirmations", "BATCH_TOO_LARGE");
    } else {
        for (index, sent) in m.confirmations.iter().enumerate() {
            one(&mut check.at("confirmations").index(index), sent);
        }
    }
    check.finish()?;
    let mut again = Check::new();
    Ok((m.confirmations.iter().filter_map(|sent| one(&mut again, sent)).collect(), officer))
}

/// A statutory register has a morning and an afternoon, and no other session.
fn one(row: &mut Check, sent: &Confirmation) -> Option<Stating> {
    let placement = row.uuid("placement_id", &sent.placement_id);
    let date = row.date("date", &sent.date);
    let session = row.enum_value::<Session>("session", sent.session);
    let (slot, half) = match session {
        Some(Session::Am) => (Slot::AM, Some(RegisterSession::Morning)),
        _ => (Slot::PM, (session == Some(Session::Pm)).then_some(RegisterSession::Afternoon)),
    };
    let code = date.zip(session).and_then(|(date, _)| {
        let read = half.map_or(Err(CodeError::SessionMismatch), |half| {
            AttendanceCode::in_session(&sent.code, date, half)
        });
        read.map_err(|error| row.fault("code", error.reason())).ok()
    });
    let reason = row.text("correction_reason", &sent.correction_reason, TextRule::line(500));
    Some(Stating {
        placement: placement?,
        date: date?,
        slot,
        code: code?,
        reason: reason.unwrap_or_default(),
    })
}

async fn known(cx: &mut Cx, stating: &[Stating]) -> Result<Known, Refusal> {
    let caller = cx.caller.organisation.clone();
    let ids: HashSet<Uuid> = stating.iter().map(|stating| stating.placement).collect();
    let own = |placement: &Placement| {
        matches!(placement.reader_of_any_day(&caller), Part::Commissioner | Part::SchoolOnRoll)
    };
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let placements = by_ids(&mut cx.snapshot, &ids).await?.into_iter().filter(own);
    let placements: HashMap<Uuid, Placement> =
        placements.map(|placement| (placement.id, placement)).collect();
    let of = stating.iter().filter_map(|stating| Some((stating, placements.get(&stating.placement)?)));
    let (mut marks, mut keys): (Vec<Key>, Vec<Key>) = (Vec::new(), Vec::new());
    for (stating, placement) in of {
        marks.push(rows::key(stating.date, &placement.provider, placement.id, stating.slot));
        keys.push(stating.key(cx));
    }
    let sql = rows::select!("JOIN heads h ON m.idx = h.idx AND m.ordinal = h.ordinal WHERE h.key");
    let mut found = HashMap::new();
    for row in cx.snapshot.fetch_among(sql, &marks).await? {
        let (mark, ..) = rows::read(&row)?;
        found.insert((mark.placement, mark.date, mark.slot), mark);
    }
    let standing = statements::standing(&mut cx.snapshot, &keys).await?;
    let standing = standing.into_iter().map(|row| ((row.placement, row.date, row.slot), row)).collect();
    Ok(Known { placements, marks: found, standing })
}

/// Each row is about a mark of a child whom the caller placed, or has on its roll on that day, once, and says why where
/// another code stands.
fn hold(stating: &[Stating], known: &Known, caller: &OrganisationId) -> Result<(), Refusal> {
    let (mut check, mut seen) = (Check::new(), HashSet::new());
    for (index, stating) in stating.iter().enumerate() {
        let mut row = check.at("confirmations").index(index);
        let marked = known.marks.get(&stating.place());
        let of_day =
            known.placements.get(&stating.placement).map(|found| found.part_on(caller, stating.date));
        if !matches!(of_day, Some(Part::Commissioner | Part::SchoolOnRoll)) {
            row.fault("placement_id", "CHILD_NOT_FOUND");
        } else if !seen.insert(stating.place()) {
            row.fault("", "CONFLICT_IN_BATCH");
        } else if marked.is_none_or(|mark| mark.statement == Statement::Withdrawn) {
            row.fault("date", "MARK_NOT_FOUND");
        } else if stating.outcome(known) == MarkOutcome::Corrected && stating.reason.is_empty() {
            row.fault("correction_reason", "CORRECTION_REASON_REQUIRED");
        }
    }
    Ok(check.finish()?)
}

impl Stating {
    fn place(&self) -> (Uuid, Date, Slot) {
        (self.placement, self.date, self.slot)
    }

    fn key(&self, cx: &Cx) -> Key {
        statements::key(Stated::Confirmed, self.placement, self.date, self.slot, &cx.caller.organisation)
    }

    fn outcome(&self, known: &Known) -> MarkOutcome {
        match known.standing.get(&self.place()) {
            None => MarkOutcome::Stored,
            Some(standing) if standing.code.as_deref() == Some(self.code.as_str()) => MarkOutcome::Unchanged,
            Some(_) => MarkOutcome::Corrected,
        }
    }

    /// The revision that stands, 0 for none.
    fn revision(&self, known: &Known) -> i64 {
        known.standing.get(&self.place()).map_or(0, |standing| standing.revision)
    }
}

fn result(at: usize, stating: &Stating, known: &Known) -> ConfirmationResult {
    let outcome = stating.outcome(known);
    let revision = stating.revision(known) + i64::from(outcome != MarkOutcome::Unchanged);
    ConfirmationResult {
        index: u32::try_from(at).unwrap_or(u32::MAX),
        outcome: outcome as i32,
        suggested_code: suggested(known.marks.get(&stating.place())),
        placement_id: stating.placement.hyphenated().to_string(),
        revision: u32::try_from(revision).unwrap_or(u32::MAX),
    }
}

fn suggested(mark: Option<&MarkRow>) -> String {
    mark.and_then(|mark| mark.suggested).map(|code| code.as_str().to_owned()).unwrap_or_default()
}

/// What is confirmed of one placement.
struct Of<'a> {
    placement: &'a Placement,
    known: &'a Known,
    results: &'a [ConfirmationResult],
    officer: Option<&'a Officer>,
    object: Uuid,
}

impl Of<'_> {
    async fn write(&self, cx: &mut Cx, change: Change, stating: &[Stating]) -> Result<Change, Refusal> {
        let sender = cx.caller.organisation.clone();
        let (key, change) = children::own_key(cx, change, &sender, self.placement.child).await?;
        let mut change = change.guard(self.placement.key(), self.placement.version);
        let (mut rows, mut reply) = (Vec::new(), Vec::new());
        for (stating, result) in stating.iter().zip(self.results) {
            if stating.placement != self.placement.id {
                continue;
            }
            result.encode(&mut reply).map_err(|_| Reason::Failed)?;
            let mark = self.known.marks.get(&stating.place()).ok_or(Reason::Failed)?;
            let before = stating.revision(self.known);
            change = change.guard(stating.key(cx), before);
            change = change.guard(mark.key(), mark.revision);
            if result.outcome() == MarkOutcome::Unchanged {
                continue;
            }
            let mut row = StatementRow {
                stated: Stated::Confirmed,
                placement: self.placement.id,
                date: stating.date,
                slot: stating.slot,
                organisation: sender.clone(),
                revision: before + 1,
                code: Some(stating.code.as_str().to_owned()),
                mark_revision: mark.revision,
                suggested: suggested(Some(mark)),
                object: self.object,
                received: cx.now.micros(),
                child: self.placement.child,
                note: None,
            };
            let note = StoredConfirmation {
                officer: self.officer.cloned(),
                correction_reason: stating.reason.clone(),
                ..StoredConfirmation::default()
            };
            row.seal(cx, &key, &note)?;
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(change);
        }
        let part =
            ChildPart { placement: self.placement.id, role: LeafRole::Submitted, key: &key, reply: &reply };
        let only = (self.known.placements.len() == 1).then_some(self.placement.id);
        let change = change.child(&part, &rows);
        Ok(tell(change, cx, (self.placement, &rows), DeliveryKind::Confirmation, self.object, only))
    }
}
