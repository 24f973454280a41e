//! Errors after which the process must end.

use super::sql::StoreError;

/// An error after which the process must end.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// A write or a sync failed: what is on the disk is not known any more.
    #[error("the disk failed while the log was written")]
    Disk(#[source] StoreError),
    /// The database reported that its files are damaged: nothing that is read from it can be relied on.
    #[error("the database is damaged")]
    Damaged(#[source] StoreError),
    /// The anchor could not be synced.
    #[error("the disk failed while the anchor was synced")]
    Anchor(#[source] std::io::Error),
    /// The log in the database does not continue the log that this node has, or a value in it is not what was written.
    #[error("the log in the database does not continue this node's")]
    Diverged(#[source] StoreError),
    /// A thread or task of the committer ended without an error: a fault of the program.
    #[error("the committer ended unexpectedly")]
    UnexpectedEnd,
    /// A background task returned that never should: a fault of the program.
    #[error("the background task {0} ended")]
    TaskEnded(&'static str),
}
