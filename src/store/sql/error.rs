//! Errors of statements, classified by what they mean for the transaction.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// The driver's error.
type DriverError = Box<dyn std::error::Error + Send + Sync>;

/// An error of the database or of what is stored in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be reached, or the connection failed: the outcome of a COMMIT is unknown.
    #[error("the database could not be reached or did not answer")]
    Unreachable(#[source] DriverError),
    /// The database that is configured cannot be used as it is.
    #[error("{0}")]
    Unusable(String),
    /// The database refused this statement; it had no effect.
    #[error("the database refused a statement")]
    Refused(#[source] DriverError),
    /// A write to the disk failed: this process must not write any more.
    #[error("the database could not write to its disk")]
    Disk(#[source] DriverError),
    /// The database reported that its files are damaged: this process must not serve from it any more.
    #[error("{code}")]
    Damaged {
        /// The code by which the database's manual names the error.
        code: &'static str,
        /// The driver's error.
        #[source]
        source: DriverError,
    },
    /// The disk is full: nothing was written.
    #[error("the database's disk is full")]
    Full(#[source] DriverError),
    /// PostgreSQL's settings would let an acknowledged commit be lost: nothing was written.
    #[error("{0}")]
    NotDurable(&'static str),
    /// A decision exceeded its limit of rows or statements.
    #[error("a decision exceeded its limit of rows or statements")]
    LimitExceeded,
    /// A stored value is not what was written: the database was damaged or edited.
    #[error("column {column} of {table} has an invalid value")]
    Corrupt {
        /// The table or query.
        table: &'static str,
        /// The column.
        column: String,
    },
    /// Stored data is inconsistent, either in itself or with the anchor, the keys or the configuration.
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

impl StoreError {
    /// Reports a value that its column cannot hold. `column` is its name.
    #[must_use]
    pub fn corrupt(table: &'static str, column: impl std::fmt::Display) -> Self {
        Self::Corrupt { table, column: column.to_string() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return Self::Unreachable(error.into());
        };
        let code = database.code().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let described = describe(database.as_ref());
        // SQLite's driver returns extended result codes in decimal.
        if let Ok(number) = code.parse::<i32>()
            && database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some()
        {
            return from_sqlite_code(number, error.into());
        }
        // PostgreSQL: 53100 disk_full; 58030 io_error; XX001 data_corrupted, XX002 index_corrupted; classes 08 connection, 57 operator intervention, 25006 read-only, 25P03
        // idle in a transaction for too long, 40 serialisation and deadlock, 55P03 lock not available.
        match code.as_str() {
            "53100" => Self::Full(described.into()),
            "58030" => Self::Disk(described.into()),
            "XX001" => Self::Damaged { code: "data_corrupted (XX001)", source: described.into() },
            "XX002" => Self::Damaged { code: "index_corrupted (XX002)", source: described.into() },
            "25006" | "25P03" | "55P03" => Self::Unreachable(described.into()),
            code if ["08", "57", "53", "40"].iter().any(|class| code.starts_with(class)) => {
                Self::Unreachable(described.into())
            }
            _ => Self::Refused(described.into()),
        }
    }
}

/// Returns an error's code with its sentence. PostgreSQL's codes (SQLSTATE) are the same in every language.
pub(super) fn describe(error: &dyn DatabaseError) -> String {
    match error.code() {
        Some(code) if error.try_downcast_ref::<PgDatabaseError>().is_some() => {
            format!("SQLSTATE {code}: {}", error.message())
        }
        _ => error.message().to_owned(),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // An error without a code is a wrong use of the driver.
        let code = error.sqlite_error().map_or(0, |error| error.extended_code);
        from_sqlite_code(code, error.into())
    }
}

/// The extended code for a disk without room for the index of the write-ahead log, which connections share.
const SQLITE_IOERR_SHMSIZE: i32 = 4_874;

/// Classifies an error by SQLite's primary result code, the lowest byte: 13 `SQLITE_FULL`, 10 `SQLITE_IOERR`, 11
/// `SQLITE_CORRUPT`, 26 `SQLITE_NOTADB`; 5 and 6 busy and locked, 8 read-only, 14 cannot open.
fn from_sqlite_code(code: i32, error: DriverError) -> StoreError {
    if code == SQLITE_IOERR_SHMSIZE {
        return StoreError::Full(error);
    }
    match code & 0xff {
        13 => StoreError::Full(error),
        10 => StoreError::Disk(error),
        11 => StoreError::Damaged { code: "SQLITE_CORRUPT", source: error },
        26 => StoreError::Damaged { code: "SQLITE_NOTADB", source: error },
        5 | 6 | 8 | 14 => StoreError::Unreachable(error),
        _ => StoreError::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_sqlite_is_classified_by_its_lowest_byte() {
        let classify = |code: i32| from_sqlite_code(code, "test".into());
        // 267 SQLITE_CORRUPT_VTAB, 779 SQLITE_CORRUPT_INDEX.
        for code in [11, 267, 779] {
            assert!(matches!(classify(code), StoreError::Damaged { code: "SQLITE_CORRUPT", .. }), "{code}");
        }
        assert!(matches!(classify(26), StoreError::Damaged { code: "SQLITE_NOTADB", .. }));
        // 1034 SQLITE_IOERR_FSYNC, 2067 SQLITE_CONSTRAINT_UNIQUE, 517 SQLITE_BUSY_SNAPSHOT.
        assert!(matches!(classify(1034), StoreError::Disk(_)));
        assert!(matches!(classify(4874), StoreError::Full(_)));
        assert!(matches!(classify(2067), StoreError::Refused(_)));
        assert!(matches!(classify(517), StoreError::Unreachable(_)));
    }
}
