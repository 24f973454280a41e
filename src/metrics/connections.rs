//! Metrics of TLS connections.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{IntCounter, IntGauge, Registry};

use super::{LabelValues, OTHER, counters, register};

/// Metrics of TLS connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct ConnectionMetrics(Option<Arc<ConnectionSeries>>);

struct ConnectionSeries {
    handshakes: HashMap<&'static str, IntCounter>,
    other_handshakes: IntCounter,
    open: IntGauge,
}

/// An open connection. Dropping it ends the count of it.
#[must_use]
pub struct OpenConnection(Option<IntGauge>);

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry, labels: &LabelValues) -> Result<Self, prometheus::Error> {
        let handshakes = counters(
            registry,
            "ap_gateway_tls_handshakes_total",
            "TLS handshakes: ok, gone if the peer went away, or why it was refused.",
            &["result"],
        )?;
        let counter = |result: &str| handshakes.get_metric_with_label_values(&[result]);
        let by_result = labels.handshakes.iter().map(|result| Ok((*result, counter(result)?)));
        let open =
            IntGauge::new("ap_gateway_connections", "Connections that are open after their handshake.");
        Ok(Self(Some(Arc::new(ConnectionSeries {
            handshakes: by_result.collect::<Result<_, prometheus::Error>>()?,
            other_handshakes: counter(OTHER)?,
            open: register(registry, open)?,
        }))))
    }

    /// Counts a handshake.
    pub fn count_handshake(&self, result: &str) {
        if let Some(all) = &self.0 {
            all.handshakes.get(result).unwrap_or(&all.other_handshakes).inc();
        }
    }

    /// Counts a connection as open until the returned value is dropped.
    pub fn open(&self) -> OpenConnection {
        let open = self.0.as_ref().map(|all| all.open.clone());
        open.iter().for_each(IntGauge::inc);
        OpenConnection(open)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}
