//! The figures that are read from the database once a minute, because a scrape must not wait for it.

use std::time::Duration;

use crate::delivery::{self, Backlog};
use crate::metrics::Figures;
use crate::oversight;
use crate::store::{Database, FatalError, FaultLog, Snapshot, StoreError, TaskProgress};

/// Interval between two readings.
const INTERVAL: Duration = Duration::from_mins(1);
/// Rule of oversight whose open alerts are cut-offs at which returns are missing.
const RETURN_MISSING: &str = "RETURN_MISSING";

/// Reads the figures until it is cancelled. A failure is logged, and the figures stay as they were.
///
/// # Errors
/// [`FatalError::Damaged`].
pub(super) async fn read_figures(
    database: Database,
    figures: Figures,
    progress: TaskProgress,
) -> Result<(), FatalError> {
    let (mut backlog, faults) = (Backlog::default(), FaultLog::new());
    loop {
        progress.mark();
        match read_once(&database, &mut backlog, &figures, &progress).await {
            Ok(()) => faults.clear(),
            Err(error @ StoreError::Damaged { .. }) => return Err(FatalError::Damaged(error)),
            Err(error) => {
                let cause = crate::store::error_chain(&error);
                if let Some(repeats) = faults.due(&cause) {
                    tracing::warn!(error = cause, repeats, "the figures of the metrics could not be read");
                }
            }
        }
        progress.mark();
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn read_once(
    database: &Database,
    backlog: &mut Backlog,
    figures: &Figures,
    progress: &TaskProgress,
) -> Result<(), StoreError> {
    let alerts = oversight::count_open_alerts(&mut Snapshot::new(database)).await?;
    for (rule, open) in alerts {
        figures.set_alerts(rule.as_str(), open);
        if rule.as_str() == RETURN_MISSING {
            figures.returns_missing.set(open.iter().sum());
        }
    }
    backlog.update(database, progress).await?;
    let mut others = 0;
    for (kind, unacknowledged) in backlog.by_kind() {
        match delivery::kind_name(kind) {
            Some(name) => figures.set_deliveries(Some(name), unacknowledged),
            None => others += unacknowledged,
        }
    }
    figures.set_deliveries(None, others);
    Ok(())
}
