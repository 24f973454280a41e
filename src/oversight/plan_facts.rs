//! What the rules need to know of a placement's plans, its child's year and its progress returns.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use uuid::Uuid;

use crate::calendar::Date;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{Refusal, RequestContext};
use crate::placements::Placement;
use crate::placements::child_identities::{self, DatedIdentity};
use crate::placements::plan_history::PlanVersion;
use crate::proto::v1::{Plan, SettingType};
use crate::returns::progress::list_with_qualification;
use crate::seal::ChildKey;
use crate::store::{Revision, StoreError};

/// Facts of a placement's plans, its child's year and its progress returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanFacts {
    /// The newest versions of the plan, the oldest first.
    pub weeks: Vec<PlannedWeek>,
    /// Whether the child is taught outside schools: by the plan's type of setting, or by the provider's kind if the plan
    /// states none.
    pub is_non_school: bool,
    /// Whether the newest plan or a progress return names a qualification.
    pub has_qualification: bool,
    /// The calendar year in whose September the child's age group began year 0; `None` if it is unknown.
    pub cohort: Option<i16>,
}

impl PlanFacts {
    /// Returns the child's year in school on a day (year 11 is 11); `None` if it is unknown.
    #[must_use]
    pub fn year_group(&self, day: Date) -> Option<i16> {
        self.cohort.map(|cohort| academic_year(day) - cohort)
    }
}

/// The week as a version of a plan arranges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedWeek {
    /// The day on which the version was put; `None` for the first, which states what was arranged from the start.
    pub put: Option<Date>,
    /// Sessions with the provider; `None` if the plan does not state them.
    pub sessions: Option<u32>,
    /// Minutes with the provider; `None` if the plan does not state them.
    pub minutes: Option<u32>,
    /// Minutes in the rest of the week; `None` if the plan does not state them.
    pub rest_minutes: Option<u32>,
    /// The day on which a part-time timetable with an end, on which the parents agreed, is reviewed.
    pub part_time_review: Option<Date>,
}

impl PlannedWeek {
    /// Reads what a version of a plan says of the week.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a date that cannot be read.
    pub fn read(version: &PlanVersion) -> Result<Self, StoreError> {
        let plan = &version.plan;
        let (sessions, minutes) = taught(plan);
        let number = |number: i32| u32::try_from(number).ok();
        let agreed = plan.part_time.as_ref().filter(|part_time| {
            part_time.parents_agreed && !part_time.end_date.is_empty() && !part_time.review_date.is_empty()
        });
        let review = agreed.map(|part_time| part_time.review_date.parse());
        Ok(Self {
            put: (version.version > Revision::FIRST).then_some(version.put),
            sessions,
            minutes,
            rest_minutes: plan.rest_of_week_minutes.and_then(number),
            part_time_review: review.transpose().map_err(|_| StoreError::corrupt("plans", "part_time"))?,
        })
    }
}

/// Returns the weekly sessions and minutes with the provider: those of the timetable, or those that the plan states if it
/// has none.
fn taught(plan: &Plan) -> (Option<u32>, Option<u32>) {
    let positive = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0);
    if plan.timetable.is_empty() {
        return (positive(plan.sessions_per_week), positive(plan.minutes_per_week));
    }
    let minutes = plan.timetable.iter().filter_map(|slot| u32::try_from(slot.minutes_planned).ok()).sum();
    (u32::try_from(plan.timetable.len()).ok(), Some(minutes))
}

/// Returns the calendar year in which the school year of a day begins, on 1 September.
fn academic_year(day: Date) -> i16 {
    day.year() - i16::from(day.month() < 9)
}

/// Returns the calendar year in whose September the child's age group began year 0: by the year group of the record when it
/// was written, or by the date of birth, because a child is five at the end of year 0.
fn cohort(record: &DatedIdentity) -> Option<i16> {
    let DatedIdentity { identity, written } = record;
    if identity.year_group > 0 {
        return i16::try_from(identity.year_group).ok().map(|year| academic_year(*written) - year);
    }
    let born: Date = identity.date_of_birth.parse().ok()?;
    Some(academic_year(born) + 5)
}

/// Loads the facts of placements of one commissioner, by the placement's id, with a few queries. The plans were read before.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open; otherwise see [`StoreError`].
pub(super) async fn load<S: BuildHasher + Sync, T: BuildHasher + Sync>(
    cx: &mut RequestContext,
    commissioner: &OrganisationId,
    (placements, keys): (&[Placement], &HashMap<Uuid, ChildKey, S>),
    plans: &HashMap<Uuid, Vec<PlanVersion>, T>,
) -> Result<BTreeMap<Uuid, PlanFacts>, Refusal> {
    let newest = |placement: &Placement| plans.get(&placement.id).and_then(|versions| versions.last());
    let names_one = |placement: &Placement| {
        newest(placement).is_some_and(|version| !version.plan.qualifications.is_empty())
    };
    let others: Vec<&Placement> = placements.iter().filter(|placement| !names_one(placement)).collect();
    let returned: HashSet<Uuid> = list_with_qualification(cx, &others).await?;
    let identities = child_identities::load_newest_identities(&mut cx.snapshot, commissioner, keys).await?;
    let mut facts = BTreeMap::new();
    for placement in placements {
        let versions = plans.get(&placement.id).map(Vec::as_slice).unwrap_or_default();
        let weeks = versions.iter().map(PlannedWeek::read).collect::<Result<Vec<_>, _>>()?;
        let setting = newest(placement).map_or(SettingType::Unspecified, |newest| newest.plan.setting_type());
        let is_school = match setting {
            SettingType::Unspecified => placement.provider.kind() == OrganisationKind::School,
            other => other == SettingType::School,
        };
        let of_placement = PlanFacts {
            weeks,
            is_non_school: !is_school,
            has_qualification: names_one(placement) || returned.contains(&placement.id),
            cohort: identities.get(&placement.child).and_then(cohort),
        };
        facts.insert(placement.id, of_placement);
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::date;
    use crate::proto::v1::{ChildIdentity, PartTimeTimetable, TimetableSlot};

    fn read(number: u32, plan: Plan) -> PlannedWeek {
        let version = (1..number).fold(Revision::FIRST, |version, _| version.next());
        PlannedWeek::read(&PlanVersion { version, put: date("2026-11-18"), plan }).unwrap()
    }

    #[test]
    fn the_week_is_that_of_the_timetable_or_what_the_plan_states() {
        let slot = |minutes_planned| TimetableSlot { minutes_planned, ..TimetableSlot::default() };
        let plan = Plan {
            timetable: vec![slot(90), slot(60)],
            sessions_per_week: 10,
            minutes_per_week: 1_500,
            rest_of_week_minutes: Some(0),
            ..Plan::default()
        };
        let week = read(1, plan.clone());
        assert_eq!((week.sessions, week.minutes, week.rest_minutes), (Some(2), Some(150), Some(0)));
        assert_eq!(week.put, None, "the first version holds from the start");
        let listed = read(2, Plan { timetable: Vec::new(), rest_of_week_minutes: None, ..plan });
        assert_eq!((listed.sessions, listed.minutes, listed.rest_minutes), (Some(10), Some(1_500), None));
        assert_eq!(listed.put, Some(date("2026-11-18")));
        let nothing = read(2, Plan::default());
        assert_eq!((nothing.sessions, nothing.minutes, nothing.rest_minutes), (None, None, None));
    }

    #[test]
    fn a_part_time_timetable_is_reviewed_if_the_parents_agreed_to_it_and_it_ends() {
        let agreed = PartTimeTimetable {
            start_date: "2026-11-02".to_owned(),
            end_date: "2026-12-18".to_owned(),
            review_date: "2026-11-27".to_owned(),
            parents_agreed: true,
            ..PartTimeTimetable::default()
        };
        let review =
            |part_time| read(1, Plan { part_time: Some(part_time), ..Plan::default() }).part_time_review;
        assert_eq!(review(agreed.clone()), Some(date("2026-11-27")));
        for lacking in [
            PartTimeTimetable { parents_agreed: false, ..agreed.clone() },
            PartTimeTimetable { end_date: String::new(), ..agreed.clone() },
            PartTimeTimetable { review_date: String::new(), ..agreed },
        ] {
            assert_eq!(review(lacking), None);
        }
    }

    #[test]
    fn the_year_of_a_child_changes_on_the_first_of_september() {
        let year_on = |year_group, born: &str, day| {
            let identity =
                ChildIdentity { year_group, date_of_birth: born.to_owned(), ..ChildIdentity::default() };
            let cohort = cohort(&DatedIdentity { identity, written: date("2026-08-31") });
            PlanFacts { cohort, ..PlanFacts::default() }.year_group(date(day))
        };
        for (born, day, year) in [
            ("2012-02-29", "2026-08-31", 9),
            ("2012-02-29", "2026-09-01", 10),
            ("2012-08-31", "2026-09-01", 10),
            ("2012-09-01", "2026-09-01", 9),
            ("2011-09-01", "2027-08-31", 10),
        ] {
            assert_eq!(year_on(0, born, day), Some(year), "{born} {day}");
        }
        // What the record states counts from the day on which it was written.
        assert_eq!(year_on(10, "2012-02-29", "2026-08-31"), Some(10));
        assert_eq!(year_on(10, "2012-02-29", "2026-09-01"), Some(11));
        assert_eq!(year_on(0, "", "2026-09-01"), None);
    }
}
