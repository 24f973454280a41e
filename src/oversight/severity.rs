//! The severity of an alert: how soon somebody must act on it.

use crate::store::{ColumnKind, ColumnType, Value};

/// Severity of an alert; 1 is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Act within hours.
    One = 1,
    /// Act within days.
    Two = 2,
    /// Act within weeks.
    Three = 3,
}

impl Severity {
    /// All severities.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// Returns the severity of a number; `None` outside 1 to 3.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| i64::from(severity.number()) == number)
    }

    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }
}

impl ColumnType for Severity {
    const KIND: ColumnKind = ColumnKind::Int;

    fn to_value(&self) -> Value {
        self.number().into()
    }

    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).and_then(Self::from_number)
    }
}
