//! The codec of the door: requests arrive as the bytes that were received, and the only things that can
//! be sent are what the committer made durable, or hashes.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::proto::v1::Receipt;

/// The number of the field that carries the receipt in every response message that has an entry.
const RECEIPT_FIELD: u32 = 15;

/// An answer that may leave the process.
pub enum Answer {
    /// A reply and its receipt, both durable.
    Committed(Committed),
    /// Checkpoints, proofs and heartbeats: hashes only, no entry of their own.
    Hashes(Bytes),
}

/// Largest message that is sent, in bytes.
pub(super) const MESSAGE: usize = 4 << 20;
/// Largest reply that is committed: behind it is room for its receipt, whose entry has at most 4 KiB.
pub(super) const REPLY: usize = MESSAGE - (64 << 10);

/// A reply with its receipt behind it. Only the door makes one, from the committer's outcome.
pub struct Committed(Bytes);

impl Committed {
    /// Protobuf joins messages by concatenation: the receipt follows the stored reply as field 15, so the
    /// commitment in the log covers exactly the stored bytes.
    pub(super) fn join(reply: &Bytes, receipt: &Receipt) -> Self {
        let length = receipt.encoded_len();
        let mut joined = Vec::with_capacity(reply.len() + length + 8);
        joined.extend_from_slice(reply);
        prost::encoding::encode_key(RECEIPT_FIELD, prost::encoding::WireType::LengthDelimited, &mut joined);
        prost::encoding::encode_varint(length as u64, &mut joined);
        receipt.encode_raw(&mut joined);
        Self(joined.into())
    }
}

/// Decodes to bytes, encodes [`Answer`]s.
#[derive(Clone, Copy, Default)]
pub struct ExchangeCodec {
    /// Whether the method takes a stream of messages.
    pub streams: bool,
}

/// Hands on a message as it was received; where the method takes one, refuses a second one, which tonic 0.14.9
/// would let pass.
pub struct Received {
    streams: bool,
    seen: bool,
}

/// Writes an answer.
pub struct Sent;

impl Codec for ExchangeCodec {
    type Encode = Answer;
    type Decode = Bytes;
    type Encoder = Sent;
    type Decoder = Received;

    fn encoder(&mut self) -> Sent {
        Sent
    }

    fn decoder(&mut self) -> Received {
        Received { streams: self.streams, seen: false }
    }
}

impl Decoder for Received {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        if std::mem::replace(&mut self.seen, true) && !self.streams {
            return Err(Status::invalid_argument("more than one message"));
        }
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}

impl Encoder for Sent {
    type Item = Answer;
    type Error = Status;

    fn encode(&mut self, item: Answer, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let (Answer::Committed(Committed(bytes)) | Answer::Hashes(bytes)) = item;
        dst.put(bytes);
        Ok(())
    }
}
