//! Streams of `call`: deliveries as lines of JSON, and returns in parts from lines of JSON.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::{DynamicMessage, MethodDescriptor};

use super::super::sent_requests::new_request_id;
use super::super::{Failure, deliveries, output};
use crate::client::Client;
use crate::proto::v1::{
    StreamAttendanceRequest, StreamCommit, WatchDeliveriesRequest, delivery_service, returns_service,
};

/// Name of the responses of a stream of deliveries.
const DELIVERIES: &str = "WatchDeliveriesResponse";
/// Name of the responses of a stream of parts.
const PARTS: &str = "StreamAttendanceResponse";

/// Returns whether a method is the stream of deliveries.
pub fn is_deliveries(method: &MethodDescriptor) -> bool {
    is_path(method, delivery_service::WATCH_DELIVERIES.path())
}

/// Returns whether a method is the stream of parts of a return.
pub fn is_parts(method: &MethodDescriptor) -> bool {
    is_path(method, returns_service::STREAM_ATTENDANCE.path())
}

fn is_path(method: &MethodDescriptor, path: &str) -> bool {
    path == format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Prints the messages of a stream of deliveries as lines of JSON, until it ends or `take` of them were printed.
///
/// # Errors
/// The client's; exit code 69 if standard output fails.
pub async fn print_deliveries(
    client: &Client,
    request: &DynamicMessage,
    take: Option<u64>,
) -> Result<(), Failure> {
    let opening: WatchDeliveriesRequest = typed(request)?;
    let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &opening).await?;
    let (mut position, mut printed) = (opening.cursor.clone(), 0);
    while take.is_none_or(|take| printed < take) {
        let before = position.clone();
        let next = stream.next(|message| deliveries::next_position(message, before.as_ref(), &opening.kinds));
        let Some((message, _)) = next.await? else {
            break;
        };
        client.check_deliveries(&message.deliveries).await?;
        output::print_json(DELIVERIES, &message)?;
        output::check_written()?;
        position = message.next.or(position);
        printed += 1;
    }
    Ok(())
}

/// Sends a stream of parts, and prints each reply as a line of JSON. What a file need not repeat is filled in: request
/// ids, the id of a return that the opening began, and count and digest of a commit.
///
/// # Errors
/// The client's; exit code 69 if standard output fails.
pub async fn send_parts(client: &Client, messages: Vec<DynamicMessage>) -> Result<(), Failure> {
    let mut messages = messages.iter().map(typed::<StreamAttendanceRequest>);
    let Some(opening) = messages.next().transpose()? else {
        return Ok(());
    };
    let opening = with_request_id(opening);
    let (mut stream, reply) = client.open_part_stream(returns_service::STREAM_ATTENDANCE, &opening).await?;
    output::print_json(PARTS, &reply.message)?;
    let return_id = reply.message.return_id;
    let (mut part, mut mark_count) = (Vec::new(), 0);
    for message in messages {
        let mut message = message?;
        let is_commit = message.commit.is_some();
        if let Some(commit) = message.commit.as_mut() {
            complete_commit(commit, &part, mark_count);
        } else if part.is_empty() {
            message = with_request_id(message);
            if message.return_id.is_empty() {
                message.return_id.clone_from(&return_id);
            }
        }
        mark_count += message.marks.len();
        part.push(Bytes::from(message.encode_to_vec()));
        if is_commit {
            let reply = stream.send_part(std::mem::take(&mut part)).await?;
            output::print_json(PARTS, &reply.message)?;
            mark_count = 0;
        }
    }
    if !part.is_empty() {
        return Err(Failure::input("the last part has no commit: it was not sent, and is not stored"));
    }
    stream.finish().await?;
    Ok(())
}

fn with_request_id(mut message: StreamAttendanceRequest) -> StreamAttendanceRequest {
    if message.request_id.is_empty() {
        message.request_id = new_request_id();
    }
    message
}

fn complete_commit(commit: &mut StreamCommit, part: &[Bytes], mark_count: usize) {
    if commit.count == 0 {
        commit.count = u32::try_from(mark_count).unwrap_or(u32::MAX);
    }
    if commit.sha256.is_empty() {
        commit.sha256 = Bytes::copy_from_slice(digest(&SHA256, &part.concat()).as_ref());
    }
}

/// Converts a request to its type.
fn typed<T: Message + Default>(request: &DynamicMessage) -> Result<T, Failure> {
    request.transcode_to().map_err(|error| Failure::bug("a request", error))
}
