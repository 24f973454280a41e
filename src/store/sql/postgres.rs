//! PostgreSQL: the servers of which one is the primary, what holds on every connection to it, and hints that
//! somebody has committed.
//!
//! There is no `statement_timeout` on the committer's connections: PostgreSQL would end the wait for the
//! standby with it, and answer the COMMIT as if the standby had it.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, query_scalar};

use super::{Database, StoreError};

/// How long a server may be silent before its connection counts as lost: nothing else would tell of one whose
/// machine is gone.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// How long a server may take to say whether it is the primary, or to end a transaction.
pub(super) const GREETING: Duration = Duration::from_secs(2);
/// How long a connection may lie idle before it is asked whether it still lives.
const FRESH: Duration = Duration::from_secs(1);
/// How long a connection may be waited for.
const ACQUIRE: Duration = Duration::from_secs(5);
/// The channel of the hints.
const CHANNEL: &str = "ap_gateway";

/// On every connection. What was bound is children's data: it must not be repeated beside an error in
/// PostgreSQL's own log. A ROLLBACK where nothing is open is no news. A node that was cut off is let go.
const EVERY: [(&str, &str); 6] = [
    ("log_parameter_max_length_on_error", "0"),
    ("client_min_messages", "error"),
    ("tcp_user_timeout", "5s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "4"),
];
/// On the committer's: whoever holds the lock and says nothing is thrown out before those who wait give up. It
/// looks up by keys alone, but a plan that was made while a table was small reads all of it, and stays: 32 ms a
/// group until the next autoanalyze.
const WRITER: [(&str, &str); 6] = [
    ("idle_in_transaction_session_timeout", "3s"),
    ("lock_timeout", "5s"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];
/// On readers': no snapshot stays open for long.
const READER: [(&str, &str); 2] =
    [("idle_in_transaction_session_timeout", "30s"), ("statement_timeout", "30s")];

/// Opens the pools on whichever of the servers, a URL each, is the primary.
pub(super) async fn open(urls: &str) -> Result<Database, StoreError> {
    let servers = urls
        .split_whitespace()
        .map(|url| Ok(PgConnectOptions::from_str(url)?.statement_cache_capacity(512).options(EVERY)));
    let servers = servers.collect::<Result<Arc<[_]>, sqlx::Error>>()?;
    let primary = primary(&servers).await?;
    let pool = || {
        let pool = PgPoolOptions::new().acquire_timeout(ACQUIRE);
        pool.after_connect(|conn, _| {
            Box::pin(async move { is_primary(conn).await?.then_some(()).ok_or_else(standby) })
        })
    };
    // A connection that was just in use is not asked whether it still lives: each group would wait for that.
    let writer = pool().max_connections(2).test_before_acquire(false).before_acquire(|conn, known| {
        Box::pin(async move {
            if known.idle_for > FRESH {
                tokio::time::timeout(GREETING, conn.ping()).await.map_err(|_| silent())??;
            }
            Ok(true)
        })
    });
    let writer = writer.connect_lazy_with(primary.clone().options(WRITER));
    let readers = pool().max_connections(8).after_release(|conn, _| {
        Box::pin(async move {
            // sqlx 0.9.0 can return a connection whose BEGIN was cancelled: end what it left open.
            let ended = tokio::time::timeout(GREETING, sqlx::Executor::execute(conn, "ROLLBACK")).await;
            ended.map_err(|_| silent())?.map(|_| true)
        })
    });
    let readers = readers.connect_lazy_with(primary.options(READER));
    Ok(Database::Postgres { writer, readers, servers })
}

/// The server that is not a standby; of several the one on the newest timeline, which took over last: the other
/// was started again and is behind.
async fn primary(servers: &[PgConnectOptions]) -> Result<PgConnectOptions, StoreError> {
    let (mut newest, mut why) = (None, standby());
    for server in servers {
        let asked = tokio::time::timeout(GREETING, async {
            let mut conn = server.connect().await?;
            let timeline = timeline(&mut conn).await?;
            conn.close().await.ok();
            Ok(timeline)
        });
        match asked.await {
            Ok(Ok(Some(timeline))) if newest.as_ref().is_none_or(|(before, _)| *before < timeline) => {
                newest = Some((timeline, server));
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => why = error,
            Err(_) => why = silent(),
        }
    }
    newest.map(|(_, server)| server.clone()).ok_or_else(|| why.into())
}

/// The timeline that a primary writes, in hexadecimal digits of one length; none of a standby.
async fn timeline(conn: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let sql = "SELECT CASE WHEN NOT pg_is_in_recovery() \
               THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";
    query_scalar(sql).fetch_one(conn).await
}

async fn is_primary(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    query_scalar("SELECT NOT pg_is_in_recovery()").fetch_one(conn).await
}

fn standby() -> sqlx::Error {
    sqlx::Error::Protocol("the server is a standby".to_owned())
}

/// The error of a server that does not answer.
pub(super) fn silent() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

impl Database {
    /// Looks which server is the primary by now; new connections go to it.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when none is.
    pub async fn find_primary(&self) -> Result<(), StoreError> {
        if let Self::Postgres { writer, readers, servers } = self {
            let primary = primary(servers).await?;
            writer.set_connect_options(primary.clone().options(WRITER));
            readers.set_connect_options(primary.options(READER));
        }
        Ok(())
    }

    /// Calls `hint` after a commit of any node, as long as PostgreSQL says so; a commit may go unsaid. With
    /// SQLite there is no other node.
    pub async fn hear(&self, hint: impl Fn()) {
        let Self::Postgres { writer, .. } = self else { return std::future::pending().await };
        loop {
            if let Err(error) = hear(writer, &hint).await {
                tracing::debug!(error = %error, "no hints of commits for now");
            }
            tokio::time::sleep(GREETING).await;
        }
    }
}

async fn hear(writer: &PgPool, hint: &impl Fn()) -> Result<(), sqlx::Error> {
    // A pool of its own: a listener keeps its connection.
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE);
    let pool = pool.connect_lazy_with((*writer.connect_options()).clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    while listener.try_recv().await?.is_some() {
        hint();
    }
    Ok(())
}
