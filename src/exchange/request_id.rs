//! Request ids (AIP-155): the key of a mutating request, and the input of its HMAC.

use prost::Message;
use uuid::Uuid;

use super::call::Call;
use super::caller::Caller;
use crate::seal::{KeyRing, KeyedDigest, SealError};
use crate::store::proposal::{IdempotencyRecord, RequestKey};

/// The first two fields of every mutating request.
#[derive(Clone, PartialEq, Message)]
struct IdempotencyFields {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(bool, tag = "2")]
    validate_only: bool,
}

/// Returns the key under which the first response to a call is stored, or `None` if nothing is to be stored.
pub(super) fn request_key(call: &Call, caller: &Caller, ring: &KeyRing) -> Option<RequestKey> {
    if !call.method.is_mutating() {
        return None;
    }
    let fields = IdempotencyFields::decode(call.message.clone()).ok()?;
    if fields.validate_only {
        return None;
    }
    Some(RequestKey {
        organisation: caller.organisation.as_str().to_owned(),
        request_id: Uuid::parse_str(&fields.request_id).ok()?,
        mac: ring.request_digest(&mac_input(call, caller)).to_bytes(),
    })
}

/// Checks whether a call is the same request as the one that is stored under its id.
///
/// # Errors
/// As [`KeyRing::is_same_request`]; [`SealError::UnknownFormat`] if the stored bytes are not a digest.
pub(super) fn is_same_request(
    call: &Call,
    caller: &Caller,
    first: &IdempotencyRecord,
    ring: &KeyRing,
) -> Result<bool, SealError> {
    let kept = KeyedDigest::from_bytes(&first.mac).ok_or(SealError::UnknownFormat)?;
    ring.is_same_request(&kept, &mac_input(call, caller))
}

/// Checks whether the request is only to be validated (AIP-163).
pub(super) fn is_validate_only(call: &Call) -> bool {
    call.method.is_mutating()
        && IdempotencyFields::decode(call.message.clone()).is_ok_and(|fields| fields.validate_only)
}

/// Returns the bytes that a request id is bound to: person, method, system, and the message as received.
fn mac_input(call: &Call, caller: &Caller) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(call.message.len() + 128);
    // A path begins with a slash, so no input without a person begins as one with a person does. The pseudonym is not
    // taken, because it may have been made under another key when the request was sent first.
    if let Some(person) = &caller.person {
        for text in [&person.issuer, &person.subject] {
            bytes.push(0);
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.push(0);
    }
    for text in [call.method.path, call.peer.system()] {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes.extend_from_slice(&call.message);
    bytes
}
