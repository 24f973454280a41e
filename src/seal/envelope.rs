//! Envelope of every sealed value: AES-256-GCM with a random nonce; the address of the value is additional
//! authenticated data (AAD).
//!
//! Layout: header ‖ 12-byte nonce ‖ ciphertext ‖ 16-byte tag. Invariant: a value opens only at the address for which it
//! was sealed.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{FillRandom, SealError};

/// Bytes that an envelope adds to header and plaintext: nonce and tag.
pub(super) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;
const TAG_LEN: usize = 16;

/// Address of a sealed value in the database. It is authenticated, so a value that was moved to another address does
/// not open.
#[derive(Clone, Copy, Debug)]
pub struct ColumnAddress<'a> {
    /// Name of the table.
    pub table: &'static str,
    /// Identity of the row, which is fixed before the row is written. It is never the log index, which is assigned
    /// later.
    pub row: &'a [u8],
    /// Name of the column.
    pub column: &'static str,
}

/// Returns the cipher for a 32-byte key.
pub(super) fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| SealError::CryptoLibrary)
}

/// Concatenates the parts of an AAD, each after its length (4 bytes, big-endian), so that different lists give
/// different bytes.
pub(super) fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // No part is near 4 GiB, and a saturated length would still be authenticated.
        joined.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

/// Seals `plaintext` to header ‖ nonce ‖ ciphertext ‖ tag. The header is not encrypted; `aad` must authenticate it.
pub(super) fn seal(
    key: &LessSafeKey,
    header: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    fill: FillRandom<'_>,
) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce);
    let mut sealed = Vec::with_capacity(header.len() + OVERHEAD + plaintext.len());
    sealed.extend_from_slice(header);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let secret = sealed.get_mut(header.len() + NONCE_LEN..).ok_or(SealError::CryptoLibrary)?;
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), secret)
        .map_err(|_| SealError::CryptoLibrary)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens nonce ‖ ciphertext ‖ tag, without the header, and returns the plaintext.
///
/// # Errors
/// [`SealError::AuthenticationFailed`] unless key, AAD and bytes are those of the sealing.
pub(super) fn open(key: &LessSafeKey, aad: &[u8], body: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, secret) = body.split_first_chunk::<NONCE_LEN>().ok_or(SealError::AuthenticationFailed)?;
    let mut plain = secret.to_vec();
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut plain)
        .map_err(|_| SealError::AuthenticationFailed)?
        .len();
    plain.truncate(length);
    Ok(plain)
}
