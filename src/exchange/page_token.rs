//! Page tokens (AIP-158). They are sealed, so that a caller can neither read nor forge one. They are bound to the
//! caller, the method, the query and the log, because a position can denote a different record in another log.

use prost::Message;
use uuid::Uuid;

use super::check::Check;
use super::context::RequestContext;
use super::refusal::{NEXT_PAGE_TOKEN_KEY, Reason, Refusal};
use crate::seal::TokenUse;
use crate::violation_reason::ViolationReason;

/// Lifetime of a page token, in microseconds: one hour.
const TOKEN_LIFETIME_MICROS: i64 = 3_600_000_000;

/// Seals and opens the page tokens of one query.
pub struct PageTokens {
    binding: Vec<u8>,
}

impl PageTokens {
    /// Binds tokens to a query: the request without page token and page size.
    #[must_use]
    pub fn for_query(cx: &RequestContext, query: &impl Message) -> Self {
        let (caller, log) = (cx.caller.organisation.as_str(), cx.log_keys.cursor_log_name(u64::MAX));
        Self { binding: binding([cx.method.name(), caller, log], &query.encode_to_vec()) }
    }

    /// Returns the content of a token, or `None` if it belongs to another query or has expired.
    #[must_use]
    pub fn open(&self, cx: &RequestContext, token: &str) -> Option<Vec<u8>> {
        cx.vault.ring().open_token(TokenUse::Page, &self.binding, token, cx.now.micros()).ok()
    }

    /// Returns the position at which a page begins: `first` if there is no token, otherwise what `read` makes of
    /// the token's content.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID` for the field `page_token`.
    pub fn start_position<T>(
        &self,
        cx: &RequestContext,
        token: &str,
        first: T,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Refusal> {
        if token.is_empty() {
            return Ok(first);
        }
        let position = self.open(cx, token).and_then(|payload| read(&payload));
        position
            .ok_or_else(|| Check::single_violation("page_token", ViolationReason::PageTokenInvalid).into())
    }

    /// Returns a token for the next page.
    ///
    /// # Errors
    /// [`Reason::Failed`] when the cryptographic library fails.
    pub fn seal(&self, cx: &RequestContext, next: &[u8]) -> Result<String, Refusal> {
        let (expires, fill) =
            (cx.now.micros().saturating_add(TOKEN_LIFETIME_MICROS), |bytes: &mut [u8]| {
                cx.random.fill(bytes);
            });
        let sealed = cx.vault.ring().seal_token(TokenUse::Page, &self.binding, next, expires, &fill);
        sealed.map_err(|_| Reason::Failed.into())
    }

    /// Ends a page before a damaged record, so that the record hides no other. A page that would begin with the
    /// damaged record is refused; the metadata names the record's placement and the token of the page after it.
    ///
    /// # Errors
    /// The refusal itself, unless it concerns one record and the page does not begin with that record.
    pub fn end_before_damaged(
        &self,
        cx: &RequestContext,
        refusal: Refusal,
        (is_first, placement, behind): (bool, Uuid, &[u8]),
    ) -> Result<(), Refusal> {
        refusal.end_list_before_damaged(&cx.snapshot, Some(placement), is_first, || {
            Ok(vec![(NEXT_PAGE_TOKEN_KEY, self.seal(cx, behind)?)])
        })
    }

    /// Decodes a number that was encoded by `to_be_bytes`. Passed as `read` to [`PageTokens::start_position`].
    #[must_use]
    pub fn decode_number(payload: &[u8]) -> Option<i64> {
        payload.try_into().ok().map(i64::from_be_bytes)
    }
}

/// Returns the bytes that bind a token to the names of method, caller and log, which hold no NUL, and to the query.
fn binding(names: [&str; 3], query: &[u8]) -> Vec<u8> {
    let mut binding = Vec::new();
    for name in names {
        binding.extend_from_slice(name.as_bytes());
        binding.push(0);
    }
    binding.extend_from_slice(query);
    binding
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = [String; 3]> {
        ["[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"]
    }

    proptest! {
        #[test]
        fn a_token_is_bound_to_method_caller_log_and_query(
            (one, other) in (names(), names()),
            (query, another) in any::<(Vec<u8>, Vec<u8>)>(),
        ) {
            let bind = |names: &[String; 3], query: &[u8]| binding(names.each_ref().map(String::as_str), query);
            let is_same = one == other && query == another;
            prop_assert_eq!(bind(&one, &query) == bind(&other, &another), is_same);
            prop_assert_eq!(bind(&one, &query) == bind(&other, &query), one == other);
        }
    }
}
