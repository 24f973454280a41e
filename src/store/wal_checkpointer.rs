//! The WAL checkpointer: copies SQLite's write-ahead log into the database file, on a thread and a connection of its
//! own, while groups are being committed. SQLite's automatic checkpoint would run inside a COMMIT: the group would
//! wait for it, and a failed sync would not be reported. PostgreSQL checkpoints by itself.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::sql::{Database, SqliteWalCheckpointer, StoreError};
use super::task_progress::TaskProgress;

/// A handle to the checkpointing thread. Dropping it waits for a running checkpoint.
pub struct WalCheckpointer {
    requests: Option<Sender<()>>,
    next_result: UnboundedReceiver<Result<(), StoreError>>,
    thread: Option<JoinHandle<()>>,
    /// Number of pages after which a checkpoint begins.
    threshold_pages: usize,
    /// Estimated number of pages written since the last checkpoint began.
    pages_since_checkpoint: usize,
    is_running: bool,
}

impl WalCheckpointer {
    /// Starts the thread. With PostgreSQL there is none.
    #[must_use]
    pub fn start(database: &Database, threshold_pages: usize, progress: TaskProgress) -> Self {
        let (answer, next_result) = unbounded_channel();
        let (requests, thread) = database
            .wal_checkpointer()
            .map(|folder| {
                let (ask, asked) = channel();
                (ask, std::thread::spawn(move || checkpoint_loop(folder, &asked, &answer, &progress)))
            })
            .unzip();
        Self { requests, next_result, thread, threshold_pages, pages_since_checkpoint: 0, is_running: false }
    }

    /// Counts written pages, and begins a checkpoint when the threshold is reached.
    pub fn count_pages(&mut self, pages: usize) {
        self.pages_since_checkpoint += pages;
        if self.pages_since_checkpoint >= self.threshold_pages && !self.is_running {
            self.pages_since_checkpoint = 0;
            self.is_running = self.requests.as_ref().is_some_and(|ask| ask.send(()).is_ok());
        }
    }

    /// Waits for a checkpoint to end; `None` if the thread ended, which only a panic does. The caller must then
    /// checkpoint the frames that were written meanwhile: SQLite restarts its log at the beginning only once all of
    /// it is checkpointed, and otherwise lets it grow.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Disk`] when a sync failed.
    pub async fn next_result(&mut self) -> Option<Result<(), StoreError>> {
        if self.requests.is_none() {
            return std::future::pending().await;
        }
        let done = self.next_result.recv().await?;
        self.is_running = false;
        Some(done)
    }
}

impl Drop for WalCheckpointer {
    fn drop(&mut self) {
        self.requests = None;
        self.thread.take().map(JoinHandle::join);
    }
}

fn checkpoint_loop(
    mut folder: SqliteWalCheckpointer,
    asked: &Receiver<()>,
    answer: &UnboundedSender<Result<(), StoreError>>,
    progress: &TaskProgress,
) {
    while let Ok(()) = asked.recv() {
        progress.mark();
        answer.send(folder.checkpoint_wal()).ok();
        progress.idle();
    }
}
