//! The background tasks of a node: what happens when one stalls, ends or panics.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::health::supervise;
use crate::store::{BackgroundTask, Condition, Fatal, Progress};

/// The background tasks of a node that serves. Dropping them ends them.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<Result<(), Fatal>>,
    names: HashMap<tokio::task::Id, &'static str>,
    supervised: Vec<BackgroundTask>,
}

impl Tasks {
    /// Starts a task. It ends by an error only if the process must end, and by `Ok` if its work is done.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), Fatal>> + Send + 'static,
    ) {
        self.names.insert(self.running.spawn(task).id(), name);
    }

    /// Starts a task that marks its progress at least this often.
    pub fn spawn_supervised<F>(
        &mut self,
        name: &'static str,
        allowed: Duration,
        task: impl FnOnce(Progress) -> F,
    ) where
        F: Future<Output = Result<(), Fatal>> + Send + 'static,
    {
        let background = BackgroundTask::new(name, allowed);
        self.spawn(name, task(background.progress.clone()));
        self.supervised.push(background);
    }

    /// Starts the supervisor of the tasks that were started so far, and of some others.
    pub fn supervise(&mut self, others: &[BackgroundTask], condition: &watch::Sender<Condition>) {
        let all = others.iter().chain(&self.supervised).cloned().collect();
        self.spawn("supervisor", supervise(all, condition.clone()));
    }

    /// Waits for a task that ends with an error or by a panic. A task that returns `Ok` has done its work.
    pub async fn ended(&mut self) -> Fatal {
        loop {
            let (id, fatal) = match self.running.join_next_with_id().await {
                Some(Ok((_, Ok(())))) => continue,
                Some(Ok((id, Err(fatal)))) => (id, fatal),
                Some(Err(error)) => (error.id(), Fatal::TaskEnded("")),
                None => return std::future::pending().await,
            };
            let name = self.names.get(&id).copied().unwrap_or_default();
            tracing::error!(task = name, "a background task ended: the process ends with it");
            return if let Fatal::TaskEnded(_) = fatal { Fatal::TaskEnded(name) } else { fatal };
        }
    }
}
