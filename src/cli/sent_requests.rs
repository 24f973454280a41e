//! Store of the request ids under which a file was pushed, in a file next to it (`referral.json.request-ids`). The same
//! request is always sent under the same id; an edited file is a new request.
//!
//! Each line is a request: the digest of its message, method, organisation and gateway; its request id; and the id of
//! the exchange that answered it, empty before a response. The line is on disk before the request is sent.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use uuid::Uuid;

use super::cursor::sha256_hex;
use super::{Failure, profile};
use crate::client::write_atomically;
use crate::clock::Randomness;

/// First line of the file: the file type and the version of the format.
const FILE_HEADER: &str = "ap-gateway request ids 1";
/// Maximum number of requests that are stored; the oldest are removed.
const MAX_STORED_REQUESTS: usize = 1_000;

/// Status of a request before it is sent.
#[derive(Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// It was not sent before, or `--again` was given.
    New,
    /// It was sent before, without a response.
    SentUnanswered,
    /// It was answered before; holds the id of the exchange.
    Answered(String),
}

/// Requests that were sent from one file.
pub struct SentRequests {
    file: PathBuf,
    digest: String,
    requests: Vec<SentRequest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SentRequest {
    digest: String,
    id: String,
    /// Exchange id; empty before a response.
    exchange: String,
}

impl SentRequests {
    /// Loads the stored requests of a file, for one request of one organisation to one gateway.
    ///
    /// # Errors
    /// Exit code 64 if the file of ids is damaged, 78 if the profile is invalid.
    pub fn load(
        sent: &Path,
        profile: &Path,
        method: &MethodDescriptor,
        request: &DynamicMessage,
    ) -> Result<Self, Failure> {
        let (_, organisation) = profile::cursor_folder_and_organisation(profile)?;
        let gateway = profile::first_log_key(profile)?;
        let message = sha256_hex(&request.encode_to_vec());
        let digest =
            sha256_hex(format!("{gateway}\n{organisation}\n{}\n{message}", method.full_name()).as_bytes());
        if !std::fs::metadata(sent).is_ok_and(|sent| sent.is_file()) {
            let what = "not a regular file, so no request id can be stored next to it";
            let advice = "nothing was sent; set a request_id (a UUID) in the request, or use a regular file";
            return Err(Failure::input(format!("{}: {what}", sent.display())).with_advice(advice));
        }
        let mut file = sent.as_os_str().to_owned();
        file.push(".request-ids");
        let file = PathBuf::from(file);
        let refused = |what: &str| {
            let advice =
                "restore the file; without it a request that was sent before is sent again under a new id";
            Failure::input(format!("{}: {what}", file.display())).with_advice(advice)
        };
        let requests = match std::fs::read_to_string(&file) {
            Ok(text) => parse(&text).ok_or_else(|| refused("the stored request ids are damaged"))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(refused(&error.to_string())),
        };
        Ok(Self { file, digest, requests })
    }

    /// Returns the request id to use and the status of the request. The id is on disk on return.
    ///
    /// # Errors
    /// Exit code 69 if the id cannot be stored.
    pub fn request_id(&mut self, anew: bool) -> Result<(String, SendStatus), Failure> {
        if anew {
            self.requests.retain(|request| request.digest != self.digest);
        }
        if let Some(SentRequest { id, exchange, .. }) =
            self.requests.iter().find(|request| request.digest == self.digest)
        {
            let known = if exchange.is_empty() {
                SendStatus::SentUnanswered
            } else {
                SendStatus::Answered(exchange.clone())
            };
            return Ok((id.clone(), known));
        }
        let id = new_request_id();
        let request = SentRequest { digest: self.digest.clone(), id: id.clone(), exchange: String::new() };
        self.requests.push(request);
        let surplus = self.requests.len().saturating_sub(MAX_STORED_REQUESTS);
        self.requests.drain(..surplus);
        self.save().map_err(|failure| {
            failure.with_advice(
                "nothing was sent; set a request_id (a UUID) in the request to send it from here",
            )
        })?;
        Ok((id, SendStatus::New))
    }

    /// Stores the id of the exchange that answered the request.
    ///
    /// # Errors
    /// Exit code 69 if it cannot be stored.
    pub fn record_answer(&mut self, exchange: &str) -> Result<(), Failure> {
        let request = self.requests.iter_mut().find(|request| request.digest == self.digest);
        if let Some(request) = request.filter(|request| request.exchange != exchange) {
            exchange.clone_into(&mut request.exchange);
            return self
                .save()
                .map_err(|failure| failure.with_advice("the gateway has accepted the request"));
        }
        Ok(())
    }

    fn save(&self) -> Result<(), Failure> {
        write_atomically(&self.file, encode(&self.requests))
            .map_err(|error| Failure::unavailable(&self.file.display().to_string(), error))
    }
}

fn encode(requests: &[SentRequest]) -> String {
    let lines =
        requests.iter().map(|SentRequest { digest, id, exchange }| format!("{digest} {id} {exchange}\n"));
    format!("{FILE_HEADER}\n{}", lines.collect::<String>())
}

fn parse(text: &str) -> Option<Vec<SentRequest>> {
    let lines = text.strip_prefix(FILE_HEADER)?.strip_prefix('\n')?;
    if !lines.is_empty() && !lines.ends_with('\n') {
        return None;
    }
    lines.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<SentRequest> {
    let (digest, rest) = line.split_once(' ')?;
    let (id, exchange) = rest.split_once(' ')?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let are_ids = Uuid::try_parse(id).is_ok() && (exchange.is_empty() || Uuid::try_parse(exchange).is_ok());
    let [digest, id, exchange] = [digest, id, exchange].map(str::to_owned);
    (is_digest && are_ids).then_some(SentRequest { digest, id, exchange })
}

/// Returns a new request id (AIP-155).
#[must_use]
pub fn new_request_id() -> String {
    Randomness::system().uuid_v4().hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(dir: &Path, digest: &str) -> SentRequests {
        let file = dir.join("referral.json.request-ids");
        let requests =
            std::fs::read_to_string(&file).map_or_else(|_| Vec::new(), |text| parse(&text).unwrap());
        SentRequests { file, digest: sha256_hex(digest.as_bytes()), requests }
    }

    #[test]
    fn a_request_keeps_its_id_until_it_is_another_or_sent_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let exchange = "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1d";
        let (first, known) = sent(dir.path(), "one").request_id(false).unwrap();
        assert_eq!(known, SendStatus::New);
        assert_eq!(
            sent(dir.path(), "one").request_id(false).unwrap(),
            (first.clone(), SendStatus::SentUnanswered)
        );
        let (edited, known) = sent(dir.path(), "two").request_id(false).unwrap();
        assert!(edited != first && known == SendStatus::New);
        sent(dir.path(), "one").record_answer(exchange).unwrap();
        let answered = SendStatus::Answered(exchange.to_owned());
        assert_eq!(sent(dir.path(), "one").request_id(false).unwrap(), (first.clone(), answered));
        assert_eq!(sent(dir.path(), "two").request_id(false).unwrap(), (edited, SendStatus::SentUnanswered));
        let (anew, known) = sent(dir.path(), "one").request_id(true).unwrap();
        assert!(anew != first && known == SendStatus::New);
        assert_eq!(sent(dir.path(), "one").request_id(false).unwrap(), (anew, SendStatus::SentUnanswered));
    }

    #[test]
    fn what_is_not_a_file_of_ids_is_refused() {
        let kept = encode(&[SentRequest {
            digest: sha256_hex(b""),
            id: "6f1c2a34-0000-4000-8000-000000000000".to_owned(),
            exchange: String::new(),
        }]);
        assert_eq!(parse(&kept).unwrap().len(), 1);
        for damaged in ["", "{}", &kept[..kept.len() - 3], &kept.replace(" 6f1c", " canary"), &kept[1..]] {
            assert_eq!(parse(damaged), None, "{damaged}");
        }
    }
}
