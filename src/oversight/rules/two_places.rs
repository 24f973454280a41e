//! `TWO_PLACES`: a child was marked present at two providers at overlapping times. It is one child by the commissioner's own
//! index of UPNs, and the commissioner alone is told; of the two placements the one that started later has the alert. Only
//! presence counts (`/`, `\`, L, seen present or late): with K, B, V, P and W the child is elsewhere. The alert ends with a
//! correction, and some school days after the day, when nothing else is found.
//!
//! A morning session lasts until noon, an afternoon session from noon; a timed session lasts until the end that its mark
//! has, else a minute.
//!
//! It is looked for whenever a day ends (`other_places.rs` says why).
//!
//! Source: domain facts 9 (two providers both present at overlapping times) and 8, OC1.

use std::ops::Range;

use crate::calendar::{Date, TimeOfDay};
use crate::clock::Instant;
use crate::oversight::attendance_facts::Session;
use crate::oversight::parameter_names::SCHOOL_DAYS;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, PartyRole, RuleSettings};
use crate::oversight::rule_id::RuleId;
use crate::returns::SessionSlot;
use crate::returns::mark_meaning::MarkMeaning;

/// Name of a parameter: the minute of the day at which a morning session begins.
const MORNING_FROM: &str = "morning_from_minute";
/// Name of a parameter: the minute of the day at which an afternoon session ends.
const AFTERNOON_TO: &str = "afternoon_to_minute";

/// The rule.
pub struct TwoPlaces;

impl PlacementRule for TwoPlaces {
    fn id(&self) -> RuleId {
        RuleId::TwoPlaces
    }

    fn may_tell(&self) -> &'static [PartyRole] {
        &[PartyRole::Commissioner]
    }

    fn parameters(&self) -> &'static [Parameter] {
        const {
            &[
                Parameter::new(SCHOOL_DAYS, 1, 60),
                Parameter::new(MORNING_FROM, 0, 719),
                Parameter::new(AFTERNOON_TO, 721, 1_439),
            ]
        }
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        if !facts.is_active || !facts.attendance.has_other_place {
            return Evaluation::CLEAR;
        }
        let parameter = |name| settings.parameter(name, today);
        let known = parameter(SCHOOL_DAYS).zip(parameter(MORNING_FROM)).zip(parameter(AFTERNOON_TO));
        let cause = known.and_then(|((days, from), to)| {
            let earliest = facts.provider_days.earliest_within(today, days);
            newest_conflict(facts, today, from..to).filter(|day| *day >= earliest)
        });
        Evaluation { cause, next: Some(today.end_of_day()) }
    }
}

/// Returns the newest day on which the child was present here and elsewhere at the same time.
fn newest_conflict(facts: &PlacementFacts, today: Date, school: Range<u32>) -> Option<Date> {
    let attendance = &facts.attendance;
    let present = attendance.sessions_until(today).iter().rev();
    let mut present = present.filter(|session| session.meaning == MarkMeaning::Present);
    let overlaps = |here: &Session| {
        let times = minutes(here, &school);
        let elsewhere = attendance.elsewhere.iter().filter(|there| there.date == here.date);
        elsewhere
            .map(|there| minutes(there, &school))
            .any(|there| there.start < times.end && times.start < there.end)
    };
    present.find(|session| overlaps(session)).map(|session| session.date)
}

/// Returns the minutes of the day in which a session takes place.
fn minutes(session: &Session, school: &Range<u32>) -> Range<u32> {
    let noon = u32::from(TimeOfDay::NOON.minutes());
    match session.slot.start() {
        Some(start) => {
            let start = u32::from(start.minutes());
            let end = session.end.map_or(start, |end| u32::from(end.minutes()));
            start..end.max(start + 1)
        }
        None if session.slot == SessionSlot::AM => school.start..noon,
        None => noon..school.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, attended, date, sessions, settings};

    fn both(here: &str, there: &str) -> PlacementFacts {
        let mut facts = attended(here);
        facts.attendance.has_other_place = true;
        facts.attendance.elsewhere = sessions(there);
        facts
    }

    fn timed(day: &str, from: &str, to: Option<&str>) -> Session {
        let time = |text: &str| TimeOfDay::parse(text).unwrap();
        let slot = SessionSlot::timed(time(from));
        Session { date: date(day), slot, meaning: MarkMeaning::Present, end: to.map(time) }
    }

    fn cause(facts: &PlacementFacts, now: &str) -> Option<Date> {
        TwoPlaces.evaluate(facts, at(now), &settings(RuleId::TwoPlaces)).cause
    }

    #[test]
    fn the_same_session_at_two_providers_raises_the_alert() {
        for (here, there, day) in [
            ("2026-11-18:/\\", "2026-11-18:/", Some("2026-11-18")),
            ("2026-11-18:/", "2026-11-18:L", Some("2026-11-18")),
            ("2026-11-18:O\\", "2026-11-18:/", None),
            ("2026-11-18:K", "2026-11-18:/", None),
            ("2026-11-18:/", "2026-11-19:/", None),
            ("2026-11-18:/ 2026-11-19:/", "2026-11-18:/ 2026-11-19:/", Some("2026-11-19")),
        ] {
            assert_eq!(cause(&both(here, there), "2026-11-19 16:00"), day.map(date), "{here} {there}");
        }
        assert_eq!(cause(&both("2026-11-19:/", "2026-11-19:/"), "2026-11-18 16:00"), None, "of a later day");
        let over = PlacementFacts { is_active: false, ..both("2026-11-18:/", "2026-11-18:/") };
        assert_eq!(TwoPlaces.evaluate(&over, Instant::MAX, &settings(RuleId::TwoPlaces)), Evaluation::CLEAR);
    }

    #[test]
    fn timed_sessions_overlap_by_their_minutes() {
        // Also on the day on which the clocks change.
        for day in ["2026-11-18", "2027-03-28"] {
            for (here, from, to, overlaps) in [
                ("/", "11:59", None, true),
                ("/", "12:00", Some("13:00"), false),
                ("/", "08:00", Some("09:00"), false),
                ("/", "08:00", Some("09:01"), true),
                (" \\", "15:29", None, true),
                (" \\", "15:30", Some("16:30"), false),
            ] {
                let mut facts = both(&format!("{day}:{here}"), "");
                facts.attendance.elsewhere = vec![timed(day, from, to)];
                let found = cause(&facts, &format!("{day} 20:00"));
                assert_eq!(found.is_some(), overlaps, "{day} {here} {from} {to:?}");
            }
            let mut facts = both("", "");
            facts.attendance.sessions = vec![timed(day, "16:00", Some("17:00"))];
            facts.attendance.elsewhere = vec![timed(day, "17:00", Some("18:00"))];
            assert_eq!(cause(&facts, &format!("{day} 20:00")), None);
            facts.attendance.elsewhere = vec![timed(day, "16:59", Some("18:00"))];
            assert_eq!(cause(&facts, &format!("{day} 20:00")), Some(date(day)));
        }
    }

    #[test]
    fn it_is_looked_for_while_the_school_days_last_and_when_each_day_ends() {
        let facts = both("2026-11-12:/", "2026-11-12:/");
        // Ten school days later, without a weekend, an inset day and a closure, is Monday 30 November.
        assert_eq!(cause(&facts, "2026-11-30 23:59"), Some(date("2026-11-12")));
        assert_eq!(cause(&facts, "2026-12-01 00:00"), None);
        let found = TwoPlaces.evaluate(&facts, at("2026-11-12 12:00"), &settings(RuleId::TwoPlaces));
        assert_eq!(found.next, Some(date("2026-11-12").end_of_day()));
        let alone = TwoPlaces.evaluate(&attended("2026-11-12:/"), Instant::MAX, &settings(RuleId::TwoPlaces));
        assert_eq!(alone, Evaluation::CLEAR);
    }

    #[test]
    fn the_hours_are_those_of_the_day() {
        let mut settings = settings(RuleId::TwoPlaces);
        let mut facts = both("2026-11-18: \\", "");
        facts.attendance.elsewhere = vec![timed("2026-11-18", "15:45", None)];
        let mut is_raised = |from: &str| {
            let values = vec![(date("2026-11-02"), 930), (date(from), 960)];
            settings.parameters.insert(AFTERNOON_TO.to_owned(), values);
            TwoPlaces.evaluate(&facts, at("2026-11-18 20:00"), &settings).cause.is_some()
        };
        assert!(is_raised("2026-11-18") && !is_raised("2026-11-19"));
    }
}
