//! Limits of the time that PostgreSQL may take to respond.

use std::time::Duration;

/// Maximum time for a response before the connection counts as lost. sqlx has no such timeout: without this, only the
/// kernel would detect that a server's machine has failed.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(10);
/// Maximum time for a server to report whether it is the primary, or to end a transaction.
pub(super) const MAX_PROBE_TIME: Duration = Duration::from_secs(2);

/// Waits for PostgreSQL's response, with a timeout. After a timeout the connection must not be used again.
pub(super) async fn with_timeout<T>(
    response: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(MAX_RESPONSE_TIME, response).await.unwrap_or_else(|_| Err(timeout_error()))
}

/// Returns the error for a server that does not respond in time.
pub(super) fn timeout_error() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}
