//! Keyed digests (HMAC-SHA256) of requests for idempotency, of deliveries, and of practitioners for the audit entry.
//!
//! Each digest names the ring's key that made it, so that digests made before a key rotation can still be verified.
//! Invariant: a digest is never made without a key, because a plain hash of a request could be guessed.

use aws_lc_rs::hmac;

use super::key_ring::{KeyRing, RingKey};
use super::{SealError, envelope, hkdf};

/// HMAC-SHA256, with the id of the ring's key that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyedDigest {
    /// Id of the ring's key.
    pub key_id: u32,
    /// The HMAC.
    pub tag: [u8; 32],
}

impl KeyedDigest {
    /// Size in bytes, as stored.
    pub const BYTES: usize = 36;

    /// Returns the stored form: key id, then HMAC.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.key_id.to_be_bytes()[..], &self.tag].concat()
    }

    /// Decodes the stored form; `None` unless there are 36 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, tag) = bytes.split_first_chunk::<4>()?;
        Some(Self { key_id: u32::from_be_bytes(*id), tag: tag.try_into().ok()? })
    }
}

impl KeyRing {
    /// Returns the digest of a request's bytes as received. It is stored beside the reply.
    #[must_use]
    pub fn request_digest(&self, request: &[u8]) -> KeyedDigest {
        digest_under(self.active(), &self.active().request_mac, request)
    }

    /// Returns whether these bytes are those of a stored digest.
    ///
    /// # Errors
    /// [`SealError::KeyMissing`] when the ring no longer has the digest's key.
    pub fn is_same_request(&self, stored: &KeyedDigest, request: &[u8]) -> Result<bool, SealError> {
        Ok(hmac::verify(&self.key(stored.key_id)?.request_mac, request, &stored.tag).is_ok())
    }

    /// Returns the digest of a delivery's content as sent. It is stored.
    #[must_use]
    pub fn delivery_digest(&self, delivery: &[u8]) -> KeyedDigest {
        digest_under(self.active(), &self.active().delivery_mac, delivery)
    }

    /// Returns the digests by which a delivery's content is looked up: one for each key of the ring, newest first.
    #[must_use]
    pub fn delivery_digests(&self, delivery: &[u8]) -> Vec<KeyedDigest> {
        self.keys().map(|key| digest_under(key, &key.delivery_mac, delivery)).collect()
    }

    /// Returns the pseudonyms that an organisation's entries may hold for a person: one for each key of the ring, the
    /// active one first. Another organisation's pseudonyms of the same person differ.
    #[must_use]
    pub fn practitioner_digests(&self, organisation: &str, issuer: &str, subject: &str) -> Vec<KeyedDigest> {
        let message = envelope::length_prefixed(&[issuer.as_bytes(), subject.as_bytes()]);
        let active = self.active().id();
        let others = self.keys().filter(|key| key.id() != active);
        let keys = [self.active()].into_iter().chain(others);
        keys.map(|key| {
            let own = hkdf::expand(&key.practitioner_kdf, &[organisation.as_bytes()]);
            digest_under(key, &hmac::Key::new(hmac::HMAC_SHA256, &own[..]), &message)
        })
        .collect()
    }
}

fn digest_under(key: &RingKey, purpose: &hmac::Key, message: &[u8]) -> KeyedDigest {
    KeyedDigest { key_id: key.id(), tag: hkdf::tag_bytes(&hmac::sign(purpose, message)) }
}
