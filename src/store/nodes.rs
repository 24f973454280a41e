//! Key distribution among nodes: a new key of the ring may seal only once every live node can open what it seals.
//!
//! Each node announces its keys in `nodes` every two seconds; a node that has not done so for 30 seconds is not live.
//! With SQLite there is one node, which reads the ring from the file that is activated, so nothing is announced.
//! `nodes` and `activated_keys` hold no records: no log entry covers them, and no commit depends on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::condition::NodeCondition;
use super::fatal::FatalError;
use super::fault_log::{FaultLog, error_chain};
use super::key_ring_check::{KeyRingMismatch, activated_key_mismatch};
use super::sql::{Conn, Database, StoreError};
use super::task_progress::TaskProgress;
use crate::clock::Randomness;
use crate::seal::{KeyRing, RingKey, Vault};

/// Interval at which a node announces its keys.
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum time of one announcement.
const MAX_ANNOUNCEMENT_TIME: Duration = Duration::from_secs(5);
/// Maximum age of the last announcement of a live node, in microseconds.
const MAX_ANNOUNCEMENT_AGE_US: i64 = 30_000_000;
/// Maximum age of a node's row, in microseconds. Older rows, of nodes that ended without removing them, are deleted.
const MAX_NODE_ROW_AGE_US: i64 = 86_400_000_000;
/// Size of one announced key in bytes: id and fingerprint.
const KEY_BYTES: usize = 4 + 8;

/// The task that announces a node's keys and compares them with the activated keys.
pub struct KeyAnnouncer {
    database: Database,
    node: Uuid,
    name: String,
    vault: Arc<Vault>,
    condition: watch::Sender<NodeCondition>,
    faults: FaultLog,
}

impl KeyAnnouncer {
    /// Makes the announcer of a node. The node's name for operators is its host, its listen address and its process id.
    #[must_use]
    pub fn new(
        database: Database,
        listen: SocketAddr,
        vault: Arc<Vault>,
        condition: watch::Sender<NodeCondition>,
    ) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        let host = host.unwrap_or_else(|_| "unknown host".to_owned());
        let name = format!("{} {listen} (process {})", host.trim(), std::process::id());
        // Not from a configured seed, because two starts must never share an id.
        let node = Randomness::system().uuid_v4();
        Self { database, node, name, vault, condition, faults: FaultLog::new() }
    }

    /// Announces and compares at each interval until the node ends. While a key is missing, the node appends nothing
    /// and the health service returns `NOT_SERVING`.
    ///
    /// # Errors
    /// [`FatalError::Damaged`] if the database is damaged; the function does not return otherwise.
    pub async fn run(self: Arc<Self>, progress: TaskProgress) -> Result<(), FatalError> {
        loop {
            progress.mark();
            match tokio::time::timeout(MAX_ANNOUNCEMENT_TIME, self.announce()).await {
                Ok(Ok(missing)) => {
                    self.faults.clear();
                    self.report(missing);
                }
                Ok(Err(error @ StoreError::Damaged { .. })) => return Err(FatalError::Damaged(error)),
                Ok(Err(error)) => self.report_failure(&error_chain(&error)),
                Err(elapsed) => self.report_failure(&elapsed.to_string()),
            }
            tokio::time::sleep(ANNOUNCEMENT_INTERVAL).await;
        }
    }

    fn report_failure(&self, cause: &str) {
        if let Some(repeats) = self.faults.due(cause) {
            tracing::warn!(error = cause, repeats, "the keys that this node holds were not announced");
        }
    }

    /// Updates the node's condition, and logs a change.
    fn report(&self, missing: Option<KeyRingMismatch>) {
        let is_news = self.condition.send_if_modified(|now| {
            std::mem::replace(&mut now.key_missing, missing.is_some()) != missing.is_some()
        });
        match missing {
            Some(key) if is_news => {
                tracing::error!("the key ring cannot be used, so this node appends nothing: {key}");
            }
            None if is_news => tracing::info!("the key ring holds every key that is in use"),
            _ => {}
        }
    }

    /// Announces the keys once, and returns why the ring lacks an activated key. The announcement comes
    /// before the comparison: of an activation at the same time, either it reads the announcement or the comparison
    /// reads the activated key.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn announce(&self) -> Result<Option<KeyRingMismatch>, StoreError> {
        let ring = self.vault.ring();
        if self.database.is_shared() {
            let mut conn = self.database.writer().await?;
            let sql = "INSERT INTO nodes (node, name, keys, seen) \
                       VALUES ($1, $2, $3, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)) \
                       ON CONFLICT (node) DO UPDATE SET keys = EXCLUDED.keys, seen = EXCLUDED.seen";
            let arguments = vec![self.node.into(), self.name.as_str().into(), encode_keys(&ring).into()];
            conn.execute(sql, arguments).await?;
        }
        activated_key_mismatch(&self.database, &ring).await
    }

    /// Removes the announcement of a node that stops. If that fails, the node counts as live for another 30 seconds.
    pub async fn withdraw(&self) {
        if !self.database.is_shared() {
            return;
        }
        let withdrawing = async {
            let mut conn = self.database.writer().await?;
            conn.execute("DELETE FROM nodes WHERE node = $1", vec![self.node.into()]).await
        };
        if !matches!(tokio::time::timeout(MAX_ANNOUNCEMENT_TIME, withdrawing).await, Ok(Ok(_))) {
            tracing::warn!("this node's announcement was not removed: it counts as live for half a minute");
        }
    }
}

/// An error because of which a key was not activated.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The names of live nodes that do not hold the key.
    #[error("these nodes are live and do not hold the key yet: {}", .0.join(", "))]
    NodesLackKey(Vec<String>),
    /// An error of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns whether a key was activated.
///
/// # Errors
/// [`StoreError::Inconsistent`] if another key of the same id was activated; otherwise see [`StoreError`].
pub async fn is_activated(database: &Database, key: &RingKey) -> Result<bool, StoreError> {
    is_activated_in(&mut database.reader().await?, key).await
}

async fn is_activated_in(conn: &mut Conn, key: &RingKey) -> Result<bool, StoreError> {
    let sql = "SELECT fingerprint FROM activated_keys WHERE id = $1";
    match conn.fetch_one(sql, vec![key.id().into()]).await? {
        Some(row) if row.get_bytes("fingerprint")? == key.fingerprint() => Ok(true),
        Some(_) => Err(StoreError::Inconsistent("another key of this id was activated before")),
        None => Ok(false),
    }
}

/// Activates a key, if every live node holds it. Activating it again has no effect.
///
/// # Errors
/// [`ActivationError`].
pub async fn activate(database: &Database, key: &RingKey) -> Result<(), ActivationError> {
    let mut conn = database.writer().await?;
    if let Err(error) = conn.begin_write().await {
        conn.rollback().await;
        return Err(error.into());
    }
    let activated = activate_under_lock(&mut conn, database.is_shared(), key).await;
    if activated.is_err() {
        conn.rollback().await;
        return activated;
    }
    Ok(conn.commit().await?)
}

async fn activate_under_lock(conn: &mut Conn, shared: bool, key: &RingKey) -> Result<(), ActivationError> {
    if shared {
        let lacking = list_nodes_lacking(conn, key).await?;
        if !lacking.is_empty() {
            return Err(ActivationError::NodesLackKey(lacking));
        }
    }
    if !is_activated_in(conn, key).await? {
        let arguments = vec![key.id().into(), key.fingerprint().to_vec().into()];
        conn.execute("INSERT INTO activated_keys (id, fingerprint) VALUES ($1, $2)", arguments).await?;
    }
    Ok(())
}

/// Returns the names of the live nodes that do not hold a key, and deletes rows that are too old.
async fn list_nodes_lacking(conn: &mut Conn, key: &RingKey) -> Result<Vec<String>, StoreError> {
    let sql =
        "DELETE FROM nodes WHERE seen < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - $1";
    conn.execute(sql, vec![MAX_NODE_ROW_AGE_US.into()]).await?;
    let sql = "SELECT name, keys FROM nodes \
               WHERE seen > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - $1 ORDER BY name";
    let mut lacking = Vec::new();
    for row in conn.fetch(sql, vec![MAX_ANNOUNCEMENT_AGE_US.into()]).await? {
        let wanted = encode_key(key);
        if !row.get_bytes("keys")?.chunks(KEY_BYTES).any(|held| held == wanted) {
            lacking.push(row.get("name")?);
        }
    }
    Ok(lacking)
}

/// Encodes the keys of a ring as a node announces them.
fn encode_keys(ring: &KeyRing) -> Vec<u8> {
    ring.keys().flat_map(encode_key).collect()
}

fn encode_key(key: &RingKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    let (id, fingerprint) = bytes.split_at_mut(4);
    id.copy_from_slice(&key.id().to_be_bytes());
    fingerprint.copy_from_slice(&key.fingerprint());
    bytes
}
