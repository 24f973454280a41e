//! `SubmitAttendance`: a register goes in. Every row is taken as far as it can go; then the batch is stored
//! whole, or only its good rows, or not at all, as it asked.

use std::collections::HashMap;

use prost::Message;
use uuid::Uuid;

use super::resolve::{Batch, Resolved, at_fault, resolve};
use super::roll::{Known, Rolls};
use super::rows::{self, AFTER_RESTRICTED, AGREEMENT_LAPSED, LATE, MarkRow, ReturnRow, key, seal_note};
use super::rules::{self, Becomes, Entered, Slot, Standing};
use super::wire::{self, Submission};
use crate::calendar::Date;
use crate::exchange::check::{Check, Violations};
use crate::exchange::{
    Action, Change, ChildPart, Cx, Decided, Facts, LeafRole, Part, Refusal, Standing as Live,
};
use crate::proto::v1::{
    DeliveryKind, MarkOutcome, MarkResult, StoredMark, SubmitAttendanceRequest, SubmitAttendanceResponse,
};
use crate::store::key::Key;

/// A row on its way.
enum Row {
    /// It will be stored, or is already.
    Good {
        mark: Entered,
        at: usize,
        becomes: Becomes,
        standing: Option<Standing>,
        warnings: Vec<&'static str>,
    },
    /// It repeats an earlier row.
    Repeats { at: usize },
    /// It is at fault.
    Bad(Violations),
}

/// Takes a register.
pub async fn submit_attendance(
    rolls: Rolls,
    mut cx: Cx,
    m: SubmitAttendanceRequest,
) -> Result<Decided<SubmitAttendanceResponse>, Refusal> {
    let submission = wire::submission(Check::new(), &m)?;
    let return_id = cx.random.uuid_v7(cx.now);
    let row = ReturnRow {
        id: return_id,
        provider: cx.caller.organisation.clone(),
        nil: m.nil_return,
        stored: 0,
        part: 0,
        last: true,
        marks: i64::try_from(m.marks.len()).unwrap_or(i64::MAX),
    };
    let (change, results) = take(&rolls, &mut cx, Action::SubmitAttendance, submission, row).await?;
    Ok(change.reply(&response(return_id, results)))
}

/// Takes the marks of a return, or of a part of one: what that changes, and the result of each mark.
pub async fn take(
    rolls: &Rolls,
    cx: &mut Cx,
    action: Action,
    submission: Submission,
    row: ReturnRow,
) -> Result<(Change, Vec<MarkResult>), Refusal> {
    let Submission { accept_valid, rows: entered } = submission;
    let mut batch = Batch::of(rolls.of(cx).await?);
    let resolved = resolve(cx, &mut batch, entered).await?;
    let rows = stand(cx, &batch, resolved).await?;
    if !accept_valid {
        refuse_bad(&rows)?;
    }
    let basis = batch.known.first().and_then(|known| known.basis.clone());
    let guards = vec![batch.roll.facts.clone()];
    let facts = Facts { part: Part::Provider, standing: Live::Live, basis, guards };
    let permit = cx.permit(action, &facts)?;
    let return_id = row.id;
    let results = results(&rows, &batch, cx);
    let stored = rows.iter().filter(|row| row.is_written()).count();
    let row = ReturnRow { stored: i64::try_from(stored).unwrap_or(i64::MAX), ..row };
    let mut change = cx.change(&permit).write(&row);
    for (known, indexes) in batch.known.iter().zip(by_child(&rows, batch.known.len())) {
        let own = indexes.iter().filter_map(|index| rows.get(*index));
        let marks = mark_rows(cx, own.clone(), known, &batch, return_id)?;
        for row in own {
            if let Row::Good { mark, standing, .. } = row {
                let revision = standing.as_ref().map_or(0, |standing| standing.revision);
                change = change.guard(
                    key(mark.date, &known.placement.provider, known.placement.id, mark.slot),
                    revision,
                );
            }
        }
        if indexes.is_empty() {
            continue;
        }
        let of_child = indexes.iter().filter_map(|index| results.get(*index));
        let reply: Vec<u8> = of_child.flat_map(Message::encode_to_vec).collect();
        let (placement, role) = (known.placement.id, LeafRole::Submitted);
        change = change.child(&ChildPart { placement, role, key: &known.key, reply: &reply }, &marks);
        let only = (batch.known.len() == 1).then_some(placement);
        let days = indexes.iter().filter_map(|index| rows.get(*index)).filter_map(Row::date);
        for recipient in known.placement.recipients_on(days, &cx.caller.organisation) {
            // What is there already is delivered to nobody, but whose child it is may see that it was sent.
            change = if marks.is_empty() {
                change.counterpart(&recipient)
            } else {
                change.deliver(&recipient, DeliveryKind::Attendance, return_id, only)
            };
        }
    }
    Ok((change, results))
}

/// Against earlier rows of the batch, and against what is stored.
async fn stand(cx: &mut Cx, batch: &Batch, resolved: Vec<Resolved>) -> Result<Vec<Row>, Refusal> {
    let mut standing = HashMap::new();
    // Most marks are new: a first try takes them to be, and the guards find out.
    if !cx.recall {
        let of = |(mark, at, _): &(Entered, usize, Vec<&str>)| {
            let placement = &batch.known.get(*at)?.placement;
            Some(key(mark.date, &placement.provider, placement.id, mark.slot))
        };
        let keys: Vec<Key> = resolved.iter().flatten().filter_map(of).collect();
        let sql = rows::select!("JOIN heads h ON m.idx = h.idx AND m.ordinal = h.ordinal WHERE h.key");
        for row in cx.snapshot.fetch_among(sql, &keys).await? {
            let (mark, idx, ordinal) = rows::read(&row)?;
            let Some((at, known)) = batch.at(mark.placement).and_then(|at| Some((at, batch.known.get(at)?)))
            else {
                continue;
            };
            let place = (at, mark.date, mark.slot);
            standing.insert(place, mark.standing(&known.key, idx, ordinal)?);
        }
    }
    let mut first: HashMap<(usize, Date, Slot), Entered> = HashMap::new();
    let mut rows = Vec::with_capacity(resolved.len());
    for (index, row) in resolved.into_iter().enumerate() {
        let (mark, at, warnings) = match row {
            Ok(good) => good,
            Err(violations) => {
                rows.push(Row::Bad(violations));
                continue;
            }
        };
        let place = (at, mark.date, mark.slot);
        if let Some(earlier) = first.get(&place) {
            let agree = rules::agree(earlier, &mark);
            let conflict = || Row::Bad(at_fault(index, ("", "CONFLICT_IN_BATCH")));
            rows.push(if agree { Row::Repeats { at } } else { conflict() });
            continue;
        }
        let standing = standing.remove(&place);
        rows.push(match rules::against(&mark, standing.as_ref()) {
            Err(fault) => Row::Bad(at_fault(index, fault)),
            Ok(becomes) => {
                first.insert(place, mark.clone());
                Row::Good { mark, at, becomes, standing, warnings }
            }
        });
    }
    Ok(rows)
}

fn refuse_bad(rows: &[Row]) -> Result<(), Refusal> {
    let mut check = Check::new();
    for row in rows {
        if let Row::Bad(violations) = row {
            check.absorb(violations.clone());
        }
    }
    Ok(check.finish()?)
}

impl Row {
    /// The place of its child among the known ones.
    fn at(&self) -> Option<usize> {
        match self {
            Self::Good { at, .. } | Self::Repeats { at } => Some(*at),
            Self::Bad(_) => None,
        }
    }

    /// The day of a mark that is, or will be, stored.
    fn date(&self) -> Option<Date> {
        match self {
            Self::Good { mark, .. } => Some(mark.date),
            Self::Repeats { .. } | Self::Bad(_) => None,
        }
    }

    fn is_written(&self) -> bool {
        matches!(self, Self::Good { becomes: Becomes::New | Becomes::Correction, .. })
    }
}

/// The indexes of the rows of each child.
fn by_child(rows: &[Row], children: usize) -> Vec<Vec<usize>> {
    let mut indexes = vec![Vec::new(); children];
    for (index, row) in rows.iter().enumerate() {
        if let Some(of_child) = row.at().and_then(|at| indexes.get_mut(at)) {
            of_child.push(index);
        }
    }
    indexes
}

fn mark_rows<'a>(
    cx: &Cx,
    rows: impl Iterator<Item = &'a Row>,
    known: &Known,
    batch: &Batch,
    return_id: Uuid,
) -> Result<Vec<MarkRow>, Refusal> {
    let mut marks = Vec::new();
    for row in rows.filter(|row| row.is_written()) {
        let Row::Good { mark, standing, .. } = row else {
            continue;
        };
        let (placement, revision) =
            (known.placement.id, standing.as_ref().map_or(1, |standing| standing.revision + 1));
        let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
        let place = (placement, mark.date, mark.slot, revision);
        let flags = rules::flags(mark, batch.roll.late_before, known.is_agreed());
        let bits = flags.iter().map(|flag| if *flag == "LATE" { LATE } else { AGREEMENT_LAPSED });
        let after = standing.as_ref().is_some_and(|standing| standing.after_restricted);
        let restricted = if after || mark.statement.is_restricted() { AFTER_RESTRICTED } else { 0 };
        let note = StoredMark {
            comment: mark.comment.clone(),
            correction_reason: mark.correction_reason.clone(),
            site: mark.site.clone(),
            ..StoredMark::default()
        };
        marks.push(MarkRow {
            placement,
            date: mark.date,
            slot: mark.slot,
            revision,
            return_id,
            statement: mark.statement.clone(),
            end: mark.end,
            minutes_late: mark.minutes_late,
            minutes_planned: mark.minutes_planned,
            minutes_attended: mark.minutes_attended,
            flags: bits.sum::<i64>() + restricted,
            suggested: known.arrangement.suggestion(mark, &batch.roll.calendar, cx.today),
            received: cx.now.micros(),
            child: known.placement.child,
            sender: cx.caller.organisation.clone(),
            note: seal_note(&known.key, place, &note, &fill)?,
            prior: standing.as_ref().map(|standing| (standing.idx, standing.ordinal)),
        });
    }
    Ok(marks)
}

fn results(rows: &[Row], batch: &Batch, cx: &Cx) -> Vec<MarkResult> {
    let texts = |words: &[&'static str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let of = |at: usize| batch.known.get(at).map(|known| known.placement.id.hyphenated().to_string());
    let result = |(index, row): (usize, &Row)| {
        let mut result =
            MarkResult { index: u32::try_from(index).unwrap_or(u32::MAX), ..MarkResult::default() };
        match row {
            Row::Good { mark, at, becomes, standing, warnings } => {
                let (outcome, step) = match becomes {
                    Becomes::New => (MarkOutcome::Stored, 1),
                    Becomes::Unchanged => (MarkOutcome::Unchanged, 0),
                    Becomes::Correction => (MarkOutcome::Corrected, 1),
                };
                let revision = standing.as_ref().map_or(0, |standing| standing.revision) + step;
                result.set_outcome(outcome);
                result.revision = u32::try_from(revision).unwrap_or(u32::MAX);
                result.warnings = texts(warnings);
                result.placement_id = of(*at).unwrap_or_default();
                if let Some(known) = batch.known.get(*at) {
                    let flags = rules::flags(mark, batch.roll.late_before, known.is_agreed());
                    result.flags = texts(&flags);
                    let code = known.arrangement.suggestion(mark, &batch.roll.calendar, cx.today);
                    result.suggested_code = code.map(|code| code.as_str().to_owned()).unwrap_or_default();
                }
            }
            Row::Repeats { at } => {
                result.set_outcome(MarkOutcome::Unchanged);
                result.warnings = texts(&["DUPLICATE_IN_BATCH"]);
                result.placement_id = of(*at).unwrap_or_default();
            }
            Row::Bad(violations) => {
                result.set_outcome(MarkOutcome::Rejected);
                if let Some(first) = violations.first.first() {
                    first.reason.clone_into(&mut result.reason);
                    let field = first.field.split_once("].").map_or("", |(_, field)| field);
                    field.clone_into(&mut result.field);
                    let about = first.about.iter().map(|id| id.hyphenated().to_string());
                    result.candidate_placement_ids = about.collect();
                }
            }
        }
        result
    };
    rows.iter().enumerate().map(result).collect()
}

pub fn response(return_id: Uuid, results: Vec<MarkResult>) -> SubmitAttendanceResponse {
    let count = |outcome: MarkOutcome| {
        let same = results.iter().filter(|result| result.outcome() == outcome).count();
        u32::try_from(same).unwrap_or(u32::MAX)
    };
    SubmitAttendanceResponse {
        return_id: return_id.hyphenated().to_string(),
        stored: count(MarkOutcome::Stored),
        unchanged: count(MarkOutcome::Unchanged),
        corrected: count(MarkOutcome::Corrected),
        rejected: count(MarkOutcome::Rejected),
        results,
        receipt: None,
    }
}
