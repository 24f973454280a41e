//! The management listener of a node: its metrics, what they are read from, and its probes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;

use super::figures::read_figures;
use super::files::StartError;
use crate::clock::{Clock, Instant};
use crate::config::Config;
use crate::delivery;
use crate::exchange::{MethodTable, outcome_labels};
use crate::identity::Tls;
use crate::metrics::{LabelValues, Metrics};
use crate::oversight;
use crate::oversight::rule_id::RuleId;
use crate::server::{self, HANDSHAKE_RESULTS, ManagementListener, Probes, Tasks};
use crate::store::{Committer, Database, NodeCondition};

/// Maximum time between two pages of the figures that are read from the database.
const MAX_FIGURES_TIME: Duration = Duration::from_mins(3);
/// Size of a page of SQLite's write-ahead log with its header, in bytes.
const WAL_PAGE_BYTES: u64 = 4_096 + 24;
/// Methods of the health service, which have no entries.
const HEALTH_METHODS: [&str; 2] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];

/// Makes the metrics of a node with these methods; `None` without a management listener, and nothing is recorded then.
///
/// # Errors
/// [`StartError::Metrics`].
pub(super) fn metrics(config: &Config, methods: MethodTable) -> Result<Option<Metrics>, StartError> {
    if config.management.listen.is_none() {
        return Ok(None);
    }
    let methods: Vec<_> = methods.iter().map(|method| method.path).collect();
    let labels = LabelValues {
        exchanges: methods.iter().copied().chain([oversight::ALERT_METHOD.path]).collect(),
        calls: methods.into_iter().chain(HEALTH_METHODS).collect(),
        outcomes: outcome_labels(),
        handshakes: HANDSHAKE_RESULTS.to_vec(),
        causes: NodeCondition::CAUSES.to_vec(),
        deliveries: delivery::kind_names(),
        rules: RuleId::ALL.iter().map(|rule| rule.as_str()).collect(),
        has_wal: config.database.sqlite.is_some(),
        has_backup_stamp: config.management.backup_stamp.is_some(),
    };
    Ok(Some(Metrics::new(&labels)?))
}

/// The management listener before it serves.
pub(super) struct Management {
    pub listener: ManagementListener,
    pub metrics: Metrics,
}

/// What the figures are read from when the metrics are asked for.
pub(super) struct FigureSources {
    pub committer: Committer,
    pub tls: Arc<Tls>,
    pub clock: Arc<dyn Clock>,
    pub system_clock: Arc<dyn Clock>,
    pub stopping: watch::Receiver<bool>,
    pub database: Database,
}

impl Management {
    /// Opens the listener, if one is configured.
    ///
    /// # Errors
    /// [`StartError::Management`].
    pub async fn open(config: &Config, metrics: Option<&Metrics>) -> Result<Option<Self>, StartError> {
        let (Some(address), Some(metrics)) = (&config.management.listen, metrics) else { return Ok(None) };
        let listener = address.listen().await;
        let listener = listener.map_err(|error| StartError::Management(address.clone(), error))?;
        Ok(Some(Self { listener, metrics: metrics.clone() }))
    }

    /// Starts the tasks of the listener and of the figures.
    pub fn start(self, config: &Config, sources: FigureSources, tasks: &mut Tasks) {
        let Self { listener, metrics } = self;
        let figures = metrics.figures.clone();
        let database = sources.database.clone();
        tasks.spawn_supervised("figures", MAX_FIGURES_TIME, |progress| {
            read_figures(database, figures, progress)
        });
        let probes = Probes {
            condition: sources.committer.condition().subscribe(),
            stopping: sources.stopping.clone(),
            vital_tasks: sources.committer.tasks().to_vec(),
            metrics: sources.into_reader(metrics, config),
        };
        tasks.spawn("management", server::serve_management(listener, Arc::new(probes)));
    }
}

impl FigureSources {
    /// Returns a function that reads the figures and returns all metrics as text.
    fn into_reader(self, metrics: Metrics, config: &Config) -> Box<dyn Fn() -> Option<String> + Send + Sync> {
        let wal = config.database.sqlite.as_deref().map(wal_of);
        let backup_stamp = config.management.backup_stamp.clone();
        Box::new(move || {
            self.read(&metrics, wal.as_deref(), backup_stamp.as_deref());
            let text = metrics.to_text();
            text.inspect_err(|error| tracing::error!(error = %error, "the metrics could not be written")).ok()
        })
    }

    fn read(&self, metrics: &Metrics, wal: Option<&Path>, backup_stamp: Option<&Path>) {
        let figures = &metrics.figures;
        let head = *self.committer.head().borrow();
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        figures.log_entries.set(int(head.size));
        figures.checkpoint_age.set(self.clock.now().since(head.time).as_secs_f64());
        figures.queued_changes.set(i64::try_from(self.committer.queue().len()).unwrap_or(i64::MAX));
        let jump = self.clock.jump_micros();
        let seconds = Duration::from_micros(jump.unsigned_abs()).as_secs_f64();
        metrics.commits.set_offset_from_uptime(if jump < 0 { -seconds } else { seconds });
        for (cause, holds) in self.committer.condition().borrow().causes() {
            figures.set_cause(cause, holds);
        }
        let server = self.tls.server_certificate_validity().map(|(_, to)| to.seconds());
        figures.set_certificate_expiry(server, self.tls.first_authority_expiry().map(Instant::seconds));
        let issuers = self.tls.issuers(self.system_clock.now());
        if let Some(first) = issuers.iter().map(|issuer| issuer.next_update).min() {
            figures.crl_next_update.set(first.seconds());
        }
        if let (Some(gauge), Some(wal)) = (&figures.wal_pages, wal) {
            gauge.set(wal.metadata().map_or(0, |file| int(file.len() / WAL_PAGE_BYTES)));
        }
        if let (Some(gauge), Some(stamp)) = (&figures.backup_last_success, backup_stamp) {
            let modified = stamp.metadata().and_then(|file| file.modified()).ok();
            let since_1970 = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            gauge.set(since_1970.map_or(0, |time| int(time.as_secs())));
        }
        figures.sample_process();
    }
}

/// Returns the path of SQLite's write-ahead log.
fn wal_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
