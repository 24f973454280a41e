//! Decisions: what a capability makes of a message, and what a stream makes of finding nothing to send.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;

use super::door::Call;
use super::routes::Handler;
use super::{Change, Cx, Reason, Refusal, codec, request_id};

/// What was decided: the change, the encoded reply, and for a stream the position behind it.
pub(super) struct Decision {
    pub change: Change,
    pub reply: Bytes,
    pub position: Bytes,
}

/// A thing to send or, for a stream alone, that there is none as far as the stream has read.
pub(super) enum Next<T> {
    /// The thing.
    Ready(T),
    /// Nothing, and how far was read.
    Nothing(ReadOn),
}

/// How far a stream has read where it found nothing to send.
pub(super) struct ReadOn {
    pub position: Bytes,
    /// Whether there is more to read behind the position already.
    pub more: bool,
}

impl<T> Next<T> {
    /// Returns the thing; none where there is none to send.
    pub fn ready(self) -> Option<T> {
        match self {
            Self::Ready(thing) => Some(thing),
            Self::Nothing(_) => None,
        }
    }
}

/// What a handler gives: a decision, a refusal, or, for a stream alone, that there is nothing to send.
pub(super) type Deciding = Pin<Box<dyn Future<Output = Result<Next<Decision>, Refusal>> + Send>>;

/// Decides an exchange whose caller is known.
///
/// # Errors
/// As the handler; [`Reason::DecisionTooLarge`] beyond the limits of what it may read; [`Reason::ReplyTooLarge`].
pub(super) async fn decide_once(call: &Call, decide: &Handler, cx: Cx) -> Result<Next<Decision>, Refusal> {
    let (read_set, budget) = (cx.snapshot.read_set(), cx.snapshot.budget());
    let decided = unwinding(decide(cx, call.message.clone())).await;
    // Whatever the capability made of it: what was not read is missing from the decision.
    if budget.is_exceeded() {
        return Err(Reason::DecisionTooLarge.into());
    }
    let decision = match decided? {
        Next::Ready(decision) => decision,
        Next::Nothing(read) => return Ok(Next::Nothing(read)),
    };
    // Found out before the commit: else the log would say that the caller had it.
    if decision.reply.len() > codec::REPLY {
        return Err(Reason::ReplyTooLarge.into());
    }
    let change = decision.change.rest_on(&read_set)?;
    let change = if request_id::only_validates(call) { change.without_effect() } else { change };
    Ok(Next::Ready(Decision { change, ..decision }))
}

/// Polls a decision so that a panic in it is this exchange's and nobody else's.
async fn unwinding(mut deciding: Deciding) -> Result<Next<Decision>, Refusal> {
    std::future::poll_fn(|context| {
        // What a panic leaves half done is the exchange's own, and nothing looks at it again.
        let polled = AssertUnwindSafe(|| deciding.as_mut().poll(context));
        std::panic::catch_unwind(polled).unwrap_or_else(|_| Poll::Ready(Err(Reason::Failed.into())))
    })
    .await
}
