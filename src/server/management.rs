//! The management listener: `/livez`, `/readyz` and `/metrics` over HTTP/1.1, for the machine on which the node runs.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::management_address::{ManagementListener, ManagementStream};
use crate::store::{BackgroundTask, FatalError, NodeCondition};

/// Maximum number of open connections; a further one waits.
const MAX_CONNECTIONS: usize = 64;
/// Maximum time until the headers of the next request have arrived.
const MAX_HEADER_TIME: Duration = Duration::from_secs(30);
/// Maximum time for which a connection is kept.
const MAX_CONNECTION_TIME: Duration = Duration::from_mins(5);
/// Pause after a failed accept, because file descriptors become free as connections end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Type of the text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Type of all other answers.
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// What the management listener answers from.
pub struct Probes {
    /// The node's condition.
    pub condition: watch::Receiver<NodeCondition>,
    /// Becomes true when the node begins to shut down.
    pub stopping: watch::Receiver<bool>,
    /// The tasks whose stall only a new start ends.
    pub vital_tasks: Vec<BackgroundTask>,
    /// Returns the metrics as text; `None` if they cannot be written.
    pub metrics: Box<dyn Fn() -> Option<String> + Send + Sync>,
}

/// Serves the management listener. Ends only with the node.
///
/// # Errors
/// None of its own.
pub async fn serve_management(listener: ManagementListener, probes: Arc<Probes>) -> Result<(), FatalError> {
    let (places, mut connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), JoinSet::new());
    loop {
        // The semaphore is never closed.
        let place = Arc::clone(&places).acquire_owned().await.ok();
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(ACCEPT_BACKOFF).await;
            continue;
        };
        let probes = Arc::clone(&probes);
        connections.spawn(async move {
            serve_connection(stream, probes).await;
            drop(place);
        });
    }
}

async fn serve_connection(stream: ManagementStream, probes: Arc<Probes>) {
    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = probes.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(MAX_HEADER_TIME);
    let serving = http.serve_connection(TokioIo::new(stream), answer);
    tokio::time::timeout(MAX_CONNECTION_TIME, serving).await.ok();
}

impl Probes {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (status, kind, text) = match request.uri().path() {
            _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                (StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "only GET and HEAD\n".to_owned())
            }
            "/livez" => self.live(),
            "/readyz" => self.ready(),
            "/metrics" => match (self.metrics)() {
                Some(text) => (StatusCode::OK, METRICS_TYPE, text),
                None => (StatusCode::INTERNAL_SERVER_ERROR, TEXT_TYPE, "no metrics\n".to_owned()),
            },
            _ => (StatusCode::NOT_FOUND, TEXT_TYPE, "/livez, /readyz, /metrics\n".to_owned()),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }

    /// Answers whether the process can go on: not when a commit hangs, which a new start ends.
    fn live(&self) -> (StatusCode, &'static str, String) {
        let stalled = |task: &BackgroundTask| (task.name, task.is_stalled());
        report("live", self.vital_tasks.iter().map(stalled))
    }

    /// Answers whether calls can be served now, with each cause why not.
    fn ready(&self) -> (StatusCode, &'static str, String) {
        let stopping = ("stopping", *self.stopping.borrow());
        let condition = *self.condition.borrow();
        report("ready", condition.causes().chain([stopping]))
    }
}

/// Makes a response of checks: a line for each, then the result.
fn report(
    name: &str,
    checks: impl Iterator<Item = (&'static str, bool)>,
) -> (StatusCode, &'static str, String) {
    let (mut text, mut is_well) = (String::new(), true);
    for (cause, holds) in checks {
        is_well &= !holds;
        writeln!(text, "{}{cause}", if holds { "[-]" } else { "[+]not " }).ok();
    }
    writeln!(text, "{}{name}", if is_well { "" } else { "not " }).ok();
    (if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, TEXT_TYPE, text)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::store::Revocation;

    /// A cause, and the function that sets it.
    type SetCause = (&'static str, fn(&mut NodeCondition));

    async fn ask(probes: &Probes, method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = probes.answer(&request);
        let (status, body) = (response.status().as_u16(), response.into_body().collect().await.unwrap());
        (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn each_cause_is_named_while_it_holds() {
        let (stop, stopping) = watch::channel(false);
        let condition = watch::Sender::<NodeCondition>::default();
        let commits = BackgroundTask::new("sequencer", Duration::from_secs(3));
        let probes = Probes {
            condition: condition.subscribe(),
            stopping,
            vital_tasks: vec![commits.clone()],
            metrics: Box::new(|| Some("metrics\n".to_owned())),
        };
        let (status, text) = ask(&probes, Method::GET, "/readyz").await;
        assert!(status == 200 && text.ends_with("\nready\n") && !text.contains("[-]"), "{text}");
        let set: [SetCause; 10] = [
            ("database_unreachable", |now| now.database_unreachable = true),
            ("database_unwritable", |now| now.database_unwritable = true),
            ("anchor_unwritable", |now| now.anchor_unwritable = true),
            ("clock_skewed", |now| now.clock_skewed = true),
            ("clock_jumped", |now| now.clock_jumped = true),
            ("not_durable", |now| now.not_durable = true),
            ("log_altered", |now| now.log_altered = true),
            ("revocation_unknown", |now| now.revocation = Revocation::Unknown),
            ("key_missing", |now| now.key_missing = true),
            ("task_stalled", |now| now.task_stalled = true),
        ];
        assert_eq!(set.map(|(cause, _)| cause), NodeCondition::CAUSES);
        for (cause, set) in set {
            condition.send_modify(set);
            let (status, text) = ask(&probes, Method::GET, "/readyz").await;
            let causes: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("[-]")).collect();
            assert!(status == 503 && causes == [cause] && text.ends_with("\nnot ready\n"), "{text}");
            condition.send_replace(NodeCondition::default());
        }
        stop.send_replace(true);
        let (status, text) = ask(&probes, Method::GET, "/readyz").await;
        assert!(status == 503 && text.contains("[-]stopping"), "{text}");
        assert_eq!(
            ask(&probes, Method::GET, "/livez").await.0,
            200,
            "a node that stops or is not ready lives"
        );
        commits.progress.mark();
        tokio::time::advance(Duration::from_secs(4)).await;
        let (status, text) = ask(&probes, Method::GET, "/livez").await;
        assert!(status == 503 && text.contains("[-]sequencer"), "{text}");
        for (method, path, expected) in [
            (Method::GET, "/metrics", 200),
            (Method::HEAD, "/metrics", 200),
            (Method::POST, "/metrics", 405),
            (Method::GET, "/", 404),
            (Method::GET, "/metrics/", 404),
        ] {
            assert_eq!(ask(&probes, method, path).await.0, expected, "{path}");
        }
    }
}
