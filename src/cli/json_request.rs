//! `push` and `submit progress`: calls of a method by its descriptor, with a request in protobuf JSON.

use std::path::{Path, PathBuf};

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, Value};

use super::args::{ProfileArgs, PushFileArgs};
use super::names::list_told;
use super::sent_requests::{SendStatus, SentRequests, new_request_id};
use super::{Failure, input, json_decode, output, print_line, profile};
use crate::client::{Client, Reply};
use crate::proto;

/// Largest request file, in bytes: the gateway's limit for a message.
const MAX_REQUEST_FILE_BYTES: u64 = 1 << 20;

/// Note for a request that was answered in an earlier run.
const REPLAYED_NOTE: &str = "this file was sent before: nothing was done again, and this is the first response. An edited \
                        file is a new request; --again sends it again unchanged";
/// Note for a request that was sent in an earlier run, without a response.
const SENT_BEFORE_NOTE: &str = "this file was sent before under the same request id, without a response: it has taken \
                           effect once";

/// Sends the request in each file to a method of the gateway, and prints the replies.
///
/// # Errors
/// Exit code 64 if a file is invalid, with every invalid field; or the client's.
pub async fn send(method: &str, files: &[PathBuf], connection: &ProfileArgs) -> Result<(), Failure> {
    // Every file is read before anything is sent.
    let requests = files.iter().map(|file| read_request(method, file)).collect::<Result<Vec<_>, _>>()?;
    let client = profile::connect_from_args(connection).await?;
    for (method, request) in requests {
        let reply = call(&client, &method, request).await?;
        print_change(&client, &reply, connection.json).await?;
    }
    Ok(())
}

/// Sends the request in each file as [`send`] does, so that it takes effect once. If a file has no request id, an id is
/// stored next to the file before the call; the same request gets the same id in later runs, unless `--again` is given.
///
/// # Errors
/// As [`send`]; exit code 2 for `--again` with a file that has a request id, 69 if the id cannot be stored.
pub async fn push(method: &str, args: &PushFileArgs) -> Result<(), Failure> {
    let requests = args.files.iter().map(|file| read_request(method, file)).collect::<Result<Vec<_>, _>>()?;
    // Next to standard input no id can be stored.
    let has_own_id =
        |file: &Path, request: &DynamicMessage| has_request_id(request) || input::is_standard_input(file);
    let mut sent = Vec::with_capacity(requests.len());
    for (file, (method, request)) in args.files.iter().zip(&requests) {
        let own = has_own_id(file, request);
        if own && args.again {
            let what = "--again is for a file without a request_id: in a file that has one, change it there";
            return Err(Failure::usage(what));
        }
        let stored = || SentRequests::load(file, &args.connection.profile, method, request);
        sent.push(if own { None } else { Some(stored()?) });
    }
    let client = profile::connect_from_args(&args.connection).await?;
    for ((method, request), sent) in requests.into_iter().zip(sent) {
        let reply = match sent {
            Some(sent) => call_once(&client, &method, request, (sent, args.again)).await?,
            None => call(&client, &method, request).await?,
        };
        print_change(&client, &reply, args.connection.json).await?;
    }
    Ok(())
}

/// Makes a call under the request id that is stored for it.
async fn call_once(
    client: &Client,
    method: &MethodDescriptor,
    mut request: DynamicMessage,
    (mut sent, again): (SentRequests, bool),
) -> Result<Reply<DynamicMessage>, Failure> {
    let (id, status) = sent.request_id(again)?;
    request.set_field_by_name("request_id", Value::String(id));
    let reply = call(client, method, request).await?;
    let note = match status {
        SendStatus::Answered(first) if first == reply.receipt.exchange_id => REPLAYED_NOTE,
        SendStatus::SentUnanswered => SENT_BEFORE_NOTE,
        SendStatus::Answered(_) | SendStatus::New => "",
    };
    sent.record_answer(&reply.receipt.exchange_id)?;
    if !note.is_empty() {
        output::print_note(note);
    }
    Ok(reply)
}

/// Prints the reply to a request that changed something; in words also who was told.
async fn print_change(client: &Client, reply: &Reply<DynamicMessage>, json: bool) -> Result<(), Failure> {
    print_reply(&reply.message, json)?;
    if !json {
        print_line(&format!("told: {}", list_told(client, &reply.receipt).await));
    }
    output::check_response_written()
}

/// Reads a message of `apgateway.v1` from a file as protobuf JSON.
///
/// # Errors
/// Exit code 64 if the file is invalid, with every invalid field.
pub fn read_message<T: Message + Default>(name: &str, file: &Path) -> Result<T, Failure> {
    let bug = |what: String| Failure::bug(name, std::io::Error::other(what));
    let described = proto::descriptor_pool().get_message_by_name(&format!("apgateway.v1.{name}"));
    let described = described.ok_or_else(|| bug("not described".to_owned()))?;
    let read = parse_file(file, &described)?;
    read.transcode_to().map_err(|error| bug(error.to_string()))
}

fn parse_file(file: &Path, message: &MessageDescriptor) -> Result<DynamicMessage, Failure> {
    let text = input::read_text(file, MAX_REQUEST_FILE_BYTES)?;
    json_decode::parse(&text, message)
        .map_err(|faults| Failure::input(format!("{}: {}", input::name_of(file), faults.join("\n  "))))
}

fn has_request_id(request: &DynamicMessage) -> bool {
    let id = request.get_field_by_name("request_id");
    id.is_some_and(|id| id.as_str().is_some_and(|id| !id.is_empty()))
}

/// Calls a method; sets a new request id if the method changes something and the request has none.
///
/// # Errors
/// The client's.
pub async fn call(
    client: &Client,
    method: &MethodDescriptor,
    mut request: DynamicMessage,
) -> Result<Reply<DynamicMessage>, Failure> {
    let field = request.get_field_by_name("request_id").filter(|_| proto::is_mutating(method));
    let mut id = field.and_then(|id| Some(id.as_str()?.to_owned()));
    if let Some(id) = id.as_mut().filter(|id| id.is_empty()) {
        *id = new_request_id();
        request.set_field_by_name("request_id", Value::String(id.clone()));
    }
    client.call_dynamic(method, &request).await.map_err(|error| match id {
        Some(id) => Failure::from(error).with_advice(&format!(
            "sent with request_id {id}: it takes effect once, however often it is sent"
        )),
        None => error.into(),
    })
}

/// Returns a method and its request.
///
/// # Errors
/// Exit code 70 if the message is not that of the method, which is a bug.
pub fn dynamic_request(
    method: &str,
    request: &impl Message,
) -> Result<(MethodDescriptor, DynamicMessage), Failure> {
    let method = method_by_name(method)?;
    let mut dynamic = DynamicMessage::new(method.input());
    dynamic.transcode_from(request).map_err(|error| Failure::bug("a request", error))?;
    Ok((method, dynamic))
}

/// Returns the method of a name, also of those that only the sandbox serves.
///
/// # Errors
/// Exit code 2 if there is none.
pub fn method_by_name(name: &str) -> Result<MethodDescriptor, Failure> {
    let found = proto::methods().chain(proto::sandbox_methods()).find(|method| method.name() == name);
    found.ok_or_else(|| Failure::usage(format!("this release has no method {name}")))
}

/// Prints the fields of a reply, or the whole reply as JSON.
///
/// # Errors
/// Exit code 69 if it cannot be written.
pub fn print_reply(reply: &DynamicMessage, json: bool) -> Result<(), Failure> {
    let reply = output::dynamic_to_json(reply)?;
    if json {
        print_line(&reply.to_string());
    }
    let fields = reply.as_object().filter(|_| !json).into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| *name != "receipt") {
        let text = value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned);
        print_line(&format!("{name}: {text}"));
    }
    output::check_response_written()
}

/// Reads a request of a method from a file.
///
/// # Errors
/// Exit code 64 if the file is invalid, with every invalid field.
pub fn read_request(method: &str, file: &Path) -> Result<(MethodDescriptor, DynamicMessage), Failure> {
    let method = method_by_name(method)?;
    let request = parse_file(file, &method.input())?;
    Ok((method, request))
}
