//! The private key of a log, which signs its notes.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::log_key_history::LogKeyHistory;
use super::note::{NoteError, Verifier};

/// A private note key.
#[derive(Clone)]
pub struct Signer {
    verifier: Verifier,
    key_history: LogKeyHistory,
    key_pair: Arc<Ed25519KeyPair>,
}

impl Signer {
    /// Makes the key of a 32-byte Ed25519 seed.
    ///
    /// # Errors
    /// [`NoteError::Key`] for a name that is not valid in a note.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Key)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Key)?;
        let verifier = Verifier::new(name, public)?;
        Ok(Self { key_history: verifier.clone().into(), verifier, key_pair: Arc::new(pair) })
    }

    /// Makes the key of a log that replaced others. `replaced` lists them in the format of [`LogKeyHistory::prefix_for_next`].
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn with_replaced_logs(self, replaced: &str) -> Result<Self, NoteError> {
        Ok(Self { key_history: LogKeyHistory::parse(&format!("{replaced} {}", self.verifier))?, ..self })
    }

    /// Returns the keys of this log and of those that it replaced.
    #[must_use]
    pub fn key_history(&self) -> &LogKeyHistory {
        &self.key_history
    }

    /// Returns the public key.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs text that ends with a newline.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key_pair.sign(text.as_bytes());
        self.verifier.signed_note(text, signature.as_ref())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}
