//! Subjects of alerts: the things about which a rule raises an alert.

use std::fmt;

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::placements;
use crate::store::{ColumnKind, ColumnType, Snapshot, StoreError, Value};

/// The thing that an alert is about. It is stored as one text: its kind, a slash, its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A placement.
    Placement(Uuid),
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
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placement(id) => write!(f, "placement/{}", id.hyphenated()),
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
        match text.split_once('/')? {
            ("placement", id) => Uuid::parse_str(id).ok().map(Self::Placement),
            _ => None,
        }
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
        let subject = Subject::Placement(Uuid::from_u128(7));
        assert_eq!(subject.to_string(), "placement/00000000-0000-0000-0000-000000000007");
        assert_eq!(Subject::from_value(&subject.to_value()), Some(subject));
        for text in ["placement", "placement/7", "child/00000000-0000-0000-0000-000000000007"] {
            assert_eq!(Subject::from_value(&text.into()), None, "{text}");
        }
    }
}
