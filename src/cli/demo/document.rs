//! Document in the form in which an organisation's system writes it. It is sent in the same way as by the CLI commands
//! that send files.

use std::path::Path;

use prost::Message;
use serde_json::Value;

use super::super::{Failure, json_request};
use super::ensure;
use crate::client::Client;

/// Request in a file with invented content, except for values that only the sandbox can supply.
pub struct Document {
    pub method: &'static str,
    pub text: &'static str,
}

impl Document {
    /// Inserts the sandbox's values, each at a JSON pointer (RFC 6901), sends the file, and returns the reply.
    pub async fn send<R: Message + Default>(
        &self,
        dir: &Path,
        client: &Client,
        values: &[(&str, &str)],
    ) -> Result<R, Failure> {
        let mut request: Value =
            serde_json::from_str(self.text).map_err(|error| Failure::bug("a document of the demo", error))?;
        for (pointer, value) in values {
            let found = request.pointer_mut(pointer).map(|field| *field = (*value).into());
            ensure(found.is_some(), "a document of the demo lacks a field")?;
        }
        let file = dir.join(format!("{}.json", self.method));
        std::fs::write(&file, request.to_string()).map_err(|error| Failure::unavailable("a file", error))?;
        let (method, request) = json_request::read_request(self.method, &file)?;
        let reply = json_request::call(client, &method, request).await?.message;
        reply.transcode_to().map_err(|error| Failure::bug("a reply", error))
    }
}
