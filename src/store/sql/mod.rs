//! The one place that names a database driver: values, statements, connections and pools that speak to
//! SQLite or PostgreSQL with one SQL text.
//!
//! Statements are written once with `$1…`; bulk text is built here from [`Table`] constants only, never
//! from input. Two drivers speak to SQLite: sqlx for readers and migrations, as for PostgreSQL, and rusqlite for the
//! committer (see `own`). Nothing above `store/` sees a driver's type.

mod bulk;
mod conn;
mod error;
mod open;
mod own;
mod postgres;
mod together;
mod value;

pub use bulk::Rows;
pub use conn::Conn;
pub use error::StoreError;
pub use open::{Database, Location};
pub use own::{Folder, Unsynced};
pub use together::{Of, Question};
pub use value::{Column, Kind, Row, Table, Value};
