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

/// The log's name and the seed of its Ed25519 key; and the public keys of the logs that it replaced.
pub struct LogSigningKey {
    origin: String,
    replaced: String,
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
    /// Makes a new seed in a new file. `origin` is the checkpoint's first line, such as `gateway.example/log`.
    ///
    /// # Errors
    /// [`FileError::Exists`] when the file is there; [`FileError::Invalid`] for an origin that no checkpoint takes.
    pub fn create(path: &Path, origin: &str, fill: Fill<'_>) -> Result<Self, FileError> {
        let text = compose(origin, "", fill)?;
        let key = parse(&text)?;
        secret_file::create(path, &text)?;
        Ok(key)
    }

    /// Puts the key of a new log in the place of the old one, whose seed is gone then; `replaced` tells the public
    /// keys of the logs that it replaces.
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::load`].
    pub fn replace(path: &Path, origin: &str, replaced: &str, fill: Fill<'_>) -> Result<Self, FileError> {
        parse(&secret_file::replace(path, |_| compose(origin, replaced, fill))?)
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

    /// The logs that this one replaced, with their public keys; empty where there are none.
    #[must_use]
    pub fn replaced(&self) -> &str {
        &self.replaced
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

/// The text of a file with a new seed.
fn compose(origin: &str, replaced: &str, fill: Fill<'_>) -> Result<Zeroizing<String>, FileError> {
    check_origin(origin)?;
    let mut seed = Zeroizing::new([0; 32]);
    fill(&mut seed[..]);
    let replaced = match replaced.trim() {
        "" => String::new(),
        keys => format!("replaced = \"{keys}\"\n"),
    };
    let seed = secret_file::secret_text(&seed);
    Ok(Zeroizing::new(format!("{HEADING}\norigin = \"{origin}\"\n{replaced}seed = \"{}\"\n", *seed)))
}

fn parse(text: &str) -> Result<LogSigningKey, FileError> {
    let file: SigningFile = toml::from_str(text).map_err(|error| secret_file::malformed(text, &error))?;
    check_origin(&file.origin)?;
    let seed = secret_file::secret_bytes(&file.seed)?;
    Ok(LogSigningKey { origin: file.origin.clone(), replaced: file.replaced.clone(), seed })
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
