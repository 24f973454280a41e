//! `ABSENT_AT_RISK`: a child whom the commissioner's own passport marks as looked after, on a protection plan or missing
//! before is absent, and nobody has explained it: the newest expected session is an unexplained absence. It is raised in
//! the same session. The alert ends when the absence is explained, or the child attends.
//!
//! The commissioner alone is told, because the others may not read the flags. Nothing that they can see depends on the
//! flags: an unexplained absence has every placement evaluated, at the same instants.
//!
//! Source: DfE, Working together to improve school attendance, 2024, paragraph 52; domain facts 1.1, 1.4 and 8, OC4.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{PartyRole, RuleSettings};
use crate::oversight::rule_id::RuleId;
use crate::returns::mark_meaning::MarkMeaning;

/// The rule.
pub struct AbsentAtRisk;

impl PlacementRule for AbsentAtRisk {
    fn id(&self) -> RuleId {
        RuleId::AbsentAtRisk
    }

    fn is_another_on_later_day(&self) -> bool {
        true
    }

    fn may_tell(&self) -> &'static [PartyRole] {
        &[PartyRole::Commissioner]
    }

    fn has_facts(&self, facts: &PlacementFacts, _: Instant, _: &RuleSettings) -> bool {
        !facts.attendance.sessions.is_empty()
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, _: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        let sessions = facts.attendance.sessions_until(today);
        let Some(newest) = sessions.last().filter(|_| facts.is_active) else { return Evaluation::CLEAR };
        if newest.meaning != MarkMeaning::Unexplained {
            return Evaluation::CLEAR;
        }
        // Whether or not the child is at risk: when it is evaluated again must not depend on that.
        let next = Some(today.end_of_day());
        Evaluation { cause: facts.attendance.is_at_risk.then_some(newest.date), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, attended, date, settings};

    fn evaluate(marks: &str, is_at_risk: bool, now: &str) -> Evaluation {
        let mut facts = attended(marks);
        facts.attendance.is_at_risk = is_at_risk;
        AbsentAtRisk.evaluate(&facts, at(now), &settings(RuleId::AbsentAtRisk))
    }

    #[test]
    fn the_newest_session_of_a_child_at_risk_is_an_unexplained_absence() {
        // Wednesday to Monday, over an inset day and a weekend.
        for (marks, cause) in [
            ("2026-11-18:N", Some("2026-11-18")),
            ("2026-11-18:O", Some("2026-11-18")),
            ("2026-11-18:U", Some("2026-11-18")),
            ("2026-11-18:G", Some("2026-11-18")),
            ("2026-11-18:/O", Some("2026-11-18")),
            ("2026-11-18:/O 2026-11-23:N", Some("2026-11-23")),
            ("2026-11-18:O/", None),
            ("2026-11-18:OO 2026-11-23:/", None),
            ("2026-11-18:OI", None),
            ("2026-11-18:OM", None),
            // A session that was not possible says nothing.
            ("2026-11-18:OQ", Some("2026-11-18")),
            ("", None),
        ] {
            let found = evaluate(marks, true, "2026-11-23 09:30");
            assert_eq!(found.cause, cause.map(date), "{marks}");
            let without = evaluate(marks, false, "2026-11-23 09:30");
            assert_eq!(without, Evaluation { cause: None, ..found }, "{marks}: the same but for the cause");
        }
    }

    #[test]
    fn a_placement_that_is_over_is_clear_and_later_days_are_not_known_yet() {
        let mut facts = attended("2026-11-18:/ 2026-11-19:O");
        facts.attendance.is_at_risk = true;
        let settings = settings(RuleId::AbsentAtRisk);
        let at = |facts: &PlacementFacts, now| AbsentAtRisk.evaluate(facts, at(now), &settings);
        assert_eq!(at(&facts, "2026-11-18 15:00"), Evaluation::CLEAR);
        assert_eq!(at(&facts, "2026-11-19 00:00").cause, Some(date("2026-11-19")));
        facts.is_active = false;
        assert_eq!(at(&facts, "2026-11-19 00:00"), Evaluation::CLEAR);
    }

    #[test]
    fn it_is_evaluated_again_when_the_day_ends_also_when_the_clocks_change() {
        for day in ["2026-11-18", "2026-10-25", "2027-03-28"] {
            let found = evaluate(&format!("{day}:O"), true, &format!("{day} 12:00"));
            assert_eq!(found, Evaluation { cause: Some(date(day)), next: Some(date(day).end_of_day()) });
        }
    }
}
