//! `HOURS_LOW`: the plan gives the child too few minutes or sessions of education a week for too many school weeks, and no
//! part-time timetable was reviewed in them. The week is that of the timetable and of what the plan states of the rest; if
//! it does not state the rest, the hours are unknown and there is no alert. The alert ends with a plan that gives more, with
//! a review, or with the placement. A number of versions of the plan is read; if all of them are low, the hours are taken to
//! be low from the start.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::plan_facts::PlannedWeek;
use crate::oversight::rule_book::{Parameter, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// Name of a parameter: the minutes of a week below which the hours are low.
const MINUTES: &str = "minutes";
/// Name of a parameter: the sessions of a week below which the hours are low.
const SESSIONS: &str = "sessions";
/// Name of a parameter: minutes of the rest of the week that count as a session, because the plan states no sessions of it.
const MINUTES_PER_SESSION: &str = "minutes_per_session";
/// Name of a parameter: the school weeks that may have low hours.
const SCHOOL_WEEKS: &str = "school_weeks";
/// School days of a school week.
const DAYS_PER_SCHOOL_WEEK: u32 = 5;

/// The rule.
pub struct HoursLow;

impl PlacementRule for HoursLow {
    fn id(&self) -> RuleId {
        RuleId::HoursLow
    }

    fn parameters(&self) -> &'static [Parameter] {
        const {
            &[
                Parameter::new(MINUTES, 1, 3_000),
                Parameter::new(SESSIONS, 1, 50),
                Parameter::new(MINUTES_PER_SESSION, 1, 600),
                Parameter::new(SCHOOL_WEEKS, 1, 39),
            ]
        }
    }

    fn has_facts(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> bool {
        let limits = Limits::read(settings, Date::in_london(at));
        limits.zip(facts.plan.weeks.last()).is_some_and(|(limits, week)| limits.is_low(week).is_some())
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        let limits = Limits::read(settings, today);
        let weeks = settings.parameter(SCHOOL_WEEKS, today);
        let Some(((limits, weeks), start)) = limits.zip(weeks).zip(facts.start.filter(|_| facts.is_active))
        else {
            return Evaluation::CLEAR;
        };
        let low = facts.plan.weeks.iter().rev().take_while(|week| limits.is_low(week) == Some(true));
        let low: Vec<&PlannedWeek> = low.collect();
        let Some(first) = low.last() else { return Evaluation::CLEAR };
        // Else many plans, put one after the other, would move the day on which the hours became low out of what is read.
        let are_all_low = low.len() == facts.plan.weeks.len();
        let put = first.put.filter(|_| !are_all_low);
        let since = put.map_or(start, |put| put.max(start));
        let reviews = low.iter().filter_map(|week| week.part_time_review).filter(|review| *review <= today);
        // Until reviews are records of their own, a later plan or progress return speaks of one.
        let spoken = facts.plan_put.max(facts.progress_received);
        let (reviewed, unspoken): (Vec<Date>, Vec<Date>) =
            reviews.partition(|review| spoken.is_some_and(|spoken| spoken >= *review));
        let last_review = reviewed.into_iter().max().and_then(Date::next);
        let since = last_review.map_or(since, |after| after.max(since));
        let days = weeks.saturating_mul(DAYS_PER_SCHOOL_WEEK).saturating_add(1);
        let found = Evaluation::due_on(facts.provider_days.nth_school_day(since, days), at);
        if found.cause.is_some() && !unspoken.is_empty() {
            // A progress return is looked for once a day, because it has no key that could be watched.
            return Evaluation { next: Some(today.end_of_day()), ..found };
        }
        found
    }
}

/// What a week must have.
struct Limits {
    minutes: u32,
    sessions: u32,
    minutes_per_session: u32,
}

impl Limits {
    fn read(settings: &RuleSettings, day: Date) -> Option<Self> {
        let parameter = |name| settings.parameter(name, day);
        let minutes_per_session = parameter(MINUTES_PER_SESSION)?.max(1);
        Some(Self { minutes: parameter(MINUTES)?, sessions: parameter(SESSIONS)?, minutes_per_session })
    }

    /// Returns whether a week has too few minutes or sessions; `None` if this is unknown.
    fn is_low(&self, week: &PlannedWeek) -> Option<bool> {
        let rest = week.rest_minutes?;
        let minutes = week.minutes.map(|minutes| minutes + rest < self.minutes);
        let sessions =
            week.sessions.map(|sessions| sessions + rest / self.minutes_per_session < self.sessions);
        match (minutes, sessions) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{calendar, date, settings, shift};
    use crate::oversight::plan_facts::PlanFacts;

    const WEEK: PlannedWeek = PlannedWeek {
        put: None,
        sessions: Some(4),
        minutes: Some(720),
        rest_minutes: Some(0),
        part_time_review: None,
    };

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        HoursLow.evaluate(facts, at, &settings(RuleId::HoursLow))
    }

    fn placed(start: &str, weeks: Vec<PlannedWeek>) -> PlacementFacts {
        PlacementFacts {
            is_active: true,
            start: Some(date(start)),
            plan: PlanFacts { weeks, ..PlanFacts::default() },
            provider_days: calendar(),
            ..PlacementFacts::default()
        }
    }

    #[test]
    fn the_alert_is_due_when_the_31st_school_day_ends() {
        for (start, day) in [
            ("2026-09-02", "2026-10-14"),
            ("2026-09-05", "2026-10-19"), // a Saturday
            // Half-term, in which the clocks change, an inset day and a closure lie between.
            ("2026-10-19", "2026-12-09"),
            // Over Christmas and New Year.
            ("2026-11-30", "2027-01-26"),
        ] {
            let (facts, day) = (placed(start, vec![WEEK]), date(day));
            let due = day.end_of_day();
            assert_eq!(
                evaluate(&facts, shift(due, -1)),
                Evaluation { cause: None, next: Some(due) },
                "{start}"
            );
            for micros in [0, 1] {
                let found = evaluate(&facts, shift(due, micros));
                assert_eq!(found, Evaluation { cause: Some(day), next: None }, "{start}");
            }
        }
    }

    #[test]
    fn a_week_is_low_below_either_limit_and_unknown_without_the_rest() {
        let limits = Limits { minutes: 1_080, sessions: 10, minutes_per_session: 108 };
        let is_low = |sessions, minutes, rest_minutes| {
            limits.is_low(&PlannedWeek { sessions, minutes, rest_minutes, ..WEEK })
        };
        for (sessions, minutes, rest, low) in [
            (10, 1_079, 0, true),
            (10, 1_080, 0, false),
            (10, 1_081, 0, false),
            (9, 1_500, 0, true),
            (11, 1_500, 0, false),
            // The rest counts by its minutes: six sessions of the home school, or one minute too few.
            (4, 720, 648, false),
            (4, 720, 647, true),
            (4, 432, 648, false),
            (4, 431, 648, true),
        ] {
            assert_eq!(
                is_low(Some(sessions), Some(minutes), Some(rest)),
                Some(low),
                "{sessions} {minutes} {rest}"
            );
        }
        assert_eq!(is_low(Some(1), Some(60), None), None);
        assert_eq!(is_low(Some(10), None, Some(0)), None);
        assert_eq!(is_low(None, Some(1_200), Some(0)), None);
        assert_eq!(is_low(Some(3), None, Some(0)), Some(true));
        let at = date("2027-03-01").end_of_day();
        let unsaid = PlannedWeek { rest_minutes: None, ..WEEK };
        assert_eq!(evaluate(&placed("2026-09-02", vec![unsaid]), at), Evaluation::CLEAR);
        let over = PlacementFacts { is_active: false, ..placed("2026-09-02", vec![WEEK]) };
        assert_eq!(evaluate(&over, at), Evaluation::CLEAR);
        assert_eq!(evaluate(&placed("2026-09-02", Vec::new()), at), Evaluation::CLEAR, "no plan");
    }

    #[test]
    fn the_weeks_count_from_the_plan_that_lowered_the_hours() {
        let put = |day: &str, week| PlannedWeek { put: Some(date(day)), ..week };
        let full = PlannedWeek { sessions: Some(10), minutes: Some(1_500), ..WEEK };
        let unsaid = PlannedWeek { rest_minutes: None, ..WEEK };
        let due = |weeks| evaluate(&placed("2026-09-02", weeks), date("2026-09-02").end_of_day()).next;
        let start = Some(date("2026-10-14").end_of_day());
        assert_eq!(due(vec![WEEK, put("2026-09-21", WEEK)]), start, "both are low");
        let later = Some(date("2026-11-09").end_of_day());
        assert_eq!(due(vec![full, put("2026-09-21", WEEK)]), later);
        assert_eq!(due(vec![WEEK, put("2026-09-09", unsaid), put("2026-09-21", WEEK)]), later);
        assert_eq!(due(vec![WEEK, put("2026-09-21", full)]), None);
        assert_eq!(due(vec![full, put("2026-08-20", WEEK)]), start, "a plan that was put before the start");
        let many = (1..=20).map(|day| put(&format!("2026-09-{day:02}"), WEEK)).collect();
        assert_eq!(due(many), start, "the first version is not among those that are read");
    }

    #[test]
    fn a_review_of_a_part_time_timetable_begins_the_weeks_again() {
        let reviewed = PlannedWeek { part_time_review: Some(date("2026-09-18")), ..WEEK };
        let facts = |spoken: Option<&str>| PlacementFacts {
            plan_put: Some(date("2026-09-01")),
            progress_received: spoken.map(date),
            ..placed("2026-09-02", vec![reviewed])
        };
        let at = date("2026-10-15").end_of_day();
        let daily = Some(date("2026-10-16").end_of_day());
        for spoken in [None, Some("2026-09-17")] {
            let found = evaluate(&facts(spoken), at);
            assert_eq!(found, Evaluation { cause: Some(date("2026-10-14")), next: daily }, "{spoken:?}");
        }
        // Monday 21 September is the first school day after the review.
        let due = Some(date("2026-11-09").end_of_day());
        for spoken in ["2026-09-18", "2026-09-19"] {
            assert_eq!(evaluate(&facts(Some(spoken)), at), Evaluation { cause: None, next: due }, "{spoken}");
        }
        let planned = PlacementFacts { plan_put: Some(date("2026-09-18")), ..facts(None) };
        assert_eq!(evaluate(&planned, at).next, due, "a plan speaks of it");
        let ahead = PlannedWeek { part_time_review: Some(date("2026-10-19")), ..WEEK };
        let found = evaluate(&placed("2026-09-02", vec![ahead]), at);
        assert_eq!(found.cause, Some(date("2026-10-14")), "a review that is still to come");
    }

    #[test]
    fn the_limits_are_those_of_the_day() {
        let mut settings = settings(RuleId::HoursLow);
        let values = vec![(date("2026-09-01"), 1_080), (date("2026-11-19"), 700)];
        settings.parameters.insert(MINUTES.to_owned(), values);
        let values = vec![(date("2026-09-01"), 4)];
        settings.parameters.insert(SESSIONS.to_owned(), values);
        let facts = placed("2026-09-02", vec![WEEK]);
        let cause = |day: &str| HoursLow.evaluate(&facts, date(day).end_of_day(), &settings).cause;
        // The end of Tuesday is the first instant of Wednesday.
        assert_eq!(cause("2026-11-17"), Some(date("2026-10-14")));
        assert_eq!(cause("2026-11-18"), None, "720 minutes suffice from the 19th on");
        assert_eq!(cause("2026-08-30"), None, "before the first value");
    }
}
