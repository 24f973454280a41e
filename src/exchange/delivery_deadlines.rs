//! Until when a delivery must be collected, and acted on: one function for the due time that `GetDeliveryStatus` returns and
//! for the alert that is raised when it has passed.

use crate::calendar::{Date, SchoolCalendar};
use crate::clock::Instant;

/// School days of the recipient until a delivery must be collected, and acted on, each with the days from which the values
/// hold, in the order of the days. The rule book holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryDeadlines {
    /// School days until it must be collected.
    pub collect_school_days: Vec<(Date, u32)>,
    /// School days until a person must have acted on it.
    pub act_school_days: Vec<(Date, u32)>,
}

impl DeliveryDeadlines {
    /// Returns the instant until which a recipient must collect a delivery that was stored at an instant: the end of its
    /// last school day. `None`: no value holds on the day on which it was stored.
    #[must_use]
    pub fn collect_by(&self, stored: Instant, recipient_days: &SchoolCalendar) -> Option<Instant> {
        deadline(&self.collect_school_days, stored, recipient_days)
    }

    /// Returns the instant until which a person must have acted on a delivery, as [`Self::collect_by`].
    #[must_use]
    pub fn act_by(&self, stored: Instant, recipient_days: &SchoolCalendar) -> Option<Instant> {
        deadline(&self.act_school_days, stored, recipient_days)
    }
}

fn deadline(values: &[(Date, u32)], stored: Instant, recipient_days: &SchoolCalendar) -> Option<Instant> {
    let day = Date::in_london(stored);
    let (_, school_days) = values.iter().rev().find(|(from, _)| *from <= day)?;
    Some(recipient_days.add_school_days(day, *school_days).end_of_day())
}
