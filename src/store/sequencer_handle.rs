//! Handle of the sequencer's thread. The sequencer has a thread of its own because it blocks on the disk with
//! SQLite, and because a task on a busy runtime would wait to be scheduled after every statement.

use tokio::sync::oneshot;

use super::fatal::FatalError;
use super::sequencer::Sequencer;

/// Name of the sequencer's thread.
pub const SEQUENCER_THREAD: &str = "sequencer";

/// A running sequencer.
pub struct SequencerHandle {
    ended: oneshot::Receiver<Result<(), FatalError>>,
    stop: oneshot::Sender<()>,
}

impl SequencerHandle {
    /// Starts the thread.
    #[must_use]
    pub fn start(sequencer: Sequencer) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name(SEQUENCER_THREAD.to_owned());
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => drop(end.send(runtime.block_on(sequencer.run(stopped)))),
                // `end` is dropped, which `ended` reports as an unexpected end.
                Err(error) => tracing::error!(error = %error, "the sequencer's runtime could not be built"),
            }
        });
        if let Err(error) = started {
            // `end` was dropped with the closure, so `ended` reports it too.
            tracing::error!(error = %error, "the sequencer's thread could not be started");
        }
        Self { ended, stop }
    }

    /// Waits for the thread to end. Unless stopped, it ends only on an error.
    ///
    /// # Errors
    /// [`FatalError`]: the process must exit non-zero without answering any caller.
    pub async fn ended(&mut self) -> Result<(), FatalError> {
        (&mut self.ended).await.unwrap_or(Err(FatalError::UnexpectedEnd))
    }

    /// Stops the thread after the group that is being committed, whose proposals still get their outcomes.
    pub async fn stop(self) {
        self.stop.send(()).ok();
        self.ended.await.ok();
    }
}
