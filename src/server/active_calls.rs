//! Calls under way on one connection, which a shutdown waits for. A call ends when hyper has sent the last byte of its
//! response, not when the response was made: each part of the [response](super::response_body) holds it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Number of calls under way on a connection. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct ActiveCalls(watch::Sender<usize>);

/// A call under way. Dropping it ends the call.
pub(super) struct ActiveCall(ActiveCalls);

impl ActiveCalls {
    /// Counts a call.
    pub fn begin(&self) -> Arc<ActiveCall> {
        self.0.send_modify(|count| *count += 1);
        Arc::new(ActiveCall(self.clone()))
    }

    /// Waits until no call is under way, neither now nor after a pause.
    pub async fn wait_until_idle(&self, pause: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender lives as long as `self`.
            count.wait_for(|count| *count == 0).await.ok();
            tokio::time::sleep(pause).await;
            if *count.borrow() == 0 {
                return;
            }
        }
    }
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
