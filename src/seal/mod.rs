//! Sealing: encrypts data that names a child or is about a child, before it is stored.
//!
//! Owns the key ring file, the keys per (sender organisation, child), the sealing of single columns, blind indexes,
//! keyed digests, page and cursor tokens, and the log's signing seed. It accesses no database: rows hold the bytes that
//! these functions return. Destroying a child's wrapped key (crypto-shredding) makes that child's columns unreadable.
//! It also makes the log's leaves about the child unopenable, without a change to the log. Invariant: no key and no
//! plaintext appears in an error, a log line or `Debug`. Serves UK GDPR Art 5(1)(e) and (f), 17 and 32.
//!
//! **Nonces.** All encryption is AES-256-GCM with a 96-bit nonce from the caller's random source. NIST SP 800-38D §8.3
//! allows 2³² random nonces per key. A child's key seals a few thousand columns in its life, and an organisation's key
//! at most two or three per exchange. The ring's own keys (wrapping, tokens) are replaced by `rotate`. A seeded random
//! source repeats its nonces when it is started twice with the same keys, so it is for invented data only.

mod blind_index;
mod child_key;
mod commitment_key;
mod envelope;
mod hkdf;
mod key_ring;
mod keyed_digest;
mod log_signing_key;
mod organisation_key;
mod secret_file;
mod token;
mod vault;

pub use blind_index::{BLIND_INDEX_BYTES, BlindIndex};
pub use child_key::{ChildKey, WRAPPED_BYTES, WrappedKey};
pub use commitment_key::CommitmentKey;
pub use envelope::ColumnAddress;
pub use key_ring::{KeyRing, RingKey};
pub use keyed_digest::KeyedDigest;
pub use log_signing_key::LogSigningKey;
pub use organisation_key::OrganisationKey;
pub use secret_file::{
    SecretFileError, create_from_text, create_private_if_missing, ensure_folder_is_writable, ensure_private,
    ensure_writable, read_secret_text,
};
pub use token::{InvalidToken, TokenUse};
pub use vault::Vault;

/// Random source of the caller: fills a slice with random bytes. With a seeded one, a scripted run seals identical
/// bytes.
pub type FillRandom<'a> = &'a dyn Fn(&mut [u8]);

/// Error of sealing or opening. It never contains the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The ring has no key with this id: it is another ring, or the key was removed.
    #[error("key {id} is not in the key ring")]
    KeyMissing {
        /// Key id in the sealed bytes.
        id: u32,
    },
    /// Authentication failed: wrong key, wrong address (sender, child, table, row, column), or changed bytes.
    #[error("the sealed bytes failed authentication")]
    AuthenticationFailed,
    /// The bytes were sealed by a later release, or are not sealed bytes.
    #[error("the format of the sealed bytes is unknown")]
    UnknownFormat,
    /// A reloaded ring has a different key under an id that is in use.
    #[error("key {id} differs from the one in use")]
    KeyChanged {
        /// Key id in both rings.
        id: u32,
    },
    /// The cryptographic library failed; nothing was sealed.
    #[error("the cryptographic library failed")]
    CryptoLibrary,
}

#[cfg(test)]
mod tests;
