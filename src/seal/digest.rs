//! Keyed digests: of a request's bytes, for idempotency, and of a practitioner, for the audit entry.
//!
//! Owns HMAC-SHA256 under a sub-key of the ring, with the key's id beside it, so that a rotated key goes on
//! checking what it made. It must never be made without a key: a plain hash of a request could be guessed.

use aws_lc_rs::hmac;

use super::ring::{KeyRing, RingKey};
use super::{SealError, envelope, hkdf};

/// HMAC-SHA256 and the id of the ring's key that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyedDigest {
    /// The ring's key.
    pub key_id: u32,
    /// The HMAC.
    pub tag: [u8; 32],
}

impl KeyedDigest {
    /// Bytes as it is stored.
    pub const BYTES: usize = 36;

    /// Key id, then HMAC: as it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.key_id.to_be_bytes()[..], &self.tag].concat()
    }

    /// From what is stored; `None` unless there are 36 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, tag) = bytes.split_first_chunk::<4>()?;
        Some(Self { key_id: u32::from_be_bytes(*id), tag: tag.try_into().ok()? })
    }
}

impl KeyRing {
    /// The digest of a request's bytes as received, to keep beside its reply.
    #[must_use]
    pub fn request_digest(&self, request: &[u8]) -> KeyedDigest {
        make(self.active(), &self.active().requests, request)
    }

    /// Whether these bytes are those of a kept digest.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] when its key has left the ring.
    pub fn is_same_request(&self, kept: &KeyedDigest, request: &[u8]) -> Result<bool, SealError> {
        Ok(hmac::verify(&self.key(kept.key_id)?.requests, request, &kept.tag).is_ok())
    }

    /// The digest that is kept of a delivery's content as it was sent.
    #[must_use]
    pub fn delivery_digest(&self, delivery: &[u8]) -> KeyedDigest {
        make(self.active(), &self.active().deliveries, delivery)
    }

    /// The digests to look a delivery's content up by: one for each key of the ring, newest first.
    #[must_use]
    pub fn delivery_digests(&self, delivery: &[u8]) -> Vec<KeyedDigest> {
        self.keys().map(|key| make(key, &key.deliveries, delivery)).collect()
    }

    /// The digest that an entry holds in the place of a practitioner's issuer and subject.
    #[must_use]
    pub fn practitioner_digest(&self, issuer: &str, subject: &str) -> KeyedDigest {
        make(self.active(), &self.active().practitioners, &practitioner(issuer, subject))
    }

    /// The digests to look a practitioner up by: one for each key of the ring, newest first.
    #[must_use]
    pub fn practitioner_digests(&self, issuer: &str, subject: &str) -> Vec<KeyedDigest> {
        let who = practitioner(issuer, subject);
        self.keys().map(|key| make(key, &key.practitioners, &who)).collect()
    }
}

fn make(key: &RingKey, purpose: &hmac::Key, message: &[u8]) -> KeyedDigest {
    KeyedDigest { key_id: key.id(), tag: hkdf::tag_bytes(&hmac::sign(purpose, message)) }
}

fn practitioner(issuer: &str, subject: &str) -> Vec<u8> {
    envelope::join(&[issuer.as_bytes(), subject.as_bytes()])
}
