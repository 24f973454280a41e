//! The part of a backup with the keys: key ring, commitment key, signing key, and the wrapped keys of children. It exists
//! in memory and encrypted, never as a plain file.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::files::sha256;
use super::{BackupError, age};
use crate::config::Config;
use crate::gateway::StartError;
use crate::seal::{LogSigningKey, SecretFileError, read_secret_text};
use crate::store::sql::TableRows;
use crate::store::{Database, Table, TableClass, Value};
use crate::tlog::Signer;

/// The texts of the files with keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFiles {
    /// Text of the key ring's file.
    pub key_ring: String,
    /// Text of the commitment key's file.
    pub commitment_key: String,
    /// Text of the signing key's file.
    pub signing_key: String,
}

impl Drop for KeyFiles {
    fn drop(&mut self) {
        for secret in [&mut self.key_ring, &mut self.commitment_key, &mut self.signing_key] {
            secret.zeroize();
        }
    }
}

impl KeyFiles {
    /// Reads the files that a configuration names.
    ///
    /// # Errors
    /// [`BackupError::Start`] for one that cannot be read.
    pub fn read(config: &Config) -> Result<Self, BackupError> {
        let text = |key: &'static str, path: &Path| {
            read_secret_text(path).map(|text| text.as_str().to_owned()).map_err(file_error(key, path))
        };
        let log = &config.log;
        Ok(Self {
            key_ring: text("log.key_ring", &log.key_ring)?,
            commitment_key: text("log.commitment_key", &log.commitment_key)?,
            signing_key: text("log.signing_key", &log.signing_key)?,
        })
    }

    /// Returns the SHA-256 of the files in hexadecimal digits. Each holds a random secret of 32 bytes, so that it tells
    /// nothing of them.
    pub fn digest(&self) -> String {
        let Self { key_ring, commitment_key, signing_key } = self;
        let joined = Zeroizing::new([&**key_ring, commitment_key, signing_key].join("\0"));
        sha256(&joined)
    }

    /// Returns the signer of the log.
    ///
    /// # Errors
    /// [`BackupError::Start`] if the signing key is unusable.
    pub fn signer(&self) -> Result<Signer, BackupError> {
        let path = Path::new("backup");
        let key = LogSigningKey::parse(&self.signing_key).map_err(file_error("log.signing_key", path))?;
        let signer = Signer::from_seed(key.origin(), key.seed()).map_err(StartError::from)?;
        Ok(signer.with_replaced_logs(key.replaced_keys()).map_err(StartError::from)?)
    }
}

/// The keys of a gateway, as of a segment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyPart {
    /// Whether it has all wrapped keys. Otherwise it adds to the part before it.
    pub is_full: bool,
    /// Number of wrapped keys with those of the parts before it.
    pub wrapped_keys: u64,
    /// The files with keys.
    pub files: KeyFiles,
    /// Rows of the tables of wrapped keys, with the columns of this release.
    tables: BTreeMap<String, Vec<Vec<Cell>>>,
}

/// A value of a row.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cell {
    Int(Option<i64>),
    Text(Option<String>),
    Blob(Option<String>),
}

impl From<&Value> for Cell {
    fn from(value: &Value) -> Self {
        match value {
            Value::Int(value) => Self::Int(*value),
            Value::Text(value) => Self::Text(value.clone()),
            Value::Blob(value) => Self::Blob(value.as_ref().map(|bytes| STANDARD.encode(bytes))),
        }
    }
}

impl Cell {
    fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Int(value) => Value::Int(*value),
            Self::Text(value) => Value::Text(value.clone()),
            Self::Blob(None) => Value::Blob(None),
            Self::Blob(Some(text)) => Value::Blob(Some(STANDARD.decode(text).ok()?)),
        })
    }
}

/// Returns the tables of wrapped keys.
fn key_tables<'a>(tables: &'a [&'static Table]) -> impl Iterator<Item = &'static Table> + 'a {
    tables.iter().copied().filter(|table| table.class == TableClass::Wrapped)
}

impl KeyPart {
    /// Reads the wrapped keys that the entries from `from` up to `to` wrote, or all of them if there are not `known` of
    /// those before, because then keys were destroyed.
    ///
    /// # Errors
    /// [`BackupError::Store`].
    pub async fn read(
        files: KeyFiles,
        database: &Database,
        tables: &[&'static Table],
        (from, to): (u64, u64),
        known: u64,
    ) -> Result<Self, BackupError> {
        let mut part = Self { is_full: true, wrapped_keys: 0, files, tables: BTreeMap::new() };
        let [begin, end] = [from, to].map(|index| i64::try_from(index).unwrap_or(i64::MAX));
        let mut conn = database.reader().await?;
        for table in key_tables(tables) {
            part.wrapped_keys += conn.count(table, 0, begin).await?;
        }
        part.is_full = from == 0 || part.wrapped_keys != known;
        let first = if part.is_full { 0 } else { begin };
        part.wrapped_keys = if part.is_full { 0 } else { known };
        for table in key_tables(tables) {
            let rows = conn.scan(table, first, end).await?;
            part.wrapped_keys += rows.len() as u64;
            let cells = rows.iter().map(|row| row.values().iter().map(Cell::from).collect());
            part.tables.insert(table.name.to_owned(), cells.collect());
        }
        Ok(part)
    }

    /// Encrypts the part to the recipients of a file.
    ///
    /// # Errors
    /// [`BackupError::Age`].
    pub fn encrypt(&self, recipients: &Path) -> Result<Vec<u8>, BackupError> {
        let plain = serde_json::to_vec(self).map(Zeroizing::new);
        let plain = plain.map_err(|error| BackupError::Refused(format!("the keys: {error}")))?;
        Ok(age::encrypt(recipients, &plain)?)
    }

    /// Decrypts a part.
    ///
    /// # Errors
    /// [`BackupError::Age`]; [`BackupError::Refused`] if it is no part of a backup.
    pub fn decrypt(identity: &Path, file: &Path) -> Result<Self, BackupError> {
        let plain = age::decrypt(identity, file)?;
        // The error of the parser would repeat what it read.
        serde_json::from_slice(&plain)
            .map_err(|_| BackupError::refused(file, "it does not hold the keys of a backup"))
    }

    /// Returns the wrapped keys that the first `size` entries wrote, by table.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if a row does not fit its table.
    pub fn rows(&self, tables: &[&'static Table], size: u64) -> Result<Vec<TableRows>, BackupError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        for table in key_tables(tables) {
            let stored = self.tables.get(table.name).map_or(&[][..], Vec::as_slice);
            let mut rows = Vec::with_capacity(stored.len());
            for cells in stored {
                let row: Option<Vec<Value>> = cells.iter().map(Cell::to_value).collect();
                let row = row.filter(|row| row.len() == table.columns.len());
                let Some(row) = row else {
                    return Err(BackupError::Refused(format!("a row of {} does not fit", table.name)));
                };
                // The columns begin with the index of the entry.
                if matches!(row.first(), Some(Value::Int(Some(index))) if *index < size) {
                    rows.push(row);
                }
            }
            found.push((table, rows));
        }
        Ok(found)
    }

    /// Adds the wrapped keys of a later part, or replaces them by it if it has all.
    pub fn follow(&mut self, later: Self) {
        self.files = later.files;
        self.wrapped_keys = later.wrapped_keys;
        if later.is_full {
            self.tables.clear();
        }
        for (table, rows) in later.tables {
            self.tables.entry(table).or_default().extend(rows);
        }
    }
}

fn file_error(key: &'static str, path: &Path) -> impl FnOnce(SecretFileError) -> BackupError {
    move |source| BackupError::Start(StartError::File { key, path: path.to_owned(), source })
}
