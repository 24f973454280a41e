//! gRPC codec of the exchange pipeline. Requests are passed on as received bytes. Only durable replies, and
//! hashes, can be sent.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::memory::{CallMemory, Charge};
use crate::proto::v1::Receipt;

/// Field number of the receipt, in every response message that has an entry.
const RECEIPT_FIELD: u32 = 15;

/// Message that may leave the process.
pub enum OutboundMessage {
    /// A reply and its receipt, both durable.
    Committed(CommittedReply),
    /// Checkpoints, proofs and heartbeats: hashes only, without an entry.
    Hashes(Bytes),
}

/// Largest message that is sent, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Largest reply that is committed, in bytes. The rest is room for its receipt, whose entry has at most 4 KiB.
pub(super) const MAX_REPLY_BYTES: usize = MAX_MESSAGE_BYTES - (64 << 10);

/// Size of a receipt, in bytes: that of an ordinary entry and its proof.
const RECEIPT_BYTES: usize = 2 << 10;
/// Initial size of tonic's buffers for one call, in bytes. Its default of 8 KiB is reserved for each open stream.
const BUFFER_BYTES: usize = 512;
/// Size from which tonic sends encoded messages without waiting for further ones, in bytes.
const YIELD_BYTES: usize = 32 << 10;

/// Durable reply with its receipt appended. Only the pipeline creates one, from the committer's outcome.
pub struct CommittedReply {
    bytes: Bytes,
    charge: Option<Charge>,
}

/// Returns the bytes that are charged for a reply of this length.
pub(super) fn charged_bytes(reply: usize) -> usize {
    reply + RECEIPT_BYTES
}

impl CommittedReply {
    /// Appends the receipt to the stored reply as field 15. Protobuf merges concatenated messages, so the
    /// commitment in the log covers exactly the stored bytes.
    pub(super) fn with_receipt(reply: &Bytes, receipt: &Receipt, charge: Option<Charge>) -> Self {
        let length = receipt.encoded_len();
        let mut joined = Vec::with_capacity(reply.len() + length + 8);
        joined.extend_from_slice(reply);
        prost::encoding::encode_key(RECEIPT_FIELD, prost::encoding::WireType::LengthDelimited, &mut joined);
        prost::encoding::encode_varint(length as u64, &mut joined);
        receipt.encode_raw(&mut joined);
        Self { bytes: joined.into(), charge }
    }
}

/// Codec that decodes to bytes and encodes [`OutboundMessage`]s.
#[derive(Clone)]
pub struct ExchangeCodec {
    /// Whether the client sends a stream of messages.
    pub client_streaming: bool,
    /// The memory of the call.
    pub memory: CallMemory,
}

/// Decoder that returns a message as it was received. Where the method takes one message it refuses a second,
/// which tonic 0.14.9 would accept.
pub struct BytesDecoder {
    client_streaming: bool,
    has_message: bool,
    memory: CallMemory,
}

/// Encoder of outbound messages.
pub struct OutboundEncoder(CallMemory);

impl Codec for ExchangeCodec {
    type Encode = OutboundMessage;
    type Decode = Bytes;
    type Encoder = OutboundEncoder;
    type Decoder = BytesDecoder;

    fn encoder(&mut self) -> OutboundEncoder {
        OutboundEncoder(self.memory.clone())
    }

    fn decoder(&mut self) -> BytesDecoder {
        BytesDecoder {
            client_streaming: self.client_streaming,
            has_message: false,
            memory: self.memory.clone(),
        }
    }
}

impl Decoder for BytesDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        if std::mem::replace(&mut self.has_message, true) && !self.client_streaming {
            return Err(Status::invalid_argument("more than one message"));
        }
        let message = src.copy_to_bytes(src.remaining());
        let charged = self.memory.attach_request(message);
        charged.map(Some).ok_or_else(|| Status::resource_exhausted(""))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl Encoder for OutboundEncoder {
    type Item = OutboundMessage;
    type Error = Status;

    fn encode(&mut self, item: OutboundMessage, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let bytes = match item {
            OutboundMessage::Committed(CommittedReply { bytes, charge }) => {
                if let Some(charge) = charge {
                    self.0.add_response(charge);
                }
                bytes
            }
            OutboundMessage::Hashes(bytes) => bytes,
        };
        dst.put(bytes);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
