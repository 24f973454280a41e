//! Sealing of data that belongs to an organisation and not to a child: salts of receipts, and free text that is not
//! about a child.
//!
//! The key is derived from the ring and the organisation's id, so none is stored. The sealed bytes name the ring's key,
//! so a value opens under any key of the ring. Invariant: a child's data is never sealed here, because it must be
//! shreddable; `child.rs` seals it.

use std::fmt;

use aws_lc_rs::aead::LessSafeKey;

use super::envelope::{self, ColumnAddress};
use super::key_ring::{KeyRing, RingKey};
use super::{FillRandom, SealError, hkdf};

/// Format version: first byte of a value sealed for an organisation.
const VALUE_FORMAT: u8 = 2;

/// Key of one organisation, derived from the ring's active key. Reuse it for several values.
pub struct OrganisationKey {
    organisation: String,
    kek_id: u32,
    cipher: LessSafeKey,
}

impl OrganisationKey {
    /// Derives the sealing key of an organisation (`la/330`).
    ///
    /// # Errors
    /// [`SealError::CryptoLibrary`] only.
    pub fn derive(ring: &KeyRing, organisation: &str) -> Result<Self, SealError> {
        Self::derive_under(ring.active(), organisation)
    }

    /// Seals one value to version ‖ key id (4 bytes) ‖ nonce ‖ ciphertext ‖ tag, 33 bytes more than the plaintext.
    ///
    /// # Errors
    /// [`SealError::CryptoLibrary`] only.
    pub fn seal(
        &self,
        address: ColumnAddress<'_>,
        plaintext: &[u8],
        fill: FillRandom<'_>,
    ) -> Result<Vec<u8>, SealError> {
        let [a, b, c, d] = self.kek_id.to_be_bytes();
        envelope::seal(&self.cipher, &[VALUE_FORMAT, a, b, c, d], &self.aad(address), plaintext, fill)
    }

    /// Opens one value of an organisation that was sealed under any key of the ring.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`], [`SealError::AuthenticationFailed`] or [`SealError::UnknownFormat`].
    pub fn open(
        ring: &KeyRing,
        organisation: &str,
        address: ColumnAddress<'_>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let Some(([VALUE_FORMAT, id @ ..], body)) = sealed.split_first_chunk::<5>() else {
            return Err(SealError::UnknownFormat);
        };
        let key = Self::derive_under(ring.key(u32::from_be_bytes(*id))?, organisation)?;
        envelope::open(&key.cipher, &key.aad(address), body)
    }

    /// Returns the id of the ring's key that sealed a value; `None` if the bytes are no sealed value.
    #[must_use]
    pub fn key_id(sealed: &[u8]) -> Option<u32> {
        match sealed.split_first_chunk::<5>() {
            Some(([VALUE_FORMAT, id @ ..], _)) => Some(u32::from_be_bytes(*id)),
            _ => None,
        }
    }

    fn derive_under(kek: &RingKey, organisation: &str) -> Result<Self, SealError> {
        let key = hkdf::expand(&kek.organisation_kdf, &[organisation.as_bytes()]);
        Ok(Self { organisation: organisation.to_owned(), kek_id: kek.id(), cipher: envelope::cipher(&key)? })
    }

    fn aad(&self, address: ColumnAddress<'_>) -> Vec<u8> {
        envelope::length_prefixed(&[
            b"ap-gateway organisation v1",
            self.organisation.as_bytes(),
            &self.kek_id.to_be_bytes(),
            address.table.as_bytes(),
            address.row,
            address.column.as_bytes(),
        ])
    }
}

impl fmt::Debug for OrganisationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrganisationKey").field("kek_id", &self.kek_id).finish_non_exhaustive()
    }
}
