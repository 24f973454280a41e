//! Decisions: runs a handler within its limits, before anything is committed.

use std::panic::AssertUnwindSafe;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::call::{Call, Decision, DecisionFuture, Handler, NextItem};
use super::context::RequestContext;
use super::refusal::{Reason, Refusal};
use super::{codec, request_id};

/// The bounds of all attempts at one exchange together.
pub(super) struct DecisionBounds {
    ends: Instant,
    /// Closed when the caller is gone; `None` if the decision goes on without it, because a retry returns its result.
    caller: Option<watch::Receiver<()>>,
    is_batch: bool,
}

impl DecisionBounds {
    /// Makes the bounds of a call that begins now. `caller` is closed when nobody waits for the answer.
    pub fn new(call: &Call, max_duration: Duration, caller: watch::Receiver<()>) -> Self {
        let caller = (!call.method.is_mutating()).then_some(caller);
        Self { ends: Instant::now() + max_duration, caller, is_batch: call.is_batch }
    }

    /// Returns whether this is a batch of a stream that has ended. It leaves no entry, because its caller asked for the
    /// stream and got nothing of it.
    pub fn is_abandoned_batch(&self) -> bool {
        self.is_batch && self.caller.as_ref().is_some_and(|caller| caller.has_changed().is_err())
    }

    /// Returns whether there is time left.
    pub fn has_time(&self) -> bool {
        Instant::now() < self.ends
    }

    /// Runs a part of the decision.
    ///
    /// # Errors
    /// As the decision; [`Reason::DecisionTooLarge`] when its time is over; [`Reason::DeadlineExceeded`] when it only
    /// reads and its caller is gone.
    pub async fn run<T, E: From<Reason>>(
        &mut self,
        decision: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let caller_gone = async {
            match &mut self.caller {
                Some(caller) => while caller.changed().await.is_ok() {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = caller_gone => Err(Reason::DeadlineExceeded.into()),
            decided = timeout_at(self.ends, decision) => {
                decided.unwrap_or_else(|_| Err(Reason::DecisionTooLarge.into()))
            }
        }
    }
}

/// Returns the refusal of a decision that took too long.
pub(super) fn decision_timed_out<T>() -> Result<T, Refusal> {
    Err(Reason::DecisionTooLarge.into())
}

/// Runs the handler of an exchange whose caller is identified.
///
/// # Errors
/// As the handler; [`Reason::DecisionTooLarge`] beyond the limits of what it may read; [`Reason::ReplyTooLarge`].
pub(super) async fn run_handler(
    call: &Call,
    decide: &Handler,
    cx: RequestContext,
) -> Result<NextItem<Decision>, Refusal> {
    let (read_set, budget) = (cx.snapshot.read_set(), cx.snapshot.budget());
    let decided = catch_panic(decide(cx, call.message.clone())).await;
    // Checked whatever the handler returned, because a decision without the rows that were not read may be wrong.
    if budget.is_exceeded() {
        return Err(Reason::DecisionTooLarge.into());
    }
    let decision = match decided? {
        NextItem::Ready(decision) => decision,
        NextItem::Nothing(read) => return Ok(NextItem::Nothing(read)),
    };
    // Checked before the commit, because the log must not record a reply that is never sent.
    if decision.reply.len() > codec::MAX_REPLY_BYTES {
        return Err(Reason::ReplyTooLarge.into());
    }
    let change = decision.change.with_read_guards(&read_set)?;
    let change = if request_id::is_validate_only(call) { change.without_effect() } else { change };
    Ok(NextItem::Ready(Decision { change, ..decision }))
}

/// Runs a decision and turns a panic in it into a refusal of this exchange alone.
async fn catch_panic(mut deciding: DecisionFuture) -> Result<NextItem<Decision>, Refusal> {
    std::future::poll_fn(|context| {
        // State that a panic leaves inconsistent belongs to this exchange and is not used again.
        let polled = AssertUnwindSafe(|| deciding.as_mut().poll(context));
        std::panic::catch_unwind(polled).unwrap_or_else(|_| Poll::Ready(Err(Reason::Failed.into())))
    })
    .await
}
