//! A client of `StreamAttendance` that sends messages one by one.

use std::io::Error;

use ap_gateway::cli::audit;
use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{
    ExchangeRecord, Mark, SeenMark, Session, StreamAttendanceRequest, StreamAttendanceResponse, StreamCommit,
    mark,
};
use ap_gateway::tlog::commitment;
use aws_lc_rs::digest::{SHA256, digest};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::body::Body;

use super::wire::{Wire, frame, framed, receipt_of};

pub const STREAM: &str = "/apgateway.v1.ReturnsService/StreamAttendance";

fn id() -> String {
    Randomness::system().uuid_v4().hyphenated().to_string()
}

/// An open stream.
pub struct Upload {
    to: mpsc::Sender<Result<Bytes, Error>>,
    answers: Incoming,
    received: BytesMut,
}

/// Builds the opening message: of a new return (empty id) or an existing one.
pub fn opening(return_id: &str) -> StreamAttendanceRequest {
    let return_id = return_id.to_owned();
    StreamAttendanceRequest { request_id: id(), return_id, ..StreamAttendanceRequest::default() }
}

/// Builds the messages of a part, with up to `most` marks each, and its commit.
pub fn part(return_id: &str, number: u32, marks: &[Mark], most: usize, last: bool) -> Vec<Bytes> {
    let mut messages = Vec::new();
    for marks in marks.chunks(most) {
        let mut message =
            StreamAttendanceRequest { marks: marks.to_vec(), ..StreamAttendanceRequest::default() };
        if messages.is_empty() {
            message.part = number;
            message.request_id = id();
            return_id.clone_into(&mut message.return_id);
        }
        messages.push(Bytes::from(message.encode_to_vec()));
    }
    let count = u32::try_from(marks.len()).unwrap();
    messages.push(commit(&messages, count, last));
    messages
}

/// Builds the commit of these messages.
pub fn commit(messages: &[Bytes], count: u32, last: bool) -> Bytes {
    let sha256 = digest(&SHA256, &messages.concat()).as_ref().to_vec().into();
    let commit = Some(StreamCommit { count, sha256, last });
    StreamAttendanceRequest { commit, ..StreamAttendanceRequest::default() }.encode_to_vec().into()
}

/// Builds `count` marks, each of another session.
pub fn marks(placements: &[String], count: usize) -> Vec<Mark> {
    let time = |minute: usize| format!("{:02}:{:02}", 8 + minute / 60, minute % 60);
    let mark_at = |number: usize| {
        let (placement, rest) = (&placements[number % placements.len()], number / placements.len());
        let (day, minute) = (rest % 60, rest / 60);
        Mark {
            child: Some(mark::Child::PlacementId(placement.clone())),
            date: format!("2026-{:02}-{:02}", 9 + day / 30, day % 30 + 1),
            session: Session::Timed as i32,
            start_time: time(minute),
            end_time: time(minute + 1),
            statement: Some(mark::Statement::Seen(SeenMark::Present as i32)),
            ..Mark::default()
        }
    };
    (0..count).map(mark_at).collect()
}

impl Upload {
    /// Opens a stream and returns the response to its opening.
    pub async fn open(
        wire: &Wire,
        metadata: &[(&str, &str)],
        opening: &StreamAttendanceRequest,
    ) -> Result<(Self, StreamAttendanceResponse), Status> {
        let (to, messages) = mpsc::channel(16);
        let body = Body::new(StreamBody::new(
            ReceiverStream::new(messages).map(|it: Result<Bytes, Error>| it.map(Frame::data)),
        ));
        let sent = opening.encode_to_vec();
        to.send(Ok(frame(&sent))).await.unwrap();
        let (parts, answers) = wire.begin(STREAM, metadata, body).await.unwrap();
        if let Some(status) = Status::from_header_map(&parts.headers) {
            return Err(status);
        }
        let mut upload = Self { to, answers, received: BytesMut::new() };
        let answer = upload.answer().await?.unwrap();
        assert_receipt_commits_to(&answer, &sent);
        Ok((upload, StreamAttendanceResponse::decode(answer).unwrap()))
    }

    /// Opens a stream for a new (empty id) or an existing return.
    pub async fn start(wire: &Wire, return_id: &str) -> (Self, StreamAttendanceResponse) {
        Self::open(wire, &[], &opening(return_id)).await.unwrap()
    }

    /// Sends a message; ignores an error, because the server may have ended the stream.
    pub async fn send(&self, message: &[u8]) {
        self.to.send(Ok(frame(message))).await.ok();
    }

    /// Sends a part and returns its response, whose receipt must commit to the part.
    pub async fn part(&mut self, messages: &[Bytes]) -> Result<StreamAttendanceResponse, Status> {
        let answer = self.part_bytes(messages).await?;
        Ok(StreamAttendanceResponse::decode(answer).unwrap())
    }

    pub async fn part_bytes(&mut self, messages: &[Bytes]) -> Result<Bytes, Status> {
        for message in messages {
            self.send(message).await;
        }
        let answer = self.answer().await?.ok_or_else(|| Status::cancelled("the stream ended"))?;
        assert_receipt_commits_to(&answer, &messages.concat());
        Ok(answer)
    }

    /// Returns the next response; `None` when the stream has ended with OK.
    pub async fn answer(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = framed(&self.received).map(Bytes::copy_from_slice) {
                let _ = self.received.split_to(5 + message.len());
                return Ok(Some(message));
            }
            let Some(next) = self.answers.frame().await else { return Ok(None) };
            match next.map_err(|error| Status::unavailable(error.to_string()))?.into_data() {
                Ok(data) => self.received.extend_from_slice(&data),
                Err(rest) => {
                    let status = Status::from_header_map(&rest.into_trailers().unwrap()).unwrap();
                    return if status.code() == tonic::Code::Ok { Ok(None) } else { Err(status) };
                }
            }
        }
    }

    /// Closes the sending side and returns the end of the stream.
    pub async fn half_close(self) -> Result<Option<Bytes>, Status> {
        let Self { to, answers, received } = self;
        let (closed, _) = mpsc::channel(1);
        drop(to);
        Self { to: closed, answers, received }.answer().await
    }
}

/// Asserts that the receipt of a response commits to this request.
fn assert_receipt_commits_to(answer: &Bytes, request: &[u8]) {
    let receipt = receipt_of(answer).unwrap();
    let entry = ap_gateway::proto::v1::AuditEntry::decode(receipt.entry).unwrap();
    let salt: [u8; 32] = receipt.request_salt.as_ref().try_into().unwrap();
    assert_eq!(entry.request_commitment.as_ref(), commitment(&salt, request).as_bytes());
}

/// Returns the stream exchanges of a provider, newest first.
pub async fn entered(client: &Client) -> Vec<ExchangeRecord> {
    let mut exchanges = audit::list_all_exchanges(client).await.unwrap();
    exchanges.retain(|exchange| exchange.method == STREAM);
    exchanges
}
