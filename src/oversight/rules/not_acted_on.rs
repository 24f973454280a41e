//! `NOT_ACTED_ON`: the recipient of a referral or a passport has not collected it, or nobody there has acted on it, by the
//! instant that `GetDeliveryStatus` names. The alert is the sender's report of non-delivery. It ends when the delivery is
//! collected in time to be acted on, acted on, answered, or no longer of use because the placement is over.

use crate::calendar::Date;
use crate::clock::Instant;
use crate::exchange::DeliveryDeadlines;
use crate::oversight::delivery_facts::DeliveryFacts;
use crate::oversight::placement_rule::Evaluation;
use crate::oversight::rule_book::{Parameter, PartyRole, RuleSettings};

/// Name of a parameter: school days of the recipient until a delivery must be collected.
const COLLECT_SCHOOL_DAYS: &str = "collect_school_days";
/// Name of a parameter: school days of the recipient until a person must have acted on it.
const ACT_SCHOOL_DAYS: &str = "act_school_days";

/// The rule's parameters.
pub const PARAMETERS: &[Parameter] = &[
    Parameter::new(COLLECT_SCHOOL_DAYS, 0, 60).not_above(ACT_SCHOOL_DAYS),
    Parameter::new(ACT_SCHOOL_DAYS, 0, 60),
];
/// The parties that the rule may tell: they know of the delivery.
pub const MAY_TELL: &[PartyRole] = &[PartyRole::Sender, PartyRole::Recipient];

/// Returns the deadlines that the rule's parameters set.
#[must_use]
pub fn deadlines(settings: &RuleSettings) -> DeliveryDeadlines {
    let values = |name: &str| settings.parameters.get(name).cloned().unwrap_or_default();
    DeliveryDeadlines {
        collect_school_days: values(COLLECT_SCHOOL_DAYS),
        act_school_days: values(ACT_SCHOOL_DAYS),
    }
}

/// Decides whether the rule's cause holds at an instant, and when the answer may change although no fact does.
#[must_use]
pub fn evaluate(facts: &DeliveryFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
    let deadlines = deadlines(settings);
    let Some(stored) = facts.stored.filter(|_| !facts.is_settled) else { return Evaluation::CLEAR };
    let act_by = deadlines.act_by(stored, &facts.recipient_days);
    let collect_by = deadlines.collect_by(stored, &facts.recipient_days).filter(|_| !facts.is_collected);
    let passed = [collect_by, act_by].into_iter().flatten().filter(|due| *due <= at).max();
    let ahead = [collect_by, act_by].into_iter().flatten().filter(|due| *due > at).min();
    // A deadline is the end of a day, which is the first instant of the next.
    let day = |due: Instant| Date::in_london(due).previous();
    Evaluation { cause: passed.and_then(day), next: ahead }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, calendar, date, settings, shift};
    use crate::oversight::rule_id::RuleId;

    fn found(facts: &DeliveryFacts, at: Instant) -> Evaluation {
        evaluate(facts, at, &settings(RuleId::NotActedOn))
    }

    fn delivered(stored: &str) -> DeliveryFacts {
        DeliveryFacts { stored: Some(at(stored)), recipient_days: calendar(), ..DeliveryFacts::default() }
    }

    /// When deliveries were stored, and the last days on which they can be collected and acted on in time.
    const CASES: &[(&str, &str, &str)] = &[
        ("2026-11-16 10:00", "2026-11-17", "2026-11-18"),
        ("2026-11-16 23:59", "2026-11-17", "2026-11-18"),
        // Friday 20 November is an inset day, Tuesday 24 a closure.
        ("2026-11-19 10:00", "2026-11-23", "2026-11-25"),
        ("2026-11-21 10:00", "2026-11-23", "2026-11-25"),
        // Over half-term, in which the clocks change on Sunday 25 October.
        ("2026-10-23 10:00", "2026-11-02", "2026-11-03"),
        ("2026-10-25 00:30", "2026-11-02", "2026-11-03"),
        // Over Christmas and New Year.
        ("2026-12-18 10:00", "2027-01-05", "2027-01-06"),
    ];

    #[test]
    fn a_delivery_that_is_not_collected_is_due_after_a_school_day() {
        for (stored, collect, act) in CASES {
            let facts = delivered(stored);
            let (collect_by, act_by) = (date(collect).end_of_day(), date(act).end_of_day());
            let clear = Evaluation { cause: None, next: Some(collect_by) };
            assert_eq!(found(&facts, shift(collect_by, -1)), clear, "{stored}");
            let due = Evaluation { cause: Some(date(collect)), next: Some(act_by) };
            for micros in [0, 1] {
                assert_eq!(found(&facts, shift(collect_by, micros)), due, "{stored}");
            }
            assert_eq!(found(&facts, shift(act_by, -1)), due, "{stored}");
            assert_eq!(found(&facts, act_by), Evaluation { cause: Some(date(act)), next: None }, "{stored}");
        }
    }

    #[test]
    fn a_delivery_that_is_collected_is_due_after_two_school_days() {
        for (stored, _, act) in CASES {
            let facts = DeliveryFacts { is_collected: true, ..delivered(stored) };
            let act_by = date(act).end_of_day();
            let clear = Evaluation { cause: None, next: Some(act_by) };
            assert_eq!(found(&facts, shift(act_by, -1)), clear, "{stored}");
            for micros in [0, 1] {
                let due = Evaluation { cause: Some(date(act)), next: None };
                assert_eq!(found(&facts, shift(act_by, micros)), due, "{stored}");
            }
        }
    }

    #[test]
    fn a_delivery_that_is_settled_is_clear() {
        let late = at("2027-03-01 10:00");
        for facts in [
            DeliveryFacts { is_settled: true, ..delivered("2026-11-16 10:00") },
            DeliveryFacts { stored: None, ..delivered("2026-11-16 10:00") },
        ] {
            assert_eq!(found(&facts, late), Evaluation::CLEAR);
        }
    }

    #[test]
    fn the_school_days_are_those_of_the_day_on_which_it_was_stored() {
        let mut settings = settings(RuleId::NotActedOn);
        for (name, former, newer) in [(COLLECT_SCHOOL_DAYS, 1, 3), (ACT_SCHOOL_DAYS, 2, 5)] {
            let values = vec![(date("2026-09-01"), former), (date("2026-11-17"), newer)];
            settings.parameters.insert(name.to_owned(), values);
        }
        let deadlines = deadlines(&settings);
        for (stored, collect, act) in [
            ("2026-11-16 23:59", Some("2026-11-17"), Some("2026-11-18")),
            ("2026-11-17 00:00", Some("2026-11-23"), Some("2026-11-26")),
            ("2026-08-31 10:00", None, None),
        ] {
            let due = |day: Option<&str>| day.map(|day| date(day).end_of_day());
            assert_eq!(deadlines.collect_by(at(stored), &calendar()), due(collect), "{stored}");
            assert_eq!(deadlines.act_by(at(stored), &calendar()), due(act), "{stored}");
            let facts = delivered(stored);
            assert_eq!(evaluate(&facts, at(stored), &settings).next, due(collect), "{stored}");
        }
    }
}
