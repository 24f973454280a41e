//! Metrics of exchanges: their outcomes by method and reason, and the streams that are open.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{IntCounter, IntGauge, Registry};

use super::{LabelValues, counters, register, split_path};

/// Metrics of exchanges. Cheap to clone.
#[derive(Clone, Default)]
pub struct ExchangeMetrics(Option<Arc<ExchangeSeries>>);

struct ExchangeSeries {
    /// By path; the counters of a method by the number of the outcome.
    by_path: HashMap<&'static str, Vec<IntCounter>>,
    other: Vec<IntCounter>,
    streams: IntGauge,
}

/// An open stream. Dropping it ends the count of it.
#[must_use]
pub struct OpenStream(Option<IntGauge>);

impl ExchangeMetrics {
    pub(super) fn new(registry: &Registry, labels: &LabelValues) -> Result<Self, prometheus::Error> {
        let exchanges = counters(
            registry,
            "ap_gateway_exchanges_total",
            "Exchanges by outcome; the reason of a refusal, or nothing.",
            &["method", "outcome", "reason"],
        )?;
        let series = |path: &'static str| {
            let (_, method) = split_path(path);
            let outcomes = labels.outcomes.iter();
            let counter = |(outcome, reason): &(&str, &str)| {
                exchanges.get_metric_with_label_values(&[method, outcome, reason])
            };
            outcomes.map(counter).collect::<Result<Vec<_>, prometheus::Error>>()
        };
        let by_path = labels.exchanges.iter().map(|path| Ok((*path, series(path)?)));
        let by_path = by_path.collect::<Result<_, prometheus::Error>>()?;
        let streams = IntGauge::new("ap_gateway_streams", "Streams that are open.");
        let (other, streams) = (series("")?, register(registry, streams)?);
        Ok(Self(Some(Arc::new(ExchangeSeries { by_path, other, streams }))))
    }

    /// Counts an exchange, by the number of its outcome in the list that the series were made from.
    pub fn count(&self, path: &str, outcome: usize) {
        if let Some(all) = &self.0
            && let Some(counter) = all.by_path.get(path).unwrap_or(&all.other).get(outcome)
        {
            counter.inc();
        }
    }

    /// Counts a stream as open until the returned value is dropped.
    pub fn open_stream(&self) -> OpenStream {
        let streams = self.0.as_ref().map(|all| all.streams.clone());
        streams.iter().for_each(IntGauge::inc);
        OpenStream(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}
