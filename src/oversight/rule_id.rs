//! Ids of the rules of oversight. An id is the same on the wire, in the tables and in `rules.toml`.

use crate::proto::v1::AlertKind;
use crate::store::{ColumnKind, ColumnType, Value};

macro_rules! rule_ids {
    ($($(#[$meta:meta])* $id:ident = $text:literal,)*) => {
        /// A rule of oversight.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RuleId { $($(#[$meta])* $id,)* }

        impl RuleId {
            /// All rules.
            pub const ALL: &'static [Self] = &[$(Self::$id),*];

            /// Returns the id as it is sent and stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$id => $text,)* }
            }
        }
    };
}

rule_ids! {
    /// An item that the start of a placement left open was not supplied by its due day.
    OpenItemOverdue = "OPEN_ITEM_OVERDUE",
    /// A placement is active after its planned end.
    PastEnd = "PAST_END",
    /// A placement is active and its provider has not acknowledged the newest passport.
    StartWithoutPassport = "START_WITHOUT_PASSPORT",
    /// A day of review has passed, and nothing speaks of it.
    ReviewDatePassed = "REVIEW_DATE_PASSED",
}

impl RuleId {
    /// Parses an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.as_str() == text)
    }

    /// Returns the kind of its alerts on the wire.
    #[must_use]
    pub const fn alert_kind(self) -> AlertKind {
        match self {
            Self::OpenItemOverdue => AlertKind::OpenItemOverdue,
            Self::PastEnd | Self::StartWithoutPassport | Self::ReviewDatePassed => AlertKind::Rule,
        }
    }
}

impl ColumnType for RuleId {
    const KIND: ColumnKind = ColumnKind::Text;

    fn to_value(&self) -> Value {
        self.as_str().into()
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(Some(text)) = value else { return None };
        Self::parse(text)
    }
}
