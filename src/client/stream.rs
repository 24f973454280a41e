//! Streams of replies.

use bytes::Bytes;
use prost::Message;

use super::{Client, ClientError, Reply, receipt, with_timeout};
use crate::proto::v1::{Receipt, WatchDeliveriesResponse};

/// Stream of replies, each verified on receipt.
pub struct ReplyStream<R> {
    client: Client,
    /// Request that the next reply's receipt commits to: first the opening request, then the position from the
    /// preceding message, which may be a heartbeat.
    committed_request: Bytes,
    stream: tonic::Streaming<Bytes>,
    /// Message that was received and is not checked yet. It is still here if [`ReplyStream::next`] was cancelled.
    unchecked: Option<Bytes>,
    message_type: std::marker::PhantomData<fn() -> R>,
}

impl<R: Message + Default> ReplyStream<R> {
    pub(super) fn new(client: Client, committed_request: Bytes, stream: tonic::Streaming<Bytes>) -> Self {
        Self { client, committed_request, stream, unchecked: None, message_type: std::marker::PhantomData }
    }

    /// Returns the next message: a reply with its receipt, or a heartbeat without one. `None` when the stream ends.
    /// `position` reads from a message the position at which the next batch starts.
    ///
    /// # Errors
    /// [`ClientError`]; the stream has ended then.
    pub async fn next(
        &mut self,
        position: impl Fn(&R) -> Bytes,
    ) -> Result<Option<(R, Option<Receipt>)>, ClientError> {
        if self.unchecked.is_none() {
            let limit = self.client.limits.stream_idle_timeout;
            let message = async { Ok(self.stream.message().await?) };
            self.unchecked = with_timeout(limit, message).await?;
        }
        let Some(received) = self.unchecked.clone() else {
            return Ok(None);
        };
        let (message, receipt) = if receipt::has_receipt(&received) {
            let Reply { message, receipt } =
                self.client.verify_reply::<R>(&self.committed_request, &received)?;
            self.client.check_received(&receipt.checkpoint).await?;
            (message, Some(receipt))
        } else {
            // Only this method sends heartbeats.
            let heartbeat = WatchDeliveriesResponse::decode(received.clone());
            let heartbeat = heartbeat.map_err(|_| ClientError::Malformed)?;
            if !heartbeat.checkpoint.is_empty() {
                self.client.check_received(&heartbeat.checkpoint).await?;
            }
            (R::decode(received).map_err(|_| ClientError::Malformed)?, None)
        };
        self.unchecked = None;
        self.committed_request = position(&message);
        Ok(Some((message, receipt)))
    }
}
