//! Commitment key: the key from which the salts of an entry's rows and openings are derived.
//!
//! It has its own file because an auditor who verifies a copy may hold it without being able to open any data, and
//! because it is never retired: without it nobody can check that a row is the one that was written. Anybody who holds it
//! and an entry can check guesses about the rows of that entry, so it is a secret. Invariant: it is never printed.

use std::fmt;
use std::path::Path;

use aws_lc_rs::hmac;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::secret_file::{self, SecretFileError};
use super::{FillRandom, hkdf};

const FILE_HEADER: &str = "\
# Commitment key of ap-gateway's log. It is never replaced: without it nobody can check that the rows of the database are
# those that were written. It opens no data, but lets its holder check guesses. All nodes of a database have the same.
# Mode 0600, outside the data folder; back it up with the key ring, apart from the data.
";
/// HKDF salt of what is derived from the key.
const HKDF_SALT: &[u8] = b"ap-gateway commitment key v1";

/// The key of all commitments of a log, except those that are salted from a child's key.
#[derive(Clone)]
pub struct CommitmentKey {
    id: u32,
    salts: hmac::Key,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct CommitmentFile {
    commitment_key: String,
}

impl CommitmentKey {
    /// Creates a random key in a new file.
    ///
    /// # Errors
    /// [`SecretFileError::Exists`] when the file exists.
    pub fn create(path: &Path, fill: FillRandom<'_>) -> Result<Self, SecretFileError> {
        let mut key = Zeroizing::new([0; 32]);
        fill(&mut key[..]);
        let key = secret_file::secret_text(&key);
        let text = Zeroizing::new(format!("{FILE_HEADER}\ncommitment_key = \"{}\"\n", *key));
        let made = parse(&text)?;
        secret_file::create(path, &text)?;
        Ok(made)
    }

    /// Loads the key from its file.
    ///
    /// # Errors
    /// [`SecretFileError::Exposed`] unless only the owner can read the file; otherwise the fault of the file.
    pub fn load(path: &Path) -> Result<Self, SecretFileError> {
        parse(&secret_file::read(path)?)
    }

    /// Returns the id that entries name: the first 4 bytes of a hash of the key.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the salt of the rows and openings of one exchange, for [`crate::tlog::ExchangeSalt`].
    #[must_use]
    pub fn exchange_salt(&self, exchange_id: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hkdf::tag_bytes(&hmac::sign(&self.salts, exchange_id)))
    }
}

impl fmt::Debug for CommitmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitmentKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn parse(text: &str) -> Result<CommitmentKey, SecretFileError> {
    let file: CommitmentFile = toml::from_str(text).map_err(|error| secret_file::malformed(text, &error))?;
    let prk = hkdf::extract(HKDF_SALT, &secret_file::secret_bytes(&file.commitment_key)?[..]);
    let id = hkdf::expand(&prk, &[b"id"]);
    let salts = hmac::Key::new(hmac::HMAC_SHA256, &hkdf::expand(&prk, &[b"exchange salts"])[..]);
    let id = id.first_chunk().map_or(0, |id| u32::from_be_bytes(*id));
    Ok(CommitmentKey { id, salts })
}
