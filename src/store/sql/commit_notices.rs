//! Warnings during a COMMIT. PostgreSQL reports a COMMIT as successful although its wait for the synchronous standby was
//! cancelled (`pg_cancel_backend`), and sends a warning only. sqlx passes notices to `tracing` and to nothing else, so
//! they are collected from there.

use std::cell::Cell;
use std::sync::LazyLock;

use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber as _;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// The target of sqlx's events about notices.
const NOTICE_TARGET: &str = "sqlx::postgres::notice";
/// The beginning of a warning that says nothing about the commit: a session that listens has not read for long.
const QUEUE_WARNING: &str = "NOTIFY queue is";

tokio::task_local! {
    static WARNED: Cell<bool>;
}

/// One for the process, because each new one has `tracing` examine all its call sites again.
static COLLECTOR: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Collector));

/// Runs a COMMIT. Returns whether PostgreSQL sent a warning during it, with its result.
pub(super) async fn with_warnings<T>(commit: impl Future<Output = T>) -> (T, bool) {
    let collecting = async {
        let done = commit.with_subscriber(COLLECTOR.clone()).await;
        (done, WARNED.with(Cell::get))
    };
    WARNED.scope(Cell::new(false), collecting).await
}

/// A subscriber of sqlx's events about warnings.
struct Collector;

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == NOTICE_TARGET && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if !message.0.starts_with(QUEUE_WARNING) {
            WARNED.try_with(|warned| warned.set(true)).ok();
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event.
struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
