//! Calls as they are received, the handlers that decide them, and what a handler returns.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use super::change::Change;
use super::codec::OutboundMessage;
use super::context::RequestContext;
use super::memory::CallMemory;
use super::method::Method;
use super::refusal::Refusal;
use crate::identity::PeerCertificate;

/// A call as it was received.
#[derive(Clone)]
pub(super) struct Call {
    pub method: &'static Method,
    pub peer: Arc<PeerCertificate>,
    pub on_behalf_of: Option<String>,
    /// The token of the person for whom the system calls; empty if the header is no bearer token.
    pub token: Option<Arc<str>>,
    pub trace_id: String,
    /// Whether a header claimed an identity. The claim is ignored, and recorded in the entry.
    pub identity_claimed: bool,
    pub exchange_id: Uuid,
    pub message: Bytes,
    /// Whether it is a batch of a stream, for which its caller did not ask by itself.
    pub is_batch: bool,
    /// The memory that it is charged to.
    pub memory: CallMemory,
    /// The caller's own timeout (`grpc-timeout`).
    pub timeout: Option<Duration>,
}

/// Whether an attempt may use cached facts.
#[derive(Clone, Copy)]
pub(super) struct UseCache(pub bool);

/// A decision: the change, the encoded reply and, if it is a stream, the position after it.
pub(super) struct Decision {
    pub change: Change,
    pub reply: Bytes,
    pub position: Bytes,
}

/// An item to send. A stream may also find that there is none up to the position that it has read.
pub(super) enum NextItem<T> {
    /// The item.
    Ready(T),
    /// No item, and the position that was read to.
    Nothing(ScanPosition),
}

/// The position to which a stream has read without finding an item to send.
pub(super) struct ScanPosition {
    pub position: Bytes,
    /// Whether there is already more to read after the position.
    pub has_more: bool,
}

impl<T> NextItem<T> {
    /// Returns the item, if there is one.
    pub fn into_item(self) -> Option<T> {
        match self {
            Self::Ready(thing) => Some(thing),
            Self::Nothing(_) => None,
        }
    }
}

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The future of a handler: a decision, a refusal, or, in a stream only, nothing to send.
pub(super) type DecisionFuture = BoxFuture<'static, Result<NextItem<Decision>, Refusal>>;
/// A capability's function over encoded messages.
pub(super) type Handler = Arc<dyn Fn(RequestContext, Bytes) -> DecisionFuture + Send + Sync>;
/// A function that returns hashes only.
pub(super) type HashHandler =
    Arc<dyn Fn(RequestContext, Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> + Send + Sync>;

/// The result of an exchange: the response and, if it is a stream, the position after it.
pub(super) type ExchangeResult = Result<NextItem<(OutboundMessage, Bytes)>, Status>;
/// The responses of a stream.
pub(super) type OutboundStream = ReceiverStream<Result<OutboundMessage, Status>>;
