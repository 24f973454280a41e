//! The other side of the wire: a client that distrusts the server. It checks every receipt against its own
//! request and reply, and keeps every checkpoint that it saw, to ask for consistency with the next one.
//!
//! It never imports a store, a service or the door, so that nothing of the server's can vouch for itself.

mod connect;
mod explain;
mod limits;
mod receipt;
mod seen;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Status, TimeoutExpired};

pub use explain::{explain, reason};
pub use limits::Limits;
pub use receipt::{Checked, ReceiptError};
pub use seen::Seen;

use crate::proto::Rpc;
use crate::proto::v1::Receipt;
use crate::tlog::Lineage;

/// How to reach a gateway, and as whom.
#[derive(Clone, Debug)]
pub struct Profile {
    /// `host:port`.
    pub endpoint: String,
    /// PEM file: the CA of the server's certificate.
    pub ca: PathBuf,
    /// PEM file: the client's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
    /// The log's verifier key (`name+hash+key`), before it those of the logs that it replaced, each with how many
    /// entries were kept; without it receipts cannot be checked, so it is required.
    pub log_key: String,
    /// The organisation that a processor acts for.
    pub on_behalf_of: Option<String>,
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The profile's files cannot be used.
    #[error("the profile cannot be used: {0}")]
    Profile(String),
    /// The gateway cannot be reached, or the connection was cut.
    #[error("the gateway cannot be reached, or the connection was cut")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gateway did not answer within the client's limits. What was asked may have taken effect.
    #[error("the gateway did not answer in time")]
    TimedOut,
    /// The gateway refused.
    #[error("refused: {}", .0.message())]
    Refused(Box<Status>),
    /// The answer is not a message of the method.
    #[error("the answer is not a message of this method")]
    Malformed,
    /// The answer's receipt proves nothing, or something else.
    #[error("the receipt does not hold")]
    Receipt(#[from] ReceiptError),
}

impl From<Status> for ClientError {
    /// A status that tonic made of something else is no answer: the connection was cut.
    fn from(status: Status) -> Self {
        match std::error::Error::source(&status) {
            Some(source) if limits::is_caused_by(source, <dyn std::error::Error>::is::<TimeoutExpired>) => {
                Self::TimedOut
            }
            Some(_) => Self::Unreachable(Box::new(status)),
            None => Self::Refused(Box::new(status)),
        }
    }
}

/// A connection. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    log_key: Lineage,
    seen: Arc<Seen>,
    on_behalf_of: Option<AsciiMetadataValue>,
    limits: Limits,
}

/// A reply with the receipt that was checked against it.
#[derive(Debug)]
pub struct Reply<R> {
    /// The reply.
    pub message: R,
    /// Its receipt.
    pub receipt: Receipt,
}

impl Client {
    /// Connects. Checkpoints that were seen before are taken up from `seen`.
    ///
    /// # Errors
    /// [`ClientError::Profile`] and [`ClientError::Unreachable`].
    pub async fn connect(profile: &Profile, seen: impl Into<Arc<Seen>>) -> Result<Self, ClientError> {
        Self::connect_within(profile, seen, Limits::default()).await
    }

    /// As [`Client::connect`], with limits of the caller's own.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_within(
        profile: &Profile,
        seen: impl Into<Arc<Seen>>,
        limits: Limits,
    ) -> Result<Self, ClientError> {
        let log_key = Lineage::parse(&profile.log_key)
            .map_err(|_| ClientError::Profile("log_key is not a verifier key".to_owned()))?;
        let on_behalf_of = profile.on_behalf_of.as_deref().map(str::parse).transpose();
        let on_behalf_of = on_behalf_of
            .map_err(|_| ClientError::Profile("on_behalf_of is not an organisation id".to_owned()))?;
        let channel = attempts(limits, || true, || Box::pin(connect::channel(profile, limits))).await?;
        Ok(Self { channel, log_key, seen: seen.into(), on_behalf_of, limits })
    }

    /// The same connection, with one attempt a call: a failure is returned as it happened.
    #[must_use]
    pub fn without_retries(self) -> Self {
        Self { limits: Limits { attempts: 1, ..self.limits }, ..self }
    }

    /// One request, one reply, its receipt checked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Reply<Resp>, ClientError> {
        let sent: Bytes = request.encode_to_vec().into();
        let received = self.unary(PathAndQuery::from_static(rpc.path()), sent.clone()).await?;
        self.check(&sent, &received)
    }

    /// As [`Client::call`], for a method that is known by its descriptor alone.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_described(
        &self,
        method: &MethodDescriptor,
        request: &DynamicMessage,
    ) -> Result<Reply<DynamicMessage>, ClientError> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = PathAndQuery::try_from(path).map_err(|_| ClientError::Malformed)?;
        let sent: Bytes = request.encode_to_vec().into();
        let received = self.unary(path, sent.clone()).await?;
        let Checked { reply, receipt } = receipt::check(&sent, &received, &self.log_key, &self.seen)?;
        let message = DynamicMessage::decode(method.output(), reply).map_err(|_| ClientError::Malformed)?;
        Ok(Reply { message, receipt })
    }

    /// One request, one reply of hashes that has no receipt.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn hashes<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Resp, ClientError> {
        let received =
            self.unary(PathAndQuery::from_static(rpc.path()), request.encode_to_vec().into()).await?;
        Resp::decode(received).map_err(|_| ClientError::Malformed)
    }

    /// Opens a stream of replies.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Replies<Resp>, ClientError> {
        let sent: Bytes = request.encode_to_vec().into();
        let path = PathAndQuery::from_static(rpc.path());
        let open = async {
            let mut grpc = self.grpc().await?;
            Ok(grpc.server_streaming(self.request(sent.clone()), path, BytesCodec).await?)
        };
        let response = in_time(self.limits.call, Box::pin(open)).await?;
        Ok(Replies {
            client: self.clone(),
            sent,
            stream: response.into_inner(),
            of: std::marker::PhantomData,
        })
    }

    /// The log's keys, as this client was given them.
    #[must_use]
    pub fn log_key(&self) -> &Lineage {
        &self.log_key
    }

    /// Every checkpoint that this client saw.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Sends a request until it is answered or the limits are reached; always the same bytes, so that what was
    /// done already is not done again.
    async fn unary(&self, path: PathAndQuery, sent: Bytes) -> Result<Bytes, ClientError> {
        let repeatable = || limits::is_repeatable(path.path(), &sent);
        attempts(self.limits, repeatable, || Box::pin(self.once(path.clone(), sent.clone()))).await
    }

    async fn once(&self, path: PathAndQuery, sent: Bytes) -> Result<Bytes, ClientError> {
        let mut request = self.request(sent);
        request.set_timeout(self.limits.call);
        let call = async {
            let mut grpc = self.grpc().await?;
            Ok(grpc.unary(request, path, BytesCodec).await?.into_inner())
        };
        in_time(self.limits.call, call).await
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, ClientError> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(16 << 20);
        grpc.ready().await.map_err(|error| ClientError::Unreachable(Box::new(error)))?;
        Ok(grpc)
    }

    fn request(&self, message: Bytes) -> tonic::Request<Bytes> {
        let mut metadata = MetadataMap::new();
        if let Some(organisation) = &self.on_behalf_of {
            metadata.insert("ap-on-behalf-of", organisation.clone());
        }
        tonic::Request::from_parts(metadata, tonic::Extensions::default(), message)
    }

    fn check<Resp: Message + Default>(
        &self,
        sent: &Bytes,
        received: &Bytes,
    ) -> Result<Reply<Resp>, ClientError> {
        let Checked { reply, receipt } = receipt::check(sent, received, &self.log_key, &self.seen)?;
        let message = Resp::decode(reply).map_err(|_| ClientError::Malformed)?;
        Ok(Reply { message, receipt })
    }
}

/// Makes attempts until one succeeds, fails for good, or the limits are reached.
async fn attempts<T, F>(
    limits: Limits,
    repeatable: impl Fn() -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let (begun, mut number) = (tokio::time::Instant::now(), 1);
    loop {
        let failed = match attempt().await {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        match limits.pause(&failed, number, begun.elapsed()).filter(|_| repeatable()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(failed),
        }
        number += 1;
    }
}

/// Waits for an answer within a limit.
async fn in_time<T>(
    limit: std::time::Duration,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(ClientError::TimedOut))
}

/// A stream of replies, each checked as it comes.
pub struct Replies<R> {
    client: Client,
    /// What the next reply's receipt commits to: the opening request, then the position that the message before gave,
    /// a heartbeat too.
    sent: Bytes,
    stream: tonic::Streaming<Bytes>,
    of: std::marker::PhantomData<fn() -> R>,
}

impl<R: Message + Default> Replies<R> {
    /// The next message: a reply with its receipt, or a heartbeat without one. `None` when the stream ends.
    /// `position` gives from a reply or a heartbeat the position that the next batch will be asked from.
    ///
    /// # Errors
    /// [`ClientError`]; the stream is over then.
    pub async fn next(
        &mut self,
        position: impl Fn(&R) -> Bytes,
    ) -> Result<Option<(R, Option<Receipt>)>, ClientError> {
        let silence = self.client.limits.stream_silence;
        let message = async { Ok(self.stream.message().await?) };
        let Some(received) = in_time(silence, message).await? else {
            return Ok(None);
        };
        if !receipt::is_present(&received) {
            let message = R::decode(received).map_err(|_| ClientError::Malformed)?;
            self.sent = position(&message);
            return Ok(Some((message, None)));
        }
        let Reply { message, receipt } = self.client.check::<R>(&self.sent, &received)?;
        self.sent = position(&message);
        Ok(Some((message, Some(receipt))))
    }
}

/// Bytes as they are: receipts are checked over what was sent and received.
#[derive(Clone, Copy, Default)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}
