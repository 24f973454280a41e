//! The health service's status, and the supervision of background tasks on which it depends.

use std::time::Duration;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::store::{BackgroundTask, FatalError, NodeCondition};

/// Interval at which the progress of background tasks is compared with their allowed times.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Sets the health service's status from the node's condition. Ends only with the node.
///
/// # Errors
/// [`FatalError::TaskEnded`] when nothing can change the condition any more.
pub async fn report_health(
    health: HealthReporter,
    mut condition: watch::Receiver<NodeCondition>,
) -> Result<(), FatalError> {
    loop {
        let is_well = *condition.borrow_and_update() == NodeCondition::default();
        let status = if is_well { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status("", status).await;
        if condition.changed().await.is_err() {
            return Err(FatalError::TaskEnded("health"));
        }
    }
}

/// Compares each task's last progress with its allowed interval, and updates [`NodeCondition::task_stalled`]. Ends only
/// with the node.
///
/// # Errors
/// None of its own.
pub async fn supervise(
    tasks: Vec<BackgroundTask>,
    condition: watch::Sender<NodeCondition>,
) -> Result<(), FatalError> {
    let mut reported: Vec<&'static str> = Vec::new();
    loop {
        let stalled: Vec<&BackgroundTask> = tasks.iter().filter(|task| task.is_stalled()).collect();
        for task in &stalled {
            if !reported.contains(&task.name) {
                let silent = task.progress.time_since_mark().as_secs();
                tracing::error!(task = task.name, silent_seconds = silent, "a background task has stalled");
            }
        }
        let names: Vec<&'static str> = stalled.iter().map(|task| task.name).collect();
        for name in reported.iter().filter(|name| !names.contains(name)) {
            tracing::info!(task = name, "a stalled background task has resumed");
        }
        reported = names;
        condition.send_if_modified(|now| {
            std::mem::replace(&mut now.task_stalled, !reported.is_empty()) == reported.is_empty()
        });
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stalled_task_is_a_condition_until_it_goes_on() {
        let task = BackgroundTask::new("a task", Duration::from_secs(3));
        let condition = watch::Sender::<NodeCondition>::default();
        let mut seen = condition.subscribe();
        let supervising = tokio::spawn(supervise(vec![task.clone()], condition));
        task.progress.mark();
        seen.wait_for(|condition| condition.task_stalled).await.unwrap();
        assert!(task.progress.time_since_mark() > task.allowed);
        task.progress.mark();
        seen.wait_for(|condition| !condition.task_stalled).await.unwrap();
        supervising.abort();
    }
}
