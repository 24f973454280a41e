//! `C2_UNPLANNED`: in the week before a Friday, a mark had code C2 (leave by a temporary part-time timetable) on a day that no
//! agreed part-time timetable covers: the plan has none for that day, the parents have not agreed to it, or it does not end.
//! It is decided once a week, when the Friday begins. The alert ends with a plan that covers the days, with a correction, or
//! on a Friday before which there was no such week.
//!
//! Source: DfE, Working together to improve school attendance, 2024; domain facts 1.1 (C2) and 3.4.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::attendance_facts::{last_friday, next_friday};
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::RuleSettings;
use crate::oversight::rule_id::RuleId;
use crate::returns::mark_meaning::MarkMeaning;

/// The rule.
pub struct C2Unplanned;

impl PlacementRule for C2Unplanned {
    fn id(&self) -> RuleId {
        RuleId::C2Unplanned
    }

    fn is_another_on_later_day(&self) -> bool {
        true
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        !facts.attendance.sessions.is_empty()
    }

    fn rests_on(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> Option<Date> {
        let from = last_friday(Date::in_london(at)).plus_days(-7);
        let leave = facts.attendance.sessions.iter().filter(|it| it.meaning == MarkMeaning::PartTimeLeave);
        leave.map(|session| session.date).find(|day| *day >= from)
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> Evaluation {
        let friday = last_friday(Date::in_london(at));
        let (from, until) = (friday.plus_days(-7), friday);
        let attendance = &facts.attendance;
        let is_planned = |day| attendance.part_time.is_some_and(|period| period.contains(day));
        let leave =
            attendance.sessions.iter().filter(|session| session.meaning == MarkMeaning::PartTimeLeave);
        let unplanned = leave.map(|session| session.date).filter(|day| facts.is_active && !is_planned(*day));
        let newest = unplanned.filter(|day| *day >= from);
        let (of_week, later): (Vec<Date>, Vec<Date>) = newest.partition(|day| *day < until);
        let is_due_again = !of_week.is_empty() || !later.is_empty();
        let next = is_due_again.then(|| next_friday(friday));
        Evaluation { cause: of_week.last().copied(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Period;
    use crate::oversight::fixtures::{attended, date, settings, shift};

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        C2Unplanned.evaluate(facts, at, &settings(RuleId::C2Unplanned))
    }

    #[test]
    fn leave_of_the_week_is_found_when_the_friday_begins() {
        let friday = |text: &str| date(text).previous().unwrap().end_of_day();
        for (marks, of_friday, cause) in [
            ("2026-11-18:XX 2026-11-19:/\\", "2026-11-20", None),
            ("2026-11-12:@", "2026-11-20", None),
            ("2026-11-13:@", "2026-11-20", Some("2026-11-13")),
            ("2026-11-16:@ 2026-11-19:/@", "2026-11-20", Some("2026-11-19")),
            ("2026-11-20:@", "2026-11-20", None),
            // Half-term, and the change of the clocks.
            ("2026-10-22:@", "2026-10-23", Some("2026-10-22")),
            ("2026-10-23:@", "2026-10-30", Some("2026-10-23")),
        ] {
            let found = evaluate(&attended(marks), friday(of_friday));
            assert_eq!(found.cause, cause.map(date), "{marks}");
        }
        let facts = attended("2026-11-18:@");
        let clear = Evaluation { cause: None, next: Some(friday("2026-11-20")) };
        assert_eq!(evaluate(&facts, shift(friday("2026-11-20"), -1)), clear);
        let raised = Evaluation { cause: Some(date("2026-11-18")), next: Some(friday("2026-11-27")) };
        assert_eq!(evaluate(&facts, friday("2026-11-20")), raised);
        assert_eq!(evaluate(&facts, shift(friday("2026-11-27"), -1)), raised, "until the next Friday");
        assert_eq!(evaluate(&facts, friday("2026-11-27")), Evaluation::CLEAR);
    }

    #[test]
    fn a_part_time_timetable_covers_its_days() {
        let at = date("2026-11-19").end_of_day();
        let planned = |first: &str, last: &str| {
            let mut facts = attended("2026-11-18:@ 2026-11-19:@");
            facts.attendance.part_time = Period::new(date(first), date(last));
            evaluate(&facts, at).cause
        };
        assert_eq!(planned("2026-11-02", "2026-11-19"), None);
        assert_eq!(planned("2026-11-18", "2026-11-19"), None);
        assert_eq!(planned("2026-11-02", "2026-11-18"), Some(date("2026-11-19")));
        assert_eq!(planned("2026-11-19", "2026-12-18"), Some(date("2026-11-18")));
        let over = PlacementFacts { is_active: false, ..attended("2026-11-18:@") };
        assert_eq!(evaluate(&over, at), Evaluation::CLEAR);
    }
}
