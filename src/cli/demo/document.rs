//! A document as a member's system writes it, sent by the way of the verbs that send files.

use std::path::Path;

use prost::Message;
use serde_json::Value;

use super::super::{Failure, message};
use super::ensure;
use crate::client::Client;

/// A request in a file, all of it invented, but for what only a sandbox knows.
pub struct Document {
    pub method: &'static str,
    pub text: &'static str,
}

impl Document {
    /// Puts what the sandbox knows at its places, each a JSON pointer (RFC 6901), and sends the file; the reply.
    pub async fn send<R: Message + Default>(
        &self,
        dir: &Path,
        client: &Client,
        known: &[(&str, &str)],
    ) -> Result<R, Failure> {
        let mut request: Value =
            serde_json::from_str(self.text).map_err(|error| Failure::bug("a document of the demo", error))?;
        for (place, value) in known {
            let found = request.pointer_mut(place).map(|place| *place = (*value).into());
            ensure(found.is_some(), "a document of the demo lacks a field")?;
        }
        let file = dir.join(format!("{}.json", self.method));
        std::fs::write(&file, request.to_string()).map_err(|error| Failure::unavailable("a file", error))?;
        let (method, request) = message::read(self.method, &file)?;
        let reply = message::call(client, &method, request).await?.message;
        reply.transcode_to().map_err(|error| Failure::bug("a reply", error))
    }
}
