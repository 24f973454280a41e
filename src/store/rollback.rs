//! Accepting a rollback: a database that holds less than its anchor knows goes on as a new log, over the entries
//! that it kept. The first entry of the new log commits to what was lost.
//!
//! The order is signing key → database → anchor, and until all three are done `serve` refuses: before, for the
//! database is behind; then, for the anchor is of a log that was replaced. Done again, it goes on where it broke off.

use std::collections::HashMap;
use std::path::Path;

use tokio::sync::oneshot;

use super::anchor::Anchor;
use super::log::{Tip, verified};
use super::opened::{anchored_at, check_recent};
use super::proposal::Proposal;
use super::queue::Pending;
use super::sql::{Conn, Database, StoreError};
use super::write;
use crate::clock::Instant;
use crate::tlog::{Checkpoint, Lineage, LineageError, Signer};

const NOTHING: StoreError =
    StoreError::Inconsistent("the database holds all that the anchor knows: there is nothing to accept");
const NAME: StoreError = StoreError::Inconsistent("the new log needs a name that no log of this gateway had");

/// A database that is behind its anchor, under the lock, with the anchor.
pub struct Rollback {
    conn: Conn,
    anchor: Anchor,
    tip: Tip,
    /// The new log's key is in its place already.
    pub begun: bool,
    /// The newest note that the database holds.
    pub stored: String,
    /// The note that the anchor holds, beyond it.
    pub anchored: String,
    /// For whom the log was made: the organisation of its first entry.
    pub operator: String,
}

impl Rollback {
    /// Looks whether there is a rollback to accept, as a log of this name. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] when the database is not behind the anchor, or does not fit in itself; or as
    /// [`StoreError`] says.
    pub async fn open(
        database: &Database,
        anchor: &Path,
        keys: &Lineage,
        name: &str,
    ) -> Result<Self, StoreError> {
        let (anchor, anchored) = anchored_at(anchor)?;
        let mut conn = database.writer().await?;
        conn.begin_write().await?;
        let tip = Tip::read(&mut conn, keys).await?;
        let size = tip.head().size;
        check_recent(database, size).await?;
        let begun = is_begun(keys, name, &anchored, size)?;
        let sql = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1";
        let stored = conn.fetch_one(sql, vec![]).await?;
        let first = conn.fetch_one("SELECT caller FROM entries WHERE idx = 0", vec![]).await?;
        let (Some(stored), Some(first)) = (stored, first) else {
            return Err(StoreError::Inconsistent("the database holds no entry to go on from"));
        };
        let (stored, operator) = (stored.text(0)?.to_owned(), first.text(0)?.to_owned());
        Ok(Self { conn, anchor, tip, begun, stored, anchored, operator })
    }

    /// Entries that the database holds.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tip.head().size
    }

    /// Begins the new log with this entry, unless that is done; then anchors it. How many entries were kept and
    /// lost.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn accept(
        self,
        signer: &Signer,
        first: Proposal,
        now: Instant,
    ) -> Result<(u64, u64), StoreError> {
        let Self { mut conn, mut anchor, tip, stored, anchored, .. } = self;
        let keys = signer.lineage();
        let newest = verified(&stored, keys)?;
        let (kept, note) = if newest.origin() == signer.verifier().name() {
            conn.abandon().await;
            (newest.size() - 1, stored)
        } else {
            // By the database's clock where it has one: a node whose own is off appends nothing.
            let now = conn.clock().await?.unwrap_or(now);
            let members = [Pending { proposal: first, answer: oneshot::channel().0 }];
            let written = write::group(&mut conn, tip, &members, &HashMap::new(), signer, now).await?;
            conn.commit().await?;
            (newest.size(), written.note)
        };
        let (last, _) = keys.read(&anchored).map_err(|error| StoreError::Inconsistent(error.what()))?;
        // Into both slots: neither may tell of the old log any more.
        for _slot in 0..2 {
            anchor.write(&note).and_then(|()| anchor.sync()).map_err(|error| {
                tracing::error!(error = %error, "the anchor could not be written");
                StoreError::Inconsistent("the anchor cannot be written; do the same again once it can be")
            })?;
        }
        Ok((kept, last.size() - kept))
    }
}

/// Whether the log of this name was begun by an attempt that broke off.
fn is_begun(keys: &Lineage, name: &str, anchored: &str, size: u64) -> Result<bool, StoreError> {
    let is_present = |last: &Checkpoint| last.origin() == keys.present().name();
    match keys.open(anchored) {
        Ok(last) if last.size() <= size => Err(NOTHING),
        Ok(_) if keys.knows(name) => Err(NAME),
        Ok(last) if is_present(&last) => Ok(false),
        Err(LineageError::Replaced) if keys.present().name() != name => {
            Err(StoreError::Inconsistent("a new log was begun under another name: finish that one"))
        }
        Err(LineageError::Replaced) => match keys.boundaries().last() {
            Some(kept) if (kept..=kept + 1).contains(&size) => Ok(true),
            _ => Err(StoreError::Inconsistent("the database is not the one that the new log was begun on")),
        },
        Ok(_) => Err(StoreError::Inconsistent(LineageError::Other.what())),
        Err(error) => Err(StoreError::Inconsistent(error.what())),
    }
}
