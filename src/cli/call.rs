//! `call`: calls any method of the gateway by its descriptor, with requests in protobuf JSON, and prints a filled request.

pub mod examples;
mod streams;

use std::path::Path;

use prost_reflect::{DynamicMessage, MethodDescriptor};

use super::args::CallArgs;
use super::verbs::by_method::verb_of;
use super::{Failure, json_decode, json_request, output, profile};
use crate::client::Client;
use crate::proto;

/// Largest file of requests, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Number of the field that holds the receipt in a response.
const RECEIPT_FIELD: u32 = 15;

/// How a method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One request, one reply with a receipt.
    Unary,
    /// One request, one reply of hashes, which has no receipt.
    Hashes,
    /// One request, a stream of deliveries.
    Deliveries,
    /// A stream of parts of a return, each with its reply.
    Parts,
}

/// Calls a method with the requests of each file, or prints its example.
///
/// # Errors
/// Exit code 2 if there is no such method, 64 if a file is invalid, with every invalid field; or the client's.
pub async fn run(args: &CallArgs) -> Result<(), Failure> {
    let Some(name) = args.method.as_deref() else {
        return list();
    };
    if args.example {
        return examples::print(name);
    }
    let method = json_request::method_by_name(name)?;
    let shape =
        shape_of(&method).ok_or_else(|| Failure::usage(format!("{name} cannot be called with a file")))?;
    // Every file is read before anything is sent.
    let mut requests = Vec::with_capacity(args.files.len());
    for file in &args.files {
        requests.push((file.as_path(), read_requests(&method, file)?));
    }
    let client = connect(args).await?;
    for (file, messages) in requests {
        match shape {
            Shape::Parts => {
                streams::send_parts(&client, messages).await.map_err(|failure| in_file(failure, file))?;
            }
            _ => call_each(&client, (&method, shape), (file, messages), args).await?,
        }
    }
    output::check_response_written()
}

async fn connect(args: &CallArgs) -> Result<Client, Failure> {
    let profile = args.profile.as_deref().ok_or_else(|| Failure::usage("--profile is missing"))?;
    profile::connect_with_token(profile, args.endpoint.as_deref(), args.token.as_deref()).await
}

/// Prints the name of every method, with the verb that serves it and the first sentence of its comment.
fn list() -> Result<(), Failure> {
    let rows: Vec<_> = proto::methods()
        .map(|method| {
            let verb = verb_of(method.name()).to_owned();
            [method.name().to_owned(), verb, proto::summary(&method)]
        })
        .collect();
    output::print_table(["METHOD", "VERB", "WHAT IT DOES"], &rows);
    output::check_written()
}

/// Makes a call with each message of a file.
async fn call_each(
    client: &Client,
    (method, shape): (&MethodDescriptor, Shape),
    (file, messages): (&Path, Vec<DynamicMessage>),
    args: &CallArgs,
) -> Result<(), Failure> {
    let count = messages.len();
    for (at, request) in messages.into_iter().enumerate() {
        let called = match shape {
            Shape::Deliveries => streams::print_deliveries(client, &request, args.take).await,
            Shape::Hashes => match client.call_dynamic_without_receipt(method, &request).await {
                Ok(reply) => json_request::print_reply(&reply, args.json),
                Err(error) => Err(error.into()),
            },
            _ => match json_request::call(client, method, request).await {
                Ok(reply) => json_request::print_reply(&reply.message, args.json),
                Err(failure) => Err(failure),
            },
        };
        called.map_err(|failure| {
            let failure =
                if count > 1 { failure.with_subject(&format!("message {}", at + 1)) } else { failure };
            in_file(failure, file)
        })?;
    }
    Ok(())
}

fn in_file(failure: Failure, file: &Path) -> Failure {
    if file == Path::new("-") { failure } else { failure.with_subject(&file.display().to_string()) }
}

/// Returns how a method is called; `None` for a stream that this release cannot call.
fn shape_of(method: &MethodDescriptor) -> Option<Shape> {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) if method.output().get_field(RECEIPT_FIELD).is_some() => Some(Shape::Unary),
        (false, false) => Some(Shape::Hashes),
        (false, true) => streams::is_deliveries(method).then_some(Shape::Deliveries),
        (true, _) => streams::is_parts(method).then_some(Shape::Parts),
    }
}

/// Reads the requests of a file, or of standard input.
fn read_requests(method: &MethodDescriptor, file: &Path) -> Result<Vec<DynamicMessage>, Failure> {
    let text = super::input::read_text(file, MAX_FILE_BYTES)?;
    let failure = |what: &str| Failure::input(format!("{}: {what}", super::input::name_of(file)));
    let found =
        json_decode::parse_all(&text, &method.input()).map_err(|faults| failure(&faults.join("\n  ")))?;
    if found.is_empty() {
        return Err(failure("there is no request in it"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_served() {
        for method in proto::methods() {
            assert!(shape_of(&method).is_some(), "no verb serves {}", method.name());
            assert!(!proto::summary(&method).is_empty(), "{} has no comment", method.name());
        }
    }
}
