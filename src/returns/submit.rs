//! `SubmitAttendance`: stores the marks of a provider's register. Every row is checked, so that all faults are
//! reported at once. Then either all rows are stored or none, or only the valid rows, as the request's mode asks.

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use uuid::Uuid;

use super::flags::MarkFlags;
use super::mark_meaning::is_evaluated;
use super::resolve::{ResolvedRow, SubmissionBatch, resolve_rows, row_violations};
use super::roster::{RosterCache, RosterEntry};
use super::rows::{self, MarkRow, ReturnRow, mark_key, seal_note};
use super::rules::{self, CurrentMark, MarkChange, ParsedMark, SessionSlot};
use super::wire::{self, Submission};
use crate::calendar::Date;
use crate::exchange::check::{Check, Violations};
use crate::exchange::{
    CallerRole, Change, Decided, LeafInput, PolicyFacts, RecordRef, Refusal, RequestContext,
    RoleStatus as Live,
};
use crate::placements::moments;
use crate::proto::v1::{
    DeliveryKind, LeafRole, MarkOutcome, MarkResult, RecordKind, StoredMark, SubmitAttendanceRequest,
    SubmitAttendanceResponse,
};
use crate::register::moments as register_moments;
use crate::store::Revision;
use crate::store::version_key::VersionKey;
use crate::violation_reason::ViolationReason;

/// A row of a submission after the comparison with earlier rows and with the stored marks.
enum SubmittedRow {
    /// The row is valid: it will be stored, or an equal mark is stored already.
    Accepted {
        mark: ParsedMark,
        at: usize,
        becomes: MarkChange,
        standing: Option<CurrentMark>,
        warnings: Vec<&'static str>,
    },
    /// The row has the same content as an earlier row of the batch.
    Duplicate { at: usize },
    /// The row is invalid.
    Rejected(Violations),
}

/// Handles `SubmitAttendance`.
pub async fn submit_attendance(
    rosters: RosterCache,
    mut cx: RequestContext,
    m: SubmitAttendanceRequest,
) -> Result<Decided<SubmitAttendanceResponse>, Refusal> {
    let submission = wire::parse_submission(Check::new(), &m)?;
    let return_id = cx.random.uuid_v7(cx.now);
    let row = ReturnRow {
        return_id,
        provider: cx.caller.organisation.clone(),
        is_nil: m.nil_return,
        stored: 0,
        part: 0,
        is_last: true,
        marks: i64::try_from(m.marks.len()).unwrap_or(i64::MAX),
    };
    let (change, results) = decide_marks(&rosters, &mut cx, submission, row).await?;
    Ok(change.with_reply(&response(return_id, results)))
}

/// Decides the marks of a return, or of one part of it. Returns the change to commit and the result of each mark.
pub async fn decide_marks(
    rosters: &RosterCache,
    cx: &mut RequestContext,
    submission: Submission,
    row: ReturnRow,
) -> Result<(Change, Vec<MarkResult>), Refusal> {
    let Submission { accept_valid, rows: entered } = submission;
    let mut batch = SubmissionBatch::new(rosters.load(cx).await?);
    let resolved = resolve_rows(cx, &mut batch, entered).await?;
    let rows = compare_with_stored(cx, &batch, resolved).await?;
    if !accept_valid {
        refuse_if_any_rejected(&rows)?;
    }
    let basis = batch.entries.first().and_then(|known| known.basis.clone());
    let guards = vec![batch.roster.facts_guard.clone()];
    let facts = PolicyFacts { role: CallerRole::Provider, status: Live::Live, basis, guards };
    let permit = cx.permit(&facts)?;
    let return_id = row.return_id;
    let results = results(&rows, &batch, cx);
    let stored = rows.iter().filter(|row| row.is_written()).count();
    let row = ReturnRow { stored: i64::try_from(stored).unwrap_or(i64::MAX), ..row };
    let mut change = cx.change(&permit).append(&row);
    change = moments::evaluate_covered_now(cx, change, &placements_to_evaluate(&rows, &batch)).await?;
    for day in days_to_evaluate(&rows, &batch) {
        let provider = cx.caller.organisation.clone();
        change = register_moments::evaluate_provider_day(cx, change, &provider, day).await?;
    }
    for (known, indexes) in batch.entries.iter().zip(row_indexes_by_child(&rows, batch.entries.len())) {
        let of_child = indexes.iter().filter_map(|index| rows.get(*index));
        let marks = mark_rows(cx, of_child.clone(), known, &batch, return_id)?;
        for row in of_child {
            if let SubmittedRow::Accepted { mark, standing, .. } = row {
                let revision = standing.as_ref().map_or(Revision::ABSENT, |standing| standing.revision);
                change = change.guard(
                    mark_key(mark.date, &known.placement.provider, known.placement.id, mark.slot),
                    revision,
                );
            }
        }
        if indexes.is_empty() {
            continue;
        }
        let of_child = indexes.iter().filter_map(|index| results.get(*index));
        let reply: Vec<u8> = of_child.flat_map(Message::encode_to_vec).collect();
        let (placement, role, sender) = (known.placement.id, LeafRole::Submitted, &cx.caller.organisation);
        let record = RecordRef::unversioned(RecordKind::Attendance, return_id);
        let part = LeafInput { placement, role, record, sender, key: &known.key, reply: &reply };
        change = change.append_child_under(known.basis.as_ref(), &part, &marks);
        let days = indexes.iter().filter_map(|index| rows.get(*index)).filter_map(SubmittedRow::date);
        for recipient in known.placement.recipients_on(days, &cx.caller.organisation) {
            // Unchanged marks are not delivered; the entry still names the organisations that they concern.
            change = change.share_child(&recipient, placement);
            if !marks.is_empty() {
                change = change.deliver(&recipient, DeliveryKind::Attendance, return_id, Some(placement));
            }
        }
    }
    Ok((change, results))
}

/// Lists the active placements of which a mark can raise or close an alert, each once.
fn placements_to_evaluate(rows: &[SubmittedRow], batch: &SubmissionBatch) -> Vec<Uuid> {
    let mut placements = Vec::new();
    for row in rows.iter().filter(|row| row.is_written()) {
        let SubmittedRow::Accepted { mark, at, standing, .. } = row else { continue };
        let Some(known) = batch.entries.get(*at).filter(|known| known.is_active()) else { continue };
        let before = standing.as_ref().map(|standing| &standing.statement);
        if is_evaluated(before, &mark.statement, mark.date, known.arrangement.is_tuition)
            && !placements.contains(&known.placement.id)
        {
            placements.push(known.placement.id);
        }
    }
    placements
}

/// Lists the days of which the plan names no session and a mark is one of a timed session, which may begin at any time. Of
/// every other mark an open alert about its absence finds out by its key, so that it sets no moment.
fn days_to_evaluate(rows: &[SubmittedRow], batch: &SubmissionBatch) -> BTreeSet<Date> {
    let written = rows.iter().filter(|row| row.is_written());
    let days = written.filter_map(|row| {
        let SubmittedRow::Accepted { mark, at, .. } = row else { return None };
        let arrangement = &batch.entries.get(*at)?.arrangement;
        let is_any_session = mark.slot.start().is_some() && arrangement.is_extra_without_session(mark.date);
        is_any_session.then_some(mark.date)
    });
    days.collect()
}

/// Compares each row with earlier rows of the batch and with the stored mark of its session.
async fn compare_with_stored(
    cx: &mut RequestContext,
    batch: &SubmissionBatch,
    resolved: Vec<ResolvedRow>,
) -> Result<Vec<SubmittedRow>, Refusal> {
    let mut standing = HashMap::new();
    // Most marks are new. The first attempt assumes so without reading; the guards detect the others at commit.
    if !cx.use_cache {
        let natural_key = |(mark, at, _): &(ParsedMark, usize, Vec<&str>)| {
            let placement = &batch.entries.get(*at)?.placement;
            Some(mark_key(mark.date, &placement.provider, placement.id, mark.slot))
        };
        let keys: Vec<VersionKey> = resolved.iter().flatten().filter_map(natural_key).collect();
        for (position, mark) in rows::list_current(&mut cx.snapshot, &keys).await? {
            let Some((at, known)) =
                batch.index_of(mark.placement).and_then(|at| Some((at, batch.entries.get(at)?)))
            else {
                continue;
            };
            let session = (at, mark.date, mark.slot);
            standing.insert(session, mark.into_current_mark(&known.key, position)?);
        }
    }
    let mut first: HashMap<(usize, Date, SessionSlot), ParsedMark> = HashMap::new();
    let mut rows = Vec::with_capacity(resolved.len());
    for (index, row) in resolved.into_iter().enumerate() {
        let (mark, at, warnings) = match row {
            Ok(good) => good,
            Err(violations) => {
                rows.push(SubmittedRow::Rejected(violations));
                continue;
            }
        };
        let session = (at, mark.date, mark.slot);
        if let Some(earlier) = first.get(&session) {
            let agree = rules::has_same_content(earlier, &mark);
            let conflict =
                || SubmittedRow::Rejected(row_violations(index, ("", ViolationReason::ConflictInBatch)));
            rows.push(if agree { SubmittedRow::Duplicate { at } } else { conflict() });
            continue;
        }
        let standing = standing.remove(&session);
        rows.push(match rules::compare_with_current(&mark, standing.as_ref()) {
            Err(fault) => SubmittedRow::Rejected(row_violations(index, fault)),
            Ok(becomes) => {
                first.insert(session, mark.clone());
                SubmittedRow::Accepted { mark, at, becomes, standing, warnings }
            }
        });
    }
    Ok(rows)
}

/// Refuses the submission if any row is invalid, with the violations of all rows.
fn refuse_if_any_rejected(rows: &[SubmittedRow]) -> Result<(), Refusal> {
    let mut check = Check::new();
    for row in rows {
        if let SubmittedRow::Rejected(violations) = row {
            check.absorb(violations.clone());
        }
    }
    Ok(check.finish()?)
}

impl SubmittedRow {
    /// Returns the index of its child in the batch's `entries`; None for an invalid row.
    fn at(&self) -> Option<usize> {
        match self {
            Self::Accepted { at, .. } | Self::Duplicate { at } => Some(*at),
            Self::Rejected(_) => None,
        }
    }

    /// Returns the day of a mark that is, or will be, stored.
    fn date(&self) -> Option<Date> {
        match self {
            Self::Accepted { mark, .. } => Some(mark.date),
            Self::Duplicate { .. } | Self::Rejected(_) => None,
        }
    }

    fn is_written(&self) -> bool {
        matches!(self, Self::Accepted { becomes: MarkChange::New | MarkChange::Correction, .. })
    }
}

/// Groups the indexes of the rows by child.
fn row_indexes_by_child(rows: &[SubmittedRow], children: usize) -> Vec<Vec<usize>> {
    let mut indexes = vec![Vec::new(); children];
    for (index, row) in rows.iter().enumerate() {
        if let Some(of_child) = row.at().and_then(|at| indexes.get_mut(at)) {
            of_child.push(index);
        }
    }
    indexes
}

/// Builds the rows of one child's marks that are stored.
fn mark_rows<'a>(
    cx: &RequestContext,
    rows: impl Iterator<Item = &'a SubmittedRow>,
    known: &RosterEntry,
    batch: &SubmissionBatch,
    return_id: Uuid,
) -> Result<Vec<MarkRow>, Refusal> {
    let mut marks = Vec::new();
    for row in rows.filter(|row| row.is_written()) {
        let SubmittedRow::Accepted { mark, standing, .. } = row else {
            continue;
        };
        let (placement, revision) = (
            known.placement.id,
            standing.as_ref().map_or(Revision::FIRST, |standing| standing.revision.next()),
        );
        let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
        let sealed_for = (placement, mark.date, mark.slot, revision);
        let mut flags = rules::flags(mark, batch.roster.late_before, known.is_agreed());
        let after = standing.as_ref().is_some_and(|standing| standing.after_restricted);
        flags.set(MarkFlags::AFTER_RESTRICTED, after || mark.statement.is_restricted());
        let (code, seen) = mark.statement.to_columns();
        let prior = standing.as_ref().map(|standing| standing.position);
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
            code,
            seen,
            end_time: mark.end,
            minutes_late: mark.minutes_late,
            minutes_planned: mark.minutes_planned,
            minutes_attended: mark.minutes_attended,
            flags,
            suggested: known.arrangement.suggestion(mark, &batch.roster.calendar, cx.today),
            received: cx.now.micros(),
            child: known.placement.child,
            sender: cx.caller.organisation.clone(),
            note: seal_note(&known.key, sealed_for, &note, &fill)?,
            prior_idx: prior.map(|prior| prior.index),
            prior_ordinal: prior.map(|prior| prior.ordinal),
        });
    }
    Ok(marks)
}

/// Builds the result of each row.
fn results(rows: &[SubmittedRow], batch: &SubmissionBatch, cx: &RequestContext) -> Vec<MarkResult> {
    let texts = |words: &[&'static str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let id_of = |at: usize| batch.entries.get(at).map(|known| known.placement.id.hyphenated().to_string());
    let result = |(index, row): (usize, &SubmittedRow)| {
        let mut result =
            MarkResult { index: u32::try_from(index).unwrap_or(u32::MAX), ..MarkResult::default() };
        match row {
            SubmittedRow::Accepted { mark, at, becomes, standing, warnings } => {
                let before = standing.as_ref().map_or(Revision::ABSENT, |standing| standing.revision);
                let (outcome, revision) = match becomes {
                    MarkChange::New => (MarkOutcome::Stored, before.next()),
                    MarkChange::Unchanged => (MarkOutcome::Unchanged, before),
                    MarkChange::Correction => (MarkOutcome::Corrected, before.next()),
                };
                result.set_outcome(outcome);
                result.revision = revision.to_u32();
                result.warnings = texts(warnings);
                result.placement_id = id_of(*at).unwrap_or_default();
                if let Some(known) = batch.entries.get(*at) {
                    let flags = rules::flags(mark, batch.roster.late_before, known.is_agreed());
                    result.flags = flags.names(false);
                    let code = known.arrangement.suggestion(mark, &batch.roster.calendar, cx.today);
                    result.suggested_code = code.map(|code| code.as_str().to_owned()).unwrap_or_default();
                }
            }
            SubmittedRow::Duplicate { at } => {
                result.set_outcome(MarkOutcome::Unchanged);
                result.warnings = texts(&["DUPLICATE_IN_BATCH"]);
                result.placement_id = id_of(*at).unwrap_or_default();
            }
            SubmittedRow::Rejected(violations) => {
                result.set_outcome(MarkOutcome::Rejected);
                if let Some(first) = violations.first.first() {
                    first.reason.name().clone_into(&mut result.reason);
                    let field = first.field.split_once("].").map_or("", |(_, field)| field);
                    field.clone_into(&mut result.field);
                    let candidates = first.about_ids.iter().map(|id| id.hyphenated().to_string());
                    result.candidate_placement_ids = candidates.collect();
                }
            }
        }
        result
    };
    rows.iter().enumerate().map(result).collect()
}

/// Builds the response with its counts of outcomes.
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
