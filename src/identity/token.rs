//! Tokens of persons: JWTs in JWS compact form (RFC 7515, 7519), bound to the caller's certificate (RFC 8705).
//!
//! The key decides the algorithm, never the header. Every fault is one error, and a token of an issuer or a key that is
//! not registered takes the same time as one with a wrong signature.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::token_key::{InvalidToken, TokenAlgorithm, TokenKey};
use crate::clock::Instant;

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1_024;
/// Longest `sub`, `jti` and `kid`, in characters.
pub const MAX_ID_CHARS: usize = 128;
/// Longest `name`, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// Difference of clocks that is allowed.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);
/// Longest life of a token.
const MAX_LIFETIME: Duration = Duration::from_mins(15);

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "members that a header must not have")]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    #[serde(default, deserialize_with = "is_present")]
    jwk: bool,
    #[serde(default, deserialize_with = "is_present")]
    jku: bool,
    #[serde(default, deserialize_with = "is_present")]
    x5u: bool,
    #[serde(default, deserialize_with = "is_present")]
    x5c: bool,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

/// Claims of a token. Unknown ones are ignored.
#[derive(Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The person at the issuer. Personal.
    pub sub: String,
    /// The person's name. Personal.
    pub name: String,
    /// Role code in lower case.
    pub role: String,
    /// Purpose in lower case.
    pub purpose: String,
    /// Id of the token.
    pub jti: String,
    organisation: String,
    aud: Audience,
    iat: i64,
    nbf: Option<i64>,
    exp: i64,
    cnf: Confirmation,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate_sha256: String,
}

/// What a token must be about.
pub struct Expected<'a> {
    /// The organisation acted for.
    pub organisation: &'a str,
    /// The gateway's audience; without one no token is valid.
    pub audience: Option<&'a str>,
    /// SHA-256 of the certificate of the connection.
    pub certificate_sha256: [u8; 32],
    /// The real time.
    pub now: Instant,
}

/// A token that was read. Nothing in it is proved before [`UnverifiedToken::verify`].
pub struct UnverifiedToken<'a> {
    algorithm: TokenAlgorithm,
    key_id: String,
    claims: Claims,
    signed: &'a str,
    signature: &'a str,
    signature_bytes: usize,
}

impl<'a> UnverifiedToken<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn parse(token: &'a str) -> Result<Self, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken)?;
        let (header, claims) = signed.split_once('.').ok_or(InvalidToken)?;
        let header: Header = decode_json(header)?;
        let names_a_key = header.jwk | header.jku | header.x5u | header.x5c | header.crit;
        let is_type = ["at+jwt", "JWT"].iter().any(|known| header.typ.eq_ignore_ascii_case(known));
        let algorithm = TokenAlgorithm::from_name(&header.alg).ok_or(InvalidToken)?;
        if names_a_key || !is_type || !is_length(&header.kid, MAX_ID_CHARS) {
            return Err(InvalidToken);
        }
        let signature_bytes = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken)?.len();
        let claims = decode_json(claims)?;
        Ok(Self { algorithm, key_id: header.kid, claims, signed, signature, signature_bytes })
    }

    /// Returns the issuer that the token names.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// Returns the id of the key that the token names.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns the algorithm that the token names.
    #[must_use]
    pub fn algorithm(&self) -> TokenAlgorithm {
        self.algorithm
    }

    /// Verifies the token with the issuer's key of its `kid`, or with [`TokenKey::unregistered`] if there is none for its
    /// algorithm: everything is checked all the same. Returns the claims, and the instant from which the token is no
    /// longer valid.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn verify(self, key: &TokenKey, expected: &Expected<'_>) -> Result<(Claims, Instant), InvalidToken> {
        let is_signed = (key.algorithm() == self.algorithm)
            & key.verifies(self.signature, self.signature_bytes, self.signed);
        let is_bound = self.claims.is_bound_to(&expected.certificate_sha256);
        let is_meant = self.claims.is_meant_for(expected);
        let end = self.claims.end(expected.now);
        match end {
            // Every part is evaluated before the first answer.
            Some(end) if is_signed & is_bound & is_meant => Ok((self.claims, end)),
            _ => Err(InvalidToken),
        }
    }
}

impl Claims {
    fn is_bound_to(&self, certificate_sha256: &[u8; 32]) -> bool {
        let bound = URL_SAFE_NO_PAD.decode(&self.cnf.certificate_sha256).unwrap_or_default();
        verify_slices_are_equal(&bound, certificate_sha256).is_ok()
    }

    fn is_meant_for(&self, expected: &Expected<'_>) -> bool {
        let is_audience = |audience: &str| match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        };
        // Every part is evaluated before the first is looked at.
        let parts = [
            expected.audience.is_some_and(is_audience),
            self.organisation == expected.organisation,
            is_length(&self.sub, MAX_ID_CHARS),
            is_length(&self.jti, MAX_ID_CHARS),
            is_length(&self.name, MAX_NAME_CHARS),
        ];
        parts.iter().all(|holds| *holds)
    }

    /// Returns the instant from which the token is no longer valid; `None` if it is not valid now.
    fn end(&self, now: Instant) -> Option<Instant> {
        let at = |seconds: i64| Instant::from_micros(seconds.checked_mul(1_000_000)?).ok();
        let (issued, expires) = (at(self.iat)?, at(self.exp)?);
        let begins = self.nbf.map_or(Some(issued), at)?;
        let (latest, end) = (now.plus(MAX_CLOCK_SKEW), expires.plus(MAX_CLOCK_SKEW));
        let is_valid = issued <= latest
            && begins <= latest
            && now < end
            && issued <= expires
            && expires.since(issued) <= MAX_LIFETIME;
        is_valid.then_some(end)
    }
}

impl fmt::Debug for Claims {
    /// Shows no personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

fn is_length(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= 4 * most && text.chars().count() <= most
}

fn decode_json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, InvalidToken> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken)?;
    serde_json::from_slice(&json).map_err(|_| InvalidToken)
}

/// Reads a member as whether it is there, whatever it holds.
fn is_present<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

#[cfg(test)]
#[cfg(feature = "world")]
mod tests;
