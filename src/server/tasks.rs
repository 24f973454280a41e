//! Background tasks of a node, and what follows when one stalls, ends or panics.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::health::supervise;
use crate::store::{BackgroundTask, FatalError, NodeCondition, TaskProgress};

/// Background tasks of a serving node. Dropping them cancels them.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<Result<(), FatalError>>,
    names: HashMap<tokio::task::Id, &'static str>,
    supervised: Vec<BackgroundTask>,
}

impl Tasks {
    /// Starts a task. The task returns an error only if the process must end, and `Ok` if its work is done.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), FatalError>> + Send + 'static,
    ) {
        self.names.insert(self.running.spawn(task).id(), name);
    }

    /// Starts a task that marks its progress at least once in every `allowed` interval.
    pub fn spawn_supervised<F>(
        &mut self,
        name: &'static str,
        allowed: Duration,
        task: impl FnOnce(TaskProgress) -> F,
    ) where
        F: Future<Output = Result<(), FatalError>> + Send + 'static,
    {
        let background = BackgroundTask::new(name, allowed);
        self.spawn(name, task(background.progress.clone()));
        self.supervised.push(background);
    }

    /// Starts the supervisor of the tasks that were started so far, and of `others`.
    pub fn supervise(&mut self, others: &[BackgroundTask], condition: &watch::Sender<NodeCondition>) {
        let tasks = others.iter().chain(&self.supervised).cloned().collect();
        self.spawn("supervisor", supervise(tasks, condition.clone()));
    }

    /// Waits until a task fails or panics. A task that returns `Ok` has done its work.
    pub async fn wait_for_failure(&mut self) -> FatalError {
        loop {
            let (id, fatal) = match self.running.join_next_with_id().await {
                Some(Ok((_, Ok(())))) => continue,
                Some(Ok((id, Err(fatal)))) => (id, fatal),
                Some(Err(error)) => (error.id(), FatalError::TaskEnded("")),
                None => return std::future::pending().await,
            };
            let name = self.names.get(&id).copied().unwrap_or_default();
            tracing::error!(task = name, "a background task failed; the process exits");
            return if let FatalError::TaskEnded(_) = fatal { FatalError::TaskEnded(name) } else { fatal };
        }
    }
}
