//! Sealing: what names a child, or says anything about one, is stored only as what this folder makes of it.
//!
//! Owns the key ring file, the keys per (sender organisation, child), the sealing of single columns, blind
//! indexes, keyed digests, page and cursor tokens, and the log's signing seed. It touches no database: rows hold
//! the bytes that come from here, and destroying a child's wrapped key (crypto-shredding) makes that child's
//! columns unreadable and the log's leaves about it unopenable, without a change to the log. It must never put a
//! key or a plaintext into an error, a log line or `Debug`. Serves UK GDPR Art 5(1)(e) and (f), 17 and 32.
//!
//! **Nonces.** Everything is AES-256-GCM with a 96-bit nonce from the caller's randomness. NIST SP 800-38D §8.3
//! allows 2³² random nonces a key; a child's key seals a few thousand columns in its life, an organisation's at
//! most two or three an exchange, and the ring's own keys (wrapping, tokens) are replaced by `rotate`. A seeded
//! randomness repeats its nonces when it is started twice on the same keys, so it is for invented data only.

mod child;
mod digest;
mod envelope;
mod hkdf;
mod index;
mod organisation;
mod ring;
mod secret_file;
mod signing;
mod token;
mod vault;

pub use child::{ChildKey, WRAPPED_BYTES, WrappedKey};
pub use digest::KeyedDigest;
pub use envelope::Column;
pub use index::{BLIND_INDEX_BYTES, BlindIndex};
pub use organisation::OrganisationKey;
pub use ring::{KeyRing, RingKey};
pub use secret_file::{FileError, check_private, create_private};
pub use signing::LogSigningKey;
pub use token::{TokenInvalid, TokenUse};
pub use vault::Vault;

/// Fills a slice with random bytes: the caller's randomness, so that a scripted run seals the same bytes again.
pub type Fill<'a> = &'a dyn Fn(&mut [u8]);

/// Why something was not sealed or not opened. Never says what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The ring holds no key of this id: another ring, or one from which the key was taken out.
    #[error("key {id} is not in the key ring")]
    KeyMissing {
        /// The id that the sealed bytes name.
        id: u32,
    },
    /// Wrong key, wrong place (sender, child, table, row, column), or changed bytes.
    #[error("sealed bytes do not open here")]
    Refused,
    /// Sealed by a later release, or not sealed bytes at all.
    #[error("unknown format of sealed bytes")]
    Format,
    /// A reloaded ring holds a different key under an id already in use.
    #[error("key {id} differs from the one in use")]
    KeyChanged {
        /// The id that both rings use.
        id: u32,
    },
    /// The cryptographic library failed; nothing was sealed.
    #[error("the cryptographic library failed")]
    Library,
}

#[cfg(test)]
mod tests;
