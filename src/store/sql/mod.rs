//! Database access: values, statements, connections and pools, with one SQL text for SQLite and PostgreSQL.
//! No other module names a database driver.
//!
//! Statements are written once, with parameters `$1…`. SQL text of bulk inserts is built here from [`Table`] constants,
//! never from input. SQLite has two drivers: sqlx for readers and migrations, as PostgreSQL has, and rusqlite for the
//! committer (see `sqlite_writer`). No driver's type is visible outside `store/`.

mod batch_query;
mod bulk_insert;
mod column_types;
mod commit_notices;
mod conn;
mod connection_queue;
mod database;
mod error;
mod lease;
mod migration_plan;
mod postgres;
mod postgres_settings;
mod postgres_start;
mod rights;
mod schema;
mod schema_objects;
pub mod segment;
mod set_query;
mod sqlite_writer;
mod table_scan;
mod timeouts;
mod value;

pub use batch_query::{Lookup, LookupFilter};
pub use bulk_insert::TableRows;
pub use conn::Conn;
pub use connection_queue::GATEWAY;
pub use database::{Database, DatabaseLocation};
pub use error::StoreError;
pub use migration_plan::{MigrationLock, PlannedMigration, PlannedStatement};
pub use schema::{SchemaMismatch, sqlite_schema_version};
pub use schema_objects::SchemaDifferences;
pub use set_query::ValueSet;
pub use sqlite_writer::{SqliteWalCheckpointer, UnsyncedCommit};
pub use value::{
    Column, ColumnKind, ColumnType, NO_VERSIONS, RecordSubject, Row, RowVersions, Table, TableClass, Value,
};
