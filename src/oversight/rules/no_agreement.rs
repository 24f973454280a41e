//! `NO_AGREEMENT`: the agreement of a live placement has ended, or ends within some school days, and no other between
//! commissioner and provider follows it. The alert ends with another agreement, or with the placement. A placement is live
//! from its referral, which sets the first moment of it.

use super::SCHOOL_DAYS;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::oversight::placement_facts::PlacementFacts;
use crate::oversight::placement_rule::{Evaluation, PlacementRule};
use crate::oversight::rule_book::{Parameter, PartyRole, RuleSettings};
use crate::oversight::rule_id::RuleId;

/// The rule.
pub struct NoAgreement;

impl PlacementRule for NoAgreement {
    fn id(&self) -> RuleId {
        RuleId::NoAgreement
    }

    fn may_tell(&self) -> &'static [PartyRole] {
        &[PartyRole::Commissioner, PartyRole::Provider]
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &[Parameter::new(SCHOOL_DAYS, 0, 60)] }
    }

    fn evaluate(&self, facts: &PlacementFacts, at: Instant, settings: &RuleSettings) -> Evaluation {
        let today = Date::in_london(at);
        let Some(days) = settings.parameter(SCHOOL_DAYS, today).filter(|_| facts.is_live) else {
            return Evaluation::CLEAR;
        };
        let yesterday = today.previous().unwrap_or(Date::MIN);
        // The last day up to which one agreement follows another without a gap.
        let until = facts.agreements.iter().fold(yesterday, |until, period| {
            let follows = until.next().is_none_or(|next| period.first() <= next);
            if follows { until.max(period.last()) } else { until }
        });
        if !facts.provider_days.has_more_school_days(today, until, days) {
            return Evaluation { cause: Some(until), next: None };
        }
        let first = facts.provider_days.earliest_within(until, days);
        Evaluation { cause: None, next: first.previous().map(Date::end_of_day) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Period;
    use crate::oversight::fixtures::{at, calendar, date, settings, shift};

    fn evaluate(facts: &PlacementFacts, at: Instant) -> Evaluation {
        NoAgreement.evaluate(facts, at, &settings(RuleId::NoAgreement))
    }

    fn agreed(periods: &[(&str, &str)]) -> PlacementFacts {
        let period = |(first, last): &(&str, &str)| Period::new(date(first), date(last)).unwrap();
        let agreements = periods.iter().map(period).collect();
        PlacementFacts { is_live: true, agreements, provider_days: calendar(), ..PlacementFacts::default() }
    }

    #[test]
    fn the_alert_is_due_when_twenty_school_days_are_left() {
        for (last, first) in [
            // The day after which only twenty school days are left begins.
            ("2026-10-16", "2026-09-18"),
            // Over half-term, in which the clocks change, an inset day and a closure.
            ("2026-11-27", "2026-10-21"),
            // A Sunday, and a day in the Christmas holidays with its bank holidays.
            ("2026-11-29", "2026-10-21"),
            ("2026-12-28", "2026-11-18"),
            ("2027-01-08", "2026-11-26"),
        ] {
            let (facts, due) =
                (agreed(&[("2025-09-01", last)]), date(first).previous().unwrap().end_of_day());
            let clear = Evaluation { cause: None, next: Some(due) };
            assert_eq!(evaluate(&facts, shift(due, -1)), clear, "{last}");
            for micros in [0, 1] {
                let found = evaluate(&facts, shift(due, micros));
                assert_eq!(found, Evaluation { cause: Some(date(last)), next: None }, "{last}");
            }
            let days = calendar().school_days_between(date(first), date(last));
            assert_eq!(days, 20, "{last}");
        }
    }

    #[test]
    fn an_agreement_that_has_ended_is_alerted_while_the_placement_is_live() {
        let now = at("2026-11-18 10:00");
        let yesterday = Evaluation { cause: Some(date("2026-11-17")), next: None };
        assert_eq!(evaluate(&agreed(&[]), now), yesterday);
        assert_eq!(evaluate(&agreed(&[("2025-09-01", "2026-10-30")]), now), yesterday);
        let over = PlacementFacts { is_live: false, ..agreed(&[]) };
        assert_eq!(evaluate(&over, now), Evaluation::CLEAR);
    }

    #[test]
    fn an_agreement_that_follows_counts_unless_there_is_a_gap() {
        let now = at("2026-11-18 10:00");
        let cause = |next: (&str, &str)| evaluate(&agreed(&[("2025-09-01", "2026-11-27"), next]), now).cause;
        assert_eq!(cause(("2026-11-28", "2027-11-27")), None);
        assert_eq!(cause(("2026-09-01", "2027-11-27")), None, "they may overlap");
        assert_eq!(cause(("2026-11-29", "2027-11-27")), Some(date("2026-11-27")), "a gap of a day");
        assert_eq!(cause(("2026-11-28", "2026-12-11")), Some(date("2026-12-11")), "it ends soon, too");
    }

    #[test]
    fn the_number_of_days_is_that_of_the_day() {
        let mut settings = settings(RuleId::NoAgreement);
        let values = vec![(date("2026-09-01"), 20), (date("2026-11-19"), 3)];
        settings.parameters.insert(SCHOOL_DAYS.to_owned(), values);
        let facts = agreed(&[("2025-09-01", "2026-11-30")]);
        let cause = |day: &str| NoAgreement.evaluate(&facts, date(day).end_of_day(), &settings).cause;
        // The end of Tuesday is the first instant of Wednesday.
        assert_eq!(cause("2026-11-17"), Some(date("2026-11-30")));
        assert_eq!(cause("2026-11-18"), None, "three days from the 19th on");
        assert_eq!(cause("2026-08-30"), None, "before the first value");
    }
}
