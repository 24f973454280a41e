//! Faults that last, in the operator's log: each text once, and again at most once a minute with the number of its
//! repeats.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Interval at which a fault that lasts is logged again.
const REPEAT_INTERVAL: Duration = Duration::from_mins(1);
/// Maximum number of texts that are logged within the interval.
const MAX_TEXTS: usize = 8;

/// What was logged of one kind of fault.
#[derive(Debug, Default)]
pub struct FaultLog(Mutex<BTreeMap<String, Logged>>);

/// A text that was logged.
#[derive(Debug)]
struct Logged {
    last: Instant,
    repeats: u64,
}

impl FaultLog {
    /// Makes a log of no faults.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Returns how often the fault was repeated since it was last logged, if it is to be logged now.
    pub fn due(&self, text: &str) -> Option<u64> {
        let now = Instant::now();
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(logged) = texts.get_mut(text) {
            if now.duration_since(logged.last) < REPEAT_INTERVAL {
                logged.repeats += 1;
                return None;
            }
            logged.last = now;
            return Some(std::mem::take(&mut logged.repeats));
        }
        if texts.len() >= MAX_TEXTS {
            texts.retain(|_, logged| now.duration_since(logged.last) < REPEAT_INTERVAL);
        }
        if texts.len() >= MAX_TEXTS {
            return None;
        }
        texts.insert(text.to_owned(), Logged { last: now, repeats: 0 });
        Some(0)
    }

    /// Notes that the fault has ended: the next is logged at once.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Returns an error and its sources as one line. Some errors, such as sqlx's, end with the text of their source.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        let cause = source.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        below = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_lasts_is_logged_once_a_minute_with_its_repeats() {
        let log = FaultLog::new();
        assert_eq!(log.due("timed out"), Some(0));
        for _ in 0..500 {
            assert_eq!(log.due("timed out"), None);
        }
        assert_eq!(log.due("refused"), Some(0), "another text");
        tokio::time::advance(REPEAT_INTERVAL).await;
        assert_eq!(log.due("timed out"), Some(500));
        assert_eq!(log.due("timed out"), None);
        log.clear();
        assert_eq!(log.due("timed out"), Some(0));
        let lines = (0..1_000).filter(|at: &u32| log.due(&at.to_string()).is_some()).count();
        assert_eq!(lines, MAX_TEXTS - 1);
    }
}
