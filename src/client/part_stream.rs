//! Stream of parts to the gateway, such as `StreamAttendance`: each part is answered when its last message was sent.

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{BytesCodec, Client, ClientError, Reply, with_timeout};
use crate::proto::Rpc;

/// Number of messages of a part that wait for the connection.
const QUEUED_MESSAGES: usize = 16;

/// Open stream of parts. Each reply is verified on receipt. Nothing is retried, because the caller knows which part was
/// not answered, and its request id.
pub struct PartStream<R> {
    client: Client,
    to: mpsc::Sender<Bytes>,
    replies: tonic::Streaming<Bytes>,
    message_type: std::marker::PhantomData<fn() -> R>,
}

impl Client {
    /// Opens a stream of parts, and returns it with the reply to its opening message.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open_part_stream<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        opening: &Req,
    ) -> Result<(PartStream<Resp>, Reply<Resp>), ClientError> {
        self.check_folder().await?;
        let sent: Bytes = opening.encode_to_vec().into();
        let path = PathAndQuery::from_static(rpc.path());
        let (to, messages) = mpsc::channel(QUEUED_MESSAGES);
        to.try_send(sent.clone()).map_err(|_| ClientError::Malformed)?;
        let open = async {
            let mut grpc = self.ready_grpc().await?;
            let request = self.build_request(&path, ReceiverStream::new(messages));
            Ok(grpc.streaming(request, path, BytesCodec).await?.into_inner())
        };
        let replies = with_timeout(self.limits.call_timeout, Box::pin(open)).await?;
        let message_type = std::marker::PhantomData;
        let mut stream = PartStream { client: self.clone(), to, replies, message_type };
        let reply = stream.next_reply(&sent).await?;
        Ok((stream, reply))
    }
}

impl<R: Message + Default> PartStream<R> {
    /// Sends the messages of a part, and returns its reply.
    ///
    /// # Errors
    /// [`ClientError`]; the stream has ended then.
    pub async fn send_part(&mut self, messages: Vec<Bytes>) -> Result<Reply<R>, ClientError> {
        let mut sent = BytesMut::new();
        let limit = self.client.limits.call_timeout;
        for message in messages {
            sent.extend_from_slice(&message);
            // A stream that the gateway ended takes no message; its status says why.
            let queued = async { Ok(self.to.send(message).await.is_ok()) };
            if !with_timeout(limit, queued).await? {
                break;
            }
        }
        self.next_reply(&sent.freeze()).await
    }

    /// Ends the stream after the last part.
    ///
    /// # Errors
    /// [`ClientError`] if the gateway does not end it with OK.
    pub async fn finish(self) -> Result<(), ClientError> {
        let Self { client, to, mut replies, .. } = self;
        drop(to);
        let end = async { Ok(replies.message().await?) };
        match with_timeout(client.limits.call_timeout, end).await? {
            None => Ok(()),
            Some(_) => Err(ClientError::Malformed),
        }
    }

    /// Returns the next reply, whose receipt must commit to these bytes.
    async fn next_reply(&mut self, sent: &Bytes) -> Result<Reply<R>, ClientError> {
        let limit = self.client.limits.call_timeout;
        let message = async { Ok(self.replies.message().await?) };
        let received = with_timeout(limit, message).await?;
        let received = received
            .ok_or_else(|| ClientError::Unreachable(Box::new(Status::cancelled("the stream ended"))))?;
        let reply = self.client.verify_reply(sent, &received)?;
        self.client.check_received(&reply.receipt.checkpoint).await?;
        Ok(reply)
    }
}
