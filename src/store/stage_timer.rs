//! Time and spans of the stages of a commit.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::metrics::CommitStage;

/// The stage in which a proposal is. Its span is a child of the exchange's, whichever thread does the work.
pub struct StageTimer {
    exchange: Span,
    /// The span of the stage, which ends when it is dropped.
    stage: Span,
    began: Instant,
}

impl StageTimer {
    /// Begins the stage [`CommitStage::Queue`] of the exchange whose span is the current one.
    #[must_use]
    pub fn start() -> Self {
        let exchange = Span::current();
        Self { stage: span(&exchange, CommitStage::Queue), exchange, began: Instant::now() }
    }

    /// Ends the present stage and begins another. Returns the time that the ended one took.
    pub fn enter(&mut self, next: CommitStage) -> Duration {
        let now = Instant::now();
        self.stage = span(&self.exchange, next);
        now.duration_since(std::mem::replace(&mut self.began, now))
    }
}

/// Makes the span of a stage. Its name is a constant of the code, so each stage has a line.
fn span(exchange: &Span, stage: CommitStage) -> Span {
    match stage {
        CommitStage::Queue => tracing::info_span!(parent: exchange, "queue"),
        CommitStage::Transaction => tracing::info_span!(parent: exchange, "transaction"),
        CommitStage::Sync => tracing::info_span!(parent: exchange, "sync"),
        CommitStage::Anchor => tracing::info_span!(parent: exchange, "anchor"),
    }
}
