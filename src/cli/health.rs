//! `health`: asks a serving node's management listener whether it is well, for probes of containers and service managers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::args::HealthArgs;
use super::{Failure, print_line};
use crate::config::Config;
use crate::gateway::ManagementAddress;

/// Maximum time for the answer.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(5);
/// Maximum size of the answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// An error of any library in the way.
type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Prints what the node answers.
///
/// # Errors
/// Exit code 1 if the node is not ready, or with `--live` cannot go on; 69 if it does not answer within five seconds; 78 if
/// the configuration has no management listener.
pub async fn health(args: &HealthArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let Some(address) = config.management.listen else {
        return Err(Failure::configuration(format!(
            "{}: [management] has no listen, so a node does not answer probes",
            args.config.display()
        )));
    };
    let path = if args.live { "/livez" } else { "/readyz" };
    let unreachable =
        |error: AnyError| Failure::no_answer(&format!("the node does not answer on {address}: {error}"));
    let asked = tokio::time::timeout(MAX_ANSWER_TIME, ask(&address, path)).await;
    let asked = asked.unwrap_or_else(|_| Err("it took more than five seconds".into()));
    let (status, text) = asked.map_err(unreachable)?;
    match status {
        StatusCode::OK => {
            print_line(text.trim_end());
            Ok(())
        }
        StatusCode::SERVICE_UNAVAILABLE => Err(Failure::refused(text.trim_end().to_owned())),
        other => Err(unreachable(format!("HTTP {other}").into())),
    }
}

async fn ask(address: &ManagementAddress, path: &str) -> Result<(StatusCode, String), AnyError> {
    let stream = address.connect().await?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
    let answered = async {
        let response = requests.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
        Ok((parts.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::select! {
        answered = answered => answered,
        Err(error) = connection => Err(error.into()),
    }
}
