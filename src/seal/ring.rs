//! The key ring: the master keys of this gateway, in a file of mode 0600 outside the data folder.
//!
//! Owns the file and the sub-keys derived from each master key, one a purpose, so that no two uses share a key.
//! The active key seals; every key opens. A new key is pending until every node holds it. A key is only ever added: taking one out (by hand, once nothing is
//! sealed under it) makes what it sealed answer KEY MISSING. It must never show a key. Serves reliability T31, T33.

use std::fmt::{self, Write as _};
use std::path::Path;

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::hmac;
use jiff::civil::Date;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::secret_file::{self, FileError};
use super::{Fill, SealError, envelope, hkdf};

const HEADING: &str = "\
# Key ring of ap-gateway. Whoever reads it can read every record; whoever loses it loses every record.
# Mode 0600, outside the data folder; back it up apart from the data. The active key seals, all keys open; a pending
# key seals once activate-key has found that every node holds it.
# Take a key out only when nothing is sealed under it any more.
";
/// The HKDF salt of every sub-key; a change of it is a new format of the ring.
const SALT: &[u8] = b"ap-gateway key ring v1";

/// All master keys, newest first, as sub-keys ready for use.
pub struct KeyRing {
    // Boxed: a key is some kilobytes of prepared sub-keys, and rings are moved about while a node starts.
    pending: Option<Box<RingKey>>,
    active: Box<RingKey>,
    retired: Vec<RingKey>,
}

/// One master key's sub-keys. The master key itself is not kept in memory.
pub struct RingKey {
    id: u32,
    created: Date,
    fingerprint: [u8; 8],
    pub(super) wrapping: LessSafeKey,
    pub(super) page_tokens: LessSafeKey,
    pub(super) cursor_tokens: LessSafeKey,
    pub(super) organisations: hmac::Key,
    pub(super) blind_indexes: hmac::Key,
    pub(super) requests: hmac::Key,
    pub(super) deliveries: hmac::Key,
    pub(super) practitioners: hmac::Key,
}

/// Whether a key of the ring seals or only opens.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyState {
    /// Opens what another node may seal already; seals once it is activated. It stands before the active one.
    Pending,
    /// Seals and opens.
    Active,
    /// Only opens.
    Retired,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RingFile {
    keys: Vec<StoredKey>,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: u32,
    created: String,
    #[zeroize(skip)]
    state: KeyState,
    master: String,
}

impl KeyRing {
    /// Makes a ring of one new key in a new file.
    ///
    /// # Errors
    /// [`FileError::Exists`] when the file is there: a ring is never overwritten.
    pub fn create(path: &Path, created: Date, fill: Fill<'_>) -> Result<Self, FileError> {
        let text = compose(&[new_key(1, KeyState::Active, created, fill)]);
        let ring = parse(&text).and_then(|keys| Self::from_stored(&keys))?;
        secret_file::create(path, &text)?;
        Ok(ring)
    }

    /// Reads the ring from its file.
    ///
    /// # Errors
    /// [`FileError::Exposed`] unless only its owner can read it; otherwise what is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::from_stored(&parse(&secret_file::read(path)?)?)
    }

    /// Adds a new key in front, which opens and is pending: [`KeyRing::activate`] makes it seal, once every node has
    /// the new file. Every older key is kept.
    ///
    /// # Errors
    /// Those of [`KeyRing::load`]; [`FileError::Invalid`] while a key is pending already. The old file stands unless
    /// the new one is whole and durable.
    pub fn rotate(path: &Path, created: Date, fill: Fill<'_>) -> Result<Self, FileError> {
        let text = secret_file::replace(path, |text| {
            let mut keys = parse(text)?;
            if Self::from_stored(&keys)?.pending.is_some() {
                return Err(FileError::Invalid("the newest key is still pending: run activate-key first"));
            }
            let newest = keys.iter().map(|key| key.id).max().unwrap_or_default();
            let id = newest.checked_add(1).ok_or(FileError::Invalid("no key id is left"))?;
            keys.insert(0, new_key(id, KeyState::Pending, created, fill));
            let text = compose(&keys);
            Self::from_stored(&parse(&text)?)?;
            Ok(text)
        })?;
        Self::from_stored(&parse(&text)?)
    }

    /// Makes the pending key the one that seals; the one before it opens from now on.
    ///
    /// # Errors
    /// Those of [`KeyRing::load`]; [`FileError::Invalid`] when no key is pending. The old file stands unless the new
    /// one is whole and durable.
    pub fn activate(path: &Path) -> Result<Self, FileError> {
        let text = secret_file::replace(path, |text| {
            let mut keys = parse(text)?;
            if Self::from_stored(&keys)?.pending.is_none() {
                return Err(FileError::Invalid("no key is pending: run rotate-keys first"));
            }
            for (at, key) in keys.iter_mut().enumerate() {
                key.state = if at == 0 { KeyState::Active } else { KeyState::Retired };
            }
            let text = compose(&keys);
            Self::from_stored(&parse(&text)?)?;
            Ok(text)
        })?;
        Self::from_stored(&parse(&text)?)
    }

    /// The key that opens and does not seal yet.
    #[must_use]
    pub fn pending(&self) -> Option<&RingKey> {
        self.pending.as_deref()
    }

    /// The key that seals.
    #[must_use]
    pub fn active(&self) -> &RingKey {
        &self.active
    }

    /// The key of that id.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] when the ring does not hold it.
    pub fn key(&self, id: u32) -> Result<&RingKey, SealError> {
        self.keys().find(|key| key.id == id).ok_or(SealError::KeyMissing { id })
    }

    /// Every key, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &RingKey> {
        self.pending.iter().chain([&self.active]).map(AsRef::as_ref).chain(&self.retired)
    }

    /// Whether this ring can take the place of `older` while the gateway runs: it holds each of its keys.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] or [`SealError::KeyChanged`] with the first key that it does not hold.
    pub fn continues(&self, older: &Self) -> Result<(), SealError> {
        for held in older.keys() {
            if self.key(held.id)?.fingerprint != held.fingerprint {
                return Err(SealError::KeyChanged { id: held.id });
            }
        }
        Ok(())
    }

    fn from_stored(stored: &[StoredKey]) -> Result<Self, FileError> {
        let (pending, rest) = match stored.split_first().ok_or(FileError::Invalid("holds no key"))? {
            (first, rest) if first.state == KeyState::Pending => (Some(first), rest),
            _ => (None, stored),
        };
        let (first, older) =
            rest.split_first().ok_or(FileError::Invalid("holds no key but a pending one"))?;
        if first.state != KeyState::Active || older.iter().any(|key| key.state != KeyState::Retired) {
            return Err(FileError::Invalid(
                "one key must be active, behind a pending one and before the retired ones",
            ));
        }
        if !stored.is_sorted_by(|newer, older| newer.id > older.id) {
            return Err(FileError::Invalid("keys must stand newest first, each id once"));
        }
        let active = Box::new(RingKey::from_stored(first)?);
        let pending = pending.map(|key| RingKey::from_stored(key).map(Box::new)).transpose()?;
        let retired = older.iter().map(RingKey::from_stored).collect::<Result<Vec<_>, _>>()?;
        let mut prints: Vec<_> =
            retired.iter().chain(pending.as_deref()).chain([&*active]).map(|key| key.fingerprint).collect();
        prints.sort_unstable();
        prints.dedup();
        if prints.len() != stored.len() {
            return Err(FileError::Invalid("two keys are the same"));
        }
        Ok(Self { pending, active, retired })
    }
}

impl RingKey {
    /// The id that sealed bytes name.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The day it was made.
    #[must_use]
    pub fn created(&self) -> Date {
        self.created
    }

    /// Eight bytes derived from the key that tell it from another without telling it; for `check` to print.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 8] {
        self.fingerprint
    }

    fn from_stored(stored: &StoredKey) -> Result<Self, FileError> {
        let prk = hkdf::extract(SALT, &secret_file::secret_bytes(&stored.master)?[..]);
        let derive = |label: &str| hkdf::expand(&prk, &[label.as_bytes()]);
        let cipher = |label: &str| envelope::cipher(&derive(label));
        let mac = |label: &str| hmac::Key::new(hmac::HMAC_SHA256, &derive(label)[..]);
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(derive("fingerprint").split_at(8).0);
        Ok(Self {
            id: stored.id,
            created: stored.created.parse().map_err(|_| FileError::Invalid("a key's day is not a date"))?,
            fingerprint,
            wrapping: cipher("key wrapping")?,
            page_tokens: cipher("page tokens")?,
            cursor_tokens: cipher("cursor tokens")?,
            organisations: mac("organisation sealing"),
            blind_indexes: mac("blind index"),
            requests: mac("request mac"),
            deliveries: mac("delivery digest"),
            practitioners: mac("practitioner hmac"),
        })
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingKey")
            .field("id", &self.id)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

fn new_key(id: u32, state: KeyState, created: Date, fill: Fill<'_>) -> StoredKey {
    let mut master = Zeroizing::new([0; 32]);
    fill(&mut master[..]);
    StoredKey {
        id,
        created: created.to_string(),
        state,
        master: secret_file::secret_text(&master).to_string(),
    }
}

fn parse(text: &str) -> Result<Vec<StoredKey>, FileError> {
    toml::from_str::<RingFile>(text)
        .map(|file| file.keys)
        .map_err(|error| secret_file::malformed(text, &error))
}

fn compose(keys: &[StoredKey]) -> Zeroizing<String> {
    // Room for all at once, about 130 bytes a key: a text that grows leaves copies of the keys behind.
    let mut text = Zeroizing::new(String::with_capacity(HEADING.len() + 256 * keys.len()));
    text.push_str(HEADING);
    for key in keys {
        let state = match key.state {
            KeyState::Pending => "pending",
            KeyState::Active => "active",
            KeyState::Retired => "retired",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[keys]]\nid = {}\ncreated = \"{}\"\nstate = \"{state}\"\nmaster = \"{}\"\n",
            key.id, key.created, key.master
        );
    }
    text
}
