//! Periods in which schools on roll and LA of residence are parties to a placement, as its row holds them.

use crate::calendar::Date;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::CallerRole;
use crate::proto::v1;
use crate::store::{ColumnKind, ColumnType, Value};

/// A period in which an organisation is a school on roll or the LA of residence; its kind determines which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyPeriod {
    /// The school or the LA.
    pub organisation: OrganisationId,
    /// First day; `None` if it was a party from the referral on.
    pub from: Option<Date>,
    /// Last day; `None` while it is a party.
    pub until: Option<Date>,
}

impl PartyPeriod {
    /// Reports whether a day lies in the period.
    #[must_use]
    pub fn contains(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day <= until)
    }

    /// Returns the role in the placement.
    #[must_use]
    pub fn role(&self) -> CallerRole {
        if self.organisation.kind() == OrganisationKind::La {
            CallerRole::Residence
        } else {
            CallerRole::SchoolOnRoll
        }
    }

    /// Builds the period's message.
    #[must_use]
    pub fn message(&self) -> v1::PartyPeriod {
        let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        v1::PartyPeriod {
            organisation: self.organisation.to_string(),
            from_date: day(self.from),
            until_date: day(self.until),
        }
    }

    /// Encodes the period as organisation, first day and last day, separated by spaces; `-` is an open end.
    fn to_text(&self) -> String {
        let day = |day: Option<Date>| day.map_or_else(|| "-".to_owned(), |day| day.to_string());
        format!("{} {} {}", self.organisation.as_str(), day(self.from), day(self.until))
    }

    fn from_text(text: &str) -> Option<Self> {
        let day = |text: &str| if text == "-" { Some(None) } else { Date::parse(text).ok().map(Some) };
        let mut words = text.split(' ');
        let organisation = OrganisationId::parse(words.next()?).ok()?;
        Some(Self { organisation, from: day(words.next()?)?, until: day(words.next()?)? })
    }
}

/// The periods of a placement as one text, separated by commas; empty if no party has changed.
impl ColumnType for Vec<PartyPeriod> {
    const KIND: ColumnKind = ColumnKind::Text;

    fn to_value(&self) -> Value {
        self.iter().map(PartyPeriod::to_text).collect::<Vec<_>>().join(",").into()
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(Some(text)) = value else { return None };
        text.split(',').filter(|period| !period.is_empty()).map(PartyPeriod::from_text).collect()
    }
}
