//! Queries about the members of a set, for example what a table holds of each of some placements, grouped by placement.

use sqlx::query::Query;
use sqlx::{AssertSqlSafe, query};

use super::conn::{Conn, READ_ONLY, bind_postgres, bind_sqlite, rows_from_postgres, rows_from_sqlite};
use super::timeouts::with_timeout;
use super::{Row, StoreError, Value};

/// Maximum number of values in a set: a power of two far below SQLite's limit of 32,766 parameters.
const MAX_SET_SIZE: usize = 16_384;
/// What stands for the set in a query: `… WHERE placement IN SET GROUP BY placement`.
const PLACEHOLDER: &str = "IN SET";

/// Values of one column.
#[derive(Clone, Debug)]
pub enum ValueSet {
    /// Blobs, for example ids.
    Blobs(Vec<Vec<u8>>),
    /// Texts.
    Texts(Vec<String>),
}

impl ValueSet {
    /// Makes a set of ids.
    #[must_use]
    pub fn of_ids<'a>(ids: impl IntoIterator<Item = &'a uuid::Uuid>) -> Self {
        Self::Blobs(ids.into_iter().map(|id| id.as_bytes().to_vec()).collect())
    }

    const fn len(&self) -> usize {
        match self {
            Self::Blobs(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }
}

impl Conn {
    /// Returns the rows of a query that has `IN SET` where it names the set. The arguments are `$1` and so on.
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`] for a set of more than 16,384 values; otherwise see [`StoreError`].
    pub async fn fetch_in_set(
        &mut self,
        sql: &'static str,
        arguments: Vec<Value>,
        set: ValueSet,
    ) -> Result<Vec<Row>, StoreError> {
        let (first, size) = (arguments.len() + 1, set.len());
        if size == 0 {
            return Ok(Vec::new());
        }
        if size > MAX_SET_SIZE {
            return Err(StoreError::LimitExceeded);
        }
        match self {
            Self::SqliteWriter(_) => Err(READ_ONLY),
            Self::SqliteReader(conn) => {
                // The number of parameters is a power of two, so that few statements are prepared. A parameter that is
                // not bound is NULL and equals nothing.
                let marks = (first..first + size.next_power_of_two()).map(|number| format!("${number}"));
                let text = sql.replace(PLACEHOLDER, &format!("IN ({})", marks.collect::<Vec<_>>().join(",")));
                let mut bound = bind_sqlite(query(AssertSqlSafe(text)), arguments);
                bound = match set {
                    ValueSet::Blobs(values) => values.into_iter().fold(bound, Query::bind),
                    ValueSet::Texts(values) => values.into_iter().fold(bound, Query::bind),
                };
                rows_from_sqlite(&bound.fetch_all(conn.get()?).await?, sql)
            }
            Self::Postgres(conn) => {
                let text = sql.replace(PLACEHOLDER, &format!("= ANY(${first})"));
                let bound = bind_postgres(query(AssertSqlSafe(text)), arguments);
                let bound = match set {
                    ValueSet::Blobs(values) => bound.bind(values),
                    ValueSet::Texts(values) => bound.bind(values),
                };
                let rows = with_timeout(bound.fetch_all(conn.get()?)).await?;
                rows_from_postgres(&rows, sql)
            }
        }
    }
}
