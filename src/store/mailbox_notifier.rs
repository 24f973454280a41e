//! Mailbox notifications: wake the streams of an organisation when a commit brings it a delivery or changes its
//! authority. A notification is a hint without content; what has changed is read from the database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The notification channels of all organisations that have subscribers. Cheap to clone.
#[derive(Clone, Default)]
pub struct MailboxNotifier(Arc<NotifierState>);

struct NotifierState {
    /// One channel an organisation.
    channels: Mutex<HashMap<String, watch::Sender<()>>>,
    /// The first log index whose organisations have not been notified; `u64::MAX` if there is none.
    pending_from: AtomicU64,
}

impl Default for NotifierState {
    fn default() -> Self {
        Self { channels: Mutex::default(), pending_from: AtomicU64::new(u64::MAX) }
    }
}

impl MailboxNotifier {
    /// Subscribes to the organisation's notifications.
    #[must_use]
    pub fn subscribe(&self, organisation: &str) -> watch::Receiver<()> {
        let mut channels = self.lock();
        // Channels without subscribers are removed here, because nothing reports the end of a subscription.
        channels.retain(|_, channel| channel.receiver_count() > 0);
        channels.entry(organisation.to_owned()).or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Notifies the subscribers of these organisations.
    pub fn notify<'a>(&self, organisations: impl IntoIterator<Item = &'a str>) {
        let channels = self.lock();
        for organisation in organisations {
            if let Some(channel) = channels.get(organisation) {
                channel.send_replace(());
            }
        }
    }

    /// Notifies all subscribers.
    pub fn notify_all(&self) {
        for channel in self.lock().values() {
            channel.send_replace(());
        }
    }

    /// Marks the entries from this index on, which another node has appended, as not notified yet.
    pub fn mark_pending(&self, from: u64) {
        self.0.pending_from.fetch_min(from, Ordering::AcqRel);
    }

    /// Returns, and clears, the first log index whose organisations have not been notified; `u64::MAX` if there is
    /// none. The caller must notify them or mark the index again.
    pub fn take_pending(&self) -> u64 {
        self.0.pending_from.swap(u64::MAX, Ordering::AcqRel)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
