//! What a node that serves does by itself for its connections and its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::Signal;

use super::{ConnectionReviewer, Connections, RevocationReviewer};
use crate::clock::Clock;
use crate::exchange::Door;
use crate::identity::Tls;
use crate::seal::KeyRing;
use crate::store::{Fatal, Progress, Revocation};

/// How often files and open connections are looked at again.
const TICK: Duration = Duration::from_millis(500);

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Twice a second, and on SIGHUP: takes up changed TLS files and a rotated key ring, and cuts the connections of
/// callers who may not be here any more. Never ends by itself.
///
/// # Errors
/// None.
pub async fn look_after(
    (tls, real): (Arc<Tls>, Arc<dyn Clock>),
    mut hangup: Signal,
    key_ring: PathBuf,
    (connections, door): (Connections, Arc<Door>),
    progress: Progress,
) -> Result<(), Fatal> {
    let mut lists = RevocationReviewer::new(Arc::clone(&tls), connections.clone());
    let mut tick = tokio::time::interval(TICK);
    let mut reviewer = ConnectionReviewer::new(connections, Arc::clone(&door));
    let mut ring = modified(&key_ring);
    loop {
        let asked = tokio::select! {
            _ = tick.tick() => false,
            Some(()) = hangup.recv() => true,
        };
        progress.mark();
        if let Err(error) = tls.reload(asked, real.now()) {
            tracing::warn!(error = %error, "changed TLS files were not taken up; the old ones stay in use");
        }
        let revocation = if lists.review(real.now()) { Revocation::Known } else { Revocation::Unknown };
        door.committer.condition().send_if_modified(|condition| {
            std::mem::replace(&mut condition.revocation, revocation) != revocation
        });
        let now = modified(&key_ring);
        if asked || now != ring {
            ring = now;
            let taken = KeyRing::load(&key_ring).map_err(|error| error.to_string());
            if let Err(error) =
                taken.and_then(|ring| door.vault.reload(ring).map_err(|error| error.to_string()))
            {
                tracing::warn!(path = %key_ring.display(), error, "the changed key ring was not taken up; the old one stays in use");
            }
        }
        reviewer.review(&progress).await;
    }
}
