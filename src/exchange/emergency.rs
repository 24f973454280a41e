//! Break-glass: recognises a call that asks to read in an emergency, so that its entry says so whatever its outcome.

use prost::Message;

use super::call::Call;
use crate::proto::v1::{GetPassportRequest, passport_service};

/// Further attempts at a break-glass. An attempt fails when another exchange takes the next number of the organisation's
/// day, and only ten a day take one, so an emergency is not refused because others are counted at the same time.
pub(super) const BREAK_GLASS_ATTEMPTS: usize = 10;

/// Returns whether a call asks to read in an emergency.
pub(super) fn is_break_glass(call: &Call) -> bool {
    call.method.path == passport_service::GET_PASSPORT.path()
        && GetPassportRequest::decode(call.message.clone()).is_ok_and(|m| !m.emergency_reason.is_empty())
}
