//! Restores a backup into empty places: checks everything first, builds and verifies beside the places, then gives the
//! files their names, the database last.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{remove_if_there, sync, sync_folder, with_suffix};
use super::folder::{Chain, Folder, Part};
use super::key_part::KeyPart;
use super::manifest::Manifest;
use super::take::blocking;
use super::{BackupError, Loss};
use crate::audit::verify::{VerifyOptions, verify_database};
use crate::config::Config;
use crate::gateway::{self, StartError};
use crate::seal::{create_from_text, create_private_if_missing, ensure_folder_is_writable};
use crate::store::sql::segment::load_segments;
use crate::store::{Anchor, Database, DatabaseLocation, StoreError, Table, log_startup, remake, sql};
use crate::tlog::{Checkpoint, LogKeyHistory, Signer};

/// What the names of files end with until everything is verified.
const UNFINISHED: &str = ".restoring";

/// What is restored, and where.
pub struct RestoreOptions<'a> {
    /// The configuration of the node that is restored: it names the places.
    pub config: &'a Config,
    /// The folder of the backup.
    pub from: &'a Path,
    /// Name of a set, in place of the newest.
    pub set: Option<&'a str>,
    /// Identity that opens the keys, for age.
    pub identity: &'a Path,
    /// A file with the newest known checkpoint, if there is no anchor at its place.
    pub checkpoint: Option<&'a Path>,
    /// Whether nothing was appended after the backup, so that its own checkpoint is the newest.
    pub is_complete: bool,
    /// The database of the lost machine, if it can be read.
    pub lost_database: Option<&'a Path>,
}

/// A backup that was checked, and can be restored.
pub struct Preparation {
    config: Config,
    database: PathBuf,
    segments: Vec<PathBuf>,
    keys: KeyPart,
    signer: Signer,
    tables: Vec<&'static Table>,
    last: Manifest,
    /// The checkpoint of the backup.
    checkpoint: Checkpoint,
    /// The newest known checkpoint with its note.
    newest: (Checkpoint, String),
    has_anchor: bool,
    /// What would be lost.
    pub loss: Option<Loss>,
}

/// Checks that the places are empty, every file of the backup by its digest and signature, and what would be lost. Writes
/// nothing.
///
/// # Errors
/// [`BackupError::Refused`] if anything does not fit; otherwise see [`BackupError`].
pub async fn prepare(options: &RestoreOptions<'_>) -> Result<Preparation, BackupError> {
    let config = options.config.clone();
    let database = config.database.sqlite.clone().ok_or(BackupError::NotSqlite)?;
    ensure_places_are_empty(&config, &database)?;
    let folder = Folder::new(options.from);
    let (from, identity) = (options.from.to_owned(), options.identity.to_owned());
    let (keys, signer) = blocking(move || read_keys(&from, &identity)).await?;
    let history = signer.key_history();
    let set = match options.set {
        Some(set) => Some(set.to_owned()),
        None => folder.sets(Part::Data)?.into_iter().rfind(|set| folder.has_base(Part::Data, set)),
    };
    let chain = set.map(|set| folder.read_chain(Part::Data, &set, history)).transpose()?.flatten();
    let chain = chain.ok_or_else(|| BackupError::refused(options.from, "it holds no complete backup"))?;
    let Some(last) = chain.last().cloned() else {
        return Err(BackupError::refused(options.from, "it holds no complete backup"));
    };
    if last.schema != sql::sqlite_schema_version() {
        let what = format!("release {} made it: restore it with that release, then migrate", last.release);
        return Err(BackupError::refused(&chain.folder, what));
    }
    let segments = blocking(move || check_files(&chain)).await?;
    let checkpoint = open(history, &last.checkpoint)?;
    if checkpoint.size() != last.to {
        return Err(BackupError::Refused("the backup does not end at its checkpoint".to_owned()));
    }
    let (newest, has_anchor) = find_newest_checkpoint(options, history, &last)?;
    let loss = Loss::find((last.to, &last.time), newest.0.size(), options.lost_database)?;
    let tables = gateway::tables();
    Ok(Preparation {
        config,
        database,
        segments,
        keys,
        signer,
        tables,
        last,
        checkpoint,
        newest,
        has_anchor,
        loss,
    })
}

/// Checks that nothing would be overwritten. An anchor may be there: it says what was lost.
fn ensure_places_are_empty(config: &Config, database: &Path) -> Result<(), BackupError> {
    let log = &config.log;
    let side_files = ["", "-wal", "-shm", "-journal"].map(|suffix| with_suffix(database, suffix));
    let keys = [&log.key_ring, &log.commitment_key, &log.signing_key];
    let taken: Vec<_> =
        side_files.iter().chain(keys).filter(|path| path.symlink_metadata().is_ok()).collect();
    if taken.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = taken.iter().map(|path| path.display().to_string()).collect();
    Err(BackupError::Refused(format!(
        "{}: already there; a backup is restored into empty places only: move away what is there, if no gateway uses it",
        names.join(", ")
    )))
}

/// Reads the newest keys of a backup, and checks that they are what the log's key signed.
fn read_keys(from: &Path, identity: &Path) -> Result<(KeyPart, Signer), BackupError> {
    let folder = Folder::new(from);
    let Some(set) = folder.sets(Part::Keys)?.into_iter().rfind(|set| folder.has_base(Part::Keys, set)) else {
        return Err(BackupError::refused(from, "it holds no keys"));
    };
    let path = folder.set(Part::Keys, &set);
    let newest = newest_key_file(&path)?;
    let newest = newest.ok_or_else(|| BackupError::refused(&path, "it holds no keys"))?;
    let signer = KeyPart::decrypt(identity, &newest)?.files.signer()?;
    let chain = folder.read_chain(Part::Keys, &set, signer.key_history())?;
    let chain = chain.ok_or_else(|| BackupError::refused(&path, "it holds no complete keys"))?;
    let mut keys: Option<KeyPart> = None;
    for manifest in &chain.manifests {
        let part = KeyPart::decrypt(identity, &manifest.keys.check(&chain.folder)?)?;
        match &mut keys {
            Some(keys) => keys.follow(part),
            None => keys = Some(part),
        }
    }
    let keys = keys.ok_or_else(|| BackupError::refused(&path, "it holds no complete keys"))?;
    Ok((keys, signer))
}

/// Returns the last encrypted file of a set that has a manifest.
fn newest_key_file(folder: &Path) -> Result<Option<PathBuf>, BackupError> {
    let unreadable = || BackupError::file(folder, "read");
    let mut newest = None;
    for entry in fs::read_dir(folder).map_err(unreadable())? {
        let path = entry.map_err(unreadable())?.path();
        let is_complete =
            path.extension().is_some_and(|found| found == "age") && path.with_extension("manifest").exists();
        if is_complete {
            newest = newest.max(Some(path));
        }
    }
    Ok(newest)
}

/// Checks the digest of each segment, and returns their paths.
fn check_files(chain: &Chain) -> Result<Vec<PathBuf>, BackupError> {
    chain.manifests.iter().map(|manifest| manifest.data.check(&chain.folder)).collect()
}

fn open(history: &LogKeyHistory, note: &str) -> Result<Checkpoint, BackupError> {
    Ok(history.open(note).map_err(|error| StoreError::Inconsistent(error.message()))?)
}

/// Returns the newest known checkpoint with its note: that of the anchor, or of a file, or of the backup if nothing was
/// appended after it; and whether there is an anchor. One that is older than the backup says nothing of what came after it.
fn find_newest_checkpoint(
    options: &RestoreOptions<'_>,
    history: &LogKeyHistory,
    last: &Manifest,
) -> Result<((Checkpoint, String), bool), BackupError> {
    let read = |note: String| Ok::<_, BackupError>((open(history, &note)?, note));
    let anchor = &options.config.log.anchor;
    let has_anchor = anchor.symlink_metadata().is_ok();
    let anchored = has_anchor.then(|| read(log_startup::read_anchor(anchor)?)).transpose()?;
    let named = options
        .checkpoint
        .map(|path| read(fs::read_to_string(path).map_err(BackupError::file(path, "read"))?));
    let named = named.transpose()?;
    if let (Some((anchored, _)), Some((named, _))) = (&anchored, &named)
        && named.size() > anchored.size()
    {
        let what = format!(
            "it is of {} entries and the named checkpoint of {}: move the anchor away, and it is made from the checkpoint",
            anchored.size(),
            named.size()
        );
        return Err(BackupError::refused(anchor, what));
    }
    let known = anchored.into_iter().chain(named).max_by_key(|(checkpoint, _)| checkpoint.size());
    if let Some(known) = known.filter(|(checkpoint, _)| checkpoint.size() >= last.to) {
        return Ok((known, has_anchor));
    }
    if options.is_complete {
        return Ok((read(last.checkpoint.clone())?, has_anchor));
    }
    let what = "no anchor or checkpoint is as new as the backup, so it is not known what was appended after it: put the \
                anchor's newest copy in place, or name the newest checkpoint that anyone has (--checkpoint; `audit head` \
                prints one, and every client keeps them); only if the gateway was stopped before its last backup, say \
                --complete";
    Err(BackupError::Refused(what.to_owned()))
}

impl Preparation {
    /// Returns the number of entries of the backup, and the time of the last one.
    #[must_use]
    pub fn end(&self) -> (u64, &str) {
        (self.last.to, &self.last.time)
    }

    /// Restores the backup. Files have their names only once the database verifies against its log.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if it does not verify; otherwise see [`BackupError`]. Nothing is left then.
    pub async fn restore(self) -> Result<(), BackupError> {
        let staged = self.staged();
        self.remove_staged(&staged)?;
        let built = self.build(&staged).await;
        if built.is_err() {
            // The error of the restoration says more than one of this.
            self.remove_staged(&staged).ok();
        }
        built?;
        self.put_in_place(&staged)
    }

    /// Returns the configuration with the names that files have until they are in place.
    fn staged(&self) -> Config {
        let mut staged = self.config.clone();
        staged.database.sqlite = Some(with_suffix(&self.database, UNFINISHED));
        let log = &mut staged.log;
        for path in [&mut log.key_ring, &mut log.commitment_key, &mut log.signing_key] {
            *path = with_suffix(path, UNFINISHED);
        }
        staged
    }

    fn staged_database(&self) -> PathBuf {
        with_suffix(&self.database, UNFINISHED)
    }

    fn remove_staged(&self, staged: &Config) -> Result<(), BackupError> {
        let database = self.staged_database();
        for suffix in ["", "-wal", "-shm", "-journal"] {
            remove_if_there(&with_suffix(&database, suffix))?;
        }
        for path in [&staged.log.key_ring, &staged.log.commitment_key, &staged.log.signing_key] {
            remove_if_there(path)?;
        }
        Ok(())
    }

    /// Writes keys and database under their staged names, and verifies them.
    async fn build(&self, staged: &Config) -> Result<(), BackupError> {
        let (log, database) = (&staged.log, self.staged_database());
        for (key, path, text) in [
            ("log.key_ring", &log.key_ring, &self.keys.files.key_ring),
            ("log.commitment_key", &log.commitment_key, &self.keys.files.commitment_key),
            ("log.signing_key", &log.signing_key, &self.keys.files.signing_key),
        ] {
            let created = ensure_folder_is_writable(path).and_then(|()| create_from_text(path, text));
            created.map_err(|source| StartError::File { key, path: path.clone(), source })?;
        }
        let created =
            ensure_folder_is_writable(&database).and_then(|()| create_private_if_missing(&database));
        created.map_err(|source| StartError::File {
            key: "database.sqlite",
            path: database.clone(),
            source,
        })?;
        let location = DatabaseLocation::Sqlite(database.clone());
        let opened = Database::create(&location).await?;
        let migrated = opened.migrate().await;
        opened.close().await;
        migrated?;
        let (segments, tables) = (self.segments.clone(), self.tables.clone());
        blocking(move || Ok(load_segments(&database, &segments, &tables)?)).await?;
        let opened = Database::open(&location).await?;
        let filled = self.fill(&opened).await;
        opened.close().await;
        filled?;
        self.verify(staged, location).await
    }

    /// Inserts the wrapped keys, and makes the derived tables again.
    async fn fill(&self, database: &Database) -> Result<(), BackupError> {
        let mut conn = database.writer().await?;
        conn.begin_write().await?;
        conn.insert(self.keys.rows(&self.tables, self.last.to)?).await?;
        conn.commit().await?;
        drop(conn);
        let tree = remake::remake_derived(database, &self.tables).await?;
        let is_signed = tree.size() == self.checkpoint.size() && tree.root() == *self.checkpoint.root();
        if !is_signed {
            return Err(BackupError::Refused("its entries are not those that the log signed".to_owned()));
        }
        let (newest, _) = &self.newest;
        if newest.size() <= self.last.to && log_startup::tree_at(database, newest).await?.is_none() {
            return Err(BackupError::Refused("the backup's log is not the one of the checkpoint".to_owned()));
        }
        Ok(())
    }

    /// Verifies the whole database against its log, with every key.
    async fn verify(&self, staged: &Config, database: DatabaseLocation) -> Result<(), BackupError> {
        let options = VerifyOptions {
            database,
            log_key: self.signer.key_history().clone(),
            anchor: None,
            key_ring: Some(staged.log.key_ring.clone()),
            commitment_key: Some(staged.log.commitment_key.clone()),
        };
        let report = verify_database(&options, &self.tables).await?;
        if report.is_intact() {
            return Ok(());
        }
        let findings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        Err(BackupError::Refused(format!("the backup does not verify: {}", findings.join("; "))))
    }

    /// Gives the files their names, the database last: without it nothing is served, and the restoration can be begun
    /// again once the keys are moved away.
    fn put_in_place(&self, staged: &Config) -> Result<(), BackupError> {
        let (log, ready) = (&self.config.log, &staged.log);
        let database = self.staged_database();
        let wal = with_suffix(&database, "-wal");
        if wal.metadata().is_ok_and(|wal| wal.len() > 0) {
            return Err(BackupError::refused(
                &wal,
                "the restored database was not closed; run restore again",
            ));
        }
        sync(&database)?;
        if !self.has_anchor {
            let created = ensure_folder_is_writable(&log.anchor);
            created.map_err(|source| StartError::File {
                key: "log.anchor",
                path: log.anchor.clone(),
                source,
            })?;
            Anchor::create(&log.anchor, &self.newest.1).map_err(BackupError::file(&log.anchor, "made"))?;
        }
        for (from, to) in [
            (&ready.key_ring, &log.key_ring),
            (&ready.commitment_key, &log.commitment_key),
            (&ready.signing_key, &log.signing_key),
            (&database, &self.database),
        ] {
            fs::rename(from, to).map_err(BackupError::file(to, "put in place"))?;
            sync_folder(to)?;
        }
        Ok(())
    }
}
