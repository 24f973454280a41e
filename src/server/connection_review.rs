//! Review of the open connections: closes those whose caller may no longer connect.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::Connections;
use crate::exchange::ExchangePipeline;
use crate::identity::PeerCertificate;
use crate::store::TaskProgress;

/// Reviews the open connections of a node.
pub struct ConnectionReviewer {
    connections: Connections,
    pipeline: Arc<ExchangePipeline>,
    /// The reviewed certificates, each with a receiver that reports changes to its organisation.
    reviewed: HashMap<[u8; 32], watch::Receiver<()>>,
}

impl ConnectionReviewer {
    /// Creates a reviewer that has reviewed nothing.
    #[must_use]
    pub fn new(connections: Connections, pipeline: Arc<ExchangePipeline>) -> Self {
        Self { connections, pipeline, reviewed: HashMap::new() }
    }

    /// Closes the connections whose certificate is no longer valid or whose organisation was suspended.
    pub async fn review(&mut self, progress: &TaskProgress) {
        let peers: HashMap<_, _> =
            self.connections.peers().into_iter().map(|peer| (peer.fingerprint(), peer)).collect();
        self.reviewed.retain(|fingerprint, _| peers.contains_key(fingerprint));
        let mut gone = Vec::new();
        for (fingerprint, peer) in &peers {
            progress.mark();
            if !self.pipeline.is_still_valid(peer) || !self.may_stay(*fingerprint, peer).await {
                gone.push(*fingerprint);
            }
        }
        if !gone.is_empty() {
            // Removed because the certificate may connect again before the next review, and must be reviewed
            // then.
            self.reviewed.retain(|fingerprint, _| !gone.contains(fingerprint));
            self.connections.close_where(|peer| gone.contains(&peer.fingerprint()));
        }
    }

    /// Reads the register for a certificate that is new or whose organisation has changed; others are not read,
    /// because connections may be many and idle. While the register cannot be read the connection stays open,
    /// because calls on it fail too; the next review reads again.
    async fn may_stay(&mut self, fingerprint: [u8; 32], peer: &Arc<PeerCertificate>) -> bool {
        let seen = self.reviewed.get(&fingerprint);
        if seen.is_some_and(|changes| !changes.has_changed().unwrap_or(true)) {
            return true;
        }
        // Subscribes before the register is read, so that no change is missed between the two.
        let changes = self.pipeline.committer.subscribe(peer.organisation().as_str());
        if let Ok(welcome) = self.pipeline.may_stay_connected(peer).await {
            self.reviewed.insert(fingerprint, changes);
            welcome
        } else {
            self.reviewed.remove(&fingerprint);
            true
        }
    }
}
