//! `push`, `submit progress` and `passport get`: a method that is known by its descriptor alone, its request
//! written as protobuf JSON.

use std::path::Path;

use prost_reflect::{DynamicMessage, MethodDescriptor, Value};

use super::args::{GetPassport, PushFile, RequestFile};
use super::sent::{Known, SentRequests};
use super::{Failure, json, output, profile, say};
use crate::client::{Client, Reply};
use crate::clock::Randomness;
use crate::proto;

/// Largest file, in bytes: the gateway takes no larger message.
const LARGEST: u64 = 1 << 20;

/// Said of a request that had been answered before.
const REPLAYED: &str = "this file was sent before: nothing was done again, and this is the first answer. After an edit \
                        it is a new request; --again sends it anew as it is";
/// Said of a request that had been sent before without an answer that is known.
const SENT_BEFORE: &str = "this file was sent before under the same request id, and its answer was not seen: it has \
                           taken effect once";

/// Sends the request in a file to a method of the gateway, and shows the reply.
///
/// # Errors
/// Exit code 64 for the file, with every field at fault; or the client's.
pub async fn send(method: &str, args: &RequestFile) -> Result<(), Failure> {
    let (method, request) = read(method, &args.file)?;
    let client = profile::open(&args.of).await?;
    show(&call(&client, &method, request).await?.message, args.of.json)
}

/// Sends the request in a file as [`send`] does, once: where the file names no request id, one is kept beside it
/// before anything is sent, and the same request gets the same id again unless it is to be sent anew.
///
/// # Errors
/// As [`send`]; exit code 2 for a file with an id of its own that is to be sent anew, 69 when the id cannot be kept.
pub async fn push(method: &str, args: &PushFile) -> Result<(), Failure> {
    let (method, mut request) = read(method, &args.file)?;
    if has_id(&request) {
        if args.again {
            return Err(Failure::usage("the file names its request_id: change it there to send it anew"));
        }
        let client = profile::open(&args.of).await?;
        return show(&call(&client, &method, request).await?.message, args.of.json);
    }
    let mut sent = SentRequests::open(&args.file, &args.of.profile, &method, &request)?;
    let client = profile::open(&args.of).await?;
    let (id, known) = sent.id(args.again)?;
    request.set_field_by_name("request_id", Value::String(id));
    let Reply { message, receipt } = call(&client, &method, request).await?;
    let note = match known {
        Known::Answered(first) if first == receipt.exchange_id => REPLAYED,
        Known::Sent => SENT_BEFORE,
        Known::Answered(_) | Known::New => "",
    };
    sent.answered(&receipt.exchange_id)?;
    if !note.is_empty() {
        output::note(note);
    }
    show(&message, args.of.json)
}

fn has_id(request: &DynamicMessage) -> bool {
    let id = request.get_field_by_name("request_id");
    id.is_some_and(|id| id.as_str().is_some_and(|id| !id.is_empty()))
}

/// Shows what the caller's system may read of a passport.
///
/// # Errors
/// The client's.
pub async fn passport(args: &GetPassport) -> Result<(), Failure> {
    let method = find("GetPassport")?;
    let mut request = DynamicMessage::new(method.input());
    request.set_field_by_name("placement_id", Value::String(args.placement.clone()));
    let client = profile::open(&args.of).await?;
    show(&call(&client, &method, request).await?.message, args.of.json)
}

/// Calls a method; a request without an id is given one.
///
/// # Errors
/// The client's.
pub async fn call(
    client: &Client,
    method: &MethodDescriptor,
    mut request: DynamicMessage,
) -> Result<Reply<DynamicMessage>, Failure> {
    let mut id = request.get_field_by_name("request_id").and_then(|id| Some(id.as_str()?.to_owned()));
    if let Some(id) = id.as_mut().filter(|id| id.is_empty()) {
        *id = Randomness::system().uuid_v4().hyphenated().to_string();
        request.set_field_by_name("request_id", Value::String(id.clone()));
    }
    client.call_described(method, &request).await.map_err(|error| match id {
        Some(id) => Failure::from(error)
            .and(&format!("sent with request_id {id}: it takes effect once, however often it is sent")),
        None => error.into(),
    })
}

fn find(name: &str) -> Result<MethodDescriptor, Failure> {
    let found = proto::methods().find(|method| method.name() == name);
    found.ok_or_else(|| Failure::usage(format!("this release has no method {name}")))
}

fn show(reply: &DynamicMessage, json: bool) -> Result<(), Failure> {
    let reply = output::dynamic_json(reply)?;
    if json {
        say(&reply.to_string());
    }
    let fields = reply.as_object().filter(|_| !json).into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| *name != "receipt") {
        let text = value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned);
        say(&format!("{name}: {text}"));
    }
    output::written()
        .map_err(|failure| failure.and("the gateway has answered, but its answer could not be written"))
}

/// Reads a request of a method from a file.
///
/// # Errors
/// Exit code 64 for the file, with every field at fault.
pub fn read(method: &str, file: &Path) -> Result<(MethodDescriptor, DynamicMessage), Failure> {
    let method = find(method)?;
    let told = |what: &str| Failure::input(format!("{}: {what}", file.display()));
    let size = std::fs::metadata(file).map_err(|_| told("the file cannot be read"))?.len();
    if size > LARGEST {
        return Err(told("the file is larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(file).map_err(|_| told("the file is not UTF-8 text"))?;
    let request = json::parse(&text, &method.input()).map_err(|faults| told(&faults.join("\n  ")))?;
    Ok((method, request))
}
