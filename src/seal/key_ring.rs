//! Key ring: the master keys of this gateway, in a file of mode 0600 outside the data folder.
//!
//! Owns the file and the sub-keys derived from each master key, one per purpose, so that no two uses share a key. The
//! active key seals; every key opens. A new key is pending until every node has it. The code only adds keys. An
//! operator may remove a key by hand once nothing is sealed under it; anything still sealed under it fails with
//! `KeyMissing`. Invariant: a key is never printed. Serves reliability T31, T33.

use std::fmt::{self, Write as _};
use std::path::Path;

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::hmac;
use jiff::civil::Date;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::secret_file::{self, SecretFileError};
use super::{FillRandom, SealError, envelope, hkdf};

const FILE_HEADER: &str = "\
# Key ring of ap-gateway. Anybody who reads it can read every record; if it is lost, every record is lost.
# Mode 0600, outside the data folder; back it up apart from the data. The active key seals, all keys open; a pending
# key seals once activate-key has found that every node holds it.
# Take a key out only when nothing is sealed under it any more.
";
/// HKDF salt of every sub-key. A change of it is a new format of the ring.
const HKDF_SALT: &[u8] = b"ap-gateway key ring v1";

/// All master keys, newest first, as derived sub-keys.
pub struct KeyRing {
    // Boxed, because a key is some kilobytes of prepared sub-keys, and rings are moved while a node starts.
    pending: Option<Box<RingKey>>,
    active: Box<RingKey>,
    retired: Vec<RingKey>,
}

/// Sub-keys of one master key. The master key itself is not kept in memory.
pub struct RingKey {
    id: u32,
    created: Date,
    fingerprint: [u8; 8],
    pub(super) wrapping_cipher: LessSafeKey,
    pub(super) page_token_cipher: LessSafeKey,
    pub(super) cursor_token_cipher: LessSafeKey,
    pub(super) organisation_kdf: hmac::Key,
    pub(super) blind_index_kdf: hmac::Key,
    pub(super) request_mac: hmac::Key,
    pub(super) delivery_mac: hmac::Key,
    pub(super) practitioner_kdf: hmac::Key,
}

/// State of a key: whether it seals or only opens.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyState {
    /// Only opens values that another node may seal already; seals once it is activated. It precedes the active key.
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
    /// Creates a ring with one new key in a new file.
    ///
    /// # Errors
    /// [`SecretFileError::Exists`] when the file exists: a ring is never overwritten.
    pub fn create(path: &Path, created: Date, fill: FillRandom<'_>) -> Result<Self, SecretFileError> {
        let text = to_toml(&[new_key(1, KeyState::Active, created, fill)]);
        let ring = parse(&text).and_then(|keys| Self::from_stored(&keys))?;
        secret_file::create(path, &text)?;
        Ok(ring)
    }

    /// Loads the ring from its file.
    ///
    /// # Errors
    /// [`SecretFileError::Exposed`] unless only the owner can read the file; otherwise the fault of the file.
    pub fn load(path: &Path) -> Result<Self, SecretFileError> {
        Self::from_stored(&parse(&secret_file::read(path)?)?)
    }

    /// Adds a new, pending key, which opens only. [`KeyRing::activate`] makes it seal, once every node has the new
    /// file. Every older key is kept.
    ///
    /// # Errors
    /// Errors of [`KeyRing::load`]; [`SecretFileError::Invalid`] while another key is pending. The old file remains unless
    /// the new one is complete and durable.
    pub fn rotate(path: &Path, created: Date, fill: FillRandom<'_>) -> Result<Self, SecretFileError> {
        let text = secret_file::replace(path, |text| {
            let mut keys = parse(text)?;
            if Self::from_stored(&keys)?.pending.is_some() {
                return Err(SecretFileError::Invalid(
                    "the newest key is still pending: run activate-key first",
                ));
            }
            let newest = keys.iter().map(|key| key.id).max().unwrap_or_default();
            let id = newest.checked_add(1).ok_or(SecretFileError::Invalid("no key id is left"))?;
            keys.insert(0, new_key(id, KeyState::Pending, created, fill));
            let text = to_toml(&keys);
            Self::from_stored(&parse(&text)?)?;
            Ok(text)
        })?;
        Self::from_stored(&parse(&text)?)
    }

    /// Makes the pending key active. The previous active key only opens from then on.
    ///
    /// # Errors
    /// Errors of [`KeyRing::load`]; [`SecretFileError::Invalid`] when no key is pending. The old file remains unless the new
    /// one is complete and durable.
    pub fn activate(path: &Path) -> Result<Self, SecretFileError> {
        let text = secret_file::replace(path, |text| {
            let mut keys = parse(text)?;
            if Self::from_stored(&keys)?.pending.is_none() {
                return Err(SecretFileError::Invalid("no key is pending: run rotate-keys first"));
            }
            for (position, key) in keys.iter_mut().enumerate() {
                key.state = if position == 0 { KeyState::Active } else { KeyState::Retired };
            }
            let text = to_toml(&keys);
            Self::from_stored(&parse(&text)?)?;
            Ok(text)
        })?;
        Self::from_stored(&parse(&text)?)
    }

    /// Returns the key that opens but does not seal yet.
    #[must_use]
    pub fn pending(&self) -> Option<&RingKey> {
        self.pending.as_deref()
    }

    /// Returns the key that seals.
    #[must_use]
    pub fn active(&self) -> &RingKey {
        &self.active
    }

    /// Returns the key with an id.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] when the ring does not have it.
    pub fn key(&self, id: u32) -> Result<&RingKey, SealError> {
        self.keys().find(|key| key.id == id).ok_or(SealError::KeyMissing { id })
    }

    /// Returns every key, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &RingKey> {
        self.pending.iter().chain([&self.active]).map(AsRef::as_ref).chain(&self.retired)
    }

    /// Checks that this ring can replace `older` while the gateway runs: it must have each of its keys.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] or [`SealError::KeyChanged`] for the first key that it does not have.
    pub fn ensure_contains(&self, older: &Self) -> Result<(), SealError> {
        for old in older.keys() {
            if self.key(old.id)?.fingerprint != old.fingerprint {
                return Err(SealError::KeyChanged { id: old.id });
            }
        }
        Ok(())
    }

    fn from_stored(stored: &[StoredKey]) -> Result<Self, SecretFileError> {
        let (pending, rest) = match stored.split_first().ok_or(SecretFileError::Invalid("it holds no key"))? {
            (first, rest) if first.state == KeyState::Pending => (Some(first), rest),
            _ => (None, stored),
        };
        let (first, older) =
            rest.split_first().ok_or(SecretFileError::Invalid("it holds no key except a pending one"))?;
        if first.state != KeyState::Active || older.iter().any(|key| key.state != KeyState::Retired) {
            return Err(SecretFileError::Invalid(
                "one key must be active, after a pending one and before the retired ones",
            ));
        }
        if !stored.is_sorted_by(|newer, older| newer.id > older.id) {
            return Err(SecretFileError::Invalid("keys must be listed newest first, each id once"));
        }
        let active = Box::new(RingKey::from_stored(first)?);
        let pending = pending.map(|key| RingKey::from_stored(key).map(Box::new)).transpose()?;
        let retired = older.iter().map(RingKey::from_stored).collect::<Result<Vec<_>, _>>()?;
        let mut fingerprints: Vec<_> =
            retired.iter().chain(pending.as_deref()).chain([&*active]).map(|key| key.fingerprint).collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        if fingerprints.len() != stored.len() {
            return Err(SecretFileError::Invalid("two keys are the same"));
        }
        Ok(Self { pending, active, retired })
    }
}

impl RingKey {
    /// Returns the id that sealed bytes name.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the day on which the key was created.
    #[must_use]
    pub fn created(&self) -> Date {
        self.created
    }

    /// Returns eight bytes derived from the key, which identify it without revealing it; `check` prints them.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 8] {
        self.fingerprint
    }

    fn from_stored(stored: &StoredKey) -> Result<Self, SecretFileError> {
        let prk = hkdf::extract(HKDF_SALT, &secret_file::secret_bytes(&stored.master)?[..]);
        let derive = |label: &str| hkdf::expand(&prk, &[label.as_bytes()]);
        let cipher = |label: &str| envelope::cipher(&derive(label));
        let mac = |label: &str| hmac::Key::new(hmac::HMAC_SHA256, &derive(label)[..]);
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(derive("fingerprint").split_at(8).0);
        Ok(Self {
            id: stored.id,
            created: stored
                .created
                .parse()
                .map_err(|_| SecretFileError::Invalid("a key's day is not a date"))?,
            fingerprint,
            wrapping_cipher: cipher("key wrapping")?,
            page_token_cipher: cipher("page tokens")?,
            cursor_token_cipher: cipher("cursor tokens")?,
            organisation_kdf: mac("organisation sealing"),
            blind_index_kdf: mac("blind index"),
            request_mac: mac("request mac"),
            delivery_mac: mac("delivery digest"),
            practitioner_kdf: mac("practitioner hmac"),
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

fn new_key(id: u32, state: KeyState, created: Date, fill: FillRandom<'_>) -> StoredKey {
    let mut master = Zeroizing::new([0; 32]);
    fill(&mut master[..]);
    StoredKey {
        id,
        created: created.to_string(),
        state,
        master: secret_file::secret_text(&master).to_string(),
    }
}

fn parse(text: &str) -> Result<Vec<StoredKey>, SecretFileError> {
    toml::from_str::<RingFile>(text)
        .map(|file| file.keys)
        .map_err(|error| secret_file::malformed(text, &error))
}

fn to_toml(keys: &[StoredKey]) -> Zeroizing<String> {
    // Allocates the whole text at once, about 130 bytes per key, because a text that grows leaves copies of the keys in
    // memory.
    let mut text = Zeroizing::new(String::with_capacity(FILE_HEADER.len() + 256 * keys.len()));
    text.push_str(FILE_HEADER);
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
