//! What the health service reports, and the supervision of background tasks that it rests on.

use std::time::Duration;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::store::{BackgroundTask, Condition, Fatal};

/// How often the marks of background tasks are compared with their allowed intervals.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Reports by the health service whether the node serves well. Ends only with the node.
///
/// # Errors
/// [`Fatal::TaskEnded`] when nothing can change the condition any more.
pub async fn report(health: HealthReporter, mut condition: watch::Receiver<Condition>) -> Result<(), Fatal> {
    loop {
        let is_well = *condition.borrow_and_update() == Condition::default();
        let status = if is_well { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status("", status).await;
        if condition.changed().await.is_err() {
            return Err(Fatal::TaskEnded("health"));
        }
    }
}

/// Compares each task's last mark with its allowed interval and keeps [`Condition::stalled`] true to it. Ends only
/// with the node.
///
/// # Errors
/// None of its own.
pub async fn supervise(tasks: Vec<BackgroundTask>, condition: watch::Sender<Condition>) -> Result<(), Fatal> {
    let mut known: Vec<&'static str> = Vec::new();
    loop {
        let stalled: Vec<&BackgroundTask> = tasks.iter().filter(|task| task.is_stalled()).collect();
        for task in &stalled {
            if !known.contains(&task.name) {
                let silent = task.progress.silent_for().as_secs();
                tracing::error!(task = task.name, silent_seconds = silent, "a background task has stalled");
            }
        }
        let names: Vec<&'static str> = stalled.iter().map(|task| task.name).collect();
        for name in known.iter().filter(|name| !names.contains(name)) {
            tracing::info!(task = name, "a background task that had stalled goes on");
        }
        known = names;
        condition.send_if_modified(|now| {
            std::mem::replace(&mut now.stalled, !known.is_empty()) == known.is_empty()
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
        let condition = watch::Sender::<Condition>::default();
        let mut seen = condition.subscribe();
        let supervising = tokio::spawn(supervise(vec![task.clone()], condition));
        task.progress.mark();
        seen.wait_for(|condition| condition.stalled).await.unwrap();
        assert!(task.progress.silent_for() > task.allowed);
        task.progress.mark();
        seen.wait_for(|condition| !condition.stalled).await.unwrap();
        supervising.abort();
    }
}
