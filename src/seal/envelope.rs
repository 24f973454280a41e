//! The one envelope that every sealed value uses: AES-256-GCM, random nonce, the place bound in as AAD.
//!
//! Layout: header ‖ 12-byte nonce ‖ ciphertext ‖ 16-byte tag. It must never open a value at another place than
//! the one it was sealed for.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::{Fill, SealError};

/// Bytes an envelope adds to header and plaintext: nonce and tag.
pub(super) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;
const TAG_LEN: usize = 16;

/// Where a sealed value is stored. Bound into the seal, so a value moved to another place does not open.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// The table's name.
    pub table: &'static str,
    /// What identifies the row and is known before it is written (never the log index, which comes later).
    pub row: &'a [u8],
    /// The column's name.
    pub column: &'static str,
}

/// Makes the cipher of a 32-byte key.
pub(super) fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| SealError::Library)
}

/// Joins the parts of an AAD, each behind its length (4 bytes, big-endian), so that no two lists look alike.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // No part comes near 4 GiB; a saturated length would still be bound.
        joined.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

/// Seals `plaintext`: header ‖ nonce ‖ ciphertext ‖ tag. The header is readable; bind it through `aad`.
pub(super) fn close(
    key: &LessSafeKey,
    header: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    fill: Fill<'_>,
) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce);
    let mut sealed = Vec::with_capacity(header.len() + OVERHEAD + plaintext.len());
    sealed.extend_from_slice(header);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let secret = sealed.get_mut(header.len() + NONCE_LEN..).ok_or(SealError::Library)?;
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), secret)
        .map_err(|_| SealError::Library)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens nonce ‖ ciphertext ‖ tag (the header already taken off) into the plaintext.
///
/// # Errors
/// [`SealError::Refused`] unless key, AAD and bytes are those of the sealing.
pub(super) fn open(key: &LessSafeKey, aad: &[u8], body: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, secret) = body.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Refused)?;
    let mut plain = secret.to_vec();
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut plain)
        .map_err(|_| SealError::Refused)?
        .len();
    plain.truncate(length);
    Ok(plain)
}
