//! The keys of the ring that each node holds. A new key may seal only once every live node can open what it seals.
//!
//! A node announces itself in `nodes` every few seconds; one that has not for 30 seconds is not live. On SQLite
//! there is one node, which reads the ring from the file that is activated, so nothing is announced. These two tables
//! are no records: they are in no entry of the log, and no commit rests on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::committer::Fatal;
use super::follow::Condition;
use super::progress::Progress;
use super::sql::{Conn, Database, Row, StoreError};
use crate::clock::Randomness;
use crate::seal::{KeyRing, RingKey, Vault};

/// How often a node announces the keys that it holds.
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time that one announcement may take.
const MAX_ANNOUNCEMENT_TIME: Duration = Duration::from_secs(5);
/// A node that has announced nothing for so long is not live, in microseconds.
const MAX_SILENCE: i64 = 30_000_000;
/// Rows of nodes that ended without a word are removed after so long, in microseconds.
const MAX_NODE_AGE: i64 = 86_400_000_000;
/// Bytes of one announced key: id and fingerprint.
const KEY_BYTES: usize = 4 + 8;

/// Announces the keys that a node holds, and compares them with those that were activated.
pub struct KeyAnnouncer {
    database: Database,
    node: Uuid,
    name: String,
    vault: Arc<Vault>,
    condition: watch::Sender<Condition>,
}

impl KeyAnnouncer {
    /// Makes the announcer of a node. Its operator knows it by its host, the address on which it listens, and its
    /// process.
    #[must_use]
    pub fn new(
        database: Database,
        listen: SocketAddr,
        vault: Arc<Vault>,
        condition: watch::Sender<Condition>,
    ) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        let host = host.unwrap_or_else(|_| "unknown host".to_owned());
        let name = format!("{} {listen} (process {})", host.trim(), std::process::id());
        // Not from a seed: two starts must never share an id.
        let node = Randomness::system().uuid_v4();
        Self { database, node, name, vault, condition }
    }

    /// Announces, compares, and waits, until the node ends. While a key is missing the node appends nothing and the
    /// health service says so.
    ///
    /// # Errors
    /// None: it never ends by itself.
    pub async fn run(self: Arc<Self>, progress: Progress) -> Result<(), Fatal> {
        loop {
            progress.mark();
            match tokio::time::timeout(MAX_ANNOUNCEMENT_TIME, self.announce()).await {
                Ok(Ok(missing)) => self.report(missing),
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "the keys that this node holds were not announced");
                }
                Err(_) => tracing::warn!("the keys that this node holds were not announced in time"),
            }
            tokio::time::sleep(ANNOUNCEMENT_INTERVAL).await;
        }
    }

    fn report(&self, missing: Option<u32>) {
        let is_news = self.condition.send_if_modified(|now| {
            std::mem::replace(&mut now.key_missing, missing.is_some()) != missing.is_some()
        });
        match missing {
            Some(key) if is_news => {
                tracing::error!(key, "the key ring lacks a key that is in use: this node appends nothing");
            }
            None if is_news => tracing::info!("the key ring holds every key that is in use"),
            _ => {}
        }
    }

    /// Announces the keys once and returns the id of a key that was activated and is not in the ring. First the
    /// announcement: an activation sees either it or this node's question.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn announce(&self) -> Result<Option<u32>, StoreError> {
        let ring = self.vault.ring();
        if self.database.is_shared() {
            let mut conn = self.database.writer().await?;
            let sql = "INSERT INTO nodes (node, name, keys, seen) \
                       VALUES ($1, $2, $3, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)) \
                       ON CONFLICT (node) DO UPDATE SET keys = EXCLUDED.keys, seen = EXCLUDED.seen";
            let arguments = vec![self.node.into(), self.name.as_str().into(), held(&ring).into()];
            conn.execute(sql, arguments).await?;
        }
        missing(&mut self.database.reader().await?, &ring).await
    }

    /// Removes the announcement of a node that stops. One that cannot be removed ages.
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

/// Why a key was not activated.
#[derive(Debug, thiserror::Error)]
pub enum NotActivated {
    /// Live nodes, by name, that do not hold the key.
    #[error("these nodes are live and do not hold the key yet: {}", .0.join(", "))]
    Lacking(Vec<String>),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reports whether a key was activated.
///
/// # Errors
/// [`StoreError::Inconsistent`] when another key of its id was; or as [`StoreError`] says.
pub async fn is_activated(database: &Database, key: &RingKey) -> Result<bool, StoreError> {
    is_activated_in(&mut database.reader().await?, key).await
}

async fn is_activated_in(conn: &mut Conn, key: &RingKey) -> Result<bool, StoreError> {
    let sql = "SELECT fingerprint FROM activated_keys WHERE id = $1";
    match conn.fetch_one(sql, vec![key.id().into()]).await? {
        Some(row) if row.blob(0)? == key.fingerprint() => Ok(true),
        Some(_) => Err(StoreError::Inconsistent("another key of this id was activated before")),
        None => Ok(false),
    }
}

/// Enters that a key seals from now on, if every live node holds it. Again is no fault.
///
/// # Errors
/// [`NotActivated`].
pub async fn activate(database: &Database, key: &RingKey) -> Result<(), NotActivated> {
    let mut conn = database.writer().await?;
    if let Err(error) = conn.begin_write().await {
        conn.abandon().await;
        return Err(error.into());
    }
    let activated = activate_under_lock(&mut conn, database.is_shared(), key).await;
    if activated.is_err() {
        conn.abandon().await;
        return activated;
    }
    Ok(conn.commit().await?)
}

async fn activate_under_lock(conn: &mut Conn, shared: bool, key: &RingKey) -> Result<(), NotActivated> {
    if shared {
        let lacking = lacking(conn, key).await?;
        if !lacking.is_empty() {
            return Err(NotActivated::Lacking(lacking));
        }
    }
    if !is_activated_in(conn, key).await? {
        let arguments = vec![key.id().into(), key.fingerprint().to_vec().into()];
        conn.execute("INSERT INTO activated_keys (id, fingerprint) VALUES ($1, $2)", arguments).await?;
    }
    Ok(())
}

/// The live nodes that do not hold a key, by name.
async fn lacking(conn: &mut Conn, key: &RingKey) -> Result<Vec<String>, StoreError> {
    let sql =
        "DELETE FROM nodes WHERE seen < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - $1";
    conn.execute(sql, vec![MAX_NODE_AGE.into()]).await?;
    let sql = "SELECT name, keys FROM nodes \
               WHERE seen > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) - $1 ORDER BY name";
    let mut lacking = Vec::new();
    for row in conn.fetch(sql, vec![MAX_SILENCE.into()]).await? {
        let wanted = bytes_of(key);
        if !row.blob(1)?.chunks(KEY_BYTES).any(|held| held == wanted) {
            lacking.push(row.text(0)?.to_owned());
        }
    }
    Ok(lacking)
}

/// The id of a key that was activated and that a ring does not hold.
async fn missing(conn: &mut Conn, ring: &KeyRing) -> Result<Option<u32>, StoreError> {
    let rows = conn.fetch("SELECT id, fingerprint FROM activated_keys ORDER BY id", vec![]).await?;
    for row in &rows {
        let id = id_of(row)?;
        let fingerprint = row.blob(1)?;
        if !ring.keys().any(|key| key.id() == id && key.fingerprint() == fingerprint) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn id_of(row: &Row) -> Result<u32, StoreError> {
    let corrupt = StoreError::Corrupt { table: "activated_keys", column: 0 };
    u32::try_from(row.int(0)?).map_err(|_| corrupt)
}

fn held(ring: &KeyRing) -> Vec<u8> {
    ring.keys().flat_map(bytes_of).collect()
}

fn bytes_of(key: &RingKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    let (id, fingerprint) = bytes.split_at_mut(4);
    id.copy_from_slice(&key.id().to_be_bytes());
    fingerprint.copy_from_slice(&key.fingerprint());
    bytes
}
