//! Metrics of a node, in the text format of Prometheus. Every series is made when the node starts, from closed lists of
//! label values: nothing that a caller sends makes another one, and no label names an organisation, a child, a placement
//! or a certificate. Recording is an addition to an atomic number; only a scrape takes a lock.
//!
//! A node without a management listener records nothing: each group of metrics is then empty.

mod calls;
mod commits;
mod connections;
mod exchanges;
mod figures;
mod process;

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use calls::{CallMetrics, StartedCall};
pub use commits::{CommitMetrics, CommitStage};
pub use connections::{ConnectionMetrics, OpenConnection};
pub use exchanges::{ExchangeMetrics, OpenStream};
pub use figures::Figures;

/// Prefix of the gateway's own metrics.
const PREFIX: &str = "ap_gateway_";
/// Value of a label for what is in no list.
const OTHER: &str = "other";
/// Upper bounds of the histograms of durations, in seconds.
const DURATION_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Error in the declaration of a metric, or of a text that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the metrics")]
pub struct MetricsError(#[from] prometheus::Error);

/// The metrics of the listener. Cheap to clone.
#[derive(Clone, Default)]
pub struct ServerMetrics {
    /// Counts calls.
    pub calls: CallMetrics,
    /// Counts handshakes and connections.
    pub connections: ConnectionMetrics,
}

/// The closed lists of label values.
pub struct LabelValues {
    /// Paths of the methods that have exchanges, `/package.Service/Method`.
    pub exchanges: Vec<&'static str>,
    /// Paths of the methods that can be called.
    pub calls: Vec<&'static str>,
    /// Outcomes of exchanges, each with its reason, by number.
    pub outcomes: Vec<(&'static str, &'static str)>,
    /// Results of TLS handshakes.
    pub handshakes: Vec<&'static str>,
    /// Causes for which a node is not ready.
    pub causes: Vec<&'static str>,
    /// Kinds of deliveries.
    pub deliveries: Vec<&'static str>,
    /// Rules of oversight.
    pub rules: Vec<&'static str>,
    /// Whether the database is SQLite, which has a write-ahead log of this process.
    pub has_wal: bool,
    /// Whether the time of the last backup is known.
    pub has_backup_stamp: bool,
}

/// The metrics of a node.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// What callers met.
    pub calls: CallMetrics,
    /// Outcomes of exchanges.
    pub exchanges: ExchangeMetrics,
    /// The committer.
    pub commits: CommitMetrics,
    /// TLS connections.
    pub connections: ConnectionMetrics,
    /// What is measured when the metrics are read, or from time to time.
    pub figures: Figures,
}

impl Metrics {
    /// Makes every series, with the value 0.
    ///
    /// # Errors
    /// [`MetricsError`] for two metrics of one name.
    pub fn new(labels: &LabelValues) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        Ok(Self {
            calls: CallMetrics::new(&registry, labels)?,
            exchanges: ExchangeMetrics::new(&registry, labels)?,
            commits: CommitMetrics::new(&registry)?,
            connections: ConnectionMetrics::new(&registry, labels)?,
            figures: Figures::new(&registry, labels)?,
            registry,
        })
    }

    /// Returns all metrics as text, version 0.0.4 of the format.
    ///
    /// # Errors
    /// [`MetricsError`] for a metric that cannot be written.
    pub fn to_text(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

/// Registers a metric.
fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, prometheus::Error>,
) -> Result<M, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn int_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    register(registry, GaugeVec::new(Opts::new(name, help), labels))
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec());
    register(registry, HistogramVec::new(options, labels))
}

/// Splits the path of a method into service and name.
fn split_path(path: &'static str) -> (&'static str, &'static str) {
    path.trim_start_matches('/').rsplit_once('/').unwrap_or((OTHER, OTHER))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(&LabelValues {
            exchanges: vec!["/p.S/A", "/p.S/B"],
            calls: vec!["/p.S/A", "/p.S/B"],
            outcomes: vec![("ok", ""), ("refused", "NOT_FOUND")],
            handshakes: vec!["ok", "revoked"],
            causes: vec!["clock_jumped"],
            deliveries: vec!["PLAN"],
            rules: vec!["PAST_END"],
            has_wal: true,
            has_backup_stamp: true,
        })
        .unwrap()
    }

    /// Returns the names and labels of all series.
    fn series(text: &str) -> Vec<&str> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
    }

    #[test]
    fn nothing_that_is_recorded_makes_a_series() {
        let metrics = metrics();
        let before = metrics.to_text().unwrap();
        for path in ["/p.S/A", "/p.S/Unknown", "/x/la/330", ""] {
            metrics.calls.begin(path).finish(0);
            metrics.calls.begin(path).finish(99);
            drop(metrics.calls.begin(path));
            for outcome in [0, 1, 7] {
                metrics.exchanges.count(path, outcome);
            }
        }
        for result in ["ok", "revoked", "la/330"] {
            metrics.connections.count_handshake(result);
        }
        metrics.commits.observe(CommitStage::Sync, Duration::from_millis(3));
        metrics.commits.observe_group(7);
        let after = metrics.to_text().unwrap();
        assert_eq!(series(&before), series(&after));
        for line in [
            r#"grpc_server_started_total{grpc_method="A",grpc_service="p.S"} 3"#,
            r#"grpc_server_handled_total{grpc_code="OK",grpc_method="A",grpc_service="p.S"} 1"#,
            r#"grpc_server_handled_total{grpc_code="Unknown",grpc_method="A",grpc_service="p.S"} 1"#,
            r#"grpc_server_handled_total{grpc_code="Canceled",grpc_method="other",grpc_service="other"} 3"#,
            r#"ap_gateway_exchanges_total{method="A",outcome="refused",reason="NOT_FOUND"} 1"#,
            r#"ap_gateway_exchanges_total{method="other",outcome="ok",reason=""} 3"#,
            r#"ap_gateway_tls_handshakes_total{result="other"} 1"#,
            r#"ap_gateway_commit_seconds_count{stage="sync"} 1"#,
            "ap_gateway_group_changes_sum 7",
        ] {
            assert!(after.lines().any(|found| found == line), "{line} is not in\n{after}");
        }
    }

    #[test]
    fn without_a_listener_nothing_is_recorded() {
        CallMetrics::default().begin("/p.S/A").finish(0);
        ExchangeMetrics::default().count("/p.S/A", 0);
        CommitMetrics::default().observe_group(1);
        drop((ConnectionMetrics::default().open(), ExchangeMetrics::default().open_stream()));
    }
}
