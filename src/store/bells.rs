//! Bells: whoever waits for an organisation's mail, or for news of its authority, hears when a commit
//! brought some. A bell is a hint; what has changed is always read from the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The bells of all organisations that somebody waits for.
#[derive(Clone, Default)]
pub struct Bells(Arc<Mutex<HashMap<String, watch::Sender<()>>>>);

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

    /// Rings for everyone: another node has appended, and nobody here knows for whom.
    pub fn ring_all(&self) {
        for bell in self.lock().values() {
            bell.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
