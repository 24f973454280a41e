//! Registry of the open connections, with a handle that closes each of them.

use std::collections::{BTreeMap, HashSet};
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
    /// Immediately, because too many of the certificate's calls were rejected.
    Excessive,
}

/// Bounds of the open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of connections of one organisation, and of one certificate that is not known to be registered.
    pub per_organisation: usize,
    /// Maximum number of connections of all certificates together that are not known to be registered.
    pub unregistered: usize,
}

/// Registry of the open connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<OpenConnections>>);

#[derive(Default)]
struct OpenConnections {
    next_id: u64,
    is_draining: bool,
    by_id: BTreeMap<u64, OpenConnection>,
}

struct OpenConnection {
    peer: Arc<PeerCertificate>,
    ending: watch::Sender<Ending>,
    /// Whether the register is known to hold its certificate. Only then it takes a place of its organisation, because
    /// anyone with a certificate of the authority could name that.
    is_registered: bool,
}

/// Error of a connection that may not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The organisation, or the certificate that is not known to be registered, has as many connections as it may have.
    TooMany,
    /// The node shuts down.
    ShuttingDown,
}

/// Handle of one connection. Dropping it removes the connection from the registry.
pub struct ConnectionHandle {
    id: u64,
    ending: watch::Receiver<Ending>,
    limits: ConnectionLimits,
    connections: Connections,
}

impl Connections {
    /// Registers a connection. It counts against its organisation if the certificate is known to be registered from
    /// another connection; otherwise it counts against the certificate and all that are not known, of which the oldest
    /// is closed when they are too many.
    ///
    /// # Errors
    /// `RegisterError` when its organisation or certificate has as many as `limits` allow, or the node shuts down.
    pub fn register(
        &self,
        peer: &Arc<PeerCertificate>,
        limits: ConnectionLimits,
    ) -> Result<ConnectionHandle, RegisterError> {
        let mut open = self.lock();
        if open.is_draining {
            return Err(RegisterError::ShuttingDown);
        }
        let fingerprint = peer.fingerprint();
        let is_registered = open.is_registered(fingerprint);
        let (count, most) = if is_registered {
            (open.count_of_organisation(peer), limits.per_organisation)
        } else {
            (open.count_of_certificate(fingerprint), limits.per_organisation.min(limits.unregistered))
        };
        if count >= most {
            return Err(RegisterError::TooMany);
        }
        if !is_registered {
            open.displace_unregistered(limits.unregistered);
        }
        let (sender, ending) = watch::channel(Ending::NotYet);
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, OpenConnection { peer: Arc::clone(peer), ending: sender, is_registered });
        Ok(ConnectionHandle { id, ending, limits, connections: self.clone() })
    }

    /// Returns the certificates of all open connections.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<PeerCertificate>> {
        self.lock().by_id.values().map(|open| Arc::clone(&open.peer)).collect()
    }

    /// Closes immediately the connections that `which` selects.
    pub fn close_where(&self, which: impl Fn(&PeerCertificate) -> bool) {
        for open in self.lock().by_id.values() {
            if which(&open.peer) {
                open.ending.send_replace(Ending::AtOnce);
            }
        }
    }

    /// Closes immediately the connections of certificates of which too many calls were rejected. Certificates that are
    /// known to be registered keep theirs, because their calls are limited with those of their organisation.
    pub fn close_excessive(&self, fingerprints: &[[u8; 32]]) {
        let open = self.lock();
        let registered: HashSet<_> = open
            .by_id
            .values()
            .filter(|open| open.is_registered)
            .map(|open| open.peer.fingerprint())
            .collect();
        for connection in open.by_id.values() {
            let fingerprint = connection.peer.fingerprint();
            if fingerprints.contains(&fingerprint) && !registered.contains(&fingerprint) {
                connection.ending.send_replace(Ending::Excessive);
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
        for open in self.lock().by_id.values() {
            open.ending.send_replace(ending);
        }
    }

    /// Ignores poisoning: every change is one insertion or removal, so a panic cannot leave the table
    /// inconsistent.
    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    fn is_registered(&self, fingerprint: [u8; 32]) -> bool {
        self.by_id.values().any(|open| open.is_registered && open.peer.fingerprint() == fingerprint)
    }

    fn count_of_organisation(&self, peer: &PeerCertificate) -> usize {
        let is_same =
            |open: &&OpenConnection| open.is_registered && open.peer.organisation() == peer.organisation();
        self.by_id.values().filter(is_same).count()
    }

    fn count_of_certificate(&self, fingerprint: [u8; 32]) -> usize {
        self.by_id.values().filter(|open| open.peer.fingerprint() == fingerprint).count()
    }

    /// Makes room for a connection among `most` whose certificates are not known to be registered.
    fn displace_unregistered(&mut self, most: usize) {
        let mut unregistered = self.by_id.iter().filter(|(_, open)| !open.is_registered).map(|(id, _)| *id);
        let oldest = unregistered.next();
        // The oldest is not counted any more.
        if let Some(id) = oldest.filter(|_| unregistered.count() + 1 >= most)
            && let Some(open) = self.by_id.remove(&id)
        {
            open.ending.send_replace(Ending::AtOnce);
        }
    }
}

impl ConnectionHandle {
    /// Counts the connection against its organisation, because its certificate is registered.
    ///
    /// # Errors
    /// [`RegisterError::TooMany`] when the organisation has as many as it may have; the connection must then be closed.
    pub fn mark_registered(&self) -> Result<(), RegisterError> {
        let mut open = self.connections.lock();
        let Some(peer) = open.by_id.get(&self.id).filter(|open| !open.is_registered) else { return Ok(()) };
        let peer = Arc::clone(&peer.peer);
        if open.count_of_organisation(&peer) >= self.limits.per_organisation {
            return Err(RegisterError::TooMany);
        }
        if let Some(connection) = open.by_id.get_mut(&self.id) {
            connection.is_registered = true;
        }
        Ok(())
    }

    /// Waits until the connection is to be closed, and returns how.
    pub async fn ending(&mut self) -> Ending {
        match self.ending.wait_for(|ending| *ending != Ending::NotYet).await {
            Ok(ending) => *ending,
            Err(_) => Ending::AtOnce,
        }
    }

    /// Waits until the connection is to be closed immediately.
    pub async fn wait_for_cut(&mut self) {
        self.ending.wait_for(|ending| matches!(ending, Ending::AtOnce | Ending::Excessive)).await.ok();
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        self.connections.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
#[cfg(feature = "world")]
mod tests {
    use super::*;
    use crate::identity::pki::{SandboxAuthority, Validity};

    const LIMITS: ConnectionLimits = ConnectionLimits { per_organisation: 2, unregistered: 3 };

    fn peers(uris: &[&str]) -> Vec<Arc<PeerCertificate>> {
        let validity = Validity { from: 1_600_000_000, to: 1_900_000_000 };
        let authority = SandboxAuthority::new("CA", validity).unwrap();
        let issue = |(serial, uri): (u64, &&str)| {
            let issued = authority.issue_client(&[uri], serial, validity).unwrap();
            Arc::new(PeerCertificate::parse(&issued.der).unwrap())
        };
        (1..).zip(uris).map(issue).collect()
    }

    fn ending(handle: &ConnectionHandle) -> Ending {
        *handle.ending.borrow()
    }

    #[test]
    fn only_registered_certificates_take_places_of_their_organisation() {
        let uri = |system: &str| format!("spiffe://ap.example/la/331/{system}");
        let uris = ["stranger", "a", "b", "c"].map(uri);
        let peers = peers(&uris.each_ref().map(String::as_str));
        let open = Connections::default();
        let strangers = [0, 0].map(|at| open.register(&peers[at], LIMITS).unwrap());
        assert_eq!(open.register(&peers[0], LIMITS).err(), Some(RegisterError::TooMany));
        let first = open.register(&peers[1], LIMITS).unwrap();
        assert_eq!(first.mark_registered(), Ok(()));
        let again = open.register(&peers[1], LIMITS).unwrap();
        assert_eq!(open.register(&peers[1], LIMITS).err(), Some(RegisterError::TooMany));
        let other = open.register(&peers[2], LIMITS).unwrap();
        assert_eq!(other.mark_registered(), Err(RegisterError::TooMany), "the organisation is full");
        let newest = open.register(&peers[3], LIMITS).unwrap();
        assert_eq!(ending(&strangers[0]), Ending::AtOnce, "the oldest of all that are not registered");
        let rest = [&strangers[1], &first, &again, &other, &newest];
        assert!(rest.iter().all(|handle| ending(handle) == Ending::NotYet));
        drop(again);
        assert_eq!(other.mark_registered(), Ok(()));
    }

    #[test]
    fn too_many_rejected_calls_do_not_close_connections_of_a_registered_certificate() {
        let peers = peers(&["spiffe://ap.example/la/331/a", "spiffe://ap.example/la/331/b"]);
        let open = Connections::default();
        let registered = open.register(&peers[0], LIMITS).unwrap();
        registered.mark_registered().unwrap();
        let stranger = open.register(&peers[1], LIMITS).unwrap();
        open.close_excessive(&[peers[0].fingerprint(), peers[1].fingerprint()]);
        assert_eq!((ending(&registered), ending(&stranger)), (Ending::NotYet, Ending::Excessive));
    }
}
