//! Blind indexes: keyed hashes by which an identifier is found for equality, without being stored in clear text.
//!
//! Each organisation has its own sub-key, so the indexes of two organisations for one UPN are unrelated. Only a holder
//! of the ring can find a UPN by guessing. The caller normalises the value. Invariant: free text is never indexed, and
//! no lookup crosses organisations.

use aws_lc_rs::hmac;

use super::envelope;
use super::hkdf;
use super::key_ring::{KeyRing, RingKey};

/// Size of a blind index in bytes: key id (4, big-endian) and 16 bytes of the HMAC.
pub const BLIND_INDEX_BYTES: usize = 20;

/// Blind index, stored and looked up in place of an identifier.
pub type BlindIndex = [u8; BLIND_INDEX_BYTES];

impl KeyRing {
    /// Returns the index to store for a value of a kind (`upn`, `reference`), under the active key.
    #[must_use]
    pub fn blind_index(&self, organisation: &str, kind: &'static str, normalised: &str) -> BlindIndex {
        index_under(self.active(), organisation, kind, normalised)
    }

    /// Returns the indexes by which a value is looked up: one for each key of the ring, newest first.
    #[must_use]
    pub fn blind_indexes(&self, organisation: &str, kind: &'static str, normalised: &str) -> Vec<BlindIndex> {
        self.keys().map(|key| index_under(key, organisation, kind, normalised)).collect()
    }
}

fn index_under(key: &RingKey, organisation: &str, kind: &'static str, normalised: &str) -> BlindIndex {
    let sub_key = hkdf::expand(&key.blind_index_kdf, &[organisation.as_bytes()]);
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &sub_key[..]);
    let tag = hmac::sign(&mac, &envelope::length_prefixed(&[kind.as_bytes(), normalised.as_bytes()]));
    let mut index = [0; BLIND_INDEX_BYTES];
    let (id, rest) = index.split_at_mut(4);
    id.copy_from_slice(&key.id().to_be_bytes());
    rest.copy_from_slice(hkdf::tag_bytes(&tag).split_at(16).0);
    index
}
