//! PostgreSQL: finds the primary among the configured servers, sets up its connections, and listens for NOTIFY
//! messages, which are sent with each commit.
//!
//! The committer's connections have no `statement_timeout`: it would end the wait for the synchronous standby, and
//! PostgreSQL would then acknowledge the COMMIT as if the standby had it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, query_scalar, raw_sql};

use super::StoreError;
use super::postgres_start::{check_server, connection_fault, parse_urls};
use super::timeouts::{MAX_PROBE_TIME, timeout_error};

/// Maximum idle time of a connection that is used without a ping first.
const MAX_UNTESTED_IDLE: Duration = Duration::from_secs(1);
/// Maximum wait for a connection of a pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The channel of NOTIFY messages.
const NOTIFY_CHANNEL: &str = "ap_gateway";

/// The name and the value of a setting of a session.
type Setting = (&'static str, &'static str);

/// Settings of every connection. Bound parameters are children's data and must not appear beside errors in PostgreSQL's
/// own log. Warnings, such as for a ROLLBACK without a transaction, are not sent. TCP timeouts make the server drop a
/// node that was cut off.
const CONNECTION_SETTINGS: [Setting; 6] = [
    ("log_parameter_max_length_on_error", "0"),
    ("client_min_messages", "error"),
    ("tcp_user_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "4"),
];
/// Settings of the committer's connections. A node that is idle in a transaction is disconnected after 3 s, before the
/// lock timeout (5 s) of the nodes that wait for it. All lookups are by key, but a query plan that was made while a
/// table was small scans all of it, and is kept: 32 ms a group until the next autoanalyze. So scans are disabled.
const WRITER_SETTINGS: [Setting; 6] = [
    ("idle_in_transaction_session_timeout", "3s"),
    ("lock_timeout", "5s"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];
/// Settings of readers' connections, so that no snapshot stays open for long.
const READER_SETTINGS: [Setting; 2] =
    [("idle_in_transaction_session_timeout", "30s"), ("statement_timeout", "30s")];

/// The pools on the primary.
pub(super) struct Pools {
    /// Connections of the committer and the migrations.
    pub writer: PgPool,
    /// Connections of readers.
    pub readers: PgPool,
    /// The configured servers, in the order in which they are tried.
    pub servers: Arc<[PgConnectOptions]>,
}

/// Opens the pools on the primary. `urls` has one URL a server, separated by whitespace.
pub(super) async fn open(urls: &str) -> Result<Pools, StoreError> {
    let servers = parse_urls(urls)?.into_iter();
    // extra_float_digits and options are parameters that PgBouncer refuses, and no column is a float.
    let servers: Arc<[_]> =
        servers.map(|server| server.statement_cache_capacity(512).extra_float_digits(None)).collect();
    let primary = choose_primary(&servers).await.map_err(connection_fault)?;
    check_server(&primary).await?;
    let pool = |settings: &'static [Setting]| {
        let pool = PgPoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT);
        pool.after_connect(move |conn, _| {
            Box::pin(async move {
                apply_settings(conn, settings).await?;
                is_primary(conn).await?.then_some(()).ok_or_else(standby_error)
            })
        })
    };
    // A connection that was just in use is not pinged, because each group would wait for the ping.
    let writer =
        pool(&WRITER_SETTINGS).max_connections(2).test_before_acquire(false).before_acquire(|conn, known| {
            Box::pin(async move {
                if known.idle_for > MAX_UNTESTED_IDLE {
                    tokio::time::timeout(MAX_PROBE_TIME, conn.ping())
                        .await
                        .map_err(|_| timeout_error())??;
                }
                Ok(true)
            })
        });
    let writer = writer.connect_lazy_with(primary.clone());
    let readers = pool(&READER_SETTINGS).max_connections(8).after_release(|conn, _| {
        Box::pin(async move {
            // sqlx 0.9.0 can return a connection whose BEGIN was cancelled: roll back its open transaction.
            let ended = tokio::time::timeout(MAX_PROBE_TIME, sqlx::Executor::execute(conn, "ROLLBACK")).await;
            ended.map_err(|_| timeout_error())?.map(|_| true)
        })
    });
    let readers = readers.connect_lazy_with(primary);
    Ok(Pools { writer, readers, servers })
}

/// Sets [`CONNECTION_SETTINGS`] and the given ones, by statements, because a pooler such as `PgBouncer` passes no parameter
/// `options` of a connection on.
async fn apply_settings(conn: &mut PgConnection, settings: &[Setting]) -> Result<(), sqlx::Error> {
    let all = CONNECTION_SETTINGS.iter().chain(settings);
    let statements: Vec<_> = all.map(|(name, value)| format!("SET {name} = '{value}'")).collect();
    raw_sql(AssertSqlSafe(statements.join(";"))).execute(conn).await.map(drop)
}

/// Returns the primary among the servers. If several are not in recovery, it is the one on the newest timeline, which
/// was promoted last: the other is an old primary that was started again.
async fn choose_primary(servers: &[PgConnectOptions]) -> Result<PgConnectOptions, sqlx::Error> {
    let (mut newest, mut why) = (None, standby_error());
    for server in servers {
        let asked = tokio::time::timeout(MAX_PROBE_TIME, async {
            let mut conn = server.connect().await?;
            let timeline = load_timeline(&mut conn).await?;
            conn.close().await.ok();
            Ok(timeline)
        });
        match asked.await {
            Ok(Ok(Some(timeline))) if newest.as_ref().is_none_or(|(before, _)| *before < timeline) => {
                newest = Some((timeline, server));
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => why = error,
            Err(_) => why = timeout_error(),
        }
    }
    newest.map(|(_, server)| server.clone()).ok_or(why)
}

/// Returns the timeline of a primary as eight hexadecimal digits; `None` for a standby.
async fn load_timeline(conn: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let sql = "SELECT CASE WHEN NOT pg_is_in_recovery() \
               THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";
    query_scalar(sql).fetch_one(conn).await
}

async fn is_primary(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    query_scalar("SELECT NOT pg_is_in_recovery()").fetch_one(conn).await
}

fn standby_error() -> sqlx::Error {
    sqlx::Error::Protocol("the server is a standby".to_owned())
}

/// Finds the primary again; new connections of the pools go to it.
pub(super) async fn find_primary(
    writer: &PgPool,
    readers: &PgPool,
    servers: &[PgConnectOptions],
) -> Result<(), StoreError> {
    let primary = choose_primary(servers).await?;
    writer.set_connect_options(primary.clone());
    readers.set_connect_options(primary);
    Ok(())
}

/// Calls `hint` for each NOTIFY, and listens again after an error.
pub(super) async fn listen_for_commits(writer: &PgPool, hint: impl Fn()) {
    loop {
        if let Err(error) = listen(writer, &hint).await {
            tracing::debug!(error = %error, "NOTIFY messages cannot be received at present");
        }
        tokio::time::sleep(MAX_PROBE_TIME).await;
    }
}

async fn listen(writer: &PgPool, hint: &impl Fn()) -> Result<(), sqlx::Error> {
    // A pool of its own, because a listener occupies its connection.
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
    let pool = pool.connect_lazy_with((*writer.connect_options()).clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(NOTIFY_CHANNEL).await?;
    while listener.try_recv().await?.is_some() {
        hint();
    }
    Ok(())
}
