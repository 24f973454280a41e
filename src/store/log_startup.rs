//! Creates a log, and opens one for appending with the checks that find a rolled-back or damaged database.

use std::path::Path;

use prost::Message;

use super::anchor::Anchor;
use super::canonical::ENTRY_FORMAT;
use super::log::{LogTree, TreeHead, db_int, load_head_continuing, load_range, verify_checkpoint};
use super::sql::{Conn, Database, StoreError};
use super::tables::CHECKPOINTS;
use super::verification;
use crate::clock::Instant;
use crate::proto::v1::AuditEntry;
use crate::tlog::{Checkpoint, CompactRange, LogKeyHistory, Signer, TILE_WIDTH, Tile, TileId};

/// Number of newest entries that are compared with the tree before the node serves. [`verification`] reads the rest.
const RECENT_ENTRIES: u64 = 10_000;
/// Number of attempts to read an anchor that a running node may be writing to. Each write leaves the other slot valid.
const MAX_ANCHOR_READS: usize = 3;
const LOG_EXISTS: StoreError = StoreError::Inconsistent(
    "the database (database.sqlite or database.postgres_url_file) already holds a log, and init needs an empty one",
);

/// Why this release cannot append to a log, by its newest entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryMismatch {
    /// The format of the entry is unknown.
    #[error(
        "the log has entries of format {0}, and this release knows the formats from 1 to {ENTRY_FORMAT}: start the \
         release that wrote them; or the newest entry was changed"
    )]
    UnknownFormat(u32),
    /// The entry was made with another commitment key.
    #[error(
        "log.commitment_key: it is not the commitment key of this log: copy the file of another node, or of the backup \
         of the key ring"
    )]
    OtherCommitmentKey,
}

/// Compares the format and the commitment key of the newest entry with those of this release and node; `None` if they
/// are the same, or if the log is empty. Without a key only the format is compared. An entry that cannot be decoded has
/// no format; verification finds it.
///
/// # Errors
/// See [`StoreError`].
pub async fn newest_entry_mismatch(
    database: &Database,
    commitment_key: Option<u32>,
) -> Result<Option<EntryMismatch>, StoreError> {
    let sql = "SELECT bytes FROM entries ORDER BY idx DESC LIMIT 1";
    let Some(row) = database.reader().await?.fetch_one(sql, vec![]).await? else { return Ok(None) };
    let Ok(entry) = AuditEntry::decode(row.get_bytes("bytes")?) else { return Ok(None) };
    if !(1..=ENTRY_FORMAT).contains(&entry.format) {
        return Ok(Some(EntryMismatch::UnknownFormat(entry.format)));
    }
    let is_other = commitment_key.is_some_and(|key| key != entry.commitment_key);
    Ok(is_other.then_some(EntryMismatch::OtherCommitmentKey))
}

/// What a database holds of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredLog {
    /// Nothing.
    None,
    /// A log without an entry: `init` was broken off before the first one.
    Empty,
    /// A log with entries.
    Written,
}

/// Returns what a database holds of a log.
///
/// # Errors
/// See [`StoreError`].
pub async fn stored_log(database: &Database) -> Result<StoredLog, StoreError> {
    read_stored_log(&mut database.reader().await?).await
}

async fn read_stored_log(conn: &mut Conn) -> Result<StoredLog, StoreError> {
    let newest = conn.fetch_one("SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1", vec![]).await?;
    Ok(match newest.map(|row| row.get::<i64>("size")).transpose()? {
        None => StoredLog::None,
        Some(0) => StoredLog::Empty,
        Some(_) => StoredLog::Written,
    })
}

/// Creates an empty log: a checkpoint of size 0, in the database and in the anchor. Does what is left of it if the
/// database holds an empty log of this key.
///
/// # Errors
/// [`StoreError::Inconsistent`] if the database holds a log with entries, or one of another key;
/// [`StoreError::Anchor`] if the anchor cannot be made; otherwise see [`StoreError`].
pub async fn create_log(database: &Database, anchor: &Path, signer: &Signer) -> Result<(), StoreError> {
    let mut conn = database.writer().await?;
    conn.begin_write().await?;
    let note = match write_empty_checkpoint(&mut conn, signer).await {
        Ok(note) => note,
        Err(error) => {
            conn.rollback().await;
            return Err(error);
        }
    };
    conn.commit().await?;
    match Anchor::create(anchor, &note) {
        // An anchor that is not this log's is found when the log is opened.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(creation_error(anchor)),
    }
}

/// Makes the anchor of a further node from a checkpoint that [`check_log_continues`] accepted.
///
/// # Errors
/// [`StoreError::Anchor`] if it exists or cannot be made.
pub fn create_anchor(anchor: &Path, note: &str) -> Result<(), StoreError> {
    Anchor::create(anchor, note).map_err(creation_error(anchor))
}

fn creation_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    move |error| StoreError::Anchor {
        path: path.to_owned(),
        cause: format!("the anchor file cannot be made: {error}"),
    }
}

/// Writes the checkpoint of size 0 unless it is there, and returns its note.
async fn write_empty_checkpoint(conn: &mut Conn, signer: &Signer) -> Result<String, StoreError> {
    match read_stored_log(conn).await? {
        StoredLog::Written => return Err(LOG_EXISTS),
        StoredLog::Empty => {
            LogTree::load(conn, signer.key_history()).await?;
            let row = conn.fetch_one("SELECT note FROM checkpoints WHERE size = 0", vec![]).await?;
            return row.ok_or(LOG_EXISTS)?.get("note");
        }
        StoredLog::None => {}
    }
    let empty = Checkpoint::new(signer.verifier().name(), 0, CompactRange::default().root());
    let note = signer.sign(&empty.to_string());
    // No entry gives the empty tree a time.
    let row = vec![0_i64.into(), 0_i64.into(), note.as_str().into()];
    conn.insert(vec![(&CHECKPOINTS, vec![row])]).await?;
    Ok(note)
}

/// Checks that the database holds no log with entries.
///
/// # Errors
/// [`StoreError::Inconsistent`] if it holds one; otherwise see [`StoreError`].
pub async fn ensure_no_log(database: &Database) -> Result<(), StoreError> {
    match stored_log(database).await? {
        StoredLog::Written => Err(LOG_EXISTS),
        StoredLog::None | StoredLog::Empty => Ok(()),
    }
}

/// Opens the log. Checks the newest checkpoint, the tree's root, the anchor, and the leaves of the last 10,000 entries.
/// Then makes what was read durable and writes the newest checkpoint to the anchor, because a process that was killed
/// may have ended between its COMMIT and either of these, and what is read may be served from now on.
///
/// # Errors
/// [`StoreError::Inconsistent`] or [`StoreError::Anchor`] if a check fails or the anchor cannot be written; otherwise
/// see [`StoreError`].
pub async fn open_log(
    database: &Database,
    anchor: &Path,
    keys: &LogKeyHistory,
) -> Result<(LogTree, Anchor), StoreError> {
    let mut conn = database.writer().await?;
    let tree = LogTree::load(&mut conn, keys).await?;
    let (mut opened, note) = open_anchor(anchor)?;
    let anchored = verify_checkpoint(&note, keys)?;
    let (head, newest) = load_head_continuing(&mut conn, anchored.size(), anchored.root(), keys).await?;
    conn.sync_committed()?;
    drop(conn);
    check_loaded_tree(database, &tree, keys).await?;
    if head.size > anchored.size() {
        opened.write(&newest).and_then(|()| opened.sync()).map_err(|error| StoreError::Anchor {
            path: anchor.to_owned(),
            cause: format!("the anchor file cannot be written: {error}"),
        })?;
    }
    Ok((tree, opened))
}

async fn check_loaded_tree(
    database: &Database,
    tree: &LogTree,
    keys: &LogKeyHistory,
) -> Result<(), StoreError> {
    let size = tree.head().size;
    if keys.replacement_indexes().last().is_some_and(|kept| size <= kept) {
        return Err(StoreError::Inconsistent("a rollback was half accepted: run accept-rollback again"));
    }
    check_recent_entries(database, size).await
}

/// Checks the log as [`open_log`] does, and returns its head. Writes nothing and locks nothing, so a node may serve it
/// meanwhile.
///
/// # Errors
/// As [`open_log`].
pub async fn check_log(
    database: &Database,
    anchor: &Path,
    keys: &LogKeyHistory,
) -> Result<TreeHead, StoreError> {
    // Read before the database, which is never behind the anchor.
    check_log_continues(database, &read_anchor(anchor)?, keys).await
}

/// Checks the log as [`check_log`] does, with a signed checkpoint in place of an anchor.
///
/// # Errors
/// As [`check_log`].
pub async fn check_log_continues(
    database: &Database,
    note: &str,
    keys: &LogKeyHistory,
) -> Result<TreeHead, StoreError> {
    let anchored = verify_checkpoint(note, keys)?;
    let mut conn = database.reader().await?;
    conn.begin_read().await?;
    let loaded = async {
        let tree = LogTree::load(&mut conn, keys).await?;
        load_head_continuing(&mut conn, anchored.size(), anchored.root(), keys).await?;
        Ok::<_, StoreError>(tree)
    };
    let loaded = loaded.await;
    conn.rollback().await;
    let tree = loaded?;
    check_loaded_tree(database, &tree, keys).await?;
    Ok(tree.head())
}

/// Returns the tree of the first entries of a database, as many as a checkpoint has; `None` if the database's log is
/// shorter or another one.
///
/// # Errors
/// See [`StoreError`].
pub async fn tree_at(
    database: &Database,
    checkpoint: &Checkpoint,
) -> Result<Option<CompactRange>, StoreError> {
    let range = load_range(&mut database.reader().await?, checkpoint.size()).await?;
    Ok(range.filter(|range| range.root() == *checkpoint.root()))
}

/// Returns the time of a checkpoint; `None` if the database does not have it.
///
/// # Errors
/// See [`StoreError`].
pub async fn checkpoint_time(database: &Database, size: u64) -> Result<Option<Instant>, StoreError> {
    let sql = "SELECT time FROM checkpoints WHERE size = $1";
    let row = database.reader().await?.fetch_one(sql, vec![db_int(size).into()]).await?;
    row.map(|row| row.get("time")).transpose()
}

/// Reads the newest note of an anchor that can be written, without locking it.
///
/// # Errors
/// [`StoreError::Anchor`].
pub fn read_anchor(path: &Path) -> Result<String, StoreError> {
    let read = || {
        std::fs::OpenOptions::new().write(true).open(path)?;
        Anchor::read_newest_note(path)
    };
    let mut note = read();
    for _again in 1..MAX_ANCHOR_READS {
        if note.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::InvalidData) {
            note = read();
        }
    }
    note.map_err(anchor_error(path))
}

/// Opens the anchor, and returns it with its newest note.
pub(super) fn open_anchor(path: &Path) -> Result<(Anchor, String), StoreError> {
    Anchor::open(path).map_err(anchor_error(path))
}

fn anchor_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    move |error| {
        let cause = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "the anchor file is missing: restore its newest copy, or copy that of another node".to_owned()
            }
            std::io::ErrorKind::WouldBlock => "another process has the anchor open: stop it first".to_owned(),
            _ => format!("the anchor file cannot be read: {error}"),
        };
        StoreError::Anchor { path: path.to_owned(), cause }
    }
}

/// Checks that the newest entries have no gaps and hash to the leaves of the tree's full tiles. The entries of the
/// last, partial tile were checked when the tree was loaded and its root compared with the signed one.
pub(super) async fn check_recent_entries(database: &Database, size: u64) -> Result<(), StoreError> {
    let mut conn = database.reader().await?;
    let first = size.saturating_sub(RECENT_ENTRIES) / TILE_WIDTH * TILE_WIDTH;
    for begin in (first..size).step_by(256) {
        let leaves = verification::load_leaves(&mut conn, begin, size).await?;
        let hashes = leaves.map_err(|finding| StoreError::Inconsistent(finding.message))?;
        let id = TileId { level: 0, number: begin / TILE_WIDTH };
        let full = hashes.len() as u64 == TILE_WIDTH;
        if full && let Some(finding) = verification::compare_tile(&mut conn, &Tile { id, hashes }).await? {
            return Err(StoreError::Inconsistent(finding.message));
        }
    }
    Ok(())
}
