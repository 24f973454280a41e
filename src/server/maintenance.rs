//! Maintenance of a serving node's connections and files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::Signal;

use super::{ConnectionReviewer, Connections, RevocationReviewer};
use crate::clock::Clock;
use crate::exchange::ExchangePipeline;
use crate::identity::Tls;
use crate::seal::KeyRing;
use crate::store::{FatalError, Revocation, TaskProgress};

/// Interval at which files and open connections are checked.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);

fn modified_at(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Reloads changed TLS files and a rotated key ring, and closes the connections of callers that may no longer
/// connect. Runs twice a second and on SIGHUP, until it is cancelled.
///
/// # Errors
/// None.
pub async fn maintenance_loop(
    (tls, real): (Arc<Tls>, Arc<dyn Clock>),
    mut hangup: Signal,
    key_ring: PathBuf,
    (connections, pipeline): (Connections, Arc<ExchangePipeline>),
    progress: TaskProgress,
) -> Result<(), FatalError> {
    let mut lists = RevocationReviewer::new(Arc::clone(&tls), connections.clone());
    let mut tick = tokio::time::interval(MAINTENANCE_INTERVAL);
    let mut reviewer = ConnectionReviewer::new(connections, Arc::clone(&pipeline));
    let mut ring = modified_at(&key_ring);
    loop {
        let forced = tokio::select! {
            _ = tick.tick() => false,
            Some(()) = hangup.recv() => true,
        };
        progress.mark();
        if let Err(error) = tls.reload(forced, real.now()) {
            tracing::warn!(error = %error, "changed TLS files were not loaded; the old ones stay in use");
        }
        let revocation = if lists.review(real.now()) { Revocation::Known } else { Revocation::Unknown };
        pipeline.committer.condition().send_if_modified(|condition| {
            std::mem::replace(&mut condition.revocation, revocation) != revocation
        });
        let now = modified_at(&key_ring);
        if forced || now != ring {
            ring = now;
            let loaded = KeyRing::load(&key_ring).map_err(|error| error.to_string());
            if let Err(error) =
                loaded.and_then(|ring| pipeline.vault.reload(ring).map_err(|error| error.to_string()))
            {
                tracing::warn!(path = %key_ring.display(), error, "the changed key ring was not loaded; the old one stays in use");
            }
        }
        reviewer.review(&progress).await;
    }
}
