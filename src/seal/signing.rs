//! The log's signing key: origin and Ed25519 seed, in a file of its own beside the key ring.
//!
//! A file of its own because `audit verify` on a copy takes the key ring and must not be able to sign, and
//! because rotating the ring must not touch the log's identity. Outside the database, so that who can rewrite
//! rows cannot sign a rewritten log. It must never show the seed. Signing itself is `tlog`'s.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Fill;
use super::secret_file::{self, FileError};

const HEADING: &str = "\
# Signing key of ap-gateway's log. Whoever reads it can sign a false history.
# Mode 0600, outside the data folder; back it up apart from the data.
";

/// The log's name and the seed of its Ed25519 key.
pub struct LogSigningKey {
    origin: String,
    seed: Zeroizing<[u8; 32]>,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct SigningFile {
    origin: String,
    seed: String,
}

impl LogSigningKey {
    /// Makes a new seed in a new file. `origin` is the checkpoint's first line, such as `gateway.example/log`.
    ///
    /// # Errors
    /// [`FileError::Exists`] when the file is there; [`FileError::Invalid`] for an origin that no checkpoint takes.
    pub fn create(path: &Path, origin: &str, fill: Fill<'_>) -> Result<Self, FileError> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(&mut seed[..]);
        let text = Zeroizing::new(format!(
            "{HEADING}\norigin = \"{origin}\"\nseed = \"{}\"\n",
            *secret_file::secret_text(&seed)
        ));
        check_origin(origin)?;
        let key = parse(&text)?;
        secret_file::create(path, &text)?;
        Ok(key)
    }

    /// Reads the key from its file.
    ///
    /// # Errors
    /// [`FileError::Exposed`] unless only its owner can read it; otherwise what is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        parse(&secret_file::read(path)?)
    }

    /// The log's name: first line of its checkpoints, name of its signatures.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The Ed25519 seed (RFC 8032 private key), for `tlog`'s signer only.
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

fn parse(text: &str) -> Result<LogSigningKey, FileError> {
    let file: SigningFile = toml::from_str(text).map_err(|error| secret_file::malformed(text, &error))?;
    check_origin(&file.origin)?;
    Ok(LogSigningKey { origin: file.origin.clone(), seed: secret_file::secret_bytes(&file.seed)? })
}

/// A signed note's key name has no spaces and no plus sign (C2SP signed-note); quotes would break the file.
fn check_origin(origin: &str) -> Result<(), FileError> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '+' | '"' | '\\');
    if origin.is_empty() || origin.len() > 128 || !origin.chars().all(fits) {
        return Err(FileError::Invalid(
            "the log's origin must be 1 to 128 visible characters without + \" \\",
        ));
    }
    Ok(())
}
