//! Whose child a row of a register is about, and whether it can be about that child on that day.

use std::collections::HashMap;

use uuid::Uuid;

use super::arrangement::Arrangement;
use super::rules::{self, Entered, Fault, Named, Statement};
use crate::calendar::{SchoolCalendar, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::names::same_name;
use crate::exchange::check::{Check, Violations};
use crate::exchange::{Basis, Cx, Refusal};
use crate::placements::{self, Placement};
use crate::proto::v1::{ChildIdentity, DataClass};
use crate::register::agreements;
use crate::seal::ChildKey;

/// What is known of a child's placement while a batch is decided.
pub struct Known {
    pub placement: Placement,
    pub key: ChildKey,
    pub agreed: Option<Basis>,
    pub identity: Option<ChildIdentity>,
    pub arrangement: Arrangement,
}

/// A batch under decision.
pub struct Batch {
    pub known: Vec<Known>,
    pub by_placement: HashMap<Uuid, usize>,
    pub roll: Vec<Placement>,
    pub calendar: SchoolCalendar,
}

/// A row with the place of its placement on the roll and its warnings, or what is at fault in it.
pub type Resolved = Result<(Entered, usize, Vec<&'static str>), Violations>;

/// Shape → meaning → whose child → identity → days. A row that fails goes no further.
pub async fn resolve(
    cx: &mut Cx,
    batch: &mut Batch,
    entered: Vec<Result<Entered, Violations>>,
) -> Result<Vec<Resolved>, Refusal> {
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
        if let Some(field) = known.identity.as_ref().and_then(|identity| mismatch(mark, identity)) {
            return Ok(Err((field, "IDENTITY_MISMATCH")));
        }
    }
    if let Err(fault) = rules::inside(mark, known.placement.start, known.placement.end) {
        return Ok(Err(fault));
    }
    let mut warnings = known.arrangement.warnings(mark, &batch.calendar);
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
        Named::Upn(upn) => cx.vault.ring().blind_indexes(cx.caller.organisation.as_str(), "upn", upn),
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
    if mark.date_of_birth.is_some_and(|sent| sent.to_string() != child.date_of_birth) {
        Some("date_of_birth")
    } else if differs(&mark.surname, &child.legal_surname, &child.preferred_surname) {
        Some("surname")
    } else if differs(&mark.forename, &child.legal_forename, &child.preferred_forename) {
        Some("forename")
    } else {
        None
    }
}

/// What is known of a placement.
pub async fn know(cx: &mut Cx, placement: Placement) -> Result<Known, Refusal> {
    let provider = cx.caller.organisation.clone();
    let key = placements::children::key(cx, &provider, placement.child).await?;
    let parties = [&placement.commissioner, &placement.provider];
    let agreed =
        agreements::basis(&mut cx.snapshot, placement.agreement, &parties, DataClass::Attendance, cx.today)
            .await?;
    let plan = placements::plan::newest(cx, &placement).await?.map(|(_, plan)| plan);
    let arrangement = Arrangement::of(&placement, plan.as_ref());
    Ok(Known { placement, key, agreed, identity: None, arrangement })
}

pub fn at_fault(index: usize, (field, reason): Fault) -> Violations {
    let mut check = Check::new();
    let ((), violations) = check.row("marks", index, |row| row.fault(field, reason));
    violations
}
