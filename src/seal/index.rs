//! Blind indexes: an identifier is found by equality without being stored in the clear.
//!
//! One sub-key an organisation, so that two organisations' indexes of one UPN have nothing in common and say
//! nothing of each other. A UPN can be guessed by whoever holds the ring, and by nobody else. The value is
//! normalised by the caller. It must never be used for free text or across organisations.

use aws_lc_rs::hmac;

use super::envelope;
use super::hkdf;
use super::ring::{KeyRing, RingKey};

/// Bytes of a blind index: key id (4, big-endian) and 16 of the HMAC.
pub const BLIND_INDEX_BYTES: usize = 20;

/// What is stored and looked up in the place of an identifier.
pub type BlindIndex = [u8; BLIND_INDEX_BYTES];

impl KeyRing {
    /// The index to store for a value of some kind (`upn`, `reference`), under the active key.
    #[must_use]
    pub fn blind_index(&self, organisation: &str, kind: &'static str, normalised: &str) -> BlindIndex {
        under(self.active(), organisation, kind, normalised)
    }

    /// The indexes to look a value up by: one for each key of the ring, newest first.
    #[must_use]
    pub fn blind_indexes(&self, organisation: &str, kind: &'static str, normalised: &str) -> Vec<BlindIndex> {
        self.keys().map(|key| under(key, organisation, kind, normalised)).collect()
    }
}

fn under(key: &RingKey, organisation: &str, kind: &'static str, normalised: &str) -> BlindIndex {
    let own = hkdf::expand(&key.blind_indexes, &[organisation.as_bytes()]);
    let own = hmac::Key::new(hmac::HMAC_SHA256, &own[..]);
    let tag = hmac::sign(&own, &envelope::join(&[kind.as_bytes(), normalised.as_bytes()]));
    let mut index = [0; BLIND_INDEX_BYTES];
    let (id, rest) = index.split_at_mut(4);
    id.copy_from_slice(&key.id().to_be_bytes());
    rest.copy_from_slice(hkdf::tag_bytes(&tag).split_at(16).0);
    index
}
