//! Progress of background tasks. A supervisor compares the time since each task's last mark with its limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The progress mark of a background task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskProgress {
    began: Instant,
    /// Milliseconds from `began` to the last mark, plus one; 0 while the task has nothing to do.
    marked: Arc<AtomicU64>,
}

/// A background task or thread that is supervised.
#[derive(Clone, Debug)]
pub struct BackgroundTask {
    /// Name in the operator's log.
    pub name: &'static str,
    /// Maximum time between two marks.
    pub allowed: Duration,
    /// The task's progress mark.
    pub progress: TaskProgress,
}

impl Default for TaskProgress {
    fn default() -> Self {
        Self { began: Instant::now(), marked: Arc::default() }
    }
}

impl TaskProgress {
    /// Marks that a step begins. The next mark is due within the task's limit.
    pub fn mark(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.marked.store(elapsed + 1, Ordering::Release);
    }

    /// Marks that the task waits for work: no further mark is due.
    pub fn idle(&self) {
        self.marked.store(0, Ordering::Release);
    }

    /// Returns the time since the last mark; zero while the task waits for work.
    #[must_use]
    pub fn time_since_mark(&self) -> Duration {
        match self.marked.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            marked => self.began.elapsed().saturating_sub(Duration::from_millis(marked - 1)),
        }
    }
}

impl BackgroundTask {
    /// Makes a task that has no mark yet.
    #[must_use]
    pub fn new(name: &'static str, allowed: Duration) -> Self {
        Self { name, allowed, progress: TaskProgress::default() }
    }

    /// Returns whether the last mark is older than allowed.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.progress.time_since_mark() > self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_is_stalled_once_its_mark_is_older_than_allowed() {
        let task = BackgroundTask::new("a task", Duration::from_secs(3));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(!task.is_stalled(), "it had nothing to do");
        task.progress.mark();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(!task.is_stalled());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(task.is_stalled());
        task.progress.idle();
        assert!(!task.is_stalled());
    }
}
