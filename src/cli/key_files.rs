//! Files of keys and tokens that a command reads. Their content is secret or of unknown origin, so no message repeats it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};
use x509_parser::der_parser::parse_der;

use super::{Failure, output};
use crate::identity::{JwkError, MAX_TOKEN_BYTES, TokenAlgorithm, TokenKey};

/// Largest file of keys, in bytes.
const MAX_KEY_FILE_BYTES: usize = 64 * 1_024;
/// Largest file of a token, in bytes: the token with white space around it.
const MAX_TOKEN_FILE_BYTES: usize = MAX_TOKEN_BYTES + 1_024;
/// Maximum number of keys of an issuer.
const MAX_KEYS: usize = 8;
/// Members of a JWK that say nothing of the key itself. Those of a certificate may be long.
const MEMBERS_ABOUT_KEY: [&str; 9] = ["kid", "alg", "use", "key_ops", "ext", "x5c", "x5t", "x5t#S256", "x5u"];

/// A public key of an issuer as a JWK, which names no algorithm.
pub struct PublicKey {
    /// The key's id.
    pub key_id: String,
    /// The algorithm that the key is for.
    pub algorithm: TokenAlgorithm,
    /// The key as JSON.
    pub jwk: String,
}

fn fault(file: &Path, what: &str) -> Failure {
    Failure::input(format!("{}: {what}", file.display()))
}

/// Reads a file of at most `max` bytes.
fn read(file: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map(|opened| opened.take(max as u64 + 1));
    opened
        .and_then(|mut opened| opened.read_to_end(&mut bytes))
        .map_err(|error| fault(file, &error.to_string()))?;
    if bytes.len() > max {
        return Err(fault(file, &format!("longer than {max} bytes")));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(fault(file, "an empty file"));
    }
    Ok(bytes)
}

/// Reads a token. Anything else in the file, such as a password, must not reach the gateway.
///
/// # Errors
/// Exit code 64 if the file cannot be read or does not hold a JWS in compact form and nothing else.
pub fn read_token(file: &Path) -> Result<String, Failure> {
    let bytes = read(file, MAX_TOKEN_FILE_BYTES)?;
    let token = bytes.trim_ascii();
    if token.contains(&b'\n') {
        return Err(fault(file, "several lines, where a token is one"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(fault(file, &format!("longer than a token, which has at most {MAX_TOKEN_BYTES} bytes")));
    }
    let token = std::str::from_utf8(token).ok().filter(|token| is_jws(token));
    let what = "not a token, which is three parts of base64url with dots between them (JWS in compact form)";
    token.map(str::to_owned).ok_or_else(|| fault(file, what))
}

/// Checks the form of a JWS: three parts of base64url, of which the first is the header, a JSON object.
fn is_jws(token: &str) -> bool {
    let parts: Vec<_> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part)).collect();
    let [Ok(header), Ok(payload), Ok(signature)] = &parts[..] else {
        return false;
    };
    let is_object = serde_json::from_slice::<Map<String, Value>>(header).is_ok();
    is_object && !payload.is_empty() && !signature.is_empty()
}

/// Reads the one private key in a PEM file.
///
/// # Errors
/// Exit code 64 if the file cannot be read or holds no private key, several, or an encrypted one.
pub fn read_private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let bytes = read(file, MAX_KEY_FILE_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("-----BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let advice = "`openssl pkcs8 -topk8 -nocrypt -in KEY -out PLAIN` writes it in plain";
        return Err(fault(file, &format!("an encrypted private key: {advice}")));
    }
    match text.matches("PRIVATE KEY-----").count() / 2 {
        0 if text.contains("-----BEGIN CERTIFICATE") => Err(fault(file, "a certificate, not a private key")),
        0 if text.contains("PUBLIC KEY-----") => Err(fault(file, "a public key, not a private key")),
        0 | 1 => PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| fault(file, UNUSABLE_KEY)),
        _ => Err(fault(file, "several private keys: name a file for each")),
    }
}

/// What a private key must be.
pub const UNUSABLE_KEY: &str = "not a private key of P-256 or Ed25519 (PKCS#8), or RSA from 2,048 bits, as PEM; \
                                `openssl pkcs8 -topk8 -nocrypt -in KEY -out PKCS8` converts a key of P-256 in SEC 1";

/// Returns the key in a PKCS#8 structure (RFC 5208, 5), which of an RSA key is PKCS#1.
#[must_use]
pub fn unwrap_pkcs8(der: &[u8]) -> Option<Vec<u8>> {
    let (_, info) = parse_der(der).ok()?;
    let private_key = info.as_sequence().ok()?.get(2)?.as_slice().ok()?;
    Some(private_key.to_vec())
}

/// Reads the public keys for signatures in a JWK or in a JWK set (RFC 7517).
///
/// # Errors
/// Exit code 64 if the file cannot be read, or holds no key, more than eight, or one that an issuer cannot have.
pub fn read_public_keys(file: &Path) -> Result<Vec<PublicKey>, Failure> {
    let bytes = read(file, MAX_KEY_FILE_BYTES)?;
    let unusable = || fault(file, "neither a JWK nor a JWK set with public keys (RFC 7517)");
    let root: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|_| unusable())?;
    let jwks = match root.get("keys") {
        None => vec![root],
        Some(keys) => serde_json::from_value(keys.clone()).map_err(|_| unusable())?,
    };
    let count = jwks.len();
    let jwks: Vec<_> =
        jwks.into_iter().filter(|jwk| jwk.get("use").is_none_or(|purpose| purpose == "sig")).collect();
    if jwks.len() < count {
        let skipped = count - jwks.len();
        output::print_note(&format!("{skipped} keys of {} are not for signatures: left out", file.display()));
    }
    if !(1..=MAX_KEYS).contains(&jwks.len()) {
        let what = format!("{} keys for signatures, where an issuer has 1 to {MAX_KEYS}", jwks.len());
        return Err(fault(file, &what));
    }
    let keys = jwks.into_iter().enumerate().map(|(index, jwk)| {
        public_key(jwk).map_err(|what| fault(file, &format!("key {}: {what}", index + 1)))
    });
    keys.collect()
}

fn public_key(mut jwk: Map<String, Value>) -> Result<PublicKey, String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let key_id = text("kid").ok_or("no kid, by which tokens name it")?.to_owned();
    let algorithm = TokenAlgorithm::of_key(text("kty"), text("crv")).ok_or(JwkError::Format.to_string())?;
    if text("alg").is_some_and(|named| named != algorithm.name()) {
        let wanted = algorithm.name();
        return Err(format!(
            "its alg is another than {wanted}, the only one that tokens by such a key may have"
        ));
    }
    jwk.retain(|name, _| !MEMBERS_ABOUT_KEY.contains(&name.as_str()));
    let jwk = Value::Object(jwk).to_string();
    TokenKey::from_jwk(&jwk, &key_id, algorithm).map_err(|fault| fault.to_string())?;
    Ok(PublicKey { key_id, algorithm, jwk })
}
