//! Checks of issuers and of their keys.

use std::collections::HashSet;

use crate::exchange::Refusal;
use crate::exchange::check::{Check, TextRule};
use crate::identity::{JwkError, TokenAlgorithm, TokenKey};
use crate::proto::v1::{Issuer, IssuerKey, RegisterIssuerRequest, TokenAlgorithm as Named};
use crate::violation_reason::ViolationReason;

/// Longest name of an issuer, in characters.
const MAX_ISSUER_CHARS: usize = 200;
/// Maximum number of keys of an issuer.
const MAX_KEYS: usize = 8;
/// Longest key id, in characters.
const MAX_KEY_ID_CHARS: usize = 128;

/// Checks a registration: the issuer's name and its keys.
pub(super) fn check_registration(m: &RegisterIssuerRequest) -> Result<(String, Vec<IssuerKey>), Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let issuer = check.parsed("issuer", &m.issuer, parse_issuer);
    if m.keys.is_empty() {
        check.add_violation("keys", ViolationReason::FieldRequired);
    }
    let mut keys = Vec::new();
    if check.list_len("keys", m.keys.len(), MAX_KEYS) {
        let mut ids = HashSet::new();
        for (index, sent) in m.keys.iter().enumerate() {
            let mut at = check.enter("keys").index(index);
            keys.extend(check_key(&mut at, sent));
            if !ids.insert(&sent.key_id) {
                at.add_violation("key_id", ViolationReason::KeyDuplicate);
            }
        }
    }
    check.finish()?;
    Ok((issuer.unwrap_or_default(), keys))
}

fn check_key(check: &mut Check, sent: &IssuerKey) -> Option<IssuerKey> {
    let key_id = check.text("key_id", &sent.key_id, TextRule::line(MAX_KEY_ID_CHARS).required());
    let algorithm = check.enum_value::<Named>("algorithm", sent.algorithm);
    let from = check.optional_timestamp("from_time", sent.from_time.as_ref());
    let to = check.optional_timestamp("to_time", sent.to_time.as_ref());
    if let (Some(from), Some(to)) = (from, to)
        && to <= from
    {
        check.add_violation("to_time", ViolationReason::DateOrder);
    }
    check.required("jwk", &sent.jwk)?;
    let algorithm = algorithm.and_then(algorithm_of)?;
    let fault = match TokenKey::from_jwk(&sent.jwk, key_id.as_deref()?, algorithm) {
        Ok(_) => return Some(sent.clone()),
        Err(JwkError::Private) => ViolationReason::KeyPrivate,
        Err(JwkError::Format) => ViolationReason::KeyFormat,
    };
    check.add_violation("jwk", fault);
    None
}

/// Parses the name of an issuer: an https URL without user, query and fragment (RFC 8414, 2).
pub(super) fn parse_issuer(sent: &str) -> Result<String, ViolationReason> {
    let is_plain =
        sent.bytes().all(|byte| byte.is_ascii_graphic()) && !sent.contains(['?', '#', '@', '"', '\\']);
    let url = sent.parse::<http::Uri>().ok().filter(|_| is_plain && sent.len() <= MAX_ISSUER_CHARS);
    let is_https = url.is_some_and(|url| url.scheme_str() == Some("https") && url.host().is_some());
    is_https.then(|| sent.to_owned()).ok_or(ViolationReason::IssuerFormat)
}

/// Returns the algorithm of a key as the identity's code names it.
#[must_use]
pub fn algorithm_of(named: Named) -> Option<TokenAlgorithm> {
    match named {
        Named::Unspecified => None,
        Named::Es256 => Some(TokenAlgorithm::Es256),
        Named::Eddsa => Some(TokenAlgorithm::EdDsa),
        Named::Ps256 => Some(TokenAlgorithm::Ps256),
    }
}

/// Returns the key of an issuer with a key id.
#[must_use]
pub fn find_key<'a>(issuer: &'a Issuer, key_id: &str) -> Option<&'a IssuerKey> {
    issuer.keys.iter().find(|key| key.key_id == key_id)
}
