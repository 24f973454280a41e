//! Keys of the table `heads`: one name space for everything that can be guarded.

use uuid::Uuid;

/// What a key names. The letters are stored: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// Counter of an organisation that moves when its authority narrows.
    Authority = b'a',
    /// Counter of an organisation that moves when anything else that is decided from changes.
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
    /// A child as its sender knows it.
    Child = b'h',
    /// A child by the blind index of its UPN, within its sender.
    ChildByUpn = b'u',
    /// The wrapped key of (sender, child).
    ChildKey = b'y',
    /// A provider's own reference for a placement.
    Reference = b'r',
    /// A mark: day first, so that a day's registers lie side by side.
    Mark = b'm',
    /// A return that was withdrawn.
    Return = b'e',
    /// A provider's return in parts: 1 once it is opened, and one more a part.
    Parts = b'q',
    /// What an organisation states of a session.
    Statement = b's',
    /// A closure.
    Closure = b'z',
    /// A recipient's acknowledgement of a delivery.
    Acknowledgement = b'k',
    /// A sender's passport of a child.
    Passport = b'P',
    /// What a sender has shared of a passport with a placement.
    PassportShare = b'S',
    /// A sender's decisions not to share with a placement.
    Withholding = b'W',
    /// A placement's progress return of a period.
    Progress = b'G',
    /// That a provider has acted on a passport that has all that a start needs.
    SafetyAcknowledged = b'Z',
    /// What a start left open.
    OpenItem = b'O',
    /// An alert.
    Alert = b'A',
}

/// A key: the family's letter, then fixed-width or length-prefixed parts, so that no two names collide.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Vec<u8>);

impl Key {
    /// A key without parts yet.
    #[must_use]
    pub fn new(family: Family) -> Self {
        let mut bytes = Vec::with_capacity(24);
        bytes.push(family as u8);
        Self(bytes)
    }

    /// Adds text, length first.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds an id.
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

    /// The key as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The counter of an organisation's authority.
    #[must_use]
    pub fn authority(organisation: &str) -> Self {
        Self::new(Family::Authority).text(organisation)
    }

    /// The organisation whose authority this key counts, if that is what it is.
    #[must_use]
    pub fn narrowed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [family, _, _, _, _, id @ ..] if *family == Family::Authority as u8 => {
                std::str::from_utf8(id).ok()
            }
            _ => None,
        }
    }

    /// The counter of an organisation's other facts.
    #[must_use]
    pub fn facts(organisation: &str) -> Self {
        Self::new(Family::Facts).text(organisation)
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Key {
    /// Keys can hold a blind index: only the family and the length are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = self.0.first().copied().map_or('?', char::from);
        write!(f, "Key({family}, {} bytes)", self.0.len())
    }
}
