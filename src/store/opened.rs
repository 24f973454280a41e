//! Opening a log to append to it: the checks without which a rolled-back or damaged one would be served.

use std::path::Path;

use super::anchor::Anchor;
use super::log::{Tip, newest_after, verified};
use super::sql::{Database, StoreError};
use super::tables::CHECKPOINTS;
use super::verification;
use crate::clock::Instant;
use crate::tlog::{Checkpoint, Edge, Lineage, Signer, TILE_WIDTH, Tile, TileId};

/// Entries whose leaves are compared with the tree before anything is served; [`verification`] reads the rest.
const RECENT: u64 = 10_000;

/// Makes an empty log: its first checkpoint, of no entries, in the database and in the anchor.
///
/// # Errors
/// [`StoreError::Inconsistent`] when there is one, or the anchor cannot be made; or as [`StoreError`] says.
pub async fn create(
    database: &Database,
    anchor: &Path,
    signer: &Signer,
    now: Instant,
) -> Result<(), StoreError> {
    let mut conn = database.writer().await?;
    conn.begin_write().await?;
    if conn.fetch_one("SELECT size FROM checkpoints LIMIT 1", vec![]).await?.is_some() {
        conn.abandon().await;
        return Err(StoreError::Inconsistent("the database already holds a log"));
    }
    let empty = Checkpoint::new(signer.verifier().name(), 0, Edge::default().root());
    let note = signer.sign(&empty.to_string());
    let row = vec![0_i64.into(), now.micros().into(), note.as_str().into()];
    conn.insert(vec![(&CHECKPOINTS, vec![row])]).await?;
    conn.commit().await?;
    Anchor::create(anchor, &note).map_err(|error| StoreError::Anchor {
        path: anchor.to_owned(),
        cause: format!("the anchor file cannot be made: {error}"),
    })
}

/// Opens the log: newest checkpoint, right edge, anchor, and the leaves of the last 10,000 entries.
///
/// # Errors
/// [`StoreError::Inconsistent`] when any of it does not fit, with what does not; or as [`StoreError`] says.
pub async fn open(database: &Database, anchor: &Path, keys: &Lineage) -> Result<(Tip, Anchor), StoreError> {
    let mut conn = database.writer().await?;
    let tip = Tip::read(&mut conn, keys).await?;
    let (anchor, note) = anchored_at(anchor)?;
    let anchored = verified(&note, keys)?;
    newest_after(&mut conn, anchored.size(), anchored.root(), keys).await?;
    drop(conn);
    if keys.boundaries().last().is_some_and(|kept| tip.head().size <= kept) {
        return Err(StoreError::Inconsistent("a rollback was half accepted: run accept-rollback again"));
    }
    check_recent(database, tip.head().size).await?;
    Ok((tip, anchor))
}

/// The anchor, and the newest note in it.
pub(super) fn anchored_at(path: &Path) -> Result<(Anchor, String), StoreError> {
    Anchor::open(path).map_err(|error| {
        let cause = match error.kind() {
            std::io::ErrorKind::NotFound => "the anchor file is missing".to_owned(),
            std::io::ErrorKind::WouldBlock => "another process has the anchor open".to_owned(),
            _ => format!("the anchor file cannot be read: {error}"),
        };
        StoreError::Anchor { path: path.to_owned(), cause }
    })
}

/// The leaves of the newest entries are those of the tree's tiles, without gaps. The last, growing tile was
/// compared with the signed root when the tip was read.
pub(super) async fn check_recent(database: &Database, size: u64) -> Result<(), StoreError> {
    let mut conn = database.reader().await?;
    let first = size.saturating_sub(RECENT) / TILE_WIDTH * TILE_WIDTH;
    for begin in (first..size).step_by(256) {
        let leaves = verification::leaves(&mut conn, begin, size).await?;
        let hashes = leaves.map_err(|finding| StoreError::Inconsistent(finding.what))?;
        let id = TileId { level: 0, number: begin / TILE_WIDTH };
        let full = hashes.len() as u64 == TILE_WIDTH;
        if full && let Some(finding) = verification::compare(&mut conn, &Tile { id, hashes }).await? {
            return Err(StoreError::Inconsistent(finding.what));
        }
    }
    Ok(())
}
