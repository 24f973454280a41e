//! The task that reports a clock that cannot be trusted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::store::{FatalError, NodeCondition, TaskProgress};

/// Interval at which the clock is read.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Reports to the node's condition whether the clock can be trusted. The sequencer asks the clock itself, so nothing is
/// appended before this task sees a jump. Ends only with the node.
///
/// # Errors
/// None of its own.
pub async fn watch_clock(
    clock: Arc<dyn Clock>,
    condition: watch::Sender<NodeCondition>,
    progress: TaskProgress,
) -> Result<(), FatalError> {
    loop {
        progress.mark();
        let has_jumped = clock.trusted_now().is_none();
        let is_news = condition
            .send_if_modified(|now| std::mem::replace(&mut now.clock_jumped, has_jumped) != has_jumped);
        match (is_news, has_jumped) {
            (true, true) => tracing::error!(
                expected = %clock.now(),
                "the system clock has jumped: nothing is appended until it is right again or this node is restarted"
            ),
            (true, false) => tracing::warn!("the system clock is right again: the node appends"),
            (false, _) => {}
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}
