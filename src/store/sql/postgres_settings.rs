//! PostgreSQL's settings: those of each connection, and those of the server on which durability depends.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::{Row, StoreError};

/// Settings of every connection. Bound parameters are children's data and must not appear beside errors in PostgreSQL's
/// own log. TCP timeouts make the server drop a node that was cut off.
const CONNECTION_SETTINGS: &[(&str, &str)] = &[
    ("log_parameter_max_length_on_error", "0"),
    ("tcp_user_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "4"),
];
/// Settings of the committer's connections. Warnings are sent, because a COMMIT whose wait for the standby was cancelled
/// differs from any other in its warning only. A node that is idle in a transaction is disconnected after 3 s, before
/// the lock timeout (5 s) of the nodes that wait for it. All lookups are by key, but a query plan that was made while a
/// table was small scans all of it, and is kept: 32 ms a group until the next autoanalyze. So scans are disabled.
pub(super) const WRITER_SETTINGS: &[(&str, &str)] = &[
    ("client_min_messages", "warning"),
    ("idle_in_transaction_session_timeout", "3s"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "0"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];
/// Settings of readers' connections, so that no snapshot stays open for long and no query outlives the wait for it.
pub(super) const READER_SETTINGS: &[(&str, &str)] = &[
    ("client_min_messages", "error"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("statement_timeout", "10s"),
];

/// Settings of a transaction's durability: a COMMIT returns once it is on the disk of the server, and of the synchronous
/// standby if there is one, whatever the server, the database or the role has as default.
const DURABLE_COMMIT: &str = "set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
     WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)";

/// Sets up a connection, by one statement: a pooler between node and server drops settings of the connection's start.
/// Returns whether the server is a primary.
pub(super) async fn set_up(conn: &mut PgConnection, settings: &[(&str, &str)]) -> Result<bool, sqlx::Error> {
    let set = |(name, value): &(&str, &str)| format!("set_config('{name}', '{value}', false)");
    let list: Vec<String> = CONNECTION_SETTINGS.iter().chain(settings).map(set).collect();
    let sql = format!("SELECT NOT pg_is_in_recovery(), {DURABLE_COMMIT}, {}", list.join(", "));
    conn.fetch_one(AssertSqlSafe(sql)).await?.try_get(0)
}

/// The columns that [`durability_fault`] reads.
pub(super) const DURABILITY_QUERY: &str = "SELECT current_setting('fsync') AS fsync, \
     current_setting('full_page_writes') AS full_page_writes, \
     current_setting('synchronous_standby_names') AS standbys";

/// Returns why an acknowledged commit could be lost with the server's present settings; `None` if it could not.
///
/// # Errors
/// [`StoreError::Corrupt`] for columns that are missing.
pub(super) fn durability_fault(row: &Row, needs_standby: bool) -> Result<Option<&'static str>, StoreError> {
    let is_on = |name: &'static str| Ok::<_, StoreError>(row.get_str(name)? == "on");
    Ok(if !is_on("fsync")? {
        Some("PostgreSQL's fsync is off: set it to on")
    } else if !is_on("full_page_writes")? {
        Some("PostgreSQL's full_page_writes is off: set it to on")
    } else if needs_standby && row.get_str("standbys")?.trim().is_empty() {
        Some("PostgreSQL has no synchronous standby, and single_primary is not set")
    } else {
        None
    })
}
