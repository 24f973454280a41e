//! Whose child a row of a register is about, and whether it can be about that child on that day.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use uuid::Uuid;

use super::roll::{Known, Roll};
use super::rules::{self, Entered, Fault, Named, Statement};
use crate::calendar::TimeOfDay;
use crate::codes::attendance::AttendanceCode;
use crate::codes::names::same_name;
use crate::exchange::check::{Check, Violations};
use crate::exchange::{Cx, Reason, Refusal};
use crate::placements::{self, Placement};
use crate::proto::v1::ChildIdentity;

/// A batch under decision.
pub struct Batch {
    pub roll: Arc<Roll>,
    /// The children of the batch, in the order in which it first names them.
    pub known: Vec<Arc<Known>>,
    by_placement: HashMap<Uuid, usize>,
    identities: HashMap<Uuid, ChildIdentity>,
}

impl Batch {
    /// A batch of the roll's provider.
    pub fn of(roll: Arc<Roll>) -> Self {
        Self { roll, known: Vec::new(), by_placement: HashMap::new(), identities: HashMap::new() }
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

    /// The child as the commissioner's record knows it, for as long as the batch is decided.
    async fn identity(&mut self, cx: &mut Cx, placement: &Placement) -> Result<&ChildIdentity, Refusal> {
        Ok(match self.identities.entry(placement.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let identity = placements::children::identity(cx, placement).await?;
                place.insert(identity.ok_or(Reason::NotFound)?)
            }
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
    let roll = Arc::clone(&batch.roll);
    let Some(placement) = roll.find(cx, mark) else {
        return Ok(Err((named_field(mark), "CHILD_NOT_FOUND")));
    };
    if let Some(field) = roll.identifier_of_another(cx, mark, placement) {
        return Ok(Err((field, "IDENTIFIERS_DIFFER")));
    }
    let (at, known) = batch.know(cx, placement).await?;
    if mark.date_of_birth.is_some() || mark.surname.is_some() || mark.forename.is_some() {
        let identity = batch.identity(cx, placement).await?;
        if let Some(field) = mismatch(mark, identity) {
            return Ok(Err((field, "IDENTITY_MISMATCH")));
        }
    }
    if let Err(fault) = rules::inside(mark, known.placement.start, known.placement.end) {
        return Ok(Err(fault));
    }
    let mut warnings = known.arrangement.warnings(mark, &roll.calendar);
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
