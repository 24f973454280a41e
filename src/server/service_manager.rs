//! Notices to the service manager that started the process, if one did (`sd_notify(3)`: the socket `NOTIFY_SOCKET`).

use std::time::Duration;

use sd_notify::NotifyState;

use crate::store::{BackgroundTask, FatalError};

/// Tells that calls are accepted (`READY=1`).
pub fn notify_ready() {
    notify(NotifyState::Ready);
}

/// Tells that the process begins to shut down (`STOPPING=1`).
pub fn notify_stopping() {
    notify(NotifyState::Stopping);
}

/// Feeds the service manager's watchdog (`WATCHDOG=1`) while none of the tasks is stalled, so that a node whose commits
/// hang is started anew. A database that is out of reach stalls no task: a new start would not help. Ends at once if
/// there is no watchdog, otherwise only with the node.
///
/// # Errors
/// None of its own.
pub async fn feed_watchdog(tasks: Vec<BackgroundTask>) -> Result<(), FatalError> {
    let Some(interval) = sd_notify::watchdog_enabled() else { return Ok(()) };
    feed_each(interval / 3, &tasks, || notify(NotifyState::Watchdog)).await
}

async fn feed_each(pause: Duration, tasks: &[BackgroundTask], feed: impl Fn()) -> Result<(), FatalError> {
    loop {
        if !tasks.iter().any(BackgroundTask::is_stalled) {
            feed();
        }
        tokio::time::sleep(pause).await;
    }
}

/// Sends a notice. Without a service manager nothing is sent.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %error, "the service manager could not be told of a change");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_while_no_task_is_stalled() {
        let task = BackgroundTask::new("a task", Duration::from_secs(5));
        let (tasks, fed) = (vec![task.clone()], Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&fed);
        let feeding = tokio::spawn(async move {
            feed_each(Duration::from_secs(1), &tasks, || {
                counter.fetch_add(1, Ordering::Relaxed);
            })
            .await
        });
        let wait =
            async |seconds: u64| tokio::time::sleep(Duration::from_millis(seconds * 1_000 + 500)).await;
        wait(9).await;
        assert_eq!(fed.load(Ordering::Relaxed), 10);
        task.progress.mark();
        wait(20).await;
        let while_stalled = fed.load(Ordering::Relaxed);
        assert!((15..=17).contains(&while_stalled), "{while_stalled}");
        task.progress.idle();
        wait(2).await;
        assert!(fed.load(Ordering::Relaxed) > while_stalled);
        feeding.abort();
    }
}
