//! Maintenance of a serving node's connections and files.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::{ConnectionReviewer, Connections, RevocationReviewer};
use crate::clock::Clock;
use crate::exchange::ExchangePipeline;
use crate::identity::Tls;
use crate::seal::{KeyRing, Vault};
use crate::store::{FatalError, Revocation, TaskProgress};

/// Interval at which files and open connections are checked.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);

/// Returns the time of a file's last change, also one of its mode or its name, in seconds and nanoseconds; `None` if it
/// cannot be read.
fn changed_at(path: &Path) -> Option<(i64, i64)> {
    path.metadata().ok().map(|metadata| (metadata.ctime(), metadata.ctime_nsec()))
}

/// The file of the key ring, with the time of the change that was taken up last. Make it before the ring is loaded, so
/// that no change is missed.
pub struct KeyRingFile {
    path: PathBuf,
    seen: Option<(i64, i64)>,
}

impl KeyRingFile {
    /// Takes the time of the file's last change.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: changed_at(path) }
    }

    /// Loads the ring again if its file has changed, or if `always`. Logs what came of it, so once per change.
    fn reload(&mut self, always: bool, vault: &Vault) {
        let now = changed_at(&self.path);
        if !always && now == self.seen {
            return;
        }
        self.seen = now;
        reload_key_ring(&self.path, vault);
    }
}

fn reload_key_ring(path: &Path, vault: &Vault) {
    let loaded = KeyRing::load(path).map_err(|error| error.to_string());
    match loaded.and_then(|ring| vault.reload(ring).map_err(|error| error.to_string())) {
        Ok(()) => tracing::info!(path = %path.display(), "the changed key ring is in use"),
        Err(error) => tracing::warn!(
            path = %path.display(), error, "the changed key ring was not loaded; the old one stays in use"
        ),
    }
}

/// Reloads changed TLS files and a rotated key ring, and closes the connections of callers that may no longer
/// connect. Runs twice a second and on SIGHUP, until it is cancelled.
///
/// # Errors
/// None.
pub async fn maintenance_loop(
    (tls, real): (Arc<Tls>, Arc<dyn Clock>),
    mut hangup: Signal,
    mut key_ring: KeyRingFile,
    (connections, pipeline): (Connections, Arc<ExchangePipeline>),
    progress: TaskProgress,
) -> Result<(), FatalError> {
    let mut lists = RevocationReviewer::new(Arc::clone(&tls), connections.clone());
    let mut tick = tokio::time::interval(MAINTENANCE_INTERVAL);
    let mut reviewer = ConnectionReviewer::new(connections, Arc::clone(&pipeline));
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
        key_ring.reload(forced, &pipeline.vault);
        reviewer.review(&progress).await;
    }
}
