//! Public keys of issuers of tokens: parsed from JWKs (RFC 7517), and used for the one algorithm that they were
//! registered for. A private or shared key is never accepted.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Sizes of RSA keys, in bytes: 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;
/// Largest JWK, in bytes.
pub const MAX_JWK_BYTES: usize = 4_096;
/// Members that only a private or a shared key has.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// A point of P-256 whose private key nobody has. It stands for a key that is not registered.
const UNKNOWN_P256: (&str, &str) =
    ("Eqjqr1n6xarJy5QmXq_6mtTKk8FH8no5PBtSrWZTCG0", "hFJ0b3JXu1w8TqIszypoJ0VzyVaWmfV-Jz3gucxnN0A");
/// A point of Ed25519 whose private key nobody has.
const UNKNOWN_ED25519: &str = "IENPPJNX2GDT2IpHkrInuPw_rvKTXcUsPbwHOW1kp-8";

/// The `y` of the eight points of Ed25519 whose order is small, little-endian and without the sign of `x`: of the orders
/// 1, 2, 4, and twice 8. Under such a key one signature is valid for many texts, or for all.
const SMALL_ORDER_ED25519: [[u8; 32]; 5] = [
    bytes_of(0x01, 0x00, 0x00),
    bytes_of(0xec, 0xff, 0x7f),
    bytes_of(0x00, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];
/// The prime of the field of Ed25519, 2^255 - 19, little-endian.
const PRIME_25519: [u8; 32] = bytes_of(0xed, 0xff, 0x7f);

/// Algorithms of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// `EdDSA` with Ed25519.
    EdDsa,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl TokenAlgorithm {
    /// Returns the algorithm that a header or a JWK names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::EdDsa, Self::Ps256].into_iter().find(|known| known.name() == name)
    }

    /// Returns the one algorithm that a key of a type (`kty`) and a curve (`crv`) is registered for.
    #[must_use]
    pub fn of_key(key_type: Option<&str>, curve: Option<&str>) -> Option<Self> {
        match (key_type?, curve) {
            ("EC", Some("P-256")) => Some(Self::Es256),
            ("OKP", Some("Ed25519")) => Some(Self::EdDsa),
            ("RSA", _) => Some(Self::Ps256),
            _ => None,
        }
    }

    /// Returns the name in headers and JWKs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
        }
    }

    fn of_library(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Ps256 => Algorithm::PS256,
        }
    }
}

/// A token is not valid. It says no more, because the caller learns no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct InvalidToken;

/// Fault of a JWK. It never repeats the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// The key holds a private or shared part.
    #[error("the JWK holds a private key; send the public one")]
    Private,
    /// The key is not a public key for the algorithm.
    #[error("not a public JWK of P-256, Ed25519 or RSA from 2,048 bits for this algorithm")]
    Format,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    intended_use: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// A public key that verifies tokens.
#[derive(Clone)]
pub struct TokenKey {
    algorithm: TokenAlgorithm,
    key: DecodingKey,
    /// Length of its signatures, in bytes.
    signature_bytes: usize,
    is_registered: bool,
}

impl TokenKey {
    /// Parses a public JWK of at most [`MAX_JWK_BYTES`]. Its `kid` and `alg`, if it has them, must be the given ones, and
    /// its `use` signatures. `alg` may be the newer name of `EdDSA` with Ed25519 (RFC 9864).
    ///
    /// # Errors
    /// [`JwkError`].
    pub fn from_jwk(json: &str, key_id: &str, algorithm: TokenAlgorithm) -> Result<Self, JwkError> {
        if json.len() > MAX_JWK_BYTES {
            return Err(JwkError::Format);
        }
        let members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).map_err(|_| JwkError::Format)?;
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(JwkError::Private);
        }
        let jwk: Jwk = serde_json::from_str(json).map_err(|_| JwkError::Format)?;
        let is_other =
            |named: &Option<String>, wanted: &str| named.as_ref().is_some_and(|name| name != wanted);
        let is_new_name = algorithm == TokenAlgorithm::EdDsa && jwk.alg.as_deref() == Some("Ed25519");
        let is_other_algorithm = is_other(&jwk.alg, algorithm.name()) && !is_new_name;
        if is_other(&jwk.kid, key_id) || is_other_algorithm || is_other(&jwk.intended_use, "sig") {
            return Err(JwkError::Format);
        }
        match algorithm {
            TokenAlgorithm::Es256 => p256_key(&jwk),
            TokenAlgorithm::EdDsa => ed25519_key(&jwk),
            TokenAlgorithm::Ps256 => rsa_key(&jwk),
        }
        .ok_or(JwkError::Format)
    }

    /// Returns a key that verifies nothing, in the time of a registered one.
    ///
    /// # Errors
    /// [`InvalidToken`] if the library does not take its own key.
    pub fn unregistered(algorithm: TokenAlgorithm) -> Result<Self, InvalidToken> {
        let jwk = match algorithm {
            TokenAlgorithm::Es256 => {
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, UNKNOWN_P256.0, UNKNOWN_P256.1)
            }
            TokenAlgorithm::EdDsa => format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{UNKNOWN_ED25519}"}}"#),
            TokenAlgorithm::Ps256 => return Ok(Self::unregistered_rsa(*RSA_BYTES.start())),
        };
        let key = Self::from_jwk(&jwk, "", algorithm).map_err(|_| InvalidToken)?;
        Ok(Self { is_registered: false, ..key })
    }

    /// Returns an RSA key of a size that verifies nothing.
    fn unregistered_rsa(bytes: usize) -> Self {
        let bytes = bytes.clamp(*RSA_BYTES.start(), *RSA_BYTES.end());
        let key = DecodingKey::from_rsa_raw_components(&vec![0xc5; bytes], &[1, 0, 1]);
        Self { algorithm: TokenAlgorithm::Ps256, key, signature_bytes: bytes, is_registered: false }
    }

    /// Returns the one algorithm that the key is for.
    pub(super) fn algorithm(&self) -> TokenAlgorithm {
        self.algorithm
    }

    /// Verifies the signature of a token. A key that is not registered takes the same time and verifies nothing; nor does
    /// an RSA key verify a signature of another size, for which it would take less.
    pub(super) fn verifies(&self, signature: &str, signature_bytes: usize, signed: &str) -> bool {
        let other_size;
        let key = if self.algorithm == TokenAlgorithm::Ps256 && self.signature_bytes != signature_bytes {
            other_size = Self::unregistered_rsa(signature_bytes);
            &other_size
        } else {
            self
        };
        let algorithm = key.algorithm.of_library();
        let verified = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.key, algorithm);
        matches!(verified, Ok(true)) & key.is_registered
    }
}

fn decode(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

fn p256_key(jwk: &Jwk) -> Option<TokenKey> {
    let (x, y) = (decode(jwk.x.as_ref())?, decode(jwk.y.as_ref())?);
    let named = jwk.kty == "EC" && jwk.crv.as_deref() == Some("P-256");
    let point = [&[4], &x[..], &y[..]].concat();
    if !named || x.len() != 32 || ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_err() {
        return None;
    }
    let key = DecodingKey::from_ec_components(jwk.x.as_ref()?, jwk.y.as_ref()?).ok()?;
    Some(TokenKey { algorithm: TokenAlgorithm::Es256, key, signature_bytes: 64, is_registered: true })
}

fn ed25519_key(jwk: &Jwk) -> Option<TokenKey> {
    let x = decode(jwk.x.as_ref())?;
    let named = jwk.kty == "OKP" && jwk.crv.as_deref() == Some("Ed25519");
    if !named || !is_strong_ed25519(&x) || ParsedPublicKey::new(&ED25519, x).is_err() {
        return None;
    }
    let key = DecodingKey::from_ed_components(jwk.x.as_ref()?).ok()?;
    Some(TokenKey { algorithm: TokenAlgorithm::EdDsa, key, signature_bytes: 64, is_registered: true })
}

/// Returns whether the encoding of a point is the one that RFC 8032 has for it, and its order is not small. The library
/// checks neither.
fn is_strong_ed25519(encoded: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(encoded) else {
        return false;
    };
    // The top bit is the sign of x.
    y[31] &= 0x7f;
    let is_canonical = y.iter().rev().lt(PRIME_25519.iter().rev());
    is_canonical && !SMALL_ORDER_ED25519.contains(&y)
}

/// Returns 32 bytes of which all but the first and the last are the same.
const fn bytes_of(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut bytes = [between; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

fn rsa_key(jwk: &Jwk) -> Option<TokenKey> {
    let (n, e) = (decode(jwk.n.as_ref())?, decode(jwk.e.as_ref())?);
    // The modulus is written without leading zeros (RFC 7518, 6.3.1.1), so its length tells its bits.
    let is_full = n.first().is_some_and(|first| *first >= 0x80) && n.last().is_some_and(|last| last % 2 == 1);
    let is_exponent = e == [1, 0, 1];
    if jwk.kty != "RSA" || !is_full || !is_exponent || !RSA_BYTES.contains(&n.len()) {
        return None;
    }
    let key = DecodingKey::from_rsa_raw_components(&n, &e);
    Some(TokenKey { algorithm: TokenAlgorithm::Ps256, key, signature_bytes: n.len(), is_registered: true })
}
