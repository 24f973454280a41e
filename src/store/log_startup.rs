//! Creates a log, and opens one for appending with the checks that find a rolled-back or damaged database.

use std::path::Path;

use super::anchor::Anchor;
use super::log::{LogTree, load_head_continuing, verify_checkpoint};
use super::sql::{Conn, Database, StoreError};
use super::tables::CHECKPOINTS;
use super::verification;
use crate::clock::Instant;
use crate::tlog::{Checkpoint, CompactRange, LogKeyHistory, Signer, TILE_WIDTH, Tile, TileId};

/// Number of newest entries that are compared with the tree before the node serves. [`verification`] reads the rest.
const RECENT_ENTRIES: u64 = 10_000;

/// Creates an empty log: a checkpoint of size 0, in the database and in the anchor.
///
/// # Errors
/// [`StoreError::Inconsistent`] if the database holds a log; [`StoreError::Anchor`] if the anchor cannot be made;
/// otherwise see [`StoreError`].
pub async fn create_log(
    database: &Database,
    anchor: &Path,
    signer: &Signer,
    now: Instant,
) -> Result<(), StoreError> {
    let mut conn = database.writer().await?;
    conn.begin_write().await?;
    if let Err(error) = refuse_existing_log(&mut conn).await {
        conn.rollback().await;
        return Err(error);
    }
    let empty = Checkpoint::new(signer.verifier().name(), 0, CompactRange::default().root());
    let note = signer.sign(&empty.to_string());
    let row = vec![0_i64.into(), now.micros().into(), note.as_str().into()];
    conn.insert(vec![(&CHECKPOINTS, vec![row])]).await?;
    conn.commit().await?;
    Anchor::create(anchor, &note).map_err(|error| StoreError::Anchor {
        path: anchor.to_owned(),
        cause: format!("the anchor file cannot be made: {error}"),
    })
}

/// Checks that the database holds no log yet.
///
/// # Errors
/// [`StoreError::Inconsistent`] if it holds one; otherwise see [`StoreError`].
pub async fn ensure_no_log(database: &Database) -> Result<(), StoreError> {
    refuse_existing_log(&mut database.reader().await?).await
}

async fn refuse_existing_log(conn: &mut Conn) -> Result<(), StoreError> {
    match conn.fetch_one("SELECT size FROM checkpoints LIMIT 1", vec![]).await? {
        Some(_) => {
            Err(StoreError::Inconsistent("the database already holds a log: init needs an empty database"))
        }
        None => Ok(()),
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
    if keys.replacement_indexes().last().is_some_and(|kept| tree.head().size <= kept) {
        return Err(StoreError::Inconsistent("a rollback was half accepted: run accept-rollback again"));
    }
    check_recent_entries(database, tree.head().size).await?;
    if head.size > anchored.size() {
        opened.write(&newest).and_then(|()| opened.sync()).map_err(|error| StoreError::Anchor {
            path: anchor.to_owned(),
            cause: format!("the anchor file cannot be written: {error}"),
        })?;
    }
    Ok((tree, opened))
}

/// Opens the anchor, and returns it with its newest note.
pub(super) fn open_anchor(path: &Path) -> Result<(Anchor, String), StoreError> {
    Anchor::open(path).map_err(|error| {
        let cause = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "the anchor file is missing: restore its newest copy, or copy that of another node".to_owned()
            }
            std::io::ErrorKind::WouldBlock => "another process has the anchor open: stop it first".to_owned(),
            _ => format!("the anchor file cannot be read: {error}"),
        };
        StoreError::Anchor { path: path.to_owned(), cause }
    })
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
