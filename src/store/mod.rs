//! Everything durable: databases, the committer, the log as it is stored.
//!
//! Only the committer writes. A handler reads from a [`Snapshot`], decides, and hands over a
//! [`proposal::Proposal`]; it gets an answer when the proposal and its entry in the log are durable
//! together. Every record table is append-only and keyed by its place in the log (entry, ordinal); one
//! table, `heads`, says which row is newest and guards everything by that version.

mod anchor;
mod answers;
mod appender;
mod appending;
mod bells;
mod budget;
mod committer;
pub mod evidence;
mod folding;
mod follow;
mod group;
pub mod key;
pub mod log;
pub mod nodes;
pub mod opened;
mod position;
mod progress;
pub mod proposal;
mod queue;
pub mod rollback;
mod salts;
mod snapshot;
pub mod sql;
mod tables;
pub mod verification;
mod write;

pub use anchor::Anchor;
pub use appending::{Appending, SEQUENCER};
pub use budget::{ReadBudget, ReadLimits};
pub use committer::{Committer, Fatal};
pub use evidence::Log;
pub use follow::{Condition, Follower, Revocation};
pub use position::{DamagedRow, LogPosition};
pub use progress::{BackgroundTask, Progress};
pub use queue::{Queue, Slot};
pub use salts::Salts;
pub use snapshot::{ReadSet, Snapshot};
pub use sql::{Database, Kind, Location, Row, StoreError, Table, Value};
