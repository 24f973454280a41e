//! Page tokens (AIP-158): sealed, so that a caller can neither read nor make one, and bound to the caller,
//! the method and the query; and to the log, for what one of another log points to may be something else.

use prost::Message;
use uuid::Uuid;

use super::check::Check;
use super::refusal::NEXT_PAGE_TOKEN;
use super::{Cx, Reason, Refusal};
use crate::seal::TokenUse;

/// How long a page token can be used, in microseconds: an hour.
const LIFE: i64 = 3_600_000_000;

/// What the tokens of one query are bound to.
pub struct Pages {
    context: Vec<u8>,
}

impl Pages {
    /// Of a query: the request without page token and page size.
    #[must_use]
    pub fn of(cx: &Cx, method: &str, query: &impl Message) -> Self {
        let mut context = Vec::new();
        for part in [method, cx.caller.organisation.as_str(), cx.logs.log_of(u64::MAX)] {
            context.extend_from_slice(part.as_bytes());
            context.push(0);
        }
        context.extend_from_slice(&query.encode_to_vec());
        Self { context }
    }

    /// What a token holds; none when it is not one of this query, or too old.
    #[must_use]
    pub fn open(&self, cx: &Cx, token: &str) -> Option<Vec<u8>> {
        cx.vault.ring().open_token(TokenUse::Page, &self.context, token, cx.now.micros()).ok()
    }

    /// Where a page begins, by `read` from what its token holds: the first page, which has none, at `first`.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID` for the field `page_token`.
    pub fn begin<T>(
        &self,
        cx: &Cx,
        token: &str,
        first: T,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Refusal> {
        if token.is_empty() {
            return Ok(first);
        }
        let place = self.open(cx, token).and_then(|payload| read(&payload));
        place.ok_or_else(|| Check::only("page_token", "PAGE_TOKEN_INVALID").into())
    }

    /// A token for the next page.
    ///
    /// # Errors
    /// [`Reason::Failed`] when the cryptographic library fails.
    pub fn seal(&self, cx: &Cx, next: &[u8]) -> Result<String, Refusal> {
        let (expires, fill) = (cx.now.micros().saturating_add(LIFE), |bytes: &mut [u8]| {
            cx.random.fill(bytes);
        });
        let sealed = cx.vault.ring().seal_token(TokenUse::Page, &self.context, next, expires, &fill);
        sealed.map_err(|_| Reason::Failed.into())
    }

    /// Ends a page before a record that is damaged, so that it hides no other. A page that would begin with it is
    /// refused: the metadata names its placement and gives the token of the page behind it.
    ///
    /// # Errors
    /// The refusal, unless it is about one record that the page does not begin with.
    pub fn end_before(
        &self,
        cx: &Cx,
        refusal: Refusal,
        (is_first, placement, behind): (bool, Uuid, &[u8]),
    ) -> Result<(), Refusal> {
        refusal
            .of_record(cx, Some(placement), is_first, || Ok(vec![(NEXT_PAGE_TOKEN, self.seal(cx, behind)?)]))
    }

    /// The number that a token holds, as `to_be_bytes` wrote it: a way to read for [`Pages::begin`].
    #[must_use]
    pub fn number(payload: &[u8]) -> Option<i64> {
        payload.try_into().ok().map(i64::from_be_bytes)
    }
}
