//! Figures that are not counted where they arise, but measured: when the metrics are read, or once a minute.

use prometheus::{Gauge, IntGauge, IntGaugeVec, Registry};

use super::process::ProcessFigures;
use super::{LabelValues, OTHER, PREFIX, int_gauges, register};

/// Values of the label `level`: how often an alert was escalated.
const LEVELS: [&str; 3] = ["0", "1", "2"];
/// What certificates are used for, of the values of the label `use`.
const CERTIFICATE_USES: [&str; 2] = ["server", "client_ca"];

/// The figures. Cheap to clone.
#[derive(Clone)]
pub struct Figures {
    /// Size of the newest log that is durable.
    pub log_entries: IntGauge,
    /// Age of the newest checkpoint.
    pub checkpoint_age: Gauge,
    /// Changes that wait to be committed.
    pub queued_changes: IntGauge,
    /// Earliest end of the revocation lists.
    pub crl_next_update: IntGauge,
    /// Size of the write-ahead log, with SQLite.
    pub wal_pages: Option<IntGauge>,
    /// When a backup was made last, where that is known.
    pub backup_last_success: Option<IntGauge>,
    /// Returns that are missing.
    pub returns_missing: IntGauge,
    certificate_expiry: IntGaugeVec,
    causes: IntGaugeVec,
    deliveries: IntGaugeVec,
    alerts: IntGaugeVec,
    process: ProcessFigures,
}

impl Figures {
    pub(super) fn new(registry: &Registry, labels: &LabelValues) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| register(registry, Gauge::new(format!("{PREFIX}{name}"), help));
        let int_gauge =
            |name: &str, help: &str| register(registry, IntGauge::new(format!("{PREFIX}{name}"), help));
        let wal = labels.has_wal.then(|| {
            int_gauge(
                "wal_pages",
                "Size of the file of SQLite's write-ahead log, in pages. It does not shrink.",
            )
        });
        let backup = labels.has_backup_stamp.then(|| {
            int_gauge("backup_last_success_timestamp_seconds", "When a backup was made last; 0 if never.")
        });
        let figures = Self {
            log_entries: int_gauge("log_entries", "Entries of the log.")?,
            checkpoint_age: gauge("checkpoint_age_seconds", "Time since the newest checkpoint was signed.")?,
            queued_changes: int_gauge("queued_changes", "Changes that wait to be committed.")?,
            crl_next_update: int_gauge(
                "crl_next_update_timestamp_seconds",
                "Earliest time at which a revocation list lapses.",
            )?,
            wal_pages: wal.transpose()?,
            backup_last_success: backup.transpose()?,
            returns_missing: int_gauge("returns_missing", "Returns that are missing after their cut-off.")?,
            certificate_expiry: int_gauges(
                registry,
                "ap_gateway_certificate_expiry_timestamp_seconds",
                "When the server's certificate, or the first of the callers' authorities, expires.",
                &["use"],
            )?,
            causes: int_gauges(
                registry,
                "ap_gateway_not_ready",
                "Whether this is a cause for which the node is not ready.",
                &["cause"],
            )?,
            deliveries: int_gauges(
                registry,
                "ap_gateway_deliveries_unacknowledged",
                "Deliveries that their recipients have not acknowledged.",
                &["kind"],
            )?,
            alerts: int_gauges(
                registry,
                "ap_gateway_open_alerts",
                "Alerts that are open, by how often they were escalated.",
                &["rule", "level"],
            )?,
            process: ProcessFigures::new(registry)?,
        };
        figures.make_series(labels)?;
        let build = int_gauges(registry, "ap_gateway_build_info", "The release; always 1.", &["version"])?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        Ok(figures)
    }

    /// Makes the series of every label value.
    fn make_series(&self, labels: &LabelValues) -> Result<(), prometheus::Error> {
        for cause in &labels.causes {
            self.causes.get_metric_with_label_values(&[cause])?;
        }
        for kind in labels.deliveries.iter().chain([&OTHER]) {
            self.deliveries.get_metric_with_label_values(&[kind])?;
        }
        for (rule, level) in labels.rules.iter().flat_map(|rule| LEVELS.map(|level| (rule, level))) {
            self.alerts.get_metric_with_label_values(&[*rule, level])?;
        }
        for usage in CERTIFICATE_USES {
            self.certificate_expiry.get_metric_with_label_values(&[usage])?;
        }
        Ok(())
    }

    /// Reads the figures of the process.
    pub fn sample_process(&self) {
        self.process.sample();
    }

    /// Sets whether a cause keeps the node from being ready.
    pub fn set_cause(&self, cause: &'static str, holds: bool) {
        if let Ok(gauge) = self.causes.get_metric_with_label_values(&[cause]) {
            gauge.set(i64::from(holds));
        }
    }

    /// Sets when certificates expire, in seconds since 1970: the server's, and the first of the callers' authorities.
    pub fn set_certificate_expiry(&self, server: Option<i64>, client_ca: Option<i64>) {
        for (usage, expiry) in CERTIFICATE_USES.iter().zip([server, client_ca]) {
            if let (Ok(gauge), Some(expiry)) =
                (self.certificate_expiry.get_metric_with_label_values(&[usage]), expiry)
            {
                gauge.set(expiry);
            }
        }
    }

    /// Sets the number of unacknowledged deliveries of a kind; `None` for those of kinds that are in no list.
    pub fn set_deliveries(&self, kind: Option<&'static str>, unacknowledged: i64) {
        if let Ok(gauge) = self.deliveries.get_metric_with_label_values(&[kind.unwrap_or(OTHER)]) {
            gauge.set(unacknowledged);
        }
    }

    /// Sets the numbers of open alerts of a rule, by level; the last also counts those that were escalated more often.
    pub fn set_alerts(&self, rule: &'static str, open: [i64; LEVELS.len()]) {
        for (level, open) in LEVELS.iter().zip(open) {
            if let Ok(gauge) = self.alerts.get_metric_with_label_values(&[rule, *level]) {
                gauge.set(open);
            }
        }
    }
}
