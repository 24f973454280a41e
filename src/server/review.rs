//! Reviews of the open connections: closes those whose caller may not stay connected.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::Connections;
use crate::exchange::Door;
use crate::identity::PeerCertificate;
use crate::store::Progress;

/// Reviews the open connections of a node.
pub struct ConnectionReviewer {
    connections: Connections,
    door: Arc<Door>,
    /// The certificates that have been reviewed, each with what notifies of changes to its organisation.
    reviewed: HashMap<[u8; 32], watch::Receiver<()>>,
}

impl ConnectionReviewer {
    /// A reviewer that has reviewed nothing.
    #[must_use]
    pub fn new(connections: Connections, door: Arc<Door>) -> Self {
        Self { connections, door, reviewed: HashMap::new() }
    }

    /// Closes the connections whose certificate is not valid any more, or whose organisation was suspended.
    pub async fn review(&mut self, progress: &Progress) {
        let peers: HashMap<_, _> =
            self.connections.peers().into_iter().map(|peer| (peer.fingerprint(), peer)).collect();
        self.reviewed.retain(|fingerprint, _| peers.contains_key(fingerprint));
        let mut gone = Vec::new();
        for (fingerprint, peer) in &peers {
            progress.mark();
            if !self.door.is_still_valid(peer) || !self.may_stay(*fingerprint, peer).await {
                gone.push(*fingerprint);
            }
        }
        if !gone.is_empty() {
            // The same certificate may connect again before the next review, which must not take it as reviewed.
            self.reviewed.retain(|fingerprint, _| !gone.contains(fingerprint));
            self.connections.close_where(|peer| gone.contains(&peer.fingerprint()));
        }
    }

    /// Reads the register for a certificate that is new or whose organisation had a change: connections may be many
    /// and idle. While the register cannot be read the connection stays, because nothing is answered on it either;
    /// the next review reads again.
    async fn may_stay(&mut self, fingerprint: [u8; 32], peer: &Arc<PeerCertificate>) -> bool {
        let seen = self.reviewed.get(&fingerprint);
        if seen.is_some_and(|changes| !changes.has_changed().unwrap_or(true)) {
            return true;
        }
        // Subscribed before the register is read, so that no change falls between the two.
        let changes = self.door.committer.mailbox(peer.organisation().as_str());
        if let Ok(welcome) = self.door.is_welcome(peer).await {
            self.reviewed.insert(fingerprint, changes);
            welcome
        } else {
            self.reviewed.remove(&fingerprint);
            true
        }
    }
}
