//! The task that records rejected calls each second.

use std::sync::Arc;
use std::time::Duration;

use super::Connections;
use crate::exchange::ExchangePipeline;
use crate::store::{FatalError, TaskProgress};

/// Interval at which the entries of rejected and repeated calls are committed.
const RECORDING_INTERVAL: Duration = Duration::from_secs(1);

/// Commits the entries that stand for rejected and repeated calls, and closes the connections of certificates that are
/// not known to be registered and of which too many calls were rejected. Ends only with the node.
///
/// # Errors
/// None of its own.
pub async fn record_rejected_calls(
    pipeline: Arc<ExchangePipeline>,
    connections: Connections,
    progress: TaskProgress,
) -> Result<(), FatalError> {
    loop {
        progress.mark();
        tokio::time::sleep(RECORDING_INTERVAL).await;
        let excessive = pipeline.record_rejected(false).await;
        if !excessive.is_empty() {
            connections.close_excessive(&excessive);
        }
    }
}
