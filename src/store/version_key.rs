//! Keys of the table `current_versions`: one key space for everything that can be guarded.

use uuid::Uuid;

use super::position::{EntryIndex, Ordinal};

/// The kind of thing that a key names. The letters are stored: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyFamily {
    /// Counter of an organisation's authority; incremented when the authority narrows.
    Authority = b'a',
    /// Counter of an organisation's facts; incremented when anything else changes that decisions are made from.
    Facts = b'f',
    /// An organisation's registration.
    Organisation = b'o',
    /// A certificate, by its SHA-256.
    Certificate = b'c',
    /// A grant to a processor or an auditor.
    Grant = b'g',
    /// A sharing agreement.
    Agreement = b'n',
    /// An organisation's term dates of an academic year.
    Terms = b't',
    /// A placement.
    Placement = b'p',
    /// A placement's plan.
    Plan = b'l',
    /// A sender's record of a child.
    Child = b'h',
    /// A child by the blind index of its UPN, within its sender.
    ChildByUpn = b'u',
    /// The wrapped key of (sender, child).
    ChildKey = b'y',
    /// A provider's own reference for a placement.
    Reference = b'r',
    /// A mark. The day comes first, so that the marks of one day are adjacent.
    Mark = b'm',
    /// A return that was withdrawn.
    Return = b'e',
    /// A provider's return in parts. The version is 1 once it is opened, and one more for each part.
    Parts = b'q',
    /// An organisation's statement of a session.
    Statement = b's',
    /// A closure.
    Closure = b'z',
    /// A recipient's acknowledgement of a delivery.
    Acknowledgement = b'k',
    /// A sender's passport of a child.
    Passport = b'P',
    /// A sender's share of a passport with a placement.
    PassportShare = b'S',
    /// A sender's decisions not to share with a placement.
    Withholding = b'W',
    /// A placement's progress return of a period.
    Progress = b'G',
    /// A provider's acknowledgement of a passport that has all that a start needs.
    SafetyAcknowledged = b'Z',
    /// An item that was still missing when a placement started.
    OpenItem = b'O',
    /// An alert.
    Alert = b'A',
    /// The moment at which a subject is evaluated next.
    Moment = b'M',
    /// An organisation's break-glasses of a day. The version counts them up to the limit of a day.
    BreakGlassDay = b'b',
    /// An organisation's break-glasses under a request id.
    BreakGlassRequest = b'd',
    /// An organisation's issuer of tokens, by its name.
    Issuer = b'i',
    /// An organisation's practitioner, by key id and pseudonym.
    Practitioner = b'w',
}

/// A key: the family's letter, then fixed-width or length-prefixed parts, so that no two things have the same key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionKey(Vec<u8>);

impl VersionKey {
    /// Makes a key without parts.
    #[must_use]
    pub fn new(family: KeyFamily) -> Self {
        let mut bytes = Vec::with_capacity(24);
        bytes.push(family as u8);
        Self(bytes)
    }

    /// Makes the key of a stage (`apgateway.v1.DeliveryStage`) of the delivery at a position of a mailbox. It has version 1
    /// once the organisation has acknowledged the stage.
    #[must_use]
    pub fn acknowledgement(organisation: &str, (index, ordinal): (EntryIndex, Ordinal), stage: i32) -> Self {
        Self::new(KeyFamily::Acknowledgement)
            .text(organisation)
            .bytes(&index.to_be_bytes())
            .bytes(&ordinal.to_be_bytes())
            .bytes(&stage.to_be_bytes())
    }

    /// Adds text, prefixed with its length.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds an id, 16 bytes.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.0.extend_from_slice(id.as_bytes());
        self
    }

    /// Adds bytes of a fixed width.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Returns the stored form of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the stored form of the key, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Returns the key of an organisation's authority counter.
    #[must_use]
    pub fn authority(organisation: &str) -> Self {
        Self::new(KeyFamily::Authority).text(organisation)
    }

    /// Returns the organisation of an authority counter; `None` for a key of another family.
    #[must_use]
    pub fn authority_organisation(&self) -> Option<&str> {
        match self.0.as_slice() {
            [family, _, _, _, _, id @ ..] if *family == KeyFamily::Authority as u8 => {
                std::str::from_utf8(id).ok()
            }
            _ => None,
        }
    }

    /// Returns the key of an organisation's facts counter.
    #[must_use]
    pub fn facts(organisation: &str) -> Self {
        Self::new(KeyFamily::Facts).text(organisation)
    }
}

impl From<Vec<u8>> for VersionKey {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for VersionKey {
    /// Shows only the family and the length, because keys can contain a blind index.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = self.0.first().copied().map_or('?', char::from);
        write!(f, "Key({family}, {} bytes)", self.0.len())
    }
}
