//! Subjects of alerts: the things about which a rule raises an alert.

use std::fmt;

use uuid::Uuid;

use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::placements;
use crate::placements::delivery_subject::DeliverySubject;
use crate::store::{ColumnKind, ColumnType, Snapshot, StoreError, Value};

/// The thing that an alert is about. It is stored as one text: its kind, a slash, its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A placement.
    Placement(Uuid),
    /// What a provider owed at an instant, which is a cut-off; or what was found of its placements on the day that begins
    /// at it.
    Provider(OrganisationId, Instant),
    /// What was found of a commissioner's placements on a day.
    Commissioner(OrganisationId, Date),
    /// A referral or passport that was sent from one organisation to another.
    Delivery(DeliverySubject),
}

impl Subject {
    /// Returns the organisation on whose behalf the gateway raises and closes alerts about the subject; `None` if the
    /// subject does not exist. It is the commissioner of a placement.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn controller(&self, snapshot: &mut Snapshot) -> Result<Option<OrganisationId>, StoreError> {
        match self {
            Self::Placement(id) => {
                Ok(placements::by_id(snapshot, *id).await?.map(|placement| placement.commissioner))
            }
            Self::Delivery(delivery) => Ok(Some(delivery.sender.clone())),
            Self::Provider(organisation, _) | Self::Commissioner(organisation, _) => {
                Ok(Some(organisation.clone()))
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.split_once('/')? {
            ("delivery", id) => DeliverySubject::parse(id).map(Self::Delivery),
            ("placement", id) => Uuid::parse_str(id).ok().map(Self::Placement),
            ("provider", id) => {
                let (organisation, at) = id.rsplit_once('/')?;
                Some(Self::Provider(organisation.parse().ok()?, at.parse().ok()?))
            }
            ("commissioner", id) => {
                let (organisation, day) = id.rsplit_once('/')?;
                Some(Self::Commissioner(organisation.parse().ok()?, Date::parse(day).ok()?))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placement(id) => write!(f, "placement/{}", id.hyphenated()),
            Self::Provider(organisation, at) => write!(f, "provider/{organisation}/{at}"),
            Self::Commissioner(organisation, day) => write!(f, "commissioner/{organisation}/{day}"),
            Self::Delivery(delivery) => delivery.fmt(f),
        }
    }
}

impl ColumnType for Subject {
    const KIND: ColumnKind = ColumnKind::Text;

    fn to_value(&self) -> Value {
        self.to_string().into()
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(Some(text)) = value else { return None };
        Self::parse(text)
    }
}

/// A subject that a rule cannot check, because a stored record of it cannot be read. Other subjects are not affected.
#[derive(Debug)]
pub struct DamagedSubject {
    /// The subject.
    pub subject: Subject,
    /// The error of reading the record.
    pub error: StoreError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_from_its_text() {
        let (provider, la) = ("provider/riverside".parse().unwrap(), "la/330".parse().unwrap());
        for (subject, text) in [
            (Subject::Placement(Uuid::from_u128(7)), "placement/00000000-0000-0000-0000-000000000007"),
            (
                Subject::Provider(provider, "2026-07-01T10:00:00+01:00".parse().unwrap()),
                "provider/provider/riverside/2026-07-01T09:00:00Z",
            ),
            (Subject::Commissioner(la, Date::parse("2026-11-20").unwrap()), "commissioner/la/330/2026-11-20"),
        ] {
            assert_eq!(subject.to_string(), text);
            assert_eq!(Subject::from_value(&subject.to_value()), Some(subject));
        }
        for text in [
            "placement",
            "placement/7",
            "child/00000000-0000-0000-0000-000000000007",
            "provider/provider/riverside",
            "provider/provider/riverside/2026-07-01",
            "commissioner/la/330/2026-13-01",
            "commissioner/330/2026-11-20",
        ] {
            assert_eq!(Subject::from_value(&text.into()), None, "{text}");
        }
    }
}
