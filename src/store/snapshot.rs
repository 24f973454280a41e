//! A snapshot: everything read through it is of one moment, on the primary. Handlers decide from it and
//! name what they rested on as guards; they never hold a write transaction.

use super::key::Key;
use super::sql::{Conn, Database, Row, StoreError, Value};

/// A read transaction. Dropping it gives the connection back, which ends the transaction.
pub struct Snapshot {
    conn: Conn,
}

impl Snapshot {
    /// Opens a snapshot.
    ///
    /// # Errors
    /// As [`StoreError`] says; so for every method.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let mut conn = database.reader().await?;
        conn.begin_read().await?;
        Ok(Self { conn })
    }

    pub(super) fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.conn.fetch(sql, arguments).await
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch_one(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        self.conn.fetch_one(sql, arguments).await
    }

    /// The rows whose blob column is one of `keys`; `sql` ends where the list begins (`… WHERE h.key`).
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch_among<'a>(
        &mut self,
        sql: &'static str,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> Result<Vec<Row>, StoreError> {
        let keys = keys.into_iter().map(|key| key.as_bytes().to_vec()).collect();
        self.conn.fetch_among(sql, keys).await
    }

    /// The version of a key, 0 where it has none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn version(&mut self, key: &Key) -> Result<i64, StoreError> {
        let row =
            self.conn.fetch_one("SELECT version FROM heads WHERE key = $1", vec![key.as_bytes().into()]);
        row.await?.map_or(Ok(0), |row| row.int(0))
    }
}
