//! A child's key: one for each (sender organisation, child), wrapped by the key ring, destroyed to shred.
//!
//! Owns wrapping, the sealing of the columns that hold what a sender wrote about a child, and the salts of the
//! log's leaves about that child. The wrapped key is the only stored copy: deleting it erases the child's records
//! of that sender (a backup made earlier still holds it, so it ends with the last such backup). A key must never
//! be shown. Serves reliability T32.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::envelope::{self, Column, OVERHEAD};
use super::ring::KeyRing;
use super::{Fill, SealError, hkdf};

/// Bytes of a wrapped key: nonce, 32 bytes, tag.
pub const WRAPPED_BYTES: usize = OVERHEAD + 32;

/// First byte of a sealed column.
const VERSION: u8 = 1;

/// The key to what one sender wrote about one child.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ChildKey([u8; 32]);

/// A child's key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The key of the ring that opens it.
    pub kek_id: u32,
    /// Nonce ‖ ciphertext ‖ tag.
    pub bytes: [u8; WRAPPED_BYTES],
}

impl ChildKey {
    /// A new random key.
    #[must_use]
    pub fn new(fill: Fill<'_>) -> Self {
        let mut key = Self([0; 32]);
        fill(&mut key.0);
        key
    }

    /// Wraps the key under the ring's active key, bound to sender and child.
    ///
    /// # Errors
    /// [`SealError::Library`] only.
    pub fn wrap(
        &self,
        ring: &KeyRing,
        sender: &str,
        child: &[u8; 16],
        fill: Fill<'_>,
    ) -> Result<WrappedKey, SealError> {
        let kek = ring.active();
        let sealed = Zeroizing::new(envelope::close(
            &kek.wrapping,
            &[],
            &place(sender, child, kek.id()),
            &self.0,
            fill,
        )?);
        let bytes = sealed.as_slice().try_into().map_err(|_| SealError::Library)?;
        Ok(WrappedKey { kek_id: kek.id(), bytes })
    }

    /// Seals one column: version ‖ nonce ‖ ciphertext ‖ tag, 29 bytes more than the plaintext.
    ///
    /// # Errors
    /// [`SealError::Library`] only.
    pub fn seal(&self, at: Column<'_>, plaintext: &[u8], fill: Fill<'_>) -> Result<Vec<u8>, SealError> {
        envelope::close(&envelope::cipher(&self.0)?, &[VERSION], &column(at), plaintext, fill)
    }

    /// Opens one column.
    ///
    /// # Errors
    /// [`SealError::Refused`] unless key, place and bytes are those of the sealing; [`SealError::Format`].
    pub fn open(&self, at: Column<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        match sealed.split_first() {
            Some((&VERSION, body)) => envelope::open(&envelope::cipher(&self.0)?, &column(at), body),
            _ => Err(SealError::Format),
        }
    }

    /// The salt of this child's leaf in one exchange's entry:
    /// HKDF-SHA256(secret: the key, salt: none, info: `ap-gateway leaf salt v1` ‖ exchange id), 32 bytes.
    #[must_use]
    pub fn leaf_salt(&self, exchange_id: &[u8; 16]) -> [u8; 32] {
        *hkdf::expand(&hkdf::extract(&[], &self.0), &[b"ap-gateway leaf salt v1", exchange_id])
    }
}

impl WrappedKey {
    /// From a row's two columns.
    ///
    /// # Errors
    /// [`SealError::Format`] unless there are [`WRAPPED_BYTES`] bytes.
    pub fn from_row(kek_id: u32, bytes: &[u8]) -> Result<Self, SealError> {
        Ok(Self { kek_id, bytes: bytes.try_into().map_err(|_| SealError::Format)? })
    }

    /// Unwraps the key of this sender and child.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] without the ring's key; [`SealError::Refused`] for another sender or child.
    pub fn unwrap(&self, ring: &KeyRing, sender: &str, child: &[u8; 16]) -> Result<ChildKey, SealError> {
        let kek = ring.key(self.kek_id)?;
        let plain =
            Zeroizing::new(envelope::open(&kek.wrapping, &place(sender, child, self.kek_id), &self.bytes)?);
        let mut key = ChildKey([0; 32]);
        if plain.len() != key.0.len() {
            return Err(SealError::Format);
        }
        key.0.copy_from_slice(&plain);
        Ok(key)
    }

    /// The same key under the ring's active key, or `None` when it is already; what it sealed stays as it is.
    ///
    /// # Errors
    /// Those of [`WrappedKey::unwrap`].
    pub fn rewrap(
        &self,
        ring: &KeyRing,
        sender: &str,
        child: &[u8; 16],
        fill: Fill<'_>,
    ) -> Result<Option<Self>, SealError> {
        if self.kek_id == ring.active().id() {
            return Ok(None);
        }
        self.unwrap(ring, sender, child)?.wrap(ring, sender, child, fill).map(Some)
    }
}

impl fmt::Debug for ChildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildKey(redacted)")
    }
}

fn place(sender: &str, child: &[u8; 16], kek_id: u32) -> Vec<u8> {
    envelope::join(&[b"ap-gateway child key v1", sender.as_bytes(), child, &kek_id.to_be_bytes()])
}

fn column(at: Column<'_>) -> Vec<u8> {
    envelope::join(&[b"ap-gateway column v1", at.table.as_bytes(), at.row, at.column.as_bytes()])
}
