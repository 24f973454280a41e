//! The open connections, each with a handle by which it can be asked to finish or be cut.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::identity::PeerCertificate;

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not yet.
    None,
    /// It takes no new request and ends with its last one.
    Gracefully,
    /// At once.
    Now,
}

/// The open connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    next: u64,
    each: HashMap<u64, (Arc<PeerCertificate>, watch::Sender<Ending>)>,
}

/// A connection's own end of its handle. Dropping it says that the connection is gone.
pub struct Handle {
    id: u64,
    ending: watch::Receiver<Ending>,
    connections: Connections,
}

impl Connections {
    /// Enters a connection; `None` when its organisation has too many.
    #[must_use]
    pub fn open(&self, peer: &Arc<PeerCertificate>, most: usize) -> Option<Handle> {
        let mut open = self.lock();
        let same = open.each.values().filter(|(other, _)| other.organisation() == peer.organisation());
        if same.count() >= most {
            return None;
        }
        let (sender, ending) = watch::channel(Ending::None);
        let id = open.next;
        open.next += 1;
        open.each.insert(id, (Arc::clone(peer), sender));
        Some(Handle { id, ending, connections: self.clone() })
    }

    /// The certificates of all open connections.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<PeerCertificate>> {
        self.lock().each.values().map(|(peer, _)| Arc::clone(peer)).collect()
    }

    /// Cuts the connections of which `which` says so.
    pub fn close_where(&self, which: impl Fn(&PeerCertificate) -> bool) {
        for (peer, ending) in self.lock().each.values() {
            if which(peer) {
                ending.send_replace(Ending::Now);
            }
        }
    }

    /// Asks every connection to finish, waits for that, and cuts those that have not finished by then. A
    /// connection that never spoke HTTP/2 would wait for ever.
    pub async fn end_all(&self, within: Duration) {
        self.tell_all(Ending::Gracefully);
        let deadline = tokio::time::Instant::now() + within;
        while !self.lock().each.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.tell_all(Ending::Now);
    }

    fn tell_all(&self, what: Ending) {
        for (_, ending) in self.lock().each.values() {
            ending.send_replace(what);
        }
    }

    /// A panic elsewhere leaves the table whole: every change is one insertion or removal.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Waits until the connection is to end.
    pub async fn ending(&mut self) -> Ending {
        match self.ending.wait_for(|ending| *ending != Ending::None).await {
            Ok(ending) => *ending,
            Err(_) => Ending::Now,
        }
    }

    /// Waits until the connection is to be cut.
    pub async fn cut(&mut self) {
        self.ending.wait_for(|ending| *ending == Ending::Now).await.ok();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.connections.lock().each.remove(&self.id);
    }
}
