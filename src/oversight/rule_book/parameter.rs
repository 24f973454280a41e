//! A parameter that a rule declares, and its values over time.

use crate::calendar::Date;

/// A threshold of a rule, and the values that a rule book may give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in `rules.toml`.
    pub name: &'static str,
    /// The smallest value.
    pub min: u32,
    /// The largest value.
    pub max: u32,
    /// The parameter of the same rule that it is not above on any day.
    pub not_above: Option<&'static str>,
}

impl Parameter {
    /// Declares a parameter with its smallest and its largest value.
    #[must_use]
    pub const fn new(name: &'static str, min: u32, max: u32) -> Self {
        Self { name, min, max, not_above: None }
    }

    /// Declares that it is never above another parameter of the rule.
    #[must_use]
    pub const fn not_above(self, other: &'static str) -> Self {
        Self { not_above: Some(other), ..self }
    }
}

/// Returns the value that holds on a day; `None` before the first. The values are in the order of the days from which they
/// hold.
pub(super) fn value_on(values: &[(Date, u32)], day: Date) -> Option<u32> {
    values.iter().rev().find(|(from, _)| *from <= day).map(|(_, value)| *value)
}

/// Returns whether no value is above that of other values on the same day.
pub(super) fn is_never_above(values: &[(Date, u32)], others: &[(Date, u32)]) -> bool {
    // Between these days neither changes.
    let mut days = values.iter().chain(others).map(|(from, _)| *from);
    days.all(|day| {
        value_on(values, day).zip(value_on(others, day)).is_none_or(|(value, other)| value <= other)
    })
}
