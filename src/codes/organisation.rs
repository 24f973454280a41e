//! Ids of organisations and names of their systems, and the SPIFFE form that a certificate holds.
//!
//! Owns the text form only; the register decides whether an organisation is registered. Nothing here is personal.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::local_authority::LaCode;
use super::urn::Urn;
use crate::violation_reason::ViolationReason;

/// Kind of an organisation. Its role in a placement decides what it may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrganisationKind {
    /// Local authority, identified by its three-digit code.
    La,
    /// School of any type, identified by its URN.
    School,
    /// Provider, identified by an id of the gateway.
    Provider,
    /// Partner: health, youth justice, virtual school.
    Partner,
    /// Auditor.
    Auditor,
    /// Processor: a system vendor that acts for others under grants.
    Processor,
    /// Operator of the gateway.
    Operator,
}

impl OrganisationKind {
    /// Returns the word used in an id.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::La => "la",
            Self::School => "school",
            Self::Provider => "provider",
            Self::Partner => "partner",
            Self::Auditor => "auditor",
            Self::Processor => "processor",
            Self::Operator => "operator",
        }
    }

    /// Returns the kind of a word; `None` for another word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "la" => Self::La,
            "school" => Self::School,
            "provider" => Self::Provider,
            "partner" => Self::Partner,
            "auditor" => Self::Auditor,
            "processor" => Self::Processor,
            "operator" => Self::Operator,
            _ => return None,
        })
    }

    fn is_valid_id(self, id: &str) -> bool {
        match self {
            Self::La => LaCode::parse(id).is_ok(),
            Self::School => Urn::parse(id).is_ok(),
            _ => is_label(id),
        }
    }
}

/// Error of an organisation's id or identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrganisationError {
    /// The text is not `<kind>/<id>` with an id of that kind.
    #[error("not an organisation written as kind/id")]
    Format,
    /// The URI is not `spiffe://<trust-domain>/<kind>/<id>/<system>` of this trust domain.
    #[error("not the identity of a system in this trust domain")]
    Identity,
}

impl OrganisationError {
    /// Returns the reason name that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Format => ViolationReason::OrganisationFormat,
            Self::Identity => ViolationReason::IdentityFormat,
        }
    }
}

/// Organisation id, such as `la/330`, `school/123456` or `provider/riverside`. Cheap to clone; ordered by its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganisationId {
    text: Arc<str>,
    kind: OrganisationKind,
}

impl OrganisationId {
    /// Parses `<kind>/<id>`.
    ///
    /// # Errors
    /// [`OrganisationError::Format`].
    pub fn parse(text: &str) -> Result<Self, OrganisationError> {
        let (kind, id) = text.split_once('/').ok_or(OrganisationError::Format)?;
        let kind = OrganisationKind::parse(kind)
            .filter(|kind| kind.is_valid_id(id))
            .ok_or(OrganisationError::Format)?;
        Ok(Self { text: text.into(), kind })
    }

    /// Parses the identity in a certificate: `spiffe://<trust-domain>/<kind>/<id>/<system>`.
    ///
    /// # Errors
    /// [`OrganisationError::Identity`].
    pub fn from_spiffe(uri: &str, trust_domain: &str) -> Result<(Self, SystemName), OrganisationError> {
        let path = uri.strip_prefix("spiffe://").and_then(|rest| rest.strip_prefix(trust_domain));
        let path = path.and_then(|rest| rest.strip_prefix('/')).ok_or(OrganisationError::Identity)?;
        let (organisation, system) = path.rsplit_once('/').ok_or(OrganisationError::Identity)?;
        let organisation = Self::parse(organisation).map_err(|_| OrganisationError::Identity)?;
        Ok((organisation, SystemName::parse(system)?))
    }

    /// Returns the identity for a certificate of `system`.
    #[must_use]
    pub fn to_spiffe(&self, trust_domain: &str, system: &SystemName) -> String {
        format!("spiffe://{trust_domain}/{}/{}", self.text, system.0)
    }

    /// Returns the full text, `<kind>/<id>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> OrganisationKind {
        self.kind
    }

    /// Returns the part after the kind: `330` of `la/330`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text.split_once('/').map_or("", |(_, id)| id)
    }
}

impl fmt::Display for OrganisationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for OrganisationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for OrganisationId {
    type Err = OrganisationError;

    fn from_str(text: &str) -> Result<Self, OrganisationError> {
        Self::parse(text)
    }
}

/// Name of a system of an organisation, such as `mis` or `case-management`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemName(Arc<str>);

impl SystemName {
    /// Parses 1 to 40 characters of `a-z 0-9 -`.
    ///
    /// # Errors
    /// [`OrganisationError::Identity`].
    pub fn parse(text: &str) -> Result<Self, OrganisationError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(OrganisationError::Identity) }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SystemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["la/330", "school/123456", "provider/riverside", "operator/0", "partner/nhs-icb-1"] {
            let read: OrganisationId = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(format!("{}/{}", read.kind().as_str(), read.id()), text);
        }
        let long = format!("provider/{}", "a".repeat(41));
        for text in [
            "",
            "la",
            "la/",
            "la/33",
            "la/3300",
            "school/99999",
            "school/riverside",
            "provider/",
            "provider/River",
            "provider/a/b",
            "provider/../x",
            "Provider/x",
            "council/x",
            "provider/a b",
            &long,
        ] {
            assert_eq!(OrganisationId::parse(text), Err(OrganisationError::Format), "{text}");
        }
    }

    #[test]
    fn identities_of_certificates() {
        let uri = "spiffe://ap.example/provider/riverside/mis";
        let (organisation, system) = OrganisationId::from_spiffe(uri, "ap.example").unwrap();
        assert_eq!((organisation.as_str(), system.as_str()), ("provider/riverside", "mis"));
        assert_eq!(organisation.to_spiffe("ap.example", &system), uri);
        for uri in [
            "spiffe://ap.example.evil/provider/riverside/mis",
            "spiffe://other/provider/riverside/mis",
            "spiffe://ap.example/provider/riverside",
            "spiffe://ap.example/provider/riverside/mis/x",
            "spiffe://ap.example/provider/riverside/mis?x",
            "spiffe://ap.example/provider/riverside/",
            "SPIFFE://ap.example/provider/riverside/mis",
            "spiffe://ap.example//provider/riverside/mis",
        ] {
            assert_eq!(
                OrganisationId::from_spiffe(uri, "ap.example"),
                Err(OrganisationError::Identity),
                "{uri}"
            );
        }
    }
}
