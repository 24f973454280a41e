//! The one place that names a database driver: values, statements, connections and pools that speak to
//! SQLite or PostgreSQL with one SQL text.
//!
//! Statements are written once with `$1…`; bulk text is built here from [`Table`] constants only, never
//! from input. SQLite's multi-row statements use bare `?`: numbered parameters are looked up one by one
//! there, which made them 35 times slower. Nothing above `store/` sees a driver's type.

mod bulk;
mod conn;
mod error;
mod open;
mod postgres;
mod value;

pub use conn::Conn;
pub use error::StoreError;
pub use open::{Database, Location};
pub use value::{Column, Kind, Row, Table, Value};
