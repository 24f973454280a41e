//! C2SP signed notes with Ed25519: text that ends with a newline, an empty line, then signature lines
//! `— <name> <base64(key id ‖ signature)>`. Lines of unknown keys are passed over, so that others can sign too.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::hash;
use super::lineage::Lineage;

/// The algorithm byte of Ed25519.
const ED25519_KEY: u8 = 0x01;
/// Longest note that is read, in bytes.
const LONGEST: usize = 64 * 1024;
/// Most signature lines that are read.
const SIGNATURES: usize = 16;

/// Why a note or a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of a note.
    #[error("not a signed note")]
    Malformed,
    /// No line is a signature of the known key.
    #[error("the note is not signed by this key")]
    Unsigned,
    /// The line of the known key does not verify.
    #[error("the note's signature is wrong")]
    Signature,
    /// A key's name or encoding is wrong.
    #[error("not a note key")]
    Key,
}

/// A private note key.
#[derive(Clone)]
pub struct Signer {
    verifier: Verifier,
    lineage: Lineage,
    pair: Arc<Ed25519KeyPair>,
}

/// A public note key.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl Signer {
    /// The key of a 32-byte Ed25519 seed.
    ///
    /// # Errors
    /// [`NoteError::Key`] for a name that a note cannot carry.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Key)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Key)?;
        let verifier = Verifier::new(name, public)?;
        Ok(Self { lineage: verifier.clone().into(), verifier, pair: Arc::new(pair) })
    }

    /// The same of a log that replaced others, which are told as [`Lineage::before`] tells them.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn after(self, replaced: &str) -> Result<Self, NoteError> {
        Ok(Self { lineage: Lineage::parse(&format!("{replaced} {}", self.verifier))?, ..self })
    }

    /// The keys of this log and of those that it replaced.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs text that ends with a newline.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let line = [&self.verifier.id[..], signature.as_ref()].concat();
        format!("{text}\n\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(line))
    }
}

impl Verifier {
    fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        let plain = |letter: char| !letter.is_whitespace() && letter != '+' && !letter.is_control();
        if name.is_empty() || name.len() > 255 || !name.chars().all(plain) {
            return Err(NoteError::Key);
        }
        let digest = hash::of(&[name.as_bytes(), b"\n", &[ED25519_KEY], &public]);
        let id = digest.as_bytes().first_chunk::<4>().ok_or(NoteError::Key)?;
        Ok(Self { name: name.to_owned(), id: *id, public })
    }

    /// Reads `<name>+<key id>+<base64(algorithm ‖ public key)>`.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let key = STANDARD.decode(parts.next().unwrap_or_default()).map_err(|_| NoteError::Key)?;
        let Some((&ED25519_KEY, public)) = key.split_first() else {
            return Err(NoteError::Key);
        };
        let verifier = Self::new(name, public.try_into().map_err(|_| NoteError::Key)?)?;
        if hex(verifier.id) != id {
            return Err(NoteError::Key);
        }
        Ok(verifier)
    }

    /// The key's name: for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key signed, with its last newline.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open(&self, note: &str) -> Result<String, NoteError> {
        if note.len() > LONGEST || note.chars().any(|letter| letter.is_control() && letter != '\n') {
            return Err(NoteError::Malformed);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let text = format!("{text}\n");
        let mut verified = false;
        for (number, line) in lines.split('\n').enumerate() {
            if number == SIGNATURES {
                return Err(NoteError::Malformed);
            }
            let line = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
            let (name, signature) = line.ok_or(NoteError::Malformed)?;
            let signature = STANDARD.decode(signature).map_err(|_| NoteError::Malformed)?;
            let (id, signature) = signature.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
            if name == self.name && *id == self.id {
                let key = UnparsedPublicKey::new(&ED25519, &self.public);
                key.verify(text.as_bytes(), signature).map_err(|_| NoteError::Signature)?;
                verified = true;
            }
        }
        if verified { Ok(text) } else { Err(NoteError::Unsigned) }
    }
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_KEY][..], &self.public].concat();
        write!(f, "{}+{}+{}", self.name, hex(self.id), STANDARD.encode(key))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}
