//! Sealing of what belongs to an organisation and to no child: salts of receipts, free text about no child.
//!
//! The key is derived from the ring by the organisation's name, so there is none to store; the sealed bytes name
//! the ring's key, so any key of the ring opens them. It must never seal a child's data, which has to be
//! shreddable: that is `child.rs`.

use std::fmt;

use aws_lc_rs::aead::LessSafeKey;

use super::envelope::{self, Column};
use super::ring::{KeyRing, RingKey};
use super::{Fill, SealError, hkdf};

/// First byte of a value sealed for an organisation.
const VERSION: u8 = 2;

/// One organisation's key under the ring's active key; keep it for as many values as there are.
pub struct OrganisationKey {
    organisation: String,
    kek_id: u32,
    cipher: LessSafeKey,
}

impl OrganisationKey {
    /// Derives the sealing key of an organisation (`la/330`).
    ///
    /// # Errors
    /// [`SealError::Library`] only.
    pub fn derive(ring: &KeyRing, organisation: &str) -> Result<Self, SealError> {
        Self::under(ring.active(), organisation)
    }

    /// Seals one value: version ‖ key id (4 bytes) ‖ nonce ‖ ciphertext ‖ tag, 33 bytes more than the plaintext.
    ///
    /// # Errors
    /// [`SealError::Library`] only.
    pub fn seal(&self, at: Column<'_>, plaintext: &[u8], fill: Fill<'_>) -> Result<Vec<u8>, SealError> {
        let [a, b, c, d] = self.kek_id.to_be_bytes();
        envelope::close(&self.cipher, &[VERSION, a, b, c, d], &self.place(at), plaintext, fill)
    }

    /// Opens one value of an organisation, whichever key of the ring it was sealed under.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`], [`SealError::Refused`] or [`SealError::Format`].
    pub fn open(
        ring: &KeyRing,
        organisation: &str,
        at: Column<'_>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let Some(([VERSION, id @ ..], body)) = sealed.split_first_chunk::<5>() else {
            return Err(SealError::Format);
        };
        let key = Self::under(ring.key(u32::from_be_bytes(*id))?, organisation)?;
        envelope::open(&key.cipher, &key.place(at), body)
    }

    fn under(kek: &RingKey, organisation: &str) -> Result<Self, SealError> {
        let key = hkdf::expand(&kek.organisations, &[organisation.as_bytes()]);
        Ok(Self { organisation: organisation.to_owned(), kek_id: kek.id(), cipher: envelope::cipher(&key)? })
    }

    fn place(&self, at: Column<'_>) -> Vec<u8> {
        envelope::join(&[
            b"ap-gateway organisation v1",
            self.organisation.as_bytes(),
            &self.kek_id.to_be_bytes(),
            at.table.as_bytes(),
            at.row,
            at.column.as_bytes(),
        ])
    }
}

impl fmt::Debug for OrganisationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrganisationKey").field("kek_id", &self.kek_id).finish_non_exhaustive()
    }
}
