//! `TUITION_MISSED`: of one-to-one tuition (the plan's type of setting), two sessions in a row were missed, and nobody of
//! commissioner or provider acted on it in two school days. A session is missed if its mark is an absence, whatever the
//! reason; a session without a mark, and one that was not possible, does not count. What was missed until the day on which
//! somebody acts does not count any more; two more missed sessions need somebody who acts again. The alert ends when somebody acts, or with a session
//! that took place.
//!
//! Acting is what both may read: an act on a delivery of the marks or of this rule's alert, its resolution, a statement of the
//! commissioner's about the child's sessions (`tuition_facts.rs`), a newer plan and a progress return. Acts on alerts of
//! other rules do not count, because the commissioner alone is told of some.
//!
//! Source: domain facts 8, IC5.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::parameter_names::{SCHOOL_DAYS, SESSIONS};
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, PartyRole, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// The rule.
pub struct TuitionMissed;

impl PlacementRule for TuitionMissed {
    fn id(&self) -> RuleId {
        RuleId::TuitionMissed
    }

    fn may_tell(&self) -> &'static [PartyRole] {
        &[PartyRole::Commissioner, PartyRole::Provider]
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(SESSIONS, 1, 20), Parameter::new(SCHOOL_DAYS, 1, 60)] }
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        facts.attendance.is_tuition && !facts.attendance.sessions.is_empty()
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        if !facts.is_active || !facts.attendance.is_tuition {
            return Evaluation::CLEAR;
        }
        let today = Date::in_london(at);
        let parameter = |name| settings.parameter(name, today);
        let Some((sessions, days)) = parameter(SESSIONS).zip(parameter(SCHOOL_DAYS)) else {
            return Evaluation::CLEAR;
        };
        let Some(missed) = missed_in_a_row(facts, today, sessions) else { return Evaluation::CLEAR };
        let due = Evaluation::due_on(facts.provider_days.add_school_days(missed, days), at);
        // Nothing that ends it sets a moment, so it is looked for when the day ends.
        Evaluation { next: due.next.or(Some(today.end_of_day())), ..due }
    }
}

/// Returns the day of the last of the sessions that were missed in a row since somebody acted.
fn missed_in_a_row(facts: &PlacementFacts, today: Date, sessions: u32) -> Option<Date> {
    let acted = facts.attendance.acted_on.max(facts.plan_put).max(facts.progress_received);
    let in_a_row = facts.attendance.sessions_until(today).iter().rev();
    let missed = in_a_row.take_while(|session| !session.meaning.is_attended());
    let missed: Vec<Date> =
        missed.map(|session| session.date).filter(|day| acted.is_none_or(|acted| *day > acted)).collect();
    let before = usize::try_from(sessions).ok()?.checked_sub(1)?;
    missed.iter().rev().nth(before).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{attended, date, settings, shift};

    fn tuition(marks: &str) -> PlacementFacts {
        let mut facts = attended(marks);
        facts.attendance.is_tuition = true;
        facts
    }

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        TuitionMissed.evaluate(facts, at, &settings(RuleId::TuitionMissed))
    }

    #[test]
    fn two_missed_sessions_are_due_when_two_school_days_have_passed() {
        for (marks, due) in [
            ("2026-11-16:OO", "2026-11-18"),
            ("2026-11-16:/I 2026-11-17:M", "2026-11-19"),
            ("2026-11-12:O 2026-11-13:O", "2026-11-17"), // a weekend
            ("2026-11-18:O 2026-11-19:O", "2026-11-25"), // an inset day, a weekend and a closure
            ("2026-10-21:O 2026-10-22:O", "2026-11-02"), // half-term, in which the clocks change
            ("2026-12-17:O 2026-12-18:O", "2027-01-06"), // Christmas
            ("2026-11-16:O 2026-11-17:Q 2026-11-18:O", "2026-11-23"), // one that was not possible
            ("2026-11-16:OOO", "2026-11-18"),
        ] {
            let (facts, end) = (tuition(marks), date(due).end_of_day());
            assert_eq!(
                evaluate(&facts, shift(end, -1)),
                Evaluation { cause: None, next: Some(end) },
                "{marks}"
            );
            for micros in [0, 1] {
                assert_eq!(evaluate(&facts, shift(end, micros)).cause, Some(date(due)), "{marks}");
            }
        }
    }

    #[test]
    fn fewer_sessions_or_other_settings_raise_nothing() {
        let later = date("2027-01-08").end_of_day();
        for marks in ["2026-11-16:O", "2026-11-16:O/O", "2026-11-16:OO 2026-11-17:/", "2026-11-16:OQ", ""] {
            assert_eq!(evaluate(&tuition(marks), later), Evaluation::CLEAR, "{marks}");
        }
        assert_eq!(evaluate(&attended("2026-11-16:OO"), later), Evaluation::CLEAR);
        let over = PlacementFacts { is_active: false, ..tuition("2026-11-16:OO") };
        assert_eq!(evaluate(&over, later), Evaluation::CLEAR);
    }

    #[test]
    fn whoever_acts_ends_what_was_missed_until_that_day() {
        let later = date("2026-11-30").end_of_day();
        let acted = |marks: &str, day: &str| {
            let mut facts = tuition(marks);
            facts.attendance.acted_on = Some(date(day));
            evaluate(&facts, later).cause
        };
        let missed = "2026-11-16:O 2026-11-17:O";
        assert_eq!(acted(missed, "2026-11-15"), Some(date("2026-11-19")));
        assert_eq!((acted(missed, "2026-11-17"), acted(missed, "2026-11-20")), (None, None));
        assert_eq!(acted("2026-11-16:O 2026-11-17:O 2026-11-18:O", "2026-11-17"), None);
        let more = "2026-11-16:O 2026-11-17:O 2026-11-18:O 2026-11-19:O";
        assert_eq!(acted(more, "2026-11-17"), Some(date("2026-11-25")));
        for facts in [
            PlacementFacts { plan_put: Some(date("2026-11-18")), ..tuition(missed) },
            PlacementFacts { progress_received: Some(date("2026-11-18")), ..tuition(missed) },
        ] {
            assert_eq!(evaluate(&facts, later).cause, None);
        }
    }

    #[test]
    fn the_number_of_sessions_is_that_of_the_day() {
        let mut settings = settings(RuleId::TuitionMissed);
        settings
            .parameters
            .insert(SESSIONS.to_owned(), vec![(date("2026-11-02"), 2), (date("2026-11-26"), 3)]);
        let facts = tuition("2026-11-16:OO");
        let at = |day: &str| TuitionMissed.evaluate(&facts, date(day).end_of_day(), &settings).cause;
        assert_eq!((at("2026-11-24"), at("2026-11-25")), (Some(date("2026-11-18")), None));
    }
}
