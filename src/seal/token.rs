//! Tokens that a caller carries for us: where the next page begins, where a mailbox stands (AIP-158).
//!
//! Sealed, so that a caller learns nothing from one and cannot make one; bound to the context (caller ‖ method ‖
//! hash of the query), so that it is of no use to another caller or query; they expire. Every failure is the
//! same answer. It must never say which part of a token was wrong.

use aws_lc_rs::aead::LessSafeKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::envelope;
use super::ring::{KeyRing, RingKey};
use super::{Fill, SealError};

/// First byte of a token.
const VERSION: u8 = 3;
/// The longest token that is looked at, in characters.
const LONGEST: usize = 4096;

/// What a token is for; a token of one use is invalid for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// The next page of a list.
    Page,
    /// A place in a mailbox.
    Cursor,
}

/// The token is not one of ours, or of another caller or query, or has expired (`PAGE_TOKEN_INVALID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid here")]
pub struct TokenInvalid;

impl KeyRing {
    /// Seals a payload into a token (base64url without padding) that opens in the same context until `expires`
    /// (microseconds since 1970, not included; `i64::MAX` for never).
    ///
    /// # Errors
    /// [`SealError::Library`] only.
    pub fn seal_token(
        &self,
        of: TokenUse,
        context: &[u8],
        payload: &[u8],
        expires: i64,
        fill: Fill<'_>,
    ) -> Result<String, SealError> {
        let key = self.active();
        let [a, b, c, d] = key.id().to_be_bytes();
        let plain = [&expires.to_be_bytes(), payload].concat();
        let sealed =
            envelope::close(cipher(key, of), &[VERSION, a, b, c, d], &place(key, context), &plain, fill)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens a token at the moment `now` (microseconds since 1970).
    ///
    /// # Errors
    /// [`TokenInvalid`], whatever is wrong.
    pub fn open_token(
        &self,
        of: TokenUse,
        context: &[u8],
        token: &str,
        now: i64,
    ) -> Result<Vec<u8>, TokenInvalid> {
        if token.len() > LONGEST {
            return Err(TokenInvalid);
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenInvalid)?;
        let Some(([VERSION, id @ ..], body)) = sealed.split_first_chunk::<5>() else {
            return Err(TokenInvalid);
        };
        let key = self.key(u32::from_be_bytes(*id)).map_err(|_| TokenInvalid)?;
        let plain = envelope::open(cipher(key, of), &place(key, context), body).map_err(|_| TokenInvalid)?;
        let (expires, payload) = plain.split_first_chunk::<8>().ok_or(TokenInvalid)?;
        if now < i64::from_be_bytes(*expires) { Ok(payload.to_vec()) } else { Err(TokenInvalid) }
    }
}

fn cipher(key: &RingKey, of: TokenUse) -> &LessSafeKey {
    match of {
        TokenUse::Page => &key.page_tokens,
        TokenUse::Cursor => &key.cursor_tokens,
    }
}

fn place(key: &RingKey, context: &[u8]) -> Vec<u8> {
    envelope::join(&[b"ap-gateway token v1", &key.id().to_be_bytes(), context])
}
