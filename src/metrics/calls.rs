//! Metrics of calls, by the names that gRPC's Prometheus libraries use.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{Histogram, IntCounter, Registry};
use tokio::time::Instant;

use super::{LabelValues, counters, histograms, split_path};

/// Names of the status codes of gRPC, by number, as its Prometheus libraries write them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
/// Number of the code of a call whose caller went away.
const CANCELLED: i32 = 1;
/// Number of the code of a response without a known one.
const UNKNOWN: usize = 2;

/// Metrics of calls. Cheap to clone.
#[derive(Clone, Default)]
pub struct CallMetrics(Option<Arc<CallSeries>>);

struct CallSeries {
    by_path: HashMap<&'static str, Arc<MethodSeries>>,
    other: Arc<MethodSeries>,
}

struct MethodSeries {
    started: IntCounter,
    /// By the number of the code.
    handled: Vec<IntCounter>,
    seconds: Histogram,
}

/// A call that was started. Dropping it counts the call as cancelled.
#[must_use]
pub struct StartedCall(Option<(Arc<MethodSeries>, Instant)>);

impl CallMetrics {
    pub(super) fn new(registry: &Registry, labels: &LabelValues) -> Result<Self, prometheus::Error> {
        let method = ["grpc_service", "grpc_method"];
        let started = counters(registry, "grpc_server_started_total", "Calls that were started.", &method)?;
        let handled = counters(
            registry,
            "grpc_server_handled_total",
            "Calls that ended, by the status code of their response.",
            &["grpc_service", "grpc_method", "grpc_code"],
        )?;
        let seconds = histograms(
            registry,
            "grpc_server_handling_seconds",
            "Time from the headers of a call to the end of its response.",
            &method,
        )?;
        let series = |path: &'static str| {
            let (service, name) = split_path(path);
            let of_code = |code: &&str| handled.get_metric_with_label_values(&[service, name, code]);
            Ok::<_, prometheus::Error>(Arc::new(MethodSeries {
                started: started.get_metric_with_label_values(&[service, name])?,
                handled: CODES.iter().map(of_code).collect::<Result<_, _>>()?,
                seconds: seconds.get_metric_with_label_values(&[service, name])?,
            }))
        };
        let by_path = labels.calls.iter().map(|path| Ok((*path, series(path)?)));
        let by_path = by_path.collect::<Result<_, prometheus::Error>>()?;
        Ok(Self(Some(Arc::new(CallSeries { by_path, other: series("")? }))))
    }

    /// Counts a call that begins.
    pub fn begin(&self, path: &str) -> StartedCall {
        StartedCall(self.0.as_ref().map(|all| {
            let method = Arc::clone(all.by_path.get(path).unwrap_or(&all.other));
            method.started.inc();
            (method, Instant::now())
        }))
    }
}

impl StartedCall {
    /// Counts the end of the call, with the number of its status code.
    pub fn finish(mut self, code: i32) {
        self.end(code);
    }

    fn end(&mut self, code: i32) {
        let Some((method, begun)) = self.0.take() else { return };
        let code = usize::try_from(code).ok().filter(|code| *code < CODES.len()).unwrap_or(UNKNOWN);
        if let Some(counter) = method.handled.get(code) {
            counter.inc();
        }
        method.seconds.observe(begun.elapsed().as_secs_f64());
    }
}

impl Drop for StartedCall {
    fn drop(&mut self) {
        self.end(CANCELLED);
    }
}
