//! Bells: whoever waits for an organisation's mail, or for news of its authority, hears when a commit
//! brought some. A bell is a hint; what has changed is always read from the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The bells of all organisations that somebody waits for.
#[derive(Clone, Default)]
pub struct Bells(Arc<Each>);

#[derive(Default)]
struct Each {
    bells: Mutex<HashMap<String, watch::Sender<()>>>,
    due: AtomicBool,
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

    /// Another node has appended, and nobody here knows for whom: everyone's bell is due.
    pub fn owe_all(&self) {
        self.0.due.store(true, Ordering::Release);
    }

    /// Rings for everyone if that is due: now and then, for each of them reads what is new.
    pub fn ring_due(&self) {
        if self.0.due.swap(false, Ordering::AcqRel) {
            for bell in self.lock().values() {
                bell.send_replace(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
