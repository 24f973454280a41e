//! Signing key of the log: origin and Ed25519 seed, in its own file beside the key ring.
//!
//! It has its own file because `audit verify` on a copy uses the key ring and must not be able to sign, and because
//! rotating the ring must not change the log's identity. It is outside the database, so that a person who can rewrite
//! rows cannot sign a rewritten log. Invariant: the seed is never printed. `tlog` signs.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::FillRandom;
use super::secret_file::{self, SecretFileError};

const FILE_HEADER: &str = "\
# Signing key of ap-gateway's log. Anybody who reads it can sign a false history.
# Mode 0600, outside the data folder; back it up apart from the data.
";

/// Name of the log and seed of its Ed25519 key, with the public keys of the logs that it replaced.
pub struct LogSigningKey {
    origin: String,
    replaced_keys: String,
    seed: Zeroizing<[u8; 32]>,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct SigningFile {
    origin: String,
    #[serde(default)]
    replaced: String,
    seed: String,
}

impl LogSigningKey {
    /// Checks an origin. A signed note's key name has no spaces and no plus sign (C2SP signed-note). Quotes would make
    /// the file invalid.
    ///
    /// # Errors
    /// [`SecretFileError::Invalid`] for an origin that is not valid in a checkpoint.
    pub fn check_origin(origin: &str) -> Result<(), SecretFileError> {
        let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '+' | '"' | '\\');
        if origin.is_empty() || origin.len() > 128 || !origin.chars().all(fits) {
            return Err(SecretFileError::Invalid(
                "the log's origin must be 1 to 128 visible characters without + \" \\",
            ));
        }
        Ok(())
    }

    /// Creates a new seed in a new file. `origin` is the first line of checkpoints, such as `gateway.example/log`.
    ///
    /// # Errors
    /// [`SecretFileError::Exists`] when the file exists; [`SecretFileError::Invalid`] for an origin that is not valid in a
    /// checkpoint.
    pub fn create(path: &Path, origin: &str, fill: FillRandom<'_>) -> Result<Self, SecretFileError> {
        let text = to_toml(origin, "", fill)?;
        let key = parse(&text)?;
        secret_file::create(path, &text)?;
        Ok(key)
    }

    /// Replaces the key of the old log by that of a new one. The old seed is lost. `replaced` holds the public keys of
    /// the logs that the new one replaces.
    ///
    /// # Errors
    /// Errors of [`Self::create`] and [`Self::load`].
    pub fn replace(
        path: &Path,
        origin: &str,
        replaced: &str,
        fill: FillRandom<'_>,
    ) -> Result<Self, SecretFileError> {
        parse(&secret_file::replace(path, |_| to_toml(origin, replaced, fill))?)
    }

    /// Loads the key from its file.
    ///
    /// # Errors
    /// [`SecretFileError::Exposed`] unless only the owner can read the file; otherwise the fault of the file.
    pub fn load(path: &Path) -> Result<Self, SecretFileError> {
        parse(&secret_file::read(path)?)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// The fault of the text.
    pub fn parse(text: &str) -> Result<Self, SecretFileError> {
        parse(text)
    }

    /// Returns the name of the log: the first line of its checkpoints, and the name of its signatures.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the public keys of the logs that this one replaced; empty when there are none.
    #[must_use]
    pub fn replaced_keys(&self) -> &str {
        &self.replaced_keys
    }

    /// Returns the Ed25519 seed (RFC 8032 private key), for `tlog`'s signer only.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

impl fmt::Debug for LogSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSigningKey").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Returns the text of a file with a new seed.
fn to_toml(origin: &str, replaced: &str, fill: FillRandom<'_>) -> Result<Zeroizing<String>, SecretFileError> {
    LogSigningKey::check_origin(origin)?;
    let mut seed = Zeroizing::new([0; 32]);
    fill(&mut seed[..]);
    let replaced = match replaced.trim() {
        "" => String::new(),
        keys => format!("replaced = \"{keys}\"\n"),
    };
    let seed = secret_file::secret_text(&seed);
    Ok(Zeroizing::new(format!("{FILE_HEADER}\norigin = \"{origin}\"\n{replaced}seed = \"{}\"\n", *seed)))
}

fn parse(text: &str) -> Result<LogSigningKey, SecretFileError> {
    let file: SigningFile = toml::from_str(text).map_err(|error| secret_file::malformed(text, &error))?;
    LogSigningKey::check_origin(&file.origin)?;
    let seed = secret_file::secret_bytes(&file.seed)?;
    Ok(LogSigningKey { origin: file.origin.clone(), replaced_keys: file.replaced.clone(), seed })
}
