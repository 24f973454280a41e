//! What a restored gateway lacks of the log that was signed.

use std::path::Path;

use super::BackupError;
use crate::clock::Instant;
use crate::store::sql::segment::{CallerEntries, count_callers};

/// Entries that a checkpoint covers and a backup does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Index of the first lost entry: the number of entries that the backup holds.
    pub first: u64,
    /// Index of the last one that is known of.
    pub last: u64,
    /// Time of the last entry of the backup, RFC 3339: what is lost is not older.
    pub since: String,
    /// Who made them, if the database of the lost machine can be read.
    pub callers: Option<Vec<CallerEntries>>,
}

impl Loss {
    /// Compares a backup with the newest known checkpoint: `held` and `signed` are numbers of entries. `None` if nothing
    /// is known to be lost.
    ///
    /// # Errors
    /// [`BackupError::Store`] if the database of the lost machine is named and cannot be read.
    pub(super) fn find(
        (held, since): (u64, &str),
        signed: u64,
        lost_database: Option<&Path>,
    ) -> Result<Option<Self>, BackupError> {
        if signed <= held {
            return Ok(None);
        }
        let callers = lost_database.map(|path| count_callers(path, held, signed)).transpose()?;
        let last = signed.saturating_sub(1);
        Ok(Some(Self { first: held, last, since: since.to_owned(), callers }))
    }

    /// Describes the loss, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { first, last, since, callers } = self;
        let lost = last.saturating_sub(*first).saturating_add(1);
        let mut lines = vec![format!(
            "lost: {lost} entries, {first} to {last}, made after the last one that is kept, at {since}"
        )];
        let time =
            |micros: i64| Instant::from_micros(micros).map_or_else(|_| "?".to_owned(), |at| at.to_string());
        match callers {
            Some(callers) => lines.extend(callers.iter().map(|CallerEntries { caller, entries, first, last }| {
                let caller = if caller.is_empty() { "callers without a certificate" } else { caller };
                format!("lost: {entries} of {caller}, from {} to {}", time(*first), time(*last))
            })),
            None => lines.push(
                "whose they are only the database of the lost machine says (--lost-database); every organisation has \
                 the receipts of its own"
                    .to_owned(),
            ),
        }
        lines
    }
}
