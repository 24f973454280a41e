//! `SubmitAttendance`: a register goes in. Every row is taken as far as it can go; then the batch is stored
//! whole, or only its good rows, or not at all, as it asked.

use std::collections::HashMap;

use prost::Message;
use uuid::Uuid;

use super::rows::{self, AGREEMENT_LAPSED, LATE, MarkRow, ReturnRow, key, seal_note};
use super::rules::{self, Becomes, Entered, Fault, Named, Slot, Standing, Statement};
use super::wire::{self, Submission};
use crate::calendar::{Date, SchoolCalendar, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::names::same_name;
use crate::codes::organisation::OrganisationKind;
use crate::codes::suggestion::{ArrangedBy, Circumstances, ProviderMark, Seen, suggest_home_code};
use crate::exchange::check::{Check, Violations};
use crate::exchange::{
    Action, Basis, ChildPart, Cx, Decided, Facts, LeafRole, Part, Refusal, Standing as Live,
};
use crate::placements::{self, Placement};
use crate::proto::v1::{
    ChildIdentity, DataClass, DeliveryKind, MarkOutcome, MarkResult, SeenMark, SubmitAttendanceRequest,
    SubmitAttendanceResponse,
};
use crate::register::{agreements, terms};
use crate::seal::ChildKey;
use crate::store::key::Key;
use crate::store::proposal::Guard;

/// What is known of a child's placement while a batch is decided.
struct Known {
    placement: Placement,
    key: ChildKey,
    agreed: Option<Basis>,
    identity: Option<ChildIdentity>,
    extra_dates: Option<Vec<String>>,
}

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

struct Batch {
    known: Vec<Known>,
    by_placement: HashMap<Uuid, usize>,
    roll: Vec<Placement>,
    calendar: SchoolCalendar,
}

/// Takes a register.
pub async fn submit_attendance(
    mut cx: Cx,
    m: SubmitAttendanceRequest,
) -> Result<Decided<SubmitAttendanceResponse>, Refusal> {
    let Submission {
        accept_valid,
        rows: entered,
    } = wire::submission(&m)?;
    let provider = cx.caller.organisation.clone();
    let facts_key = Key::facts(provider.as_str());
    let facts_version = cx.snapshot.version(&facts_key).await?;
    let mut batch = Batch {
        known: Vec::new(),
        by_placement: HashMap::new(),
        roll: placements::roll(&mut cx.snapshot, &provider).await?,
        calendar: terms::calendar(&mut cx.snapshot, &provider).await?,
    };
    let resolved = resolve(&mut cx, &mut batch, entered).await?;
    let rows = stand(&mut cx, &batch, resolved).await?;
    if !accept_valid {
        refuse_bad(&rows)?;
    }
    let basis = batch.known.first().and_then(|known| known.agreed.clone());
    let guards = vec![Guard {
        key: facts_key,
        version: facts_version,
    }];
    let facts = Facts {
        part: Part::Provider,
        standing: Live::Live,
        basis,
        guards,
    };
    let permit = cx.permit(Action::SubmitAttendance, &facts)?;
    let return_id = cx.random.uuid_v7(cx.now);
    let results = results(&rows, &batch, &cx);
    let stored = written(&rows).count();
    let return_row = ReturnRow {
        id: return_id,
        provider,
        nil: m.nil_return,
        stored: i64::try_from(stored).unwrap_or(i64::MAX),
    };
    let mut change = cx.change(&permit).write(&return_row);
    for (at, known) in batch.known.iter().enumerate() {
        let marks = mark_rows(&cx, &rows, at, known, &batch, return_id)?;
        for row in &rows {
            if let Row::Good {
                mark,
                at: of,
                standing,
                ..
            } = row
                && *of == at
            {
                let revision = standing.as_ref().map_or(0, |standing| standing.revision);
                change = change.guard(key(mark.date, known.placement.id, mark.slot), revision);
            }
        }
        if marks.is_empty() {
            continue;
        }
        let id = known.placement.id.hyphenated().to_string();
        let of_child = results.iter().filter(|result| result.placement_id == id);
        let reply: Vec<u8> = of_child.flat_map(Message::encode_to_vec).collect();
        let (placement, role) = (known.placement.id, LeafRole::Submitted);
        change = change.child(
            &ChildPart {
                placement,
                role,
                key: &known.key,
                reply: &reply,
            },
            &marks,
        );
        let only = (batch.known.len() == 1).then_some(placement);
        for recipient in known.placement.recipients(&cx.caller.organisation) {
            change = change.deliver(&recipient, DeliveryKind::Attendance, return_id, only);
        }
    }
    Ok(change.reply(&response(return_id, results)))
}

/// Shape → meaning → whose child → identity → days. A row that fails goes no further.
async fn resolve(
    cx: &mut Cx,
    batch: &mut Batch,
    entered: Vec<Result<Entered, Violations>>,
) -> Result<Vec<Result<(Entered, usize, Vec<&'static str>), Violations>>, Refusal> {
    let now = TimeOfDay::in_london(cx.now);
    let mut resolved = Vec::with_capacity(entered.len());
    for (index, mark) in entered.into_iter().enumerate() {
        let mark = match mark {
            Ok(mark) => mark,
            Err(violations) => {
                resolved.push(Err(violations));
                continue;
            }
        };
        resolved.push(match rules::meaning(&mark, cx.today, now) {
            Err(fault) => Err(at_fault(index, fault)),
            Ok(()) => match place(cx, batch, &mark).await? {
                Err(fault) => Err(at_fault(index, fault)),
                Ok((at, warnings)) => Ok((mark, at, warnings)),
            },
        });
    }
    Ok(resolved)
}

/// The child's place among the known ones, with what is worth a second look.
async fn place(
    cx: &mut Cx,
    batch: &mut Batch,
    mark: &Entered,
) -> Result<Result<(usize, Vec<&'static str>), Fault>, Refusal> {
    let Some(id) = find(cx, &batch.roll, mark) else {
        return Ok(Err((named_field(mark), "CHILD_NOT_FOUND")));
    };
    let at = if let Some(at) = batch.by_placement.get(&id) {
        *at
    } else {
        let Some(found) = batch.roll.iter().find(|placement| placement.id == id).cloned() else {
            return Ok(Err((named_field(mark), "CHILD_NOT_FOUND")));
        };
        let known = know(cx, found).await?;
        batch.known.push(known);
        batch.by_placement.insert(id, batch.known.len() - 1);
        batch.known.len() - 1
    };
    let Some(known) = batch.known.get_mut(at) else {
        return Ok(Err(("", "CHILD_NOT_FOUND")));
    };
    if mark.date_of_birth.is_some() || mark.surname.is_some() || mark.forename.is_some() {
        if known.identity.is_none() {
            known.identity = Some(placements::children::identity(cx, &known.placement).await?);
        }
        if let Some(field) = known
            .identity
            .as_ref()
            .and_then(|identity| mismatch(mark, identity))
        {
            return Ok(Err((field, "IDENTITY_MISMATCH")));
        }
    }
    if let Err(fault) = rules::inside(mark, known.placement.start, known.placement.end) {
        return Ok(Err(fault));
    }
    let mut warnings = Vec::new();
    if !batch.calendar.is_school_day(mark.date) && !named_by_plan(cx, known, mark.date).await? {
        warnings.push("NOT_A_SCHOOL_DAY");
    }
    if let Statement::Code(code) = &mark.statement
        && AttendanceCode::on(code, mark.date).is_ok_and(AttendanceCode::is_legacy)
    {
        warnings.push("LEGACY_CODE");
    }
    Ok(Ok((at, warnings)))
}

/// Finds the placement that a mark names; of several with one child, the one that was there on the day.
fn find(cx: &Cx, roll: &[Placement], mark: &Entered) -> Option<Uuid> {
    let indexes = match &mark.child {
        Named::Upn(upn) => cx
            .vault
            .ring()
            .blind_indexes(cx.caller.organisation.as_str(), "upn", upn),
        _ => Vec::new(),
    };
    let named = |placement: &&Placement| match &mark.child {
        Named::Placement(id) => placement.id == *id,
        Named::Reference(reference) => placement.provider_reference.as_ref() == Some(reference),
        Named::Upn(_) => {
            (placement.upn_index.as_ref()).is_some_and(|own| indexes.iter().any(|index| index[..] == own[..]))
        }
    };
    let then = |placement: &&Placement| rules::inside(mark, placement.start, placement.end).is_ok();
    let mut candidates = roll.iter().filter(named);
    let first = candidates.clone().next()?;
    Some(candidates.find(then).unwrap_or(first).id)
}

fn named_field(mark: &Entered) -> &'static str {
    match mark.child {
        Named::Placement(_) => "placement_id",
        Named::Upn(_) => "upn",
        Named::Reference(_) => "provider_reference",
    }
}

fn mismatch(mark: &Entered, child: &ChildIdentity) -> Option<&'static str> {
    let differs = |sent: &Option<String>, legal: &str, preferred: &str| {
        sent.as_ref().is_some_and(|sent| {
            !same_name(sent, legal) && (preferred.is_empty() || !same_name(sent, preferred))
        })
    };
    if mark
        .date_of_birth
        .is_some_and(|sent| sent.to_string() != child.date_of_birth)
    {
        Some("date_of_birth")
    } else if differs(&mark.surname, &child.legal_surname, &child.preferred_surname) {
        Some("surname")
    } else if differs(&mark.forename, &child.legal_forename, &child.preferred_forename) {
        Some("forename")
    } else {
        None
    }
}

async fn know(cx: &mut Cx, placement: Placement) -> Result<Known, Refusal> {
    let provider = cx.caller.organisation.clone();
    let key = placements::children::key(cx, &provider, placement.child).await?;
    let parties = [&placement.commissioner, &placement.provider];
    let agreed = agreements::basis(
        &mut cx.snapshot,
        placement.agreement,
        &parties,
        DataClass::Attendance,
        cx.today,
    )
    .await?;
    Ok(Known {
        placement,
        key,
        agreed,
        identity: None,
        extra_dates: None,
    })
}

async fn named_by_plan(cx: &mut Cx, known: &mut Known, date: Date) -> Result<bool, Refusal> {
    if known.extra_dates.is_none() {
        let plan = placements::plan::newest(cx, &known.placement).await?;
        known.extra_dates = Some(plan.map(|(_, plan)| plan.extra_dates).unwrap_or_default());
    }
    let date = date.to_string();
    Ok(known.extra_dates.iter().flatten().any(|named| *named == date))
}

/// A row with the place of its placement on the roll and its warnings, or what is at fault in it.
type Resolved = Result<(Entered, usize, Vec<&'static str>), Violations>;

/// Against earlier rows of the batch, and against what is stored.
async fn stand(cx: &mut Cx, batch: &Batch, resolved: Vec<Resolved>) -> Result<Vec<Row>, Refusal> {
    let id = |at: usize| {
        batch
            .known
            .get(at)
            .map_or(Uuid::nil(), |known| known.placement.id)
    };
    let keys: Vec<Key> = (resolved.iter().flatten())
        .map(|(mark, at, _)| key(mark.date, id(*at), mark.slot))
        .collect();
    let sql = rows::select!("JOIN heads h ON m.idx = h.idx AND m.ordinal = h.ordinal WHERE h.key");
    let mut standing = HashMap::new();
    for row in cx.snapshot.fetch_among(sql, &keys).await? {
        let (mark, idx, ordinal) = rows::read(&row)?;
        let at = batch.by_placement.get(&mark.placement).copied();
        let Some((at, known)) = at.and_then(|at| Some((at, batch.known.get(at)?))) else {
            continue;
        };
        let place = (at, mark.date, mark.slot);
        standing.insert(place, mark.standing(&known.key, idx, ordinal)?);
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
                Row::Good {
                    mark,
                    at,
                    becomes,
                    standing,
                    warnings,
                }
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

fn at_fault(index: usize, (field, reason): Fault) -> Violations {
    let mut check = Check::new();
    let ((), violations) = check.row("marks", index, |row| row.fault(field, reason));
    violations
}

fn written(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| {
        matches!(
            row,
            Row::Good {
                becomes: Becomes::New | Becomes::Correction,
                ..
            }
        )
    })
}

fn mark_rows(
    cx: &Cx,
    rows: &[Row],
    of: usize,
    known: &Known,
    batch: &Batch,
    return_id: Uuid,
) -> Result<Vec<MarkRow>, Refusal> {
    let mut marks = Vec::new();
    for row in written(rows) {
        let Row::Good {
            mark, at, standing, ..
        } = row
        else {
            continue;
        };
        if *at != of {
            continue;
        }
        let (placement, revision) = (
            known.placement.id,
            standing.as_ref().map_or(1, |standing| standing.revision + 1),
        );
        let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
        let place = (placement, mark.date, mark.slot, revision);
        let flags = rules::flags(mark, &batch.calendar, cx.today, known.agreed.is_some());
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
            flags: flags
                .iter()
                .map(|flag| if *flag == "LATE" { LATE } else { AGREEMENT_LAPSED })
                .sum(),
            received: cx.now.micros(),
            child: known.placement.child,
            sender: cx.caller.organisation.clone(),
            note: seal_note(&known.key, place, &mark.comment, &mark.correction_reason, &fill)?,
            prior: standing.as_ref().map(|standing| (standing.idx, standing.ordinal)),
        });
    }
    Ok(marks)
}

fn results(rows: &[Row], batch: &Batch, cx: &Cx) -> Vec<MarkResult> {
    let texts = |words: &[&'static str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let of = |at: usize| {
        batch
            .known
            .get(at)
            .map(|known| known.placement.id.hyphenated().to_string())
    };
    let result = |(index, row): (usize, &Row)| {
        let mut result = MarkResult {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            ..MarkResult::default()
        };
        match row {
            Row::Good {
                mark,
                at,
                becomes,
                standing,
                warnings,
            } => {
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
                    let flags = rules::flags(mark, &batch.calendar, cx.today, known.agreed.is_some());
                    result.flags = texts(&flags);
                    result.suggested_code = suggested(&known.placement, mark.date, &mark.statement);
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
                }
            }
        }
        result
    };
    rows.iter().enumerate().map(result).collect()
}

fn response(return_id: Uuid, results: Vec<MarkResult>) -> SubmitAttendanceResponse {
    let count = |outcome: MarkOutcome| {
        let same = results
            .iter()
            .filter(|result| result.outcome() == outcome)
            .count();
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

/// The code that the home school's register would hold; it is suggested, never written.
pub(super) fn suggested(placement: &Placement, date: Date, statement: &Statement) -> String {
    let mark = match statement {
        Statement::Code(code) => AttendanceCode::on(code, date).ok().map(ProviderMark::Statutory),
        Statement::Seen(seen) => match SeenMark::try_from(*seen) {
            Ok(SeenMark::Present) => Some(ProviderMark::Seen(Seen::Present)),
            Ok(SeenMark::Late) => Some(ProviderMark::Seen(Seen::Late)),
            Ok(SeenMark::Absent) => Some(ProviderMark::Seen(Seen::Absent)),
            Ok(SeenMark::NotExpected) => Some(ProviderMark::Seen(Seen::NotExpected)),
            Ok(SeenMark::Unspecified) | Err(_) => None,
        },
    };
    let by_la = placement.commissioner.kind() == OrganisationKind::La;
    let circumstances = Circumstances {
        arranged_by: if by_la {
            ArrangedBy::LocalAuthority
        } else {
            ArrangedBy::School
        },
        on_a_roll: !placement.schools.is_empty(),
        dual_registered: placement.provider.kind() == OrganisationKind::School,
        online_at_home: false,
        part_time_agreed: false,
    };
    let code = mark.and_then(|mark| suggest_home_code(mark, circumstances));
    code.map(|code| code.as_str().to_owned()).unwrap_or_default()
}
