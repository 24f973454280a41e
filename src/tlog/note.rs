//! Signed notes with Ed25519 (C2SP signed-note): text that ends with a newline, an empty line, then signature lines
//! `— <name> <base64(key id ‖ signature)>`. Lines of unknown keys are ignored, so that others, such as witnesses, can
//! sign too.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::hash;

/// The algorithm byte of Ed25519.
const ED25519_ALGORITHM: u8 = 0x01;
/// Maximum size of a note, in bytes.
const MAX_NOTE_BYTES: usize = 64 * 1024;
/// Maximum number of signature lines of a note.
const MAX_SIGNATURE_LINES: usize = 16;

/// An error of a note or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is not in the format of a note.
    #[error("not a signed note")]
    Malformed,
    /// No signature line is of the given key.
    #[error("the note is not signed by this key")]
    Unsigned,
    /// The signature of the given key does not verify.
    #[error("the note's signature is wrong")]
    Signature,
    /// A key's name or encoding is wrong.
    #[error("not a note key")]
    Key,
}

/// A public note key.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl Verifier {
    /// Makes the public key; its id is derived from the name and the key.
    pub(super) fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        let plain = |letter: char| !letter.is_whitespace() && letter != '+' && !letter.is_control();
        if name.is_empty() || name.len() > 255 || !name.chars().all(plain) {
            return Err(NoteError::Key);
        }
        let digest = hash::sha256(&[name.as_bytes(), b"\n", &[ED25519_ALGORITHM], &public]);
        let id = digest.as_bytes().first_chunk::<4>().ok_or(NoteError::Key)?;
        Ok(Self { name: name.to_owned(), id: *id, public })
    }

    /// Parses a verifier key: `<name>+<key id>+<base64(algorithm ‖ public key)>`.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let key = STANDARD.decode(parts.next().unwrap_or_default()).map_err(|_| NoteError::Key)?;
        let Some((&ED25519_ALGORITHM, public)) = key.split_first() else {
            return Err(NoteError::Key);
        };
        let verifier = Self::new(name, public.try_into().map_err(|_| NoteError::Key)?)?;
        if hex_key_id(verifier.id) != id {
            return Err(NoteError::Key);
        }
        Ok(verifier)
    }

    /// Returns the key's name: a log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key's id, 8 hexadecimal digits.
    #[must_use]
    pub fn key_id(&self) -> String {
        hex_key_id(self.id)
    }

    /// Returns the note of a text with this key's signature.
    pub(super) fn signed_note(&self, text: &str, signature: &[u8]) -> String {
        let line = [&self.id[..], signature].concat();
        format!("{text}\n\u{2014} {} {}\n", self.name, STANDARD.encode(line))
    }

    /// Verifies a note that this key signed, and returns its text, including the final newline.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open(&self, note: &str) -> Result<String, NoteError> {
        if note.len() > MAX_NOTE_BYTES || note.chars().any(|letter| letter.is_control() && letter != '\n') {
            return Err(NoteError::Malformed);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let text = format!("{text}\n");
        let mut verified = false;
        for (number, line) in lines.split('\n').enumerate() {
            if number == MAX_SIGNATURE_LINES {
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

fn hex_key_id(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_ALGORITHM][..], &self.public].concat();
        write!(f, "{}+{}+{}", self.name, self.key_id(), STANDARD.encode(key))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
