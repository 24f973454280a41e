//! Ticks of the alert scheduler that a caller drives, such as a sandbox whose clock is moved.

use std::sync::Arc;

use tokio::sync::watch;

use super::Node;
use crate::identity::Tls;
use crate::oversight::AlertScheduler;

impl Node {
    /// Lets the serving node run no rules of oversight by itself. A sandbox that is made does so, because what a rule finds
    /// between two of its calls would make another log each time.
    #[must_use]
    pub fn without_oversight(mut self) -> Self {
        self.runs_oversight = false;
        self
    }

    /// Creates a scheduler that its caller ticks, also beside that of the serving node: what both find is done once.
    #[must_use]
    pub fn alert_scheduler(&self, tls: Arc<Tls>) -> AlertScheduler {
        AlertScheduler::new(self.exchange_pipeline(tls, watch::channel(false).1), Arc::clone(&self.rules))
            .without_pause()
    }

    /// Raises and closes alerts once, as a serving node does when the date has changed.
    pub async fn raise_alerts_once(&self, tls: Arc<Tls>) {
        self.alert_scheduler(tls).tick().await;
    }
}
