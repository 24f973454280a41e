//! The request ids under which a file was pushed, in a file beside it (`referral.json.request-ids`): the same request
//! is sent under the same id however often, and an edited one is a new request.
//!
//! A line is a request: the digest of what it asks, of whom and of which gateway; its id; and the exchange that
//! answered it, once that is known. It is on disk before anything is sent.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use uuid::Uuid;

use super::cursor::{digest_of, write};
use super::{Failure, profile};
use crate::clock::Randomness;

/// First line of the file: what it is, and the version of its form.
const HEADING: &str = "ap-gateway request ids 1";
/// Requests that are kept, the newest ones.
const KEPT: usize = 1_000;

/// What is known of a request before it is sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// It was not sent before, or is to be sent anew.
    New,
    /// It was sent before, and no answer was seen.
    Sent,
    /// It was answered before, by this exchange.
    Answered(String),
}

/// The requests that a file has been.
pub struct SentRequests {
    file: PathBuf,
    digest: String,
    requests: Vec<Request>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    digest: String,
    id: String,
    /// Empty until an answer was seen.
    exchange: String,
}

impl SentRequests {
    /// Reads what a file was sent as, for one request of one organisation to one gateway.
    ///
    /// # Errors
    /// Exit code 64 for a file of ids that is not as it was written, 78 for the profile.
    pub fn open(
        sent: &Path,
        profile: &Path,
        method: &MethodDescriptor,
        request: &DynamicMessage,
    ) -> Result<Self, Failure> {
        let (_, organisation) = profile::state(profile)?;
        let gateway = profile::first_log(profile)?;
        let message = digest_of(&request.encode_to_vec());
        let digest =
            digest_of(format!("{gateway}\n{organisation}\n{}\n{message}", method.full_name()).as_bytes());
        if !std::fs::metadata(sent).is_ok_and(|sent| sent.is_file()) {
            let what = "no file, so that no request id can be kept beside it";
            let advice =
                "nothing was sent; give the request a request_id of its own (a UUID), or send a file";
            return Err(Failure::input(format!("{}: {what}", sent.display())).and(advice));
        }
        let mut file = sent.as_os_str().to_owned();
        file.push(".request-ids");
        let file = PathBuf::from(file);
        let refused = |what: &str| {
            let advice = "put back what it was; without it a request that was sent before is sent anew";
            Failure::input(format!("{}: {what}", file.display())).and(advice)
        };
        let requests = match std::fs::read_to_string(&file) {
            Ok(text) => read(&text).ok_or_else(|| refused("these are not request ids as they were kept"))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(refused(&error.to_string())),
        };
        Ok(Self { file, digest, requests })
    }

    /// Returns the id to send the request under, which is on disk by then.
    ///
    /// # Errors
    /// Exit code 69 when the id cannot be kept.
    pub fn id(&mut self, anew: bool) -> Result<(String, Known), Failure> {
        if anew {
            self.requests.retain(|request| request.digest != self.digest);
        }
        if let Some(Request { id, exchange, .. }) =
            self.requests.iter().find(|request| request.digest == self.digest)
        {
            let known = if exchange.is_empty() { Known::Sent } else { Known::Answered(exchange.clone()) };
            return Ok((id.clone(), known));
        }
        let id = Randomness::system().uuid_v4().hyphenated().to_string();
        let request = Request { digest: self.digest.clone(), id: id.clone(), exchange: String::new() };
        self.requests.push(request);
        let surplus = self.requests.len().saturating_sub(KEPT);
        self.requests.drain(..surplus);
        self.keep().map_err(|failure| {
            failure.and(
                "nothing was sent; give the request a request_id of its own (a UUID) to send it from here",
            )
        })?;
        Ok((id, Known::New))
    }

    /// Keeps the exchange that answered the request.
    ///
    /// # Errors
    /// Exit code 69 when it cannot be kept.
    pub fn answered(&mut self, exchange: &str) -> Result<(), Failure> {
        let request = self.requests.iter_mut().find(|request| request.digest == self.digest);
        if let Some(request) = request.filter(|request| request.exchange != exchange) {
            exchange.clone_into(&mut request.exchange);
            return self.keep().map_err(|failure| failure.and("the gateway has taken the request"));
        }
        Ok(())
    }

    fn keep(&self) -> Result<(), Failure> {
        write(&self.file, &text(&self.requests))
            .map_err(|error| Failure::unavailable(&self.file.display().to_string(), error))
    }
}

fn text(requests: &[Request]) -> String {
    let lines = requests.iter().map(|Request { digest, id, exchange }| format!("{digest} {id} {exchange}\n"));
    format!("{HEADING}\n{}", lines.collect::<String>())
}

fn read(text: &str) -> Option<Vec<Request>> {
    let lines = text.strip_prefix(HEADING)?.strip_prefix('\n')?;
    if !lines.is_empty() && !lines.ends_with('\n') {
        return None;
    }
    lines.lines().map(request).collect()
}

fn request(line: &str) -> Option<Request> {
    let (digest, rest) = line.split_once(' ')?;
    let (id, exchange) = rest.split_once(' ')?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let are_ids = Uuid::try_parse(id).is_ok() && (exchange.is_empty() || Uuid::try_parse(exchange).is_ok());
    let [digest, id, exchange] = [digest, id, exchange].map(str::to_owned);
    (is_digest && are_ids).then_some(Request { digest, id, exchange })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(dir: &Path, digest: &str) -> SentRequests {
        let file = dir.join("referral.json.request-ids");
        let requests =
            std::fs::read_to_string(&file).map_or_else(|_| Vec::new(), |text| read(&text).unwrap());
        SentRequests { file, digest: digest_of(digest.as_bytes()), requests }
    }

    #[test]
    fn a_request_keeps_its_id_until_it_is_another_or_sent_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let exchange = "019a7e52-93c1-7b0f-8d21-6f0e4d3c2b1d";
        let (first, known) = sent(dir.path(), "one").id(false).unwrap();
        assert_eq!(known, Known::New);
        assert_eq!(sent(dir.path(), "one").id(false).unwrap(), (first.clone(), Known::Sent));
        let (edited, known) = sent(dir.path(), "two").id(false).unwrap();
        assert!(edited != first && known == Known::New);
        sent(dir.path(), "one").answered(exchange).unwrap();
        let answered = Known::Answered(exchange.to_owned());
        assert_eq!(sent(dir.path(), "one").id(false).unwrap(), (first.clone(), answered));
        assert_eq!(sent(dir.path(), "two").id(false).unwrap(), (edited, Known::Sent));
        let (anew, known) = sent(dir.path(), "one").id(true).unwrap();
        assert!(anew != first && known == Known::New);
        assert_eq!(sent(dir.path(), "one").id(false).unwrap(), (anew, Known::Sent));
    }

    #[test]
    fn what_is_not_a_file_of_ids_is_refused() {
        let kept = text(&[Request {
            digest: digest_of(b""),
            id: "6f1c2a34-0000-4000-8000-000000000000".to_owned(),
            exchange: String::new(),
        }]);
        assert_eq!(read(&kept).unwrap().len(), 1);
        for damaged in ["", "{}", &kept[..kept.len() - 3], &kept.replace(" 6f1c", " canary"), &kept[1..]] {
            assert_eq!(read(damaged), None, "{damaged}");
        }
    }
}
