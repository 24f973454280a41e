//! The verification of the whole log that a serving node runs once.

use crate::store::{Committer, FatalError, LogReader, StoreError, verification};
use crate::tlog::LogKeyHistory;

/// Verifies the entries that start did not. If the log was altered, the node continues to write to it, because
/// its entries are evidence too. The health service then returns `NOT_SERVING`, and the operator's log names the
/// index.
pub(super) async fn verify_log(
    log: LogReader,
    size: u64,
    key: LogKeyHistory,
    committer: Committer,
) -> Result<(), FatalError> {
    match verification::verify_log(&log, size, &key).await {
        Ok(None) => {
            tracing::info!(log.size = size, "the whole log was verified");
            return Ok(());
        }
        Ok(Some(finding)) => {
            tracing::error!(log.index = finding.index, "the log was altered: {}", finding.message);
        }
        Err(error @ StoreError::Damaged { .. }) => return Err(FatalError::Damaged(error)),
        Err(error) => tracing::error!(error = %error, "the log could not be verified"),
    }
    committer.condition().send_modify(|condition| condition.log_altered = true);
    Ok(())
}
