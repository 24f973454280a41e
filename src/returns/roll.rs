//! A provider's roll: its placements with all that a register is decided from. It is read once and remembered
//! until the provider's facts move; whoever decides from it guards that counter, so what has changed since is
//! found under the lock, and the register is decided again.
//!
//! Children's keys are remembered with it: whatever shreds one must move the facts of its sender.
//!
//! A damaged placement is kept out of the roll and stops no mark that is certainly about another. A roll without it is
//! not remembered, because a repair moves no facts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::arrangement::Arrangement;
use super::rules::{self, Entered, Named};
use crate::calendar::{Date, SchoolCalendar};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Basis, Cx, Reason, Refusal};
use crate::placements::{self, Placement};
use crate::proto::v1::DataClass;
use crate::register::{agreements, terms};
use crate::seal::ChildKey;
use crate::store::key::Key;
use crate::store::proposal::Guard;

/// Most rolls that are remembered; beyond them all are forgotten, and read again.
const REMEMBERED: usize = 10_000;

/// What is known of a child's placement.
pub struct Known {
    pub placement: Placement,
    pub key: ChildKey,
    /// The agreement under which its provider sends, or did until it lapsed.
    pub basis: Option<Basis>,
    pub arrangement: Arrangement,
}

impl Known {
    /// Whether the agreement is in force.
    pub fn is_agreed(&self) -> bool {
        self.basis.as_ref().is_some_and(|basis| !basis.lapsed)
    }
}

/// A provider's placements that are or were active, on a day.
pub struct Roll {
    /// The provider's facts, on which all of this rests.
    pub facts: Guard,
    pub calendar: SchoolCalendar,
    /// A mark of an earlier day is late.
    pub late_before: Date,
    on: Date,
    placements: Vec<Placement>,
    /// Ids of placements that are missing here because they are damaged; nil where the id is too.
    damaged: Vec<Uuid>,
    by_id: HashMap<Uuid, Vec<usize>>,
    by_reference: HashMap<String, Vec<usize>>,
    by_upn: HashMap<Vec<u8>, Vec<usize>>,
    known: Mutex<HashMap<Uuid, Arc<Known>>>,
}

/// The placements that a mark can be about.
pub struct Found<'a> {
    /// The first that the mark's day lies in, or the first of all where it lies in none.
    pub placement: &'a Placement,
    /// Further ones that the day lies in. Nearly always there are none.
    pub others: Vec<&'a Placement>,
}

/// The rolls that are remembered. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rolls(Arc<Mutex<HashMap<OrganisationId, Arc<Roll>>>>);

impl Rolls {
    /// The caller's roll: from memory where that is allowed or as good as what is stored, else read.
    pub async fn of(&self, cx: &mut Cx) -> Result<Arc<Roll>, Refusal> {
        let remembered = lock(&self.0).get(&cx.caller.organisation).cloned();
        let remembered = remembered.filter(|roll| roll.on == cx.today);
        if let Some(roll) = remembered.as_ref().filter(|_| cx.recall) {
            return Ok(Arc::clone(roll));
        }
        let key = Key::facts(cx.caller.organisation.as_str());
        let facts = Guard { version: cx.snapshot.version(&key).await?, key };
        if let Some(roll) = remembered.filter(|roll| roll.facts == facts) {
            return Ok(roll);
        }
        let roll = Arc::new(Roll::read(cx, facts).await?);
        if !roll.damaged.is_empty() {
            return Ok(roll);
        }
        let mut rolls = lock(&self.0);
        if rolls.len() >= REMEMBERED {
            rolls.clear();
        }
        rolls.insert(cx.caller.organisation.clone(), Arc::clone(&roll));
        Ok(roll)
    }
}

impl Roll {
    async fn read(cx: &mut Cx, facts: Guard) -> Result<Self, Refusal> {
        let provider = cx.caller.organisation.clone();
        let (mut placements, mut damaged) = (Vec::new(), Vec::new());
        for row in placements::roll(&mut cx.snapshot, &provider).await? {
            match row {
                Ok(placement) => placements.push(placement),
                Err(row) => {
                    tracing::error!(placement.id = %row.placement, error = %row.error, "a placement is damaged");
                    damaged.push(row.placement);
                }
            }
        }
        let calendar = terms::calendar(&mut cx.snapshot, &provider).await?;
        let (mut by_id, mut by_reference, mut by_upn) =
            (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, placement) in placements.iter().enumerate() {
            by_id.entry(placement.id).or_default().push(at);
            if let Some(reference) = &placement.provider_reference {
                by_reference.entry(reference.clone()).or_default().push(at);
            }
            if let Some(index) = &placement.upn_index {
                by_upn.entry(index.clone()).or_default().push(at);
            }
        }
        let (on, known) = (cx.today, Mutex::default());
        let late_before = calendar.earliest_within(on, rules::LATE_AFTER);
        Ok(Self { facts, calendar, late_before, on, placements, damaged, by_id, by_reference, by_upn, known })
    }

    /// Finds the placements that a mark names. A UPN is looked for under every key of the ring, because each
    /// placement keeps the index of the key that was active when it was made.
    pub fn find(&self, cx: &Cx, mark: &Entered) -> Option<Found<'_>> {
        let (named, indexes) = match &mark.child {
            Named::Placement(id) => (self.by_id.get(id), Vec::new()),
            Named::Reference(reference) => (self.by_reference.get(reference), Vec::new()),
            Named::Upn(upn) => {
                (None, cx.vault.ring().blind_indexes(cx.caller.organisation.as_str(), "upn", upn))
            }
        };
        let by_upn = indexes.iter().filter_map(|index| self.by_upn.get(&index[..]));
        let candidates = named.into_iter().chain(by_upn).flatten().filter_map(|at| self.placements.get(*at));
        let (mut of_day, mut first, mut others) = (None, None, Vec::new());
        for placement in candidates {
            if rules::inside(mark, placement.start, placement.end).is_err() {
                first = first.or(Some(placement));
            } else if of_day.is_none() {
                of_day = Some(placement);
            } else {
                others.push(placement);
            }
        }
        Some(Found { placement: of_day.or(first)?, others })
    }

    /// Refuses a mark that could be about a damaged placement. While there is one, a mark goes on only if it names its
    /// placement by id or reference, which are unique, and each further identifier is that placement's own.
    ///
    /// # Errors
    /// [`Reason::Failed`].
    pub fn refuse_uncertain(&self, cx: &Cx, mark: &Entered, found: Option<&Found>) -> Result<(), Refusal> {
        if self.damaged.is_empty() {
            return Ok(());
        }
        let is_own = |placement: &Placement| {
            let reference = mark.check_reference.as_ref();
            !matches!(mark.child, Named::Upn(_))
                && reference.is_none_or(|sent| placement.provider_reference.as_ref() == Some(sent))
                && mark.check_upn.as_ref().is_none_or(|upn| self.with_upn(cx, upn).contains(&placement.id))
        };
        if found.is_some_and(|found| found.others.is_empty() && is_own(found.placement)) {
            return Ok(());
        }
        Err(Reason::Failed.into())
    }

    /// Returns the field of a further identifier that does not name the child of this placement.
    pub fn identifier_of_another(
        &self,
        cx: &Cx,
        mark: &Entered,
        placement: &Placement,
    ) -> Option<&'static str> {
        if mark.check_reference.is_none() && mark.check_upn.is_none() {
            return None;
        }
        let upn = match (&mark.check_upn, &mark.child) {
            (Some(upn), _) | (None, Named::Upn(upn)) => Some(upn),
            _ => None,
        };
        let with_upn: Vec<Uuid> = upn.map(|upn| self.with_upn(cx, upn)).unwrap_or_default();
        let same_child = |other: &Placement| {
            other.id == placement.id
                || other.child == placement.child
                || (with_upn.contains(&other.id) && with_upn.contains(&placement.id))
                || (other.upn_index.is_some() && other.upn_index == placement.upn_index)
        };
        let is_same = |at: &usize| self.placements.get(*at).is_some_and(same_child);
        // A placement without a UPN or reference of its own contradicts only an identifier of another child.
        if let Some(reference) = &mark.check_reference {
            let named = self.by_reference.get(reference);
            if named.map_or(placement.provider_reference.is_some(), |named| !named.iter().any(is_same)) {
                return Some("check_provider_reference");
            }
        }
        mark.check_upn.as_ref()?;
        let named = with_upn.iter().filter_map(|id| self.by_id.get(id)).flatten();
        let differs =
            if with_upn.is_empty() { placement.upn_index.is_some() } else { !named.into_iter().any(is_same) };
        differs.then_some("check_upn")
    }

    /// The placements of a UPN, under every key of the ring.
    fn with_upn(&self, cx: &Cx, upn: &str) -> Vec<Uuid> {
        let indexes = cx.vault.ring().blind_indexes(cx.caller.organisation.as_str(), "upn", upn);
        let places = indexes.iter().filter_map(|index| self.by_upn.get(&index[..])).flatten();
        places.filter_map(|at| self.placements.get(*at)).map(|placement| placement.id).collect()
    }

    /// What is known of one of its placements.
    pub async fn know(&self, cx: &mut Cx, placement: &Placement) -> Result<Arc<Known>, Refusal> {
        if let Some(known) = lock(&self.known).get(&placement.id) {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(know(cx, placement.clone()).await?);
        lock(&self.known).insert(placement.id, Arc::clone(&known));
        Ok(known)
    }
}

/// What is known of a placement with the caller, read now.
pub async fn know(cx: &mut Cx, placement: Placement) -> Result<Known, Refusal> {
    let key =
        placements::children::required_key(cx, &cx.caller.organisation.clone(), placement.child).await?;
    let parties = [&placement.commissioner, &placement.provider];
    let (agreement, today) = (placement.agreement, cx.today);
    let attendance = DataClass::Attendance;
    let basis = agreements::basis_or_lapsed(&mut cx.snapshot, agreement, &parties, attendance, today).await?;
    let plan = placements::plan::newest(cx, &placement).await?.map(|(_, plan)| plan);
    // What changes after the end is not for a provider that may not read the placement any more.
    let at_end = if placements::readable(&placement, &cx.caller.organisation) {
        None
    } else {
        placements::ending::at_end(&mut cx.snapshot, &placement).await?
    };
    let arrangement = Arrangement::of(at_end.as_ref().unwrap_or(&placement), plan.as_ref());
    Ok(Known { placement, key, basis, arrangement })
}

/// A panic elsewhere leaves these maps whole: every change is one insertion.
fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
