//! Registry of the open connections, with a handle that closes each of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::identity::PeerCertificate;

/// How a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not requested.
    NotYet,
    /// The connection accepts no new request, and closes when it is idle.
    WhenIdle,
    /// Immediately.
    AtOnce,
}

/// Registry of the open connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<OpenConnections>>);

#[derive(Default)]
struct OpenConnections {
    next_id: u64,
    is_draining: bool,
    by_id: HashMap<u64, (Arc<PeerCertificate>, watch::Sender<Ending>)>,
}

/// Error of a connection that may not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The organisation has as many connections as it may have.
    TooMany,
    /// The node shuts down.
    ShuttingDown,
}

/// Handle of one connection. Dropping it removes the connection from the registry.
pub struct ConnectionHandle {
    id: u64,
    ending: watch::Receiver<Ending>,
    connections: Connections,
}

impl Connections {
    /// Registers a connection.
    ///
    /// # Errors
    /// [`RegisterError`] when its organisation has `limit` already, or the node shuts down.
    pub fn register(
        &self,
        peer: &Arc<PeerCertificate>,
        limit: usize,
    ) -> Result<ConnectionHandle, RegisterError> {
        let mut open = self.lock();
        if open.is_draining {
            return Err(RegisterError::ShuttingDown);
        }
        let same = open.by_id.values().filter(|(other, _)| other.organisation() == peer.organisation());
        if same.count() >= limit {
            return Err(RegisterError::TooMany);
        }
        let (sender, ending) = watch::channel(Ending::NotYet);
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, (Arc::clone(peer), sender));
        Ok(ConnectionHandle { id, ending, connections: self.clone() })
    }

    /// Returns the certificates of all open connections.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<PeerCertificate>> {
        self.lock().by_id.values().map(|(peer, _)| Arc::clone(peer)).collect()
    }

    /// Closes immediately the connections that `which` selects.
    pub fn close_where(&self, which: impl Fn(&PeerCertificate) -> bool) {
        for (peer, ending) in self.lock().by_id.values() {
            if which(peer) {
                ending.send_replace(Ending::AtOnce);
            }
        }
    }

    /// Closes every connection: idle ones at once, others when their calls have ended. No connection is registered
    /// any more.
    pub fn drain(&self) {
        self.lock().is_draining = true;
        self.set_all(Ending::WhenIdle);
    }

    /// Closes every connection immediately.
    pub fn cut_all(&self) {
        self.set_all(Ending::AtOnce);
    }

    fn set_all(&self, ending: Ending) {
        for (_, sender) in self.lock().by_id.values() {
            sender.send_replace(ending);
        }
    }

    /// Ignores poisoning: every change is one insertion or removal, so a panic cannot leave the table
    /// inconsistent.
    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionHandle {
    /// Waits until the connection is to be closed, and returns how.
    pub async fn ending(&mut self) -> Ending {
        match self.ending.wait_for(|ending| *ending != Ending::NotYet).await {
            Ok(ending) => *ending,
            Err(_) => Ending::AtOnce,
        }
    }

    /// Waits until the connection is to be closed immediately.
    pub async fn wait_for_cut(&mut self) {
        self.ending.wait_for(|ending| *ending == Ending::AtOnce).await.ok();
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        self.connections.lock().by_id.remove(&self.id);
    }
}
