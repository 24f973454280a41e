//! PostgreSQL: finds the primary among the configured servers, sets up its connections, and listens for NOTIFY
//! messages, which are sent with each commit.
//!
//! The committer's connections have no `statement_timeout`: it would end the wait for the synchronous standby, and
//! PostgreSQL would then acknowledge the COMMIT as if the standby had it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres, query_as, query_scalar};

use super::StoreError;
use super::connection_queue::GATEWAY;
use super::lease::Leases;
use super::postgres_settings::{READER_SETTINGS, WRITER_SETTINGS, set_up};
use super::postgres_start::{check_server, connection_fault, parse_urls};
use super::timeouts::{MAX_PROBE_TIME, timeout_error};

/// Maximum idle time of a connection that is used without a ping first.
const MAX_UNTESTED_IDLE: Duration = Duration::from_secs(1);
/// Maximum wait for a connection of a pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time to open a connection. Then the server, or a pooler before it, counts as full.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(2);
/// Number of readers' connections of a node.
const READERS: u32 = 8;
/// Number of the committer's connections of a node: one for groups, one for announcements and indexes.
const WRITERS: u32 = 2;
/// Number of connections of a node: readers', the committer's, and one that receives NOTIFY messages.
const CONNECTIONS: usize = READERS as usize + WRITERS as usize + 1;
/// Interval of looking whether the server gives a connection that it did not give before.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of trying to open such a connection, because a full server logs each attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The channel of NOTIFY messages.
const NOTIFY_CHANNEL: &str = "ap_gateway";

/// The pools on the primary.
pub(super) struct Pools {
    /// Connections of the committer and the migrations.
    pub writer: Leases<Postgres>,
    /// Connections of readers.
    pub readers: Leases<Postgres>,
    /// The configured servers, in the order in which they are tried.
    pub servers: Arc<[PgConnectOptions]>,
}

/// Opens the pools on the primary. `urls` has one URL a server, separated by whitespace.
pub(super) async fn open(urls: &str) -> Result<Pools, StoreError> {
    let servers = parse_urls(urls)?.into_iter();
    // extra_float_digits is a parameter that PgBouncer refuses, and no column is a float.
    let servers: Arc<[_]> =
        servers.map(|server| server.statement_cache_capacity(512).extra_float_digits(None)).collect();
    let primary = choose_primary(&servers).await.map_err(connection_fault)?;
    check_server(&primary).await?;
    // A connection that was just in use is not pinged, because each group would wait for the ping.
    let writer =
        pool_options(WRITERS, WRITER_SETTINGS).test_before_acquire(false).before_acquire(|conn, known| {
            Box::pin(async move {
                if known.idle_for > MAX_UNTESTED_IDLE {
                    tokio::time::timeout(MAX_PROBE_TIME, conn.ping())
                        .await
                        .map_err(|_| timeout_error())??;
                }
                Ok(true)
            })
        });
    let writer = Leases::new(writer.connect_lazy_with(primary.clone()), ACQUIRE_TIMEOUT);
    let readers = pool_options(READERS, READER_SETTINGS).connect_lazy_with(primary);
    Ok(Pools { writer, readers: Leases::new(readers, ACQUIRE_TIMEOUT), servers })
}

/// Returns the options of a pool. Its connections are not closed when they are idle, because another client of the
/// server could take their places.
fn pool_options(connections: u32, settings: &'static [(&str, &str)]) -> PgPoolOptions {
    let pool = PgPoolOptions::new().max_connections(connections).idle_timeout(None);
    pool.acquire_timeout(MAX_CONNECT_TIME).after_connect(move |conn, _| {
        Box::pin(async move { set_up(conn, settings).await?.then_some(()).ok_or_else(standby_error) })
    })
}

/// Opens the connections of a node. If the server gives fewer, one is left for NOTIFY messages; [`keep_connections`] logs
/// what is lacking.
pub(super) async fn open_connections(writer: &Leases<Postgres>, readers: &Leases<Postgres>) {
    writer.open_all().await;
    if readers.open_all().await < READERS as usize && readers.queue().limits().0 > 2 {
        readers.close_one().await;
    }
}

/// Logs that the server gives a node fewer connections than it needs.
async fn warn_of_too_few(opened: usize, readers: &Leases<Postgres>, error: &sqlx::Error) {
    let limits = async {
        let sql = "SELECT CAST(current_setting('max_connections') AS BIGINT), \
                   CAST(current_setting('superuser_reserved_connections') AS BIGINT), \
                   (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend')";
        let mut conn = readers.acquire(GATEWAY).await.ok()?;
        query_as::<_, (i64, i64, i64)>(sql).fetch_one(conn.get().ok()?).await.ok()
    };
    let (max_connections, reserved, in_use) = limits.await.unwrap_or_default();
    tracing::warn!(
        opened,
        needed = CONNECTIONS,
        server.max_connections = max_connections,
        server.superuser_reserved_connections = reserved,
        server.client_connections = in_use,
        error = %error,
        "PostgreSQL, or a pooler before it, gives this node fewer connections than it needs: calls wait for those that it has"
    );
}

/// Raises the limits of the pools again when the server gives more connections, and logs once that it gives too few. It
/// never returns.
pub(super) async fn keep_connections(writer: &Leases<Postgres>, readers: &Leases<Postgres>) {
    let (pools, mut is_reported) = ([writer, readers], false);
    loop {
        let is_lowered = |pool: &&Leases<Postgres>| pool.queue().limits().0 < pool.queue().limits().1;
        let Some(lowered) = pools.into_iter().find(is_lowered) else {
            if is_reported {
                tracing::info!("PostgreSQL gives this node the connections that it needs");
            }
            is_reported = false;
            tokio::time::sleep(CHECK_INTERVAL).await;
            continue;
        };
        let opened = match probe(&lowered.pool().connect_options()).await {
            Ok(()) => lowered.open_another().await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(()) => {}
            // The log follower reports a server that cannot be reached.
            Err(error) if !is_full(&error) => tokio::time::sleep(CHECK_INTERVAL).await,
            Err(error) => {
                if !is_reported {
                    is_reported = true;
                    let opened = pools.iter().map(|pool| pool.queue().limits().0).sum();
                    warn_of_too_few(opened, readers, &error).await;
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Returns whether an error says that the server, or a pooler before it, has no connection left: `too_many_connections`,
/// or a connection that was accepted and then not served in time.
fn is_full(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => database.code().is_some_and(|code| code == "53300"),
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::TimedOut,
        error => matches!(error, sqlx::Error::PoolTimedOut),
    }
}

/// Opens and closes a connection.
async fn probe(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let probing = async {
        let mut conn = options.connect().await?;
        is_primary(&mut conn).await?.then_some(()).ok_or_else(standby_error)?;
        conn.close().await
    };
    tokio::time::timeout(MAX_CONNECT_TIME, probing).await.unwrap_or_else(|_| Err(timeout_error()))
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
    let pool = pool_options(1, WRITER_SETTINGS).connect_lazy_with((*writer.connect_options()).clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(NOTIFY_CHANNEL).await?;
    while listener.try_recv().await?.is_some() {
        hint();
    }
    Ok(())
}
