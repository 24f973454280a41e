//! Whose child a row of a register is about, and whether it can be about that child on that day.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use uuid::Uuid;

use super::arrangement::Arrangement;
use super::roll::{Found, Known, Roll};
use super::rules::{self, Entered, Fault, Named, Statement};
use crate::calendar::{Date, Period, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::names::same_name;
use crate::exchange::check::{Check, Violations};
use crate::exchange::{Cx, Reason, Refusal};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{ChildIdentity, Plan};

/// A batch under decision.
pub struct Batch {
    pub roll: Arc<Roll>,
    /// The children of the batch, in the order in which it first names them.
    pub known: Vec<Arc<Known>>,
    by_placement: HashMap<Uuid, usize>,
    identities: HashMap<Uuid, ChildIdentity>,
    /// What was arranged, from which day on, for placements of children who have several.
    timetables: HashMap<Uuid, Vec<(Date, Arrangement)>>,
}

impl Batch {
    /// A batch of the roll's provider.
    pub fn of(roll: Arc<Roll>) -> Self {
        let (known, by_placement) = (Vec::new(), HashMap::new());
        Self { roll, known, by_placement, identities: HashMap::new(), timetables: HashMap::new() }
    }

    /// The place of a placement among the known ones.
    pub fn at(&self, placement: Uuid) -> Option<usize> {
        self.by_placement.get(&placement).copied()
    }

    /// The place among the known ones, with what is known; read on the way where it is not known yet.
    async fn know(&mut self, cx: &mut Cx, placement: &Placement) -> Result<(usize, Arc<Known>), Refusal> {
        if let Some((at, known)) = self.at(placement.id).and_then(|at| Some((at, self.known.get(at)?))) {
            return Ok((at, Arc::clone(known)));
        }
        let known = self.roll.know(cx, placement).await?;
        self.by_placement.insert(placement.id, self.known.len());
        self.known.push(Arc::clone(&known));
        Ok((self.known.len() - 1, known))
    }

    /// The child as the commissioner's record knows it, for as long as the batch is decided. A provider that may not
    /// read the placement any more is compared with the record as it was at the end, because a comparison with a
    /// later one would tell it what was recorded since.
    async fn identity(&mut self, cx: &mut Cx, placement: &Placement) -> Result<&ChildIdentity, Refusal> {
        let may_read = placements::readable(placement, &cx.caller.organisation);
        Ok(match self.identities.entry(placement.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let identity = if may_read {
                    children::identity(cx, placement).await?
                } else {
                    children::identity_at_end(cx, placement).await?
                };
                place.insert(identity.ok_or(Reason::NotFound)?)
            }
        })
    }

    /// Reports whether a placement's timetable of the mark's day holds the mark's session.
    async fn expects(&mut self, cx: &mut Cx, placement: &Placement, mark: &Entered) -> Result<bool, Refusal> {
        let timetables = match self.timetables.entry(placement.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let from = placement.start.unwrap_or(cx.today).min(cx.today);
                let days = Period::new(from, cx.today).ok_or(Reason::Failed)?;
                let plans = placements::plan::in_force(cx, placement, days).await?;
                let arranged =
                    |(days, plan): &(Period, Plan)| (days.first(), Arrangement::of(placement, Some(plan)));
                place.insert(plans.iter().map(arranged).collect())
            }
        };
        let of_day = timetables.iter().rev().find(|(since, _)| *since <= mark.date);
        Ok(of_day.is_some_and(|(_, arrangement)| arrangement.expects(mark.date, mark.slot)))
    }

    /// Chooses the one placement whose timetable holds the mark's session, of several that the day lies in.
    ///
    /// # Errors
    /// The ids of the placements between which the timetables do not decide.
    async fn by_timetable<'a>(
        &mut self,
        cx: &mut Cx,
        found: Found<'a>,
        mark: &Entered,
    ) -> Result<Result<&'a Placement, Vec<Uuid>>, Refusal> {
        if found.others.is_empty() {
            return Ok(Ok(found.placement));
        }
        let mut all: Vec<&Placement> = found.others;
        all.push(found.placement);
        // A reference beside the UPN names one placement.
        let referred = |it: &&&Placement| {
            it.provider_reference.is_some() && it.provider_reference == mark.check_reference
        };
        if let Some(referred) = all.iter().find(referred) {
            return Ok(Ok(*referred));
        }
        all.sort_unstable_by_key(|placement| placement.id);
        let mut expecting = Vec::new();
        for placement in &all {
            if self.expects(cx, placement, mark).await? {
                expecting.push(*placement);
            }
        }
        Ok(match expecting[..] {
            [one] => Ok(one),
            _ => Err(all.iter().map(|placement| placement.id).collect()),
        })
    }
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
            Ok(()) => match place(cx, batch, index, &mark, now).await? {
                Err(violations) => Err(violations),
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
    index: usize,
    mark: &Entered,
    now: TimeOfDay,
) -> Result<Result<(usize, Vec<&'static str>), Violations>, Refusal> {
    let roll = Arc::clone(&batch.roll);
    let refused = |field, reason| Ok(Err(at_fault(index, (field, reason))));
    let found = roll.find(cx, mark);
    roll.refuse_uncertain(cx, mark, found.as_ref())?;
    let Some(found) = found else {
        return refused(named_field(mark), "CHILD_NOT_FOUND");
    };
    let placement = match batch.by_timetable(cx, found, mark).await? {
        Ok(placement) => placement,
        Err(several) => return Ok(Err(ambiguous(index, named_field(mark), &several))),
    };
    if let Some(field) = roll.identifier_of_another(cx, mark, placement) {
        return refused(field, "IDENTIFIERS_DIFFER");
    }
    let (at, known) = batch.know(cx, placement).await?;
    if mark.date_of_birth.is_some() || mark.surname.is_some() || mark.forename.is_some() {
        let identity = batch.identity(cx, placement).await?;
        if let Some(field) = mismatch(mark, identity) {
            return refused(field, "IDENTITY_MISMATCH");
        }
    }
    if let Err((field, reason)) = rules::inside(mark, known.placement.start, known.placement.end) {
        return refused(field, reason);
    }
    let mut warnings = known.arrangement.warnings(mark, &roll.calendar, (cx.today, now));
    if let Statement::Code(code) = &mark.statement
        && AttendanceCode::on(code, mark.date).is_ok_and(AttendanceCode::is_legacy)
    {
        warnings.push("LEGACY_CODE");
    }
    Ok(Ok((at, warnings)))
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

pub fn at_fault(index: usize, (field, reason): Fault) -> Violations {
    let mut check = Check::new();
    let ((), violations) = check.row("marks", index, |row| row.fault(field, reason));
    violations
}

/// The fault of a row whose child has several placements on its day. They are the caller's own, so they are named.
fn ambiguous(index: usize, field: &'static str, placements: &[Uuid]) -> Violations {
    let mut check = Check::new();
    let fault = |row: &mut Check| row.fault_about(field, "PLACEMENT_AMBIGUOUS", placements);
    let ((), violations) = check.row("marks", index, fault);
    violations
}
