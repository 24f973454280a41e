//! Makes a backup: a base, or what was added since the newest segment.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::BackupError;
use super::files::{FileDigest, make_folder, sha256, sync, sync_folder, write_atomically};
use super::folder::{Chain, Folder, Part, begun_at};
use super::key_part::{KeyFiles, KeyPart};
use super::manifest::Manifest;
use crate::clock::Instant;
use crate::config::Config;
use crate::gateway::{self, StartError};
use crate::seal::create_private_if_missing;
use crate::store::sql::segment::{RowCounts, read_segment, write_segment};
use crate::store::{Database, StoreError, Table, log_startup, sql};
use crate::tlog::{Checkpoint, CompactRange, Signer, TILE_WIDTH, leaf_hash};

/// How long the keys of a set are kept. A key that is destroyed is in no backup after that.
pub const KEY_LIFE: Duration = Duration::from_hours(35 * 24);

/// What is backed up, and where.
pub struct BackupOptions<'a> {
    /// The configuration of the node.
    pub config: &'a Config,
    /// The folder of the backup.
    pub out: &'a Path,
    /// File with the recipients of the keys, for age.
    pub recipients: &'a Path,
    /// Age of the newest base from which on another is made. Zero makes one.
    pub base_interval: Duration,
    /// How long sets are kept. The newest one is kept for ever.
    pub keep: Duration,
    /// Now.
    pub now: Instant,
}

/// The database that is backed up, up to what the anchor holds: what is behind it may be lost when the machine stops, and
/// then other entries get its indexes.
struct Source<'a> {
    options: &'a BackupOptions<'a>,
    path: &'a Path,
    database: Database,
    tables: Vec<&'static Table>,
    signer: Signer,
    schema: i64,
    note: String,
    checkpoint: Checkpoint,
}

/// Makes a backup of a node that may serve meanwhile, and returns the manifests of the segments that it wrote. It is
/// complete and verified when this returns. Then sets are removed whose time is over.
///
/// # Errors
/// [`BackupError`]. What was complete before still is.
pub async fn take(options: &BackupOptions<'_>) -> Result<Vec<Manifest>, BackupError> {
    let config = options.config;
    let path = config.database.sqlite.as_deref().ok_or(BackupError::NotSqlite)?;
    let folder = Folder::new(options.out);
    let lock = folder.lock()?;
    let signer = gateway::signer(config)?;
    // A ring or a key that cannot be used is found today, not when it is restored.
    gateway::key_ring(config)?;
    gateway::commitment_key(config)?;
    // Read before the database, which is never behind the anchor.
    let note = log_startup::read_anchor(&config.log.anchor)?;
    let opened = signer.key_history().open(&note);
    let checkpoint = opened.map_err(|error| StoreError::Inconsistent(error.message()))?;
    let database = gateway::open_database(config).await?;
    let taken = async {
        let schema = check_schema(&database).await?;
        let tables = gateway::tables();
        let database = database.clone();
        let source = Source { options, path, database, tables, signer, schema, note, checkpoint };
        source.take(&folder).await
    };
    let taken = taken.await;
    database.close_unchanged().await;
    let taken = taken?;
    if let Some(stamp) = &config.management.backup_stamp {
        if let Some(above) = stamp.parent() {
            make_folder(above)?;
        }
        write_atomically(stamp, b"")?;
    }
    drop(lock);
    Ok(taken)
}

/// Returns the version of the database's schema, which must be this release's: it has no other columns.
async fn check_schema(database: &Database) -> Result<i64, BackupError> {
    if let Some(mismatch) = database.schema_mismatch().await? {
        return Err(StartError::from(mismatch).into());
    }
    let (stored, own) = (database.schema_version().await?, sql::sqlite_schema_version());
    if stored == own {
        return Ok(own);
    }
    Err(BackupError::Refused(format!(
        "the database's schema is version {stored}, and this release backs up version {own}: use the release that \
         migrated it"
    )))
}

impl Source<'_> {
    async fn take(&self, folder: &Folder) -> Result<Vec<Manifest>, BackupError> {
        let mut taken = Vec::new();
        let chain = self.newest_chain(folder)?;
        let tree = match chain.as_ref().and_then(Chain::last) {
            Some(last) => self.tree_of(last).await?,
            None => None,
        };
        if let (Some(chain), Some(tree)) = (&chain, &tree)
            && self.has_news(chain)?
        {
            taken.push(self.add_segment(folder, chain, tree.clone()).await?);
        }
        let base_is_due = chain.as_ref().and_then(|chain| chain.manifests.first()).is_none_or(|base| {
            base.made_at().is_none_or(|made| self.options.now.since(made) >= self.options.base_interval)
        });
        if tree.is_none() || base_is_due {
            taken.push(self.add_base(folder).await?);
        }
        let newest = taken.last().or(chain.as_ref().and_then(Chain::last)).map(|newest| newest.set.clone());
        newest.map_or(Ok(()), |newest| self.remove_old(folder, &newest))?;
        Ok(taken)
    }

    /// Returns the newest set with a complete base.
    fn newest_chain(&self, folder: &Folder) -> Result<Option<Chain>, BackupError> {
        for set in folder.sets(Part::Data)?.iter().rev() {
            let chain = folder.read_chain(Part::Data, set, self.signer.key_history())?;
            if chain.is_some() {
                return Ok(chain);
            }
        }
        Ok(None)
    }

    /// Returns the tree at the end of a segment; `None` if the log does not continue it, as after an accepted rollback.
    async fn tree_of(&self, last: &Manifest) -> Result<Option<CompactRange>, BackupError> {
        // The checkpoint of a lost part of the log does not open.
        let Ok(checkpoint) = self.signer.key_history().open(&last.checkpoint) else { return Ok(None) };
        if checkpoint.size() > self.checkpoint.size() || last.schema != self.schema {
            return Ok(None);
        }
        Ok(log_startup::tree_at(&self.database, &checkpoint).await?)
    }

    /// Returns whether the log has grown, or a file with keys was changed, since the newest segment.
    fn has_news(&self, chain: &Chain) -> Result<bool, BackupError> {
        let Some(last) = chain.last() else { return Ok(true) };
        let keys = KeyFiles::read(self.options.config)?;
        Ok(self.checkpoint.size() > last.to || keys.digest() != last.key_files)
    }

    async fn add_segment(
        &self,
        folder: &Folder,
        chain: &Chain,
        tree: CompactRange,
    ) -> Result<Manifest, BackupError> {
        let last = chain.last().ok_or_else(|| BackupError::Refused("a set has no base".to_owned()))?;
        let place = Place {
            set: last.set.clone(),
            number: last.number.saturating_add(1),
            previous: sha256(&chain.last_text),
            from: last.to,
            wrapped_keys: last.wrapped_keys,
        };
        self.write(folder, place, tree).await
    }

    async fn add_base(&self, folder: &Folder) -> Result<Manifest, BackupError> {
        let set = Folder::name_at(self.options.now);
        if folder.read_chain(Part::Data, &set, self.signer.key_history())?.is_some() {
            let path = folder.set(Part::Data, &set);
            return Err(BackupError::refused(&path, "a base was made in this second: try again"));
        }
        let place = Place { set, number: 0, previous: String::new(), from: 0, wrapped_keys: 0 };
        self.write(folder, place, CompactRange::default()).await
    }

    /// Writes a segment and its keys, verifies what was written, and completes it.
    async fn write(
        &self,
        folder: &Folder,
        place: Place,
        tree: CompactRange,
    ) -> Result<Manifest, BackupError> {
        let to = self.checkpoint.size();
        let range = (place.from, to);
        let [data, keys] = folder.begin_segment(&place.set, place.number)?;
        let rows = self.write_data(&data, range, tree).await?;
        let time = log_startup::checkpoint_time(&self.database, to).await?;
        let time = time.ok_or(StoreError::Inconsistent("the database lacks the checkpoint of the anchor"))?;
        let files = KeyFiles::read(self.options.config)?;
        let key_files = files.digest();
        let part = KeyPart::read(files, &self.database, &self.tables, range, place.wrapped_keys).await?;
        let recipients = self.options.recipients.to_owned();
        let wrapped_keys = part.wrapped_keys;
        let encrypted = blocking(move || part.encrypt(&recipients)).await?;
        write_atomically(&keys, &encrypted)?;
        let manifest = Manifest {
            format: Manifest::FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            schema: self.schema,
            set: place.set,
            number: place.number,
            previous: place.previous,
            from: place.from,
            to,
            time: time.to_string(),
            made: self.options.now.to_string(),
            checkpoint: self.note.clone(),
            rows,
            data: FileDigest::compute(&data)?,
            keys: FileDigest::compute(&keys)?,
            key_files,
            wrapped_keys,
        };
        folder.complete(&manifest, &self.signer)?;
        Ok(manifest)
    }

    /// Writes a segment, makes it durable, and verifies it: SQLite finds no damage, and its entries continue `tree` to the
    /// tree that was signed.
    async fn write_data(
        &self,
        data: &Path,
        range: (u64, u64),
        mut tree: CompactRange,
    ) -> Result<RowCounts, BackupError> {
        let (from, to) = (self.path.to_owned(), data.to_owned());
        let tables = self.tables.clone();
        // SQLite would create the file readable to others.
        let created = create_private_if_missing(data);
        created.map_err(|source| StartError::File { key: "--out", path: data.to_owned(), source })?;
        let read = blocking(move || {
            write_segment(&from, &to, &tables, range)?;
            sync(&to)?;
            let rows = read_segment(&to, &tables, |entry| {
                tree.append(leaf_hash(entry));
                if tree.size().is_multiple_of(TILE_WIDTH) {
                    // They are stored already; taking them frees their memory.
                    tree.take_full_tiles();
                }
            })?;
            Ok((rows, tree.size(), tree.root()))
        });
        let (rows, size, root) = read.await?;
        if (size, &root) != (self.checkpoint.size(), self.checkpoint.root()) {
            let what = "its entries are not those that the log signed: the database was changed, or its disk is at fault";
            return Err(BackupError::refused(data, what));
        }
        sync_folder(data)?;
        Ok(rows)
    }

    /// Removes sets whose time is over, and what unfinished backups left. The newest set stays, with its keys.
    fn remove_old(&self, folder: &Folder, newest: &str) -> Result<(), BackupError> {
        let is_over =
            |set: &str, life| begun_at(set).is_none_or(|begun| self.options.now.since(begun) >= life);
        let mut kept = BTreeSet::new();
        for set in folder.sets(Part::Data)? {
            if set == newest || (!is_over(&set, self.options.keep) && folder.has_base(Part::Data, &set)) {
                kept.insert(set);
            } else {
                folder.remove(Part::Data, &set)?;
            }
        }
        for set in folder.sets(Part::Keys)? {
            if set != newest && (is_over(&set, KEY_LIFE) || !kept.contains(&set)) {
                folder.remove(Part::Keys, &set)?;
            }
        }
        Ok(())
    }
}

/// Where a segment stands in its set.
struct Place {
    set: String,
    number: u32,
    previous: String,
    from: u64,
    wrapped_keys: u64,
}

/// Runs work that blocks on a disk or a command on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| BackupError::Refused("a task of the backup panicked".to_owned()))?
}
