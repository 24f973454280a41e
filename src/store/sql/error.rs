//! What can go wrong with a statement, and what that means for the commit it belonged to.

/// What the driver said.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the connection to it failed: the outcome of a commit is unknown.
    #[error("the database could not be reached or did not answer")]
    Unreachable(#[source] Source),
    /// The database refused this statement: nothing of it was done.
    #[error("the database refused a statement")]
    Refused(#[source] Source),
    /// Writing to the disk failed: nothing more may be written by this process.
    #[error("the database could not write to its disk")]
    Disk(#[source] Source),
    /// There is no room on the disk: nothing was written.
    #[error("the database's disk is full")]
    Full(#[source] Source),
    /// A decision asked for more rows or statements than one decision may read.
    #[error("more was asked for than one decision may read")]
    LimitExceeded,
    /// A stored value is not what was written: the database was damaged or edited.
    #[error("column {column} of {table} holds what it cannot hold")]
    Corrupt {
        /// The table or query.
        table: &'static str,
        /// The column's position in the result.
        column: usize,
    },
    /// What is stored does not fit together, or not with what is kept outside the database.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// The anchor cannot be used.
    #[error("log.anchor ({}): {cause}", path.display())]
    Anchor {
        /// The anchor file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return Self::Unreachable(error.into());
        };
        let code = database.code().map(std::borrow::Cow::into_owned).unwrap_or_default();
        // SQLite gives extended result codes in decimal.
        if let Ok(number) = code.parse::<i32>()
            && database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some()
        {
            return of_sqlite(number, error.into());
        }
        // PostgreSQL: 53100 disk_full; classes 08 connection, 57 operator intervention, 25006 read-only, 25P03
        // silent for too long inside a transaction, 40 serialisation and deadlock, 55P03 lock not available.
        match code.as_str() {
            "53100" => Self::Full(error.into()),
            "58030" => Self::Disk(error.into()),
            "25006" | "25P03" | "55P03" => Self::Unreachable(error.into()),
            code if ["08", "57", "53", "40"].iter().any(|class| code.starts_with(class)) => {
                Self::Unreachable(error.into())
            }
            _ => Self::Refused(error.into()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // Without a code it is a statement that was used wrongly.
        let code = error.sqlite_error().map_or(0, |error| error.extended_code);
        of_sqlite(code, error.into())
    }
}

/// By SQLite's result code: 13 `SQLITE_FULL`, 10 `SQLITE_IOERR`; 5 and 6 busy and locked, 8 read-only, 14 cannot
/// open. What is above the lowest byte says more than is asked here.
fn of_sqlite(code: i32, error: Source) -> StoreError {
    match code & 0xff {
        13 => StoreError::Full(error),
        10 => StoreError::Disk(error),
        5 | 6 | 8 | 14 => StoreError::Unreachable(error),
        _ => StoreError::Refused(error),
    }
}
