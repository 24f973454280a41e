//! Client that does not trust the server. It verifies every receipt against its own request and reply. With a folder of
//! checkpoints it keeps watch over the log: it proves that each new checkpoint continues the newest one that it has kept,
//! and refuses a log that shrank or has two trees.
//!
//! It imports only `clock`, `proto` and `tlog`, so that no server code can vouch for the server. With the feature
//! `client` alone the library consists of these modules. The example `nightly_submission` is a guide to it.

mod atomic_file;
mod checkpoint_folder;
mod checkpoint_store;
mod codec;
mod connect;
mod consistency;
mod contradiction;
mod explain;
mod log_replacements;
mod part_stream;
#[cfg(feature = "server")]
mod probe;
mod profile;
mod receipt;
mod retry;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Status, TimeoutExpired};

pub use atomic_file::write_atomically;
pub use checkpoint_folder::{CheckpointFolderError, read_checkpoint_folder};
pub use checkpoint_store::CheckpointStore;
pub use codec::BytesCodec;
pub use consistency::ConsistencyReport;
pub use contradiction::{Contradiction, Inconsistency};
pub use explain::{explain, reason};
pub use part_stream::PartStream;
#[cfg(feature = "server")]
pub use probe::{ProbeError, ProbedServer, probe};
pub use profile::{Profile, ProfileFile};
pub use receipt::{ReceiptError, VerifiedReply};
pub use retry::ClientLimits;
pub use stream::ReplyStream;

use crate::proto::Rpc;
use crate::proto::v1::{Receipt, audit_service};
use crate::tlog::{LogKeyHistory, LogKeyHistoryError};

/// Error of a call.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The profile's files cannot be used.
    #[error("the profile cannot be used: {0}")]
    Profile(String),
    /// The gateway cannot be reached, or the connection was cut.
    #[error("the gateway cannot be reached, or the connection was cut")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gateway did not answer within the client's limits. The request may have taken effect.
    #[error("the gateway did not answer in time")]
    TimedOut,
    /// The gateway refused the call.
    #[error("refused: {}", .0.message())]
    Refused(Box<Status>),
    /// The response is not a message of the method.
    #[error("the response is not a message of this method")]
    Malformed,
    /// The receipt of the response is not valid for this request and reply.
    #[error("the receipt is invalid")]
    Receipt(#[from] ReceiptError),
    /// A checkpoint that came without a receipt is not accepted.
    #[error("the checkpoint is invalid")]
    Checkpoint(#[from] LogKeyHistoryError),
    /// The log contradicts a checkpoint that was received before. The request may have taken effect.
    #[error("{0}")]
    Inconsistent(Box<Inconsistency>),
    /// The response was received, but the log could not be compared with the checkpoints that were kept. The request may
    /// have taken effect.
    #[error("the log could not be compared with the checkpoints that were kept")]
    Unchecked(#[source] Box<Self>),
    /// The folder of checkpoints cannot be used, or holds the evidence of an earlier contradiction.
    #[error(transparent)]
    Folder(#[from] CheckpointFolderError),
}

impl From<Status> for ClientError {
    /// Converts a status. One that tonic made from another error is no response of the gateway: the connection was cut.
    fn from(status: Status) -> Self {
        match std::error::Error::source(&status) {
            Some(source) if retry::is_caused_by(source, <dyn std::error::Error>::is::<TimeoutExpired>) => {
                Self::TimedOut
            }
            Some(_) => Self::Unreachable(Box::new(status)),
            None => Self::Refused(Box::new(status)),
        }
    }
}

/// Connection to a gateway. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    log_key: LogKeyHistory,
    checkpoints: Arc<CheckpointStore>,
    on_behalf_of: Option<AsciiMetadataValue>,
    token: Option<AsciiMetadataValue>,
    limits: ClientLimits,
}

/// Reply with its verified receipt.
#[derive(Debug)]
pub struct Reply<R> {
    /// The reply.
    pub message: R,
    /// Its receipt.
    pub receipt: Receipt,
}

impl Client {
    /// Connects to a gateway. `checkpoints` may have a folder with the newest checkpoint of earlier connections. Every call
    /// then compares the log with it, which takes one further call without an entry in the log.
    ///
    /// # Errors
    /// [`ClientError::Profile`] and [`ClientError::Unreachable`].
    pub async fn connect(
        profile: &Profile,
        checkpoints: impl Into<Arc<CheckpointStore>>,
    ) -> Result<Self, ClientError> {
        Self::connect_with_limits(profile, checkpoints, ClientLimits::default()).await
    }

    /// Connects to a gateway with the given limits.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with_limits(
        profile: &Profile,
        checkpoints: impl Into<Arc<CheckpointStore>>,
        limits: ClientLimits,
    ) -> Result<Self, ClientError> {
        let log_key = LogKeyHistory::parse(&profile.log_key)
            .map_err(|_| ClientError::Profile("log_key is not a verifier key".to_owned()))?;
        let on_behalf_of = profile.on_behalf_of.as_deref().map(str::parse).transpose();
        let on_behalf_of = on_behalf_of
            .map_err(|_| ClientError::Profile("on_behalf_of is not an organisation id".to_owned()))?;
        let channel =
            retry_within_limits(limits, || true, || Box::pin(connect::open_channel(profile, limits))).await?;
        Ok(Self { channel, log_key, checkpoints: checkpoints.into(), on_behalf_of, token: None, limits })
    }

    /// Returns the same connection, limited to one attempt per call.
    #[must_use]
    pub fn without_retries(self) -> Self {
        Self { limits: ClientLimits { max_attempts: 1, ..self.limits }, ..self }
    }

    /// Returns the same connection, whose calls are made for the person of a token (RFC 6750, `Bearer`).
    ///
    /// # Errors
    /// [`ClientError::Profile`] if the token is not text that a header can hold.
    pub fn with_token(self, token: &str) -> Result<Self, ClientError> {
        let header = format!("Bearer {token}").parse::<AsciiMetadataValue>();
        let mut header = header.map_err(|_| ClientError::Profile("the token is not one".to_owned()))?;
        header.set_sensitive(true);
        Ok(Self { token: Some(header), ..self })
    }

    /// Returns the same connection, whose calls are made for no person.
    #[must_use]
    pub fn without_token(self) -> Self {
        Self { token: None, ..self }
    }

    /// Sends a request and returns the reply with its verified receipt.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Reply<Resp>, ClientError> {
        self.check_folder().await?;
        let sent: Bytes = request.encode_to_vec().into();
        let received = self.send_with_retries(PathAndQuery::from_static(rpc.path()), sent.clone()).await?;
        let reply = self.verify_reply(&sent, &received)?;
        self.check_received(&reply.receipt.checkpoint).await?;
        Ok(reply)
    }

    /// Sends a request as [`Client::call`] does, for a method that is given by its descriptor only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_dynamic(
        &self,
        method: &MethodDescriptor,
        request: &DynamicMessage,
    ) -> Result<Reply<DynamicMessage>, ClientError> {
        self.check_folder().await?;
        let sent: Bytes = request.encode_to_vec().into();
        let received = self.send_with_retries(path_of(method)?, sent.clone()).await?;
        let VerifiedReply { reply, receipt } =
            receipt::verify(&sent, &received, &self.log_key, &self.checkpoints)?;
        self.check_received(&receipt.checkpoint).await?;
        let message = DynamicMessage::decode(method.output(), reply).map_err(|_| ClientError::Malformed)?;
        Ok(Reply { message, receipt })
    }

    /// Sends a request of a method whose responses have no receipt, such as checkpoints and proofs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_without_receipt<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<Resp, ClientError> {
        let received = self
            .send_with_retries(PathAndQuery::from_static(rpc.path()), request.encode_to_vec().into())
            .await?;
        Resp::decode(received).map_err(|_| ClientError::Malformed)
    }

    /// Sends a request as [`Client::call_without_receipt`] does, for a method that is given by its descriptor only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_dynamic_without_receipt(
        &self,
        method: &MethodDescriptor,
        request: &DynamicMessage,
    ) -> Result<DynamicMessage, ClientError> {
        let received = self.send_with_retries(path_of(method)?, request.encode_to_vec().into()).await?;
        DynamicMessage::decode(method.output(), received).map_err(|_| ClientError::Malformed)
    }

    /// Opens a stream of replies.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open_stream<Req: Message, Resp: Message + Default>(
        &self,
        rpc: Rpc<Req, Resp>,
        request: &Req,
    ) -> Result<ReplyStream<Resp>, ClientError> {
        self.check_folder().await?;
        let sent: Bytes = request.encode_to_vec().into();
        let path = PathAndQuery::from_static(rpc.path());
        let open = async {
            let mut grpc = self.ready_grpc().await?;
            Ok(grpc.server_streaming(self.build_request(&path, sent.clone()), path, BytesCodec).await?)
        };
        let response = with_timeout(self.limits.call_timeout, Box::pin(open)).await?;
        Ok(ReplyStream::new(self.clone(), sent, response.into_inner()))
    }

    /// Returns the keys of the log from the profile.
    #[must_use]
    pub fn log_key(&self) -> &LogKeyHistory {
        &self.log_key
    }

    /// Returns the store of checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> &CheckpointStore {
        &self.checkpoints
    }

    /// Sends a request until it is answered or the limits are reached. The bytes never change, so that the gateway
    /// recognises a repeated request.
    async fn send_with_retries(&self, path: PathAndQuery, sent: Bytes) -> Result<Bytes, ClientError> {
        let repeatable = || retry::is_repeatable(path.path(), &sent);
        retry_within_limits(self.limits, repeatable, || Box::pin(self.send_once(path.clone(), sent.clone())))
            .await
    }

    async fn send_once(&self, path: PathAndQuery, sent: Bytes) -> Result<Bytes, ClientError> {
        let mut request = self.build_request(&path, sent);
        request.set_timeout(self.limits.call_timeout);
        let call = async {
            let mut grpc = self.ready_grpc().await?;
            Ok(grpc.unary(request, path, BytesCodec).await?.into_inner())
        };
        with_timeout(self.limits.call_timeout, call).await
    }

    async fn ready_grpc(&self) -> Result<Grpc<Channel>, ClientError> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(16 << 20);
        grpc.ready().await.map_err(|error| ClientError::Unreachable(Box::new(error)))?;
        Ok(grpc)
    }

    fn build_request<T>(&self, path: &PathAndQuery, message: T) -> tonic::Request<T> {
        let mut metadata = MetadataMap::new();
        // A processor asks for hashes of the log in its own name, because no grant covers them.
        let is_about_log =
            [audit_service::GET_CHECKPOINT.path(), audit_service::GET_CONSISTENCY_PROOF.path()]
                .contains(&path.path());
        if let Some(organisation) = self.on_behalf_of.as_ref().filter(|_| !is_about_log) {
            metadata.insert("ap-on-behalf-of", organisation.clone());
        }
        // Nor does a person ask for them: the log is compared also when the token's time is over.
        if let Some(token) = self.token.as_ref().filter(|_| !is_about_log) {
            metadata.insert("authorization", token.clone());
        }
        // The operator's log names a client that verifies with the key of another log, because the client alone meets it.
        if let Ok(key) = self.log_key.present().key_id().parse() {
            metadata.insert("ap-log-key", key);
        }
        tonic::Request::from_parts(metadata, tonic::Extensions::default(), message)
    }

    fn verify_reply<Resp: Message + Default>(
        &self,
        sent: &Bytes,
        received: &Bytes,
    ) -> Result<Reply<Resp>, ClientError> {
        let VerifiedReply { reply, receipt } =
            receipt::verify(sent, received, &self.log_key, &self.checkpoints)?;
        let message = Resp::decode(reply).map_err(|_| ClientError::Malformed)?;
        Ok(Reply { message, receipt })
    }
}

/// Returns the path of a method.
fn path_of(method: &MethodDescriptor) -> Result<PathAndQuery, ClientError> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    PathAndQuery::try_from(path).map_err(|_| ClientError::Malformed)
}

/// Repeats an operation until it succeeds, fails permanently, or reaches the limits.
async fn retry_within_limits<T, F>(
    limits: ClientLimits,
    repeatable: impl Fn() -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let (started, mut number) = (tokio::time::Instant::now(), 1);
    loop {
        let failed = match attempt().await {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        match limits.next_retry_delay(&failed, number, started.elapsed()).filter(|_| repeatable()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(failed),
        }
        number += 1;
    }
}

/// Waits for a response, but at most for `limit`.
async fn with_timeout<T>(
    limit: std::time::Duration,
    response: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(limit, response).await.unwrap_or(Err(ClientError::TimedOut))
}
