//! The committer's thread. It has one to itself: on SQLite it waits for the disk, and on a busy machine a task
//! among others would wait for its turn after every statement.

use tokio::sync::oneshot;

use super::appender::Appender;
use super::committer::Fatal;

/// Name of the thread that runs the committer.
pub const SEQUENCER: &str = "sequencer";

/// A committer that runs.
pub struct Appending {
    ended: oneshot::Receiver<Result<(), Fatal>>,
    stop: oneshot::Sender<()>,
}

impl Appending {
    /// Starts the thread.
    #[must_use]
    pub fn start(appender: Appender) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name(SEQUENCER.to_owned());
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Whoever waits for the end learns of a runtime that cannot be made by the end of the channel.
            let Ok(runtime) = runtime else { return };
            end.send(runtime.block_on(appender.run(stopped))).ok();
        });
        if let Err(error) = started {
            // The end of the channel says so too.
            tracing::error!(error = %error, "the sequencer's thread could not be started");
        }
        Self { ended, stop }
    }

    /// Waits for the end, which comes by itself only when the disk failed.
    ///
    /// # Errors
    /// [`Fatal`]: the process must end, non-zero, without answering anyone.
    pub async fn ended(&mut self) -> Result<(), Fatal> {
        (&mut self.ended).await.unwrap_or(Err(Fatal::BrokeOff))
    }

    /// Ends it after the group that is being committed, whose members are still answered.
    pub async fn stop(self) {
        self.stop.send(()).ok();
        self.ended.await.ok();
    }
}
