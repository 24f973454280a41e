//! Batched lookups: several queries in one statement on PostgreSQL, because each statement is a round trip; one after
//! the other on SQLite.

use sqlx::{AssertSqlSafe, query};

use super::conn::rows_from_postgres;
use super::timeouts::with_timeout;
use super::{Conn, Row, StoreError};

/// A query of a batch. All queries of a batch have the same columns: number, types and names.
pub struct Lookup {
    /// The SQL text. With keys it ends before the condition's operator (`… WHERE key`). With a range it has the
    /// parameters `$1` and `$2`.
    pub sql: &'static str,
    /// Its argument.
    pub filter: LookupFilter,
}

/// The argument of a query in a batch.
pub enum LookupFilter {
    /// No argument.
    Unfiltered,
    /// Select rows whose blob column is one of these.
    Keys(Vec<Vec<u8>>),
    /// Select numbers from the first (inclusive) to the second (exclusive).
    Range(i64, i64),
}

impl Conn {
    /// Returns the rows of each query, in the order of the queries.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn fetch_batch<const N: usize>(
        &mut self,
        lookups: [Lookup; N],
    ) -> Result<[Vec<Row>; N], StoreError> {
        let mut results = [const { Vec::new() }; N];
        if let Self::Postgres(conn) = self {
            let mut bound = query(AssertSqlSafe(union_sql(&lookups)));
            for Lookup { filter, .. } in lookups {
                bound = match filter {
                    LookupFilter::Unfiltered => bound,
                    LookupFilter::Keys(keys) => bound.bind(keys),
                    LookupFilter::Range(from, to) => bound.bind(from).bind(to),
                };
            }
            let rows = with_timeout(bound.fetch_all(conn.get()?)).await?;
            for row in rows_from_postgres(&rows, "a batch of lookups")? {
                let number: i64 = row.get("lookup")?;
                let rows = usize::try_from(number).ok().and_then(|number| results.get_mut(number));
                rows.ok_or(StoreError::Inconsistent("a row of a batch has no query"))?.push(row);
            }
            return Ok(results);
        }
        for (rows, Lookup { sql, filter }) in results.iter_mut().zip(lookups) {
            *rows = match filter {
                LookupFilter::Unfiltered => self.fetch(sql, vec![]).await?,
                LookupFilter::Keys(keys) => self.fetch_by_keys(sql, keys).await?,
                LookupFilter::Range(from, to) => self.fetch(sql, vec![from.into(), to.into()]).await?,
            };
        }
        Ok(results)
    }
}

/// Returns one `UNION ALL` statement. The column `lookup` of each row, its last, is the number of its query.
fn union_sql(lookups: &[Lookup]) -> String {
    let mut parameters = 1..;
    let mut part = |(number, Lookup { sql, filter }): (usize, &Lookup)| {
        let mut parameter = || parameters.next().unwrap_or_default();
        let sql = match filter {
            LookupFilter::Unfiltered => (*sql).to_owned(),
            LookupFilter::Keys(_) => format!("{sql} = ANY(${})", parameter()),
            // `$2` is replaced first, because `$1` may become `$2`.
            LookupFilter::Range(..) => {
                let (from, to) = (parameter(), parameter());
                sql.replace("$2", &format!("${to}")).replace("$1", &format!("${from}"))
            }
        };
        format!("SELECT q{number}.*, CAST({number} AS BIGINT) AS lookup FROM ({sql}) q{number}")
    };
    lookups.iter().enumerate().map(&mut part).collect::<Vec<_>>().join(" UNION ALL ")
}
