//! Durable storage: the databases, the committer, and the stored log.
//!
//! Only the committer writes. A handler reads from a [`Snapshot`], decides, and submits a
//! [`proposal::Proposal`]; it gets the outcome once the proposal and its log entry are durable together.
//! Every record table is append-only and keyed by its position in the log (entry index, ordinal). One
//! table, `current_versions`, names the newest row of everything; its versions are what guards check.

mod anchor;
mod budget;
pub mod canonical;
mod commitment_salts;
mod committer;
mod condition;
mod durability;
mod durability_state;
pub mod entry_commitments;
pub mod evidence;
mod fatal;
mod fault_log;
mod group_plan;
mod group_writer;
pub mod key_ring_check;
pub mod log;
mod log_follower;
pub mod log_indexer;
pub mod log_startup;
mod mailbox_notifier;
pub mod moment;
pub mod nodes;
mod position;
pub mod proposal;
mod queue;
mod record;
pub mod remake;
pub mod rollback;
mod sequencer;
mod sequencer_handle;
mod snapshot;
pub mod sql;
mod stage_timer;
mod tables;
mod task_progress;
pub mod verification;
pub mod version_key;
mod wal_checkpointer;
mod write_probe;
mod write_reporter;

pub use anchor::Anchor;
pub use budget::{ReadBudget, ReadLimits};
pub use commitment_salts::CommitmentSalts;
pub use committer::Committer;
pub use condition::{NodeCondition, Revocation};
pub use evidence::LogReader;
pub use fatal::FatalError;
pub use fault_log::{FaultLog, error_chain};
pub use key_ring_check::KeyRingMismatch;
pub use log_follower::LogFollower;
pub use log_indexer::LogIndexer;
pub use log_startup::EntryMismatch;
pub use position::{DamagedRow, EntryIndex, LogPosition, Ordinal, Revision};
pub use queue::{InFlightPermit, ProposalQueue};
pub use record::{Located, Record, RecordColumns, concat_bytes, read_located, text_of, total_length};
pub use sequencer_handle::{SEQUENCER_THREAD, SequencerHandle};
pub use snapshot::{ReadSet, ShownTree, Snapshot};
pub use sql::{
    Column, ColumnKind, ColumnType, Database, DatabaseLocation, MigrationLock, NO_VERSIONS, PlannedMigration,
    PlannedStatement, RecordSubject, Row, SchemaMismatch, StoreError, Table, TableClass, Value, ValueSet,
};
pub use tables::{ENTRIES, ENTRY_COLUMNS, TABLES};
pub use task_progress::{BackgroundTask, TaskProgress};
