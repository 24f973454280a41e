//! Page tokens and cursor tokens, which a caller returns unchanged (AIP-158).
//!
//! A token is sealed, so a caller can neither read nor forge it. It is bound to a context (caller ‖ method ‖ hash of
//! the query), so it is invalid for another caller or query. It expires. Every failure gives the same error. Invariant:
//! an error never reveals which part of a token was wrong.

use aws_lc_rs::aead::LessSafeKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::envelope;
use super::key_ring::{KeyRing, RingKey};
use super::{FillRandom, SealError};

/// Format version: first byte of a token.
const TOKEN_FORMAT: u8 = 3;
/// Maximum length of a token, in characters.
const MAX_TOKEN_CHARS: usize = 4096;

/// Use of a token. A token for one use is invalid for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// The next page of a list.
    Page,
    /// A position in a mailbox.
    Cursor,
}

/// The token is invalid: not made by this gateway, made for another caller or query, or expired (`PAGE_TOKEN_INVALID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid here")]
pub struct InvalidToken;

impl KeyRing {
    /// Seals a payload into a token (base64url without padding). It opens in the same context before `expires`
    /// (microseconds since 1970; `i64::MAX` for never).
    ///
    /// # Errors
    /// [`SealError::CryptoLibrary`] only.
    pub fn seal_token(
        &self,
        token_use: TokenUse,
        context: &[u8],
        payload: &[u8],
        expires: i64,
        fill: FillRandom<'_>,
    ) -> Result<String, SealError> {
        let key = self.active();
        let [a, b, c, d] = key.id().to_be_bytes();
        let plain = [&expires.to_be_bytes(), payload].concat();
        let sealed = envelope::seal(
            token_cipher(key, token_use),
            &[TOKEN_FORMAT, a, b, c, d],
            &token_aad(key, context),
            &plain,
            fill,
        )?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens a token at the time `now` (microseconds since 1970).
    ///
    /// # Errors
    /// [`InvalidToken`] for every fault.
    pub fn open_token(
        &self,
        token_use: TokenUse,
        context: &[u8],
        token: &str,
        now: i64,
    ) -> Result<Vec<u8>, InvalidToken> {
        if token.len() > MAX_TOKEN_CHARS {
            return Err(InvalidToken);
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        let Some(([TOKEN_FORMAT, id @ ..], body)) = sealed.split_first_chunk::<5>() else {
            return Err(InvalidToken);
        };
        let key = self.key(u32::from_be_bytes(*id)).map_err(|_| InvalidToken)?;
        let plain = envelope::open(token_cipher(key, token_use), &token_aad(key, context), body)
            .map_err(|_| InvalidToken)?;
        let (expires, payload) = plain.split_first_chunk::<8>().ok_or(InvalidToken)?;
        if now < i64::from_be_bytes(*expires) { Ok(payload.to_vec()) } else { Err(InvalidToken) }
    }
}

fn token_cipher(key: &RingKey, token_use: TokenUse) -> &LessSafeKey {
    match token_use {
        TokenUse::Page => &key.page_token_cipher,
        TokenUse::Cursor => &key.cursor_token_cipher,
    }
}

fn token_aad(key: &RingKey, context: &[u8]) -> Vec<u8> {
    envelope::length_prefixed(&[b"ap-gateway token v1", &key.id().to_be_bytes(), context])
}
