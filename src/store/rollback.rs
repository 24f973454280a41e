//! Accepts a rollback: a database that is behind its anchor continues as a new log over the entries that it kept.
//! The first entry of the new log commits to the loss.
//!
//! The order is signing key → database → anchor. Until all three are written, `serve` refuses to start: at first
//! because the database is behind the anchor, then because the anchor is of a replaced log. Running the command again
//! continues where it stopped.

use std::collections::HashMap;
use std::path::Path;

use tokio::sync::oneshot;

use super::anchor::Anchor;
use super::group_writer;
use super::log::{LogTree, verify_checkpoint};
use super::log_startup::{check_recent_entries, open_anchor};
use super::proposal::Proposal;
use super::queue::PendingProposal;
use super::sql::{Conn, Database, StoreError};
use super::stage_timer::StageTimer;
use crate::clock::Instant;
use crate::tlog::{Checkpoint, LogKeyHistory, LogKeyHistoryError, Signer};

const NOTHING_TO_ACCEPT: StoreError =
    StoreError::Inconsistent("the database is not behind the anchor: there is nothing to accept");
const NAME_IN_USE: StoreError =
    StoreError::Inconsistent("the new log needs a name that no log of this gateway had");

/// A rollback to accept: a database that is behind its anchor. Holds the database's lock and the open anchor.
pub struct Rollback {
    conn: Conn,
    anchor: Anchor,
    tree: LogTree,
    /// Whether an earlier attempt has already stored the new log's key.
    pub is_begun: bool,
    /// The newest note in the database.
    pub stored_note: String,
    /// The note in the anchor, which is newer.
    pub anchored_note: String,
    /// The operator's organisation: that of the log's first entry.
    pub operator: String,
}

impl Rollback {
    /// Checks that there is a rollback to accept, and that the new log may have this name. Writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] if the database is not behind the anchor, or is damaged; otherwise see
    /// [`StoreError`].
    pub async fn prepare(
        database: &Database,
        anchor: &Path,
        keys: &LogKeyHistory,
        name: &str,
    ) -> Result<Self, StoreError> {
        let (anchor, anchored) = open_anchor(anchor)?;
        let mut conn = database.writer().await?;
        conn.begin_write().await?;
        let tree = LogTree::load(&mut conn, keys).await?;
        let size = tree.head().size;
        check_recent_entries(database, size).await?;
        let begun = is_begun(keys, name, &anchored, size)?;
        let sql = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1";
        let stored = conn.fetch_one(sql, vec![]).await?;
        let first = conn.fetch_one("SELECT caller FROM entries WHERE idx = 0", vec![]).await?;
        let (Some(stored), Some(first)) = (stored, first) else {
            return Err(StoreError::Inconsistent("the database holds no entry to go on from"));
        };
        let (stored, operator) = (stored.get("note")?, first.get("caller")?);
        Ok(Self {
            conn,
            anchor,
            tree,
            is_begun: begun,
            stored_note: stored,
            anchored_note: anchored,
            operator,
        })
    }

    /// Returns the number of entries in the database.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.head().size
    }

    /// Begins the new log with the entry `first`, unless an earlier attempt did; then writes the anchor. Returns how
    /// many entries were kept and how many were lost.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn accept(
        self,
        signer: &Signer,
        first: Proposal,
        now: Instant,
    ) -> Result<(u64, u64), StoreError> {
        let Self { mut conn, mut anchor, tree, stored_note: stored, anchored_note: anchored, .. } = self;
        let keys = signer.key_history();
        let newest = verify_checkpoint(&stored, keys)?;
        let (kept, note) = if newest.origin() == signer.verifier().name() {
            conn.rollback().await;
            (newest.size() - 1, stored)
        } else {
            // PostgreSQL's clock is used, because this machine's may be off.
            let now = conn.clock().await?.unwrap_or(now);
            let members = [PendingProposal {
                proposal: first,
                reply_to: oneshot::channel().0,
                stages: StageTimer::start(),
            }];
            let written =
                group_writer::write_group(&mut conn, tree, &members, &HashMap::new(), signer, now).await?;
            conn.commit().await?;
            (newest.size(), written.note)
        };
        let (last, _) =
            keys.open_even_if_lost(&anchored).map_err(|error| StoreError::Inconsistent(error.message()))?;
        // Both slots are written, so that none has a checkpoint of the old log any more.
        for _slot in 0..2 {
            anchor.write(&note).and_then(|()| anchor.sync()).map_err(|error| {
                tracing::error!(error = %error, "the anchor could not be written");
                StoreError::Inconsistent("the anchor cannot be written; run the command again once it can be")
            })?;
        }
        Ok((kept, last.size() - kept))
    }
}

/// Returns whether an earlier, unfinished attempt has begun the log of this name.
fn is_begun(keys: &LogKeyHistory, name: &str, anchored: &str, size: u64) -> Result<bool, StoreError> {
    let is_present = |last: &Checkpoint| last.origin() == keys.present().name();
    match keys.open(anchored) {
        Ok(last) if last.size() <= size => Err(NOTHING_TO_ACCEPT),
        Ok(_) if keys.contains_name(name) => Err(NAME_IN_USE),
        Ok(last) if is_present(&last) => Ok(false),
        Err(LogKeyHistoryError::Replaced) if keys.present().name() != name => Err(StoreError::Inconsistent(
            "a new log was begun under another name: run the command with that name",
        )),
        Err(LogKeyHistoryError::Replaced) => match keys.replacement_indexes().last() {
            Some(kept) if (kept..=kept + 1).contains(&size) => Ok(true),
            _ => Err(StoreError::Inconsistent("the database is not the one that the new log was begun on")),
        },
        Ok(_) => Err(StoreError::Inconsistent(LogKeyHistoryError::WrongLog.message())),
        Err(error) => Err(StoreError::Inconsistent(error.message())),
    }
}
