//! Request ids (AIP-155): what identifies a mutating request, and what it is bound to.

use prost::Message;
use uuid::Uuid;

use super::Caller;
use super::door::Call;
use crate::seal::{KeyRing, KeyedDigest, SealError};
use crate::store::proposal::{Remembered, RequestKey};

/// The first two fields of every mutating request.
#[derive(Clone, PartialEq, Message)]
struct IdempotencyFields {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(bool, tag = "2")]
    validate_only: bool,
}

/// Returns the key under which the first answer to a call is remembered; `None` where nothing is to be remembered.
pub(super) fn key(call: &Call, caller: &Caller, ring: &KeyRing) -> Option<RequestKey> {
    if !call.action.is_mutating() {
        return None;
    }
    let fields = IdempotencyFields::decode(call.message.clone()).ok()?;
    if fields.validate_only {
        return None;
    }
    Some(RequestKey {
        organisation: caller.organisation.as_str().to_owned(),
        request_id: Uuid::parse_str(&fields.request_id).ok()?,
        mac: ring.request_digest(&bound(call)).to_bytes(),
    })
}

/// Checks whether a call is the request that was remembered under its id.
///
/// # Errors
/// As [`KeyRing::is_same_request`]; [`SealError::Format`] where what is stored is no digest.
pub(super) fn is_same(call: &Call, first: &Remembered, ring: &KeyRing) -> Result<bool, SealError> {
    let kept = KeyedDigest::from_bytes(&first.mac).ok_or(SealError::Format)?;
    ring.is_same_request(&kept, &bound(call))
}

/// Checks whether everything is to be decided and nothing done (AIP-163).
pub(super) fn only_validates(call: &Call) -> bool {
    call.action.is_mutating()
        && IdempotencyFields::decode(call.message.clone()).is_ok_and(|fields| fields.validate_only)
}

/// Returns what a request id is bound to: method, system, and the message as it was received.
fn bound(call: &Call) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(call.message.len() + 128);
    for text in [call.path, call.peer.system()] {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes.extend_from_slice(&call.message);
    bytes
}
