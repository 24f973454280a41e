//! Metrics of the committer: the time of each stage, and the number of changes that were committed together.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramOpts, Registry};

use super::{gauges, histograms, register};

/// Upper bounds of the histogram of changes, of which a group has at most 256.
const GROUP_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A stage of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitStage {
    /// A change waits for its group; each change counts.
    Queue,
    /// From the lock to the end of COMMIT; each group counts, as in the stages that follow.
    Transaction,
    /// The sync of the database's write-ahead log.
    Sync,
    /// The write of the checkpoint to the anchor, and its sync.
    Anchor,
}

impl CommitStage {
    const ALL: [Self; 4] = [Self::Queue, Self::Transaction, Self::Sync, Self::Anchor];

    /// Returns the value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Transaction => "transaction",
            Self::Sync => "sync",
            Self::Anchor => "anchor",
        }
    }
}

/// Metrics of the committer. Cheap to clone.
#[derive(Clone, Default)]
pub struct CommitMetrics(Option<Arc<CommitSeries>>);

struct CommitSeries {
    /// By stage, in the order of [`CommitStage::ALL`].
    seconds: Vec<Histogram>,
    group_changes: Histogram,
    /// Against the database's clock, and against the time since the machine's start.
    clock_offsets: [Gauge; 2],
}

impl CommitMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = histograms(
            registry,
            "ap_gateway_commit_seconds",
            "Time of each stage of a commit: of a change in the queue, and of a group in the others.",
            &["stage"],
        )?;
        let stages = CommitStage::ALL.map(|stage| seconds.get_metric_with_label_values(&[stage.as_str()]));
        let changes = HistogramOpts::new("ap_gateway_group_changes", "Changes that were committed together.");
        let changes = Histogram::with_opts(changes.buckets(GROUP_BUCKETS.to_vec()));
        let offsets = gauges(
            registry,
            "ap_gateway_clock_offset_seconds",
            "How far this node's clock is ahead of the database's, which SQLite does not have, and of the time since the start of the machine.",
            &["against"],
        )?;
        let offset = |against: &str| offsets.get_metric_with_label_values(&[against]);
        Ok(Self(Some(Arc::new(CommitSeries {
            seconds: stages.into_iter().collect::<Result<_, _>>()?,
            group_changes: register(registry, changes)?,
            clock_offsets: [offset("database")?, offset("uptime")?],
        }))))
    }

    /// Records the time of a stage.
    pub fn observe(&self, stage: CommitStage, took: Duration) {
        if let Some(series) = self.0.as_ref().and_then(|all| all.seconds.get(stage as usize)) {
            series.observe(took.as_secs_f64());
        }
    }

    /// Records the number of changes of a group.
    pub fn observe_group(&self, changes: usize) {
        if let Some(all) = &self.0 {
            all.group_changes.observe(f64::from(u32::try_from(changes).unwrap_or(u32::MAX)));
        }
    }

    /// Records by how many seconds this node's clock is ahead of the database's.
    pub fn set_offset_from_database(&self, seconds: f64) {
        if let Some(CommitSeries { clock_offsets: [database, _], .. }) = self.0.as_deref() {
            database.set(seconds);
        }
    }

    /// Records by how many seconds this node's clock is ahead of what the time since the machine's start makes of it.
    pub fn set_offset_from_uptime(&self, seconds: f64) {
        if let Some(CommitSeries { clock_offsets: [_, uptime], .. }) = self.0.as_deref() {
            uptime.set(seconds);
        }
    }
}
