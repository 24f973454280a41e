//! Whether the certificate of a connection is registered, which decides whose share of memory its calls are charged to.

use std::time::Duration;

use tokio::time::timeout;

use super::caller::CallerClaims;
use super::memory::CallMemory;
use super::pipeline::ExchangePipeline;
use crate::identity::PeerCertificate;
use crate::store::Snapshot;

/// Maximum time of the lookup that finds the share of memory of a new connection.
const MAX_LOOKUP_TIME: Duration = Duration::from_secs(1);

impl ExchangePipeline {
    /// Charges a connection to its organisation's share of memory once its certificate is registered. Until then
    /// it shares one with all others that are not.
    pub(super) async fn note_registration(&self, peer: &PeerCertificate, memory: &CallMemory) {
        let memory = memory.connection();
        if memory.is_registered() {
            return;
        }
        let is_registered = self.caller_cache.get(peer).is_some()
            || (memory.begin_lookup() && {
                let snapshot = Snapshot::new(self.log.database());
                let mut snapshot = snapshot.in_turn_of(peer.organisation().as_str());
                let claims = CallerClaims { peer, on_behalf_of: None, today: "", method: "" };
                let identified = timeout(MAX_LOOKUP_TIME, (self.identify)(&mut snapshot, claims)).await;
                identified.is_ok_and(|caller| caller.is_ok())
            });
        if is_registered {
            memory.mark_registered();
        }
    }
}
