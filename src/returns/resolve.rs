//! Resolution of a submission's rows to placements: finds the child that a row names, and checks that the row's
//! identifiers, personal details and day match that placement.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use uuid::Uuid;

use super::arrangement::Arrangement;
use super::roster::{Candidates, ProviderRoster, RosterEntry};
use super::rules::{self, ChildIdentifier, MarkStatement, ParsedMark, RowFault};
use crate::calendar::{Date, Period, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::name_matching::is_same_name;
use crate::exchange::check::{Check, Violations};
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{ChildIdentity, Plan};
use crate::violation_reason::ViolationReason;

/// A submission while it is being decided, with what was loaded for it.
pub struct SubmissionBatch {
    pub roster: Arc<ProviderRoster>,
    /// Roster entries of the batch's children, in the order of their first row.
    pub entries: Vec<Arc<RosterEntry>>,
    by_placement: HashMap<Uuid, usize>,
    identities: HashMap<Uuid, ChildIdentity>,
    /// Arrangements with their first days, by placement. Loaded only for children with several placements on a day.
    timetables: HashMap<Uuid, Vec<(Date, Arrangement)>>,
}

impl SubmissionBatch {
    /// Creates an empty batch for the roster's provider.
    pub fn new(roster: Arc<ProviderRoster>) -> Self {
        let (entries, by_placement) = (Vec::new(), HashMap::new());
        Self { roster, entries, by_placement, identities: HashMap::new(), timetables: HashMap::new() }
    }

    /// Returns the index of a placement in `entries`.
    pub fn index_of(&self, placement: Uuid) -> Option<usize> {
        self.by_placement.get(&placement).copied()
    }

    /// Returns a placement's roster entry and its index in `entries`. Loads the entry if it is not there yet.
    async fn load_entry(
        &mut self,
        cx: &mut RequestContext,
        placement: &Placement,
    ) -> Result<(usize, Arc<RosterEntry>), Refusal> {
        if let Some((at, known)) =
            self.index_of(placement.id).and_then(|at| Some((at, self.entries.get(at)?)))
        {
            return Ok((at, Arc::clone(known)));
        }
        let known = self.roster.entry(cx, placement).await?;
        self.by_placement.insert(placement.id, self.entries.len());
        self.entries.push(Arc::clone(&known));
        Ok((self.entries.len() - 1, known))
    }

    /// Returns the child's identity from the commissioner's record, cached for the batch. If the provider may no longer
    /// read the placement, this is the record as it was at the placement's end: a comparison with a later version would
    /// reveal what was recorded since.
    async fn identity(
        &mut self,
        cx: &mut RequestContext,
        placement: &Placement,
    ) -> Result<&ChildIdentity, Refusal> {
        let may_read = placements::can_read(placement, &cx.caller.organisation);
        Ok(match self.identities.entry(placement.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let identity = if may_read {
                    children::load_identity(cx, placement).await?
                } else {
                    children::load_identity_at_end(cx, placement).await?
                };
                place.insert(identity.ok_or(Reason::NotFound)?)
            }
        })
    }

    /// Returns whether the timetable in force on the mark's day contains the mark's session.
    async fn timetable_holds(
        &mut self,
        cx: &mut RequestContext,
        placement: &Placement,
        mark: &ParsedMark,
    ) -> Result<bool, Refusal> {
        let timetables = match self.timetables.entry(placement.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let from = placement.start_date.unwrap_or(cx.today).min(cx.today);
                let days = Period::new(from, cx.today).ok_or(Reason::Failed)?;
                let plans = placements::plan::list_in_force(cx, placement, days).await?;
                let arranged =
                    |(days, plan): &(Period, Plan)| (days.first(), Arrangement::new(placement, Some(plan)));
                place.insert(plans.iter().map(arranged).collect())
            }
        };
        let of_day = timetables.iter().rev().find(|(since, _)| *since <= mark.date);
        Ok(of_day.is_some_and(|(_, arrangement)| arrangement.expects(mark.date, mark.slot)))
    }

    /// Chooses, among several placements on the mark's day, the only one whose timetable contains the mark's session.
    ///
    /// # Errors
    /// The inner error holds the ids of all the placements if none or more than one of their timetables contains it.
    async fn choose_by_timetable<'a>(
        &mut self,
        cx: &mut RequestContext,
        found: Candidates<'a>,
        mark: &ParsedMark,
    ) -> Result<Result<&'a Placement, Vec<Uuid>>, Refusal> {
        if found.others.is_empty() {
            return Ok(Ok(found.placement));
        }
        let mut placements: Vec<&Placement> = found.others;
        placements.push(found.placement);
        // A reference that was sent with the UPN identifies one placement.
        let referred = |it: &&&Placement| {
            it.provider_reference.is_some() && it.provider_reference == mark.check_reference
        };
        if let Some(referred) = placements.iter().find(referred) {
            return Ok(Ok(*referred));
        }
        placements.sort_unstable_by_key(|placement| placement.id);
        let mut expecting = Vec::new();
        for placement in &placements {
            if self.timetable_holds(cx, placement, mark).await? {
                expecting.push(*placement);
            }
        }
        Ok(match expecting[..] {
            [one] => Ok(one),
            _ => Err(placements.iter().map(|placement| placement.id).collect()),
        })
    }
}

/// A resolved row: the mark, the index of its placement in the batch and its warnings; or the violations of the row.
pub type ResolvedRow = Result<(ParsedMark, usize, Vec<&'static str>), Violations>;

/// Resolves each row: checks its session and code, finds its placement, then compares identity and days. The first
/// failed check ends a row's resolution; the other rows go on.
///
/// # Errors
/// A [`Refusal`] of the whole batch, if something cannot be read.
pub async fn resolve_rows(
    cx: &mut RequestContext,
    batch: &mut SubmissionBatch,
    entered: Vec<Result<ParsedMark, Violations>>,
) -> Result<Vec<ResolvedRow>, Refusal> {
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
        resolved.push(match rules::check_session_and_code(&mark, cx.today, now) {
            Err(fault) => Err(row_violations(index, fault)),
            Ok(()) => match resolve_row(cx, batch, index, &mark, now).await? {
                Err(violations) => Err(violations),
                Ok((at, warnings)) => Ok((mark, at, warnings)),
            },
        });
    }
    Ok(resolved)
}

/// Resolves one row. Returns the index of its placement in the batch and its warnings, or the violations of the row.
async fn resolve_row(
    cx: &mut RequestContext,
    batch: &mut SubmissionBatch,
    index: usize,
    mark: &ParsedMark,
    now: TimeOfDay,
) -> Result<Result<(usize, Vec<&'static str>), Violations>, Refusal> {
    let roster = Arc::clone(&batch.roster);
    let refused = |field, reason| Ok(Err(row_violations(index, (field, reason))));
    let found = roster.find_candidates(cx, mark);
    roster.refuse_if_maybe_damaged(cx, mark, found.as_ref())?;
    let Some(found) = found else {
        return refused(identifier_field(mark), ViolationReason::ChildNotFound);
    };
    let placement = match batch.choose_by_timetable(cx, found, mark).await? {
        Ok(placement) => placement,
        Err(several) => return Ok(Err(ambiguous_placement(index, identifier_field(mark), &several))),
    };
    if let Some(field) = roster.contradicting_identifier(cx, mark, placement) {
        return refused(field, ViolationReason::IdentifiersDiffer);
    }
    let (at, known) = batch.load_entry(cx, placement).await?;
    if mark.date_of_birth.is_some() || mark.surname.is_some() || mark.forename.is_some() {
        let identity = batch.identity(cx, placement).await?;
        if let Some(field) = identity_mismatch(mark, identity) {
            return refused(field, ViolationReason::IdentityMismatch);
        }
    }
    if let Err((field, reason)) =
        rules::check_within_placement(mark, known.placement.start_date, known.placement.end_date)
    {
        return refused(field, reason);
    }
    let mut warnings = known.arrangement.warnings(mark, &roster.calendar, (cx.today, now));
    if let MarkStatement::Code(code) = &mark.statement
        && AttendanceCode::parse_on(code, mark.date).is_ok_and(AttendanceCode::is_legacy)
    {
        warnings.push("LEGACY_CODE");
    }
    Ok(Ok((at, warnings)))
}

/// Returns the name of the field that holds the mark's identifier.
fn identifier_field(mark: &ParsedMark) -> &'static str {
    match mark.child {
        ChildIdentifier::Placement(_) => "placement_id",
        ChildIdentifier::Upn(_) => "upn",
        ChildIdentifier::Reference(_) => "provider_reference",
    }
}

/// Returns the first field whose value differs from the child's record. Names match the legal or the preferred name.
fn identity_mismatch(mark: &ParsedMark, child: &ChildIdentity) -> Option<&'static str> {
    let differs = |sent: &Option<String>, legal: &str, preferred: &str| {
        sent.as_ref().is_some_and(|sent| {
            !is_same_name(sent, legal) && (preferred.is_empty() || !is_same_name(sent, preferred))
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

/// Builds the violations of a row with one fault.
pub fn row_violations(index: usize, (field, reason): RowFault) -> Violations {
    let mut check = Check::new();
    let ((), violations) = check.read_row("marks", index, |row| row.add_violation(field, reason));
    violations
}

/// Builds the violations of a row whose child has several placements on its day. The placements are the caller's, so
/// their ids are returned.
fn ambiguous_placement(index: usize, field: &'static str, placements: &[Uuid]) -> Violations {
    let mut check = Check::new();
    let fault =
        |row: &mut Check| row.add_violation_about(field, ViolationReason::PlacementAmbiguous, placements);
    let ((), violations) = check.read_row("marks", index, fault);
    violations
}
