//! Progress of answers: which bytes of a response wait to be sent, and since when none was. HTTP/2 lets a client
//! keep its windows shut, so an answer that nobody reads would hold its memory for ever. A stream whose answer makes
//! no progress is reset, and the connection is closed if that was its last stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

tokio::task_local! {
    /// The answer of the stream that the current task serves.
    static ANSWER: Arc<AnswerProgress>;
}

/// Progress of the answer of one stream.
pub struct AnswerProgress(Mutex<Unsent>);

struct Unsent {
    bytes: usize,
    /// When bytes were last sent, or the first that wait were added.
    since: Instant,
    waker: Option<Waker>,
}

/// Progress of the answers of one connection.
#[derive(Clone)]
pub struct ConnectionProgress(Arc<ConnectionState>);

struct ConnectionState {
    stall_timeout: Duration,
    open_streams: AtomicUsize,
    /// The answer of the stream that ended last, of which some bytes may still wait.
    last_answer: Mutex<Arc<AnswerProgress>>,
    has_stalled: Notify,
}

impl AnswerProgress {
    /// Returns the progress of the stream that the current task serves; of none outside such a task.
    pub fn current() -> Arc<Self> {
        ANSWER.try_with(Arc::clone).unwrap_or_default()
    }

    /// Adds bytes that are to be sent.
    pub fn add(&self, bytes: usize) {
        let mut unsent = self.lock();
        if unsent.bytes == 0 {
            unsent.since = Instant::now();
        }
        unsent.bytes += bytes;
    }

    /// Removes bytes that were sent, or dropped with their stream.
    pub fn remove(&self, bytes: usize) {
        let mut unsent = self.lock();
        unsent.bytes -= bytes.min(unsent.bytes);
        unsent.since = Instant::now();
        if let Some(waker) = unsent.waker.take() {
            drop(unsent);
            waker.wake();
        }
    }

    /// Returns whether more than `most` bytes wait. The waker is then woken at the next progress.
    pub fn is_above(&self, most: usize, waker: &Waker) -> bool {
        let mut unsent = self.lock();
        let is_above = unsent.bytes > most;
        if is_above {
            unsent.waker = Some(waker.clone());
        }
        is_above
    }

    /// Waits until bytes have waited for `timeout` without any progress.
    async fn stalled(&self, timeout: Duration) {
        loop {
            let due = self.due(timeout);
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }

    /// Returns when `timeout` without progress will have passed, as it stands now.
    fn due(&self, timeout: Duration) -> Instant {
        let unsent = self.lock();
        if unsent.bytes == 0 { Instant::now() + timeout } else { unsent.since + timeout }
    }

    fn lock(&self) -> MutexGuard<'_, Unsent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for AnswerProgress {
    fn default() -> Self {
        Self(Mutex::new(Unsent { bytes: 0, since: Instant::now(), waker: None }))
    }
}

impl ConnectionProgress {
    /// Creates the progress of a connection. Its streams are reset after `stall_timeout` without progress.
    pub fn new(stall_timeout: Duration) -> Self {
        Self(Arc::new(ConnectionState {
            stall_timeout,
            open_streams: AtomicUsize::new(0),
            last_answer: Mutex::default(),
            has_stalled: Notify::new(),
        }))
    }

    /// Waits until a stream without progress was the last of the connection.
    pub async fn stalled(&self) {
        let mut interval = tokio::time::interval(self.0.stall_timeout / 2);
        loop {
            tokio::select! {
                () = self.0.has_stalled.notified() => return,
                _ = interval.tick() => {}
            }
            let last = Arc::clone(&*self.0.last_answer.lock().unwrap_or_else(PoisonError::into_inner));
            let has_streams = self.0.open_streams.load(Ordering::Relaxed) > 0;
            if !has_streams && last.due(self.0.stall_timeout) <= Instant::now() {
                return;
            }
        }
    }
}

/// hyper runs the streams of a connection on this executor. A stream that is dropped is reset with CANCEL, and
/// what it had queued is discarded.
impl<F> Executor<F> for ConnectionProgress
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let connection = Arc::clone(&self.0);
        connection.open_streams.fetch_add(1, Ordering::Relaxed);
        let answer = Arc::new(AnswerProgress::default());
        tokio::spawn(async move {
            let stalled = tokio::select! {
                _ = ANSWER.scope(Arc::clone(&answer), stream) => false,
                () = answer.stalled(connection.stall_timeout) => true,
            };
            *connection.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
            let is_last = connection.open_streams.fetch_sub(1, Ordering::Relaxed) == 1;
            if stalled {
                tracing::info!(last = is_last, "a stream was reset because its answer was not read");
                if is_last {
                    connection.has_stalled.notify_one();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Serves a stream on the connection that adds bytes and then sends one of them each interval.
    fn stream(connection: &ConnectionProgress, intervals: &'static [u64]) {
        connection.execute(async move {
            let answer = AnswerProgress::current();
            answer.add(100);
            for seconds in intervals {
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
                answer.remove(1);
            }
            std::future::pending::<()>().await;
        });
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_stream_without_progress_closes_its_connection() {
        let connection = ConnectionProgress::new(TIMEOUT);
        let begun = Instant::now();
        stream(&connection, &[]);
        stream(&connection, &[20, 20, 20]);
        connection.stalled().await;
        assert_eq!(begun.elapsed().as_secs(), 90);
        assert_eq!(connection.0.open_streams.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_waits_for_nothing_stays_open() {
        let connection = ConnectionProgress::new(TIMEOUT);
        connection.execute(std::future::pending::<()>());
        assert!(tokio::time::timeout(TIMEOUT * 10, connection.stalled()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_unread_end_of_an_answer_closes_its_connection_too() {
        let connection = ConnectionProgress::new(TIMEOUT);
        connection.execute(async { AnswerProgress::current().add(1) });
        let closed = tokio::time::timeout(TIMEOUT * 2, connection.stalled()).await;
        assert!(closed.is_ok());
    }
}
