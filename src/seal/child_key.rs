//! Key of a child: one for each (sender organisation, child), wrapped by the key ring. Destroying it shreds the data.
//!
//! Owns wrapping, the sealing of the columns that hold a sender's data about a child, and the salts of the log's leaves
//! about that child. The wrapped key is the only stored copy. Deleting it erases the sender's records of that child,
//! except in earlier backups: the erasure is complete when the last such backup is deleted. Invariant: a key is never
//! printed. Serves reliability T32.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::envelope::{self, ColumnAddress, OVERHEAD};
use super::key_ring::KeyRing;
use super::{FillRandom, SealError, hkdf};

/// Size of a wrapped key in bytes: nonce, 32 bytes, tag.
pub const WRAPPED_BYTES: usize = OVERHEAD + 32;

/// Format version: first byte of a sealed column.
const COLUMN_FORMAT: u8 = 1;

/// Key for the data of one sender about one child.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ChildKey([u8; 32]);

/// Wrapped key of a child, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Id of the ring's key that unwraps it.
    pub kek_id: u32,
    /// Nonce ‖ ciphertext ‖ tag.
    pub bytes: [u8; WRAPPED_BYTES],
}

impl ChildKey {
    /// Creates a random key.
    #[must_use]
    pub fn new(fill: FillRandom<'_>) -> Self {
        let mut key = Self([0; 32]);
        fill(&mut key.0);
        key
    }

    /// Wraps the key under the ring's active key, with sender and child as additional authenticated data.
    ///
    /// # Errors
    /// [`SealError::CryptoLibrary`] only.
    pub fn wrap(
        &self,
        ring: &KeyRing,
        sender: &str,
        child: &[u8; 16],
        fill: FillRandom<'_>,
    ) -> Result<WrappedKey, SealError> {
        let kek = ring.active();
        let sealed = Zeroizing::new(envelope::seal(
            &kek.wrapping_cipher,
            &[],
            &key_aad(sender, child, kek.id()),
            &self.0,
            fill,
        )?);
        let bytes = sealed.as_slice().try_into().map_err(|_| SealError::CryptoLibrary)?;
        Ok(WrappedKey { kek_id: kek.id(), bytes })
    }

    /// Seals one column: version ‖ nonce ‖ ciphertext ‖ tag, 29 bytes more than the plaintext.
    ///
    /// # Errors
    /// [`SealError::CryptoLibrary`] only.
    pub fn seal(
        &self,
        address: ColumnAddress<'_>,
        plaintext: &[u8],
        fill: FillRandom<'_>,
    ) -> Result<Vec<u8>, SealError> {
        envelope::seal(&envelope::cipher(&self.0)?, &[COLUMN_FORMAT], &column_aad(address), plaintext, fill)
    }

    /// Opens one column that was sealed with this key.
    ///
    /// # Errors
    /// [`SealError::AuthenticationFailed`] unless key, address and bytes are those of the sealing; [`SealError::UnknownFormat`].
    pub fn open(&self, address: ColumnAddress<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        match sealed.split_first() {
            Some((&COLUMN_FORMAT, body)) => {
                envelope::open(&envelope::cipher(&self.0)?, &column_aad(address), body)
            }
            _ => Err(SealError::UnknownFormat),
        }
    }

    /// Returns the salt of this child's leaf in the entry of one exchange: HKDF-SHA256(secret: the key, salt: none,
    /// info: `ap-gateway leaf salt v1` ‖ exchange id), 32 bytes.
    #[must_use]
    pub fn leaf_salt(&self, exchange_id: &[u8; 16]) -> [u8; 32] {
        *hkdf::expand(&hkdf::extract(&[], &self.0), &[b"ap-gateway leaf salt v1", exchange_id])
    }

    /// Returns the check value of the key: HKDF-SHA256(secret: the key, salt: none, info: `ap-gateway key check v1`), 32
    /// bytes. It is stored beside the wrapped key and reveals nothing about it; a wrapped key that opens to another value
    /// is not the one that was made.
    #[must_use]
    pub fn check_value(&self) -> [u8; 32] {
        *hkdf::expand(&hkdf::extract(&[], &self.0), &[b"ap-gateway key check v1"])
    }
}

impl WrappedKey {
    /// Builds a wrapped key from the two columns of a row.
    ///
    /// # Errors
    /// [`SealError::UnknownFormat`] unless there are [`WRAPPED_BYTES`] bytes.
    pub fn from_row(kek_id: u32, bytes: &[u8]) -> Result<Self, SealError> {
        Ok(Self { kek_id, bytes: bytes.try_into().map_err(|_| SealError::UnknownFormat)? })
    }

    /// Unwraps the key of this sender and child.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] without the ring's key; [`SealError::AuthenticationFailed`] for another sender or child.
    pub fn unwrap(&self, ring: &KeyRing, sender: &str, child: &[u8; 16]) -> Result<ChildKey, SealError> {
        let kek = ring.key(self.kek_id)?;
        let plain = Zeroizing::new(envelope::open(
            &kek.wrapping_cipher,
            &key_aad(sender, child, self.kek_id),
            &self.bytes,
        )?);
        let mut key = ChildKey([0; 32]);
        if plain.len() != key.0.len() {
            return Err(SealError::UnknownFormat);
        }
        key.0.copy_from_slice(&plain);
        Ok(key)
    }

    /// Wraps the same key under the ring's active key; `None` when it already is. Data that the key sealed is
    /// unchanged.
    ///
    /// # Errors
    /// Errors of [`WrappedKey::unwrap`].
    pub fn rewrap(
        &self,
        ring: &KeyRing,
        sender: &str,
        child: &[u8; 16],
        fill: FillRandom<'_>,
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

fn key_aad(sender: &str, child: &[u8; 16], kek_id: u32) -> Vec<u8> {
    envelope::length_prefixed(&[b"ap-gateway child key v1", sender.as_bytes(), child, &kek_id.to_be_bytes()])
}

fn column_aad(address: ColumnAddress<'_>) -> Vec<u8> {
    envelope::length_prefixed(&[
        b"ap-gateway column v1",
        address.table.as_bytes(),
        address.row,
        address.column.as_bytes(),
    ])
}
