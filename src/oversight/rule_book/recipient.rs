//! Who is told of an alert: a party of the placement, at once or after a delay.

use std::time::Duration;

use crate::calendar::SchoolCalendar;
use crate::clock::Instant;
use crate::oversight::act_by::end_of_school_days;

/// A party that is told of an alert, at once or after a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The party.
    pub party: PartyRole,
    /// How long after the alert was opened it is told, if the alert is still open then and its cause holds, whatever the
    /// others did; `None`: at once.
    pub after: Option<Delay>,
}

/// A delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Minutes, also outside school hours.
    Minutes(u32),
    /// School days of the commissioner after the day; until the last of them ends.
    SchoolDays(u32),
}

impl Recipient {
    /// Returns when the party is told of an alert that was opened at an instant.
    #[must_use]
    pub fn told_at(&self, opened: Instant, calendar: &SchoolCalendar) -> Instant {
        match self.after {
            None => opened,
            Some(Delay::SchoolDays(days)) => end_of_school_days(opened, days, calendar),
            Some(Delay::Minutes(minutes)) => opened.plus(Duration::from_secs(u64::from(minutes) * 60)),
        }
    }
}

/// A party that is told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartyRole {
    /// The organisation that arranges and pays.
    Commissioner,
    /// The organisation that teaches the child.
    Provider,
    /// The schools on whose roll the child is.
    Schools,
    /// The LA where the child lives.
    Residence,
    /// The organisation that sent the delivery that the alert is about.
    Sender,
    /// The organisation to which that delivery was sent.
    Recipient,
}

impl PartyRole {
    /// All parties of a placement.
    pub const ALL: [Self; 4] = [Self::Commissioner, Self::Provider, Self::Schools, Self::Residence];

    /// The names in `rules.toml`.
    pub(super) const NAMES: [(&'static str, Self); 6] = [
        ("commissioner", Self::Commissioner),
        ("provider", Self::Provider),
        ("schools", Self::Schools),
        ("residence", Self::Residence),
        ("sender", Self::Sender),
        ("recipient", Self::Recipient),
    ];
}

/// Whose placements share one alert of a rule a day. Each party that is told of one of them has an alert of its own, with
/// those of which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// Those of a commissioner.
    Commissioner,
    /// Those of a provider.
    Provider,
}

impl Bundle {
    /// The names in `rules.toml`.
    pub(super) const NAMES: [(&'static str, Self); 2] =
        [("commissioner", Self::Commissioner), ("provider", Self::Provider)];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, calendar, date};

    fn told_at(after: Option<Delay>, opened: &str) -> Instant {
        Recipient { party: PartyRole::Commissioner, after }.told_at(at(opened), &calendar())
    }

    #[test]
    fn minutes_run_by_the_clock_and_school_days_by_the_calendar() {
        for opened in ["2026-11-18 10:00", "2026-10-25 00:45", "2027-03-28 00:45", "2026-11-21 23:45"] {
            assert_eq!(told_at(None, opened), at(opened));
            let elapsed = told_at(Some(Delay::Minutes(30)), opened).micros() - at(opened).micros();
            assert_eq!(elapsed, 30 * 60_000_000, "{opened}");
        }
        for (opened, days, last) in [
            ("2026-11-18 10:00", 1, "2026-11-19"),
            // Friday 20 November is an inset day, Tuesday 24 a closure.
            ("2026-11-19 10:00", 2, "2026-11-25"),
            ("2026-10-22 10:00", 5, "2026-11-05"),
            ("2026-12-17 10:00", 5, "2027-01-08"),
        ] {
            assert_eq!(told_at(Some(Delay::SchoolDays(days)), opened), date(last).end_of_day(), "{opened}");
        }
    }
}
