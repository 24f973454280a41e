//! Folding SQLite's write-ahead log back into the database, on a thread and a connection of its own, while groups
//! go on being committed. SQLite would do so by itself inside a COMMIT: the group would wait for it, and nobody
//! would be told of a sync that failed. PostgreSQL sees to its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::progress::Progress;
use super::sql::{Database, Folder, StoreError};

/// The committer's end. Dropping it waits for a folding that is under way.
pub struct Folding {
    ask: Option<Sender<()>>,
    done: UnboundedReceiver<Result<(), StoreError>>,
    thread: Option<JoinHandle<()>>,
    /// Pages after which there are enough.
    after: usize,
    /// About how many pages were written since the last folding began.
    unfolded: usize,
    under_way: bool,
}

impl Folding {
    /// Starts the thread, where there is something to fold.
    #[must_use]
    pub fn start(database: &Database, after: usize, progress: Progress) -> Self {
        let (answer, done) = unbounded_channel();
        let (ask, thread) = database
            .folder()
            .map(|folder| {
                let (ask, asked) = channel();
                (ask, std::thread::spawn(move || run(folder, &asked, &answer, &progress)))
            })
            .unzip();
        Self { ask, done, thread, after, unfolded: 0, under_way: false }
    }

    /// Counts pages that were written; begins to fold when there are enough.
    pub fn written(&mut self, pages: usize) {
        self.unfolded += pages;
        if self.unfolded >= self.after && !self.under_way {
            self.unfolded = 0;
            self.under_way = self.ask.as_ref().is_some_and(|ask| ask.send(()).is_ok());
        }
    }

    /// Waits for the end of a folding; `None`: the thread ended, which it does only by a panic. What was written meanwhile is still to be folded, by the committer: only
    /// when nothing is left does SQLite begin its log anew instead of letting it grow.
    ///
    /// # Errors
    /// As [`StoreError`] says; [`StoreError::Disk`] when a sync failed.
    pub async fn done(&mut self) -> Option<Result<(), StoreError>> {
        if self.ask.is_none() {
            return std::future::pending().await;
        }
        let done = self.done.recv().await?;
        self.under_way = false;
        Some(done)
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        self.ask = None;
        self.thread.take().map(JoinHandle::join);
    }
}

fn run(
    mut folder: Folder,
    asked: &Receiver<()>,
    answer: &UnboundedSender<Result<(), StoreError>>,
    progress: &Progress,
) {
    while let Ok(()) = asked.recv() {
        progress.mark();
        answer.send(folder.fold_back()).ok();
        progress.idle();
    }
}
