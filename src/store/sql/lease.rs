//! Leases: connections of a pool while they are in use. A lease that is dropped rolls back its open transaction, and
//! its place in the queue is free only once the connection is back in the pool.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, Pool, Postgres, Sqlite};
use tokio::time::{Instant, timeout, timeout_at};

use super::StoreError;
use super::connection_queue::{ConnectionQueue, Slot};
use super::timeouts::{MAX_PROBE_TIME, timeout_error};

/// A driver whose connections can be leased.
pub trait Driver: sqlx::Database {
    /// Rolls back the open transaction of a connection.
    fn rollback(conn: &mut Self::Connection) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

impl Driver for Postgres {
    async fn rollback(conn: &mut Self::Connection) -> Result<(), sqlx::Error> {
        conn.execute("ROLLBACK").await.map(drop)
    }
}

impl Driver for Sqlite {
    async fn rollback(conn: &mut Self::Connection) -> Result<(), sqlx::Error> {
        conn.execute("ROLLBACK").await.map(drop)
    }
}

/// A pool of connections with the queue for them. Cheap to clone.
#[derive(Debug)]
pub struct Leases<DB: Driver> {
    pool: Pool<DB>,
    queue: ConnectionQueue,
    /// Maximum wait for a connection.
    max_wait: Duration,
}

impl<DB: Driver> Clone for Leases<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), queue: self.queue.clone(), max_wait: self.max_wait }
    }
}

/// A connection in use.
#[derive(Debug)]
pub struct Lease<DB: Driver> {
    /// `None` only once the lease is being dropped.
    conn: Option<PoolConnection<DB>>,
    slot: Option<Slot>,
    is_in_transaction: bool,
    /// Whether the connection is closed instead of reused.
    is_spoilt: bool,
}

/// A connection to PostgreSQL.
pub struct PostgresConn {
    pub(super) lease: Lease<Postgres>,
    /// Whether an acknowledged commit must be on a synchronous standby.
    pub(super) needs_standby: bool,
}

impl PostgresConn {
    pub(super) fn get(&mut self) -> Result<&mut <Postgres as sqlx::Database>::Connection, StoreError> {
        self.lease.get()
    }

    /// Returns the result of a statement. A session that PostgreSQL made read-only (SQLSTATE 25006) stays so for as long as
    /// it lives, also when new ones may write again, so its connection is not used again.
    pub(super) fn checked<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(sqlx::Error::Database(error)) = &result
            && error.code().is_some_and(|code| code == "25006")
        {
            self.lease.spoil();
        }
        result
    }
}

impl<DB: Driver> Leases<DB> {
    /// Makes the queue of a pool, which opens connections when they are needed.
    pub fn new(pool: Pool<DB>, max_wait: Duration) -> Self {
        let max = usize::try_from(pool.options().get_max_connections()).unwrap_or(1);
        Self { pool, queue: ConnectionQueue::new(max), max_wait }
    }

    /// Returns the pool.
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Returns the queue.
    pub fn queue(&self) -> &ConnectionQueue {
        &self.queue
    }

    /// Leases a connection to an organisation, in its turn. If the database accepts no further connection, it waits for
    /// one that is in use.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] if there is none in time; otherwise see [`StoreError`].
    pub async fn acquire(&self, owner: &str) -> Result<Lease<DB>, StoreError> {
        let ends = Instant::now() + self.max_wait;
        let leasing = async {
            loop {
                let slot = self.queue.acquire(owner).await;
                match self.pool.acquire().await {
                    Ok(conn) => {
                        return Ok(Lease {
                            conn: Some(conn),
                            slot: Some(slot),
                            is_in_transaction: false,
                            is_spoilt: false,
                        });
                    }
                    // sqlx opens a connection only if none is idle, and tries until its own timeout.
                    Err(sqlx::Error::PoolTimedOut) => self.queue.lower_limit(),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        timeout_at(ends, leasing).await.unwrap_or_else(|_| Err(timeout_error().into()))
    }

    /// Opens connections up to the maximum, and sets the limit to those that the database accepted. Returns how many.
    pub async fn open_all(&self) -> usize {
        let mut opened = Vec::new();
        while opened.len() < self.queue.limits().1
            && let Ok(conn) = self.pool.acquire().await
        {
            opened.push(conn);
        }
        self.queue.set_limit(opened.len());
        let count = opened.len();
        for mut conn in opened {
            conn.return_to_pool().await;
        }
        count
    }

    /// Opens a connection although others may be idle, and raises the limit to those that are open.
    ///
    /// # Errors
    /// As when a connection is opened.
    pub async fn open_another(&self) -> Result<(), sqlx::Error> {
        // Nothing else opens a connection while another is idle.
        let idle: Vec<_> = std::iter::from_fn(|| self.pool.try_acquire()).collect();
        let opened = self.pool.acquire().await;
        for mut conn in idle {
            conn.return_to_pool().await;
        }
        opened?.return_to_pool().await;
        let open = usize::try_from(self.pool.size()).unwrap_or(0);
        self.queue.set_limit(open.max(self.queue.limits().0));
        Ok(())
    }

    /// Closes an idle connection, and lowers the limit by it.
    pub async fn close_one(&self) {
        self.queue.set_limit(self.queue.limits().0.saturating_sub(1));
        if let Some(conn) = self.pool.try_acquire()
            && let Err(error) = conn.close().await
        {
            tracing::debug!(error = %error, "a connection did not close cleanly");
        }
    }
}

impl<DB: Driver> Lease<DB> {
    /// Returns the connection.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] while the lease is being dropped.
    pub fn get(&mut self) -> Result<&mut DB::Connection, StoreError> {
        self.conn.as_deref_mut().ok_or_else(|| StoreError::Unreachable("the connection was returned".into()))
    }

    /// Returns whether a transaction may be open.
    pub fn is_in_transaction(&self) -> bool {
        self.is_in_transaction
    }

    /// Notes that a transaction may be open. Set it before BEGIN, because a cancelled BEGIN may open one.
    pub fn set_in_transaction(&mut self, is_open: bool) {
        self.is_in_transaction = is_open;
    }

    /// Notes that the connection must not be used again: it is closed when the lease is dropped.
    pub fn spoil(&mut self) {
        self.is_spoilt = true;
    }

    /// Drops the connection without a protocol-level close, which would wait for a server that does not respond.
    pub fn discard(mut self) {
        self.conn.take().map(PoolConnection::detach);
    }
}

impl<DB: Driver> Drop for Lease<DB> {
    fn drop(&mut self) {
        let (Some(conn), slot) = (self.conn.take(), self.slot.take()) else { return };
        if self.is_spoilt {
            drop(conn.detach());
            return;
        }
        let is_in_transaction = self.is_in_transaction;
        // Without a runtime the process is about to end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                give_back(conn, is_in_transaction).await;
                drop(slot);
            });
        }
    }
}

/// Returns a connection to its pool, after a rollback of its open transaction. A connection whose rollback fails or does
/// not end in time is closed, also because a query that was cancelled still runs on it.
async fn give_back<DB: Driver>(mut conn: PoolConnection<DB>, is_in_transaction: bool) {
    if is_in_transaction {
        let ended = timeout(MAX_PROBE_TIME, DB::rollback(&mut conn)).await;
        // SQLite refuses a ROLLBACK if the cancelled BEGIN had no effect.
        if !matches!(ended, Ok(Ok(()) | Err(sqlx::Error::Database(_)))) {
            drop(conn.detach());
            return;
        }
    }
    // The pool pings the connection first, and a statement that was cancelled may still run on it.
    timeout(MAX_PROBE_TIME, conn.return_to_pool()).await.ok();
}
