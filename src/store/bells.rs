//! Bells: whoever waits for an organisation's mail, or for news of its authority, hears when a commit
//! brought some. A bell is a hint; what has changed is always read from the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The bells of all organisations that somebody waits for.
#[derive(Clone, Default)]
pub struct Bells(Arc<Each>);

struct Each {
    bells: Mutex<HashMap<String, watch::Sender<()>>>,
    owed: AtomicU64,
}

impl Default for Each {
    fn default() -> Self {
        Self { bells: Mutex::default(), owed: AtomicU64::new(u64::MAX) }
    }
}

impl Bells {
    /// Waits with the others for the organisation's bell.
    #[must_use]
    pub fn listen(&self, organisation: &str) -> watch::Receiver<()> {
        let mut bells = self.lock();
        // Bells that nobody hears any more go when somebody new comes.
        bells.retain(|_, bell| bell.receiver_count() > 0);
        bells.entry(organisation.to_owned()).or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Rings for these organisations.
    pub fn ring<'a>(&self, organisations: impl IntoIterator<Item = &'a str>) {
        let bells = self.lock();
        for organisation in organisations {
            if let Some(bell) = bells.get(organisation) {
                bell.send_replace(());
            }
        }
    }

    /// Rings for everyone.
    pub fn ring_all(&self) {
        for bell in self.lock().values() {
            bell.send_replace(());
        }
    }

    /// Another node has appended from here on, and those whom that concerns have not been rung for.
    pub fn owe(&self, from: u64) {
        self.0.owed.fetch_min(from, Ordering::AcqRel);
    }

    /// From where on nobody has been rung for, if that is anywhere; whoever asks sees to it.
    pub fn take_owed(&self) -> u64 {
        self.0.owed.swap(u64::MAX, Ordering::AcqRel)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
