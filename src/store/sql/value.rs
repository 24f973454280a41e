//! Values, result rows, and table definitions for bulk inserts.

use std::sync::Arc;

use super::StoreError;

/// A value of one of the three types that both databases store alike, or NULL.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A 64-bit integer: counts, instants in microseconds UTC, codes of enums, booleans as 0 and 1.
    Int(Option<i64>),
    /// Text in UTF-8, compared byte by byte.
    Text(Option<String>),
    /// Bytes: ids (16), hashes (32), sealed values.
    Blob(Option<Vec<u8>>),
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// [`Value::Int`]
    Int,
    /// [`Value::Text`]
    Text,
    /// [`Value::Blob`]
    Blob,
}

/// A Rust type that one column holds.
pub trait ColumnType: Sized {
    /// The kind of the column.
    const KIND: ColumnKind;
    /// Whether the column may hold NULL.
    const IS_NULLABLE: bool = false;

    /// Returns the value to store.
    fn to_value(&self) -> Value;

    /// Reads a stored value; `None` for one that the type cannot hold.
    fn from_value(value: &Value) -> Option<Self>;
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// The kind of its values.
    pub kind: ColumnKind,
    /// Whether it may hold NULL.
    pub is_nullable: bool,
    /// The format of entries since which it is hashed: see [`crate::store::canonical`].
    pub since: u32,
    /// Whether it holds a wrapped key or names the key that wraps it. Such a column is not hashed, because it changes
    /// when the key is wrapped again.
    pub is_wrapped: bool,
}

impl Column {
    /// Declares a column of a type.
    #[must_use]
    pub const fn new<T: ColumnType>(name: &'static str) -> Self {
        Self { name, kind: T::KIND, is_nullable: T::IS_NULLABLE, since: 1, is_wrapped: false }
    }

    /// Declares that the column was added by this format of entries.
    #[must_use]
    pub const fn since(self, format: u32) -> Self {
        Self { since: format, ..self }
    }

    /// Declares that the column belongs to a wrapped key.
    #[must_use]
    pub const fn wrapped(self) -> Self {
        Self { is_wrapped: true, ..self }
    }
}

/// What the log proves of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableClass {
    /// Records: each row belongs to the entry that wrote it.
    Committed,
    /// Derived data: its rows can be made again from committed rows and from the entries.
    Derived,
    /// Wrapped keys: a row changes when its key is wrapped again, and the key stays.
    Wrapped,
    /// Operational state: no reply depends on its rows.
    Operational,
}

/// Which child a table's rows are about, and so which leaf of their entry is taken over them. If the exchange was about
/// no child, they are under the root over rows like those about none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSubject {
    /// No child: the rows are under the root over other rows.
    NoChild,
    /// The child of the placement in the column `placement`.
    PlacementChild,
    /// The child of the placement of which the row is a version; the column `id` holds the placement's id.
    PlacementVersion,
    /// Every child of the entry: each leaf is taken over the rows.
    EveryChild,
}

/// Returns the keys of which a scanned row of a table became the current version, in their stored form, each with the
/// number of that version.
pub type RowVersions = fn(&Row) -> Result<Vec<(Vec<u8>, i64)>, StoreError>;

/// A table as the committer writes it.
#[derive(Debug)]
pub struct Table {
    /// Its name, the same on both databases.
    pub name: &'static str,
    /// Its number, which is hashed with each of its rows. A number is never given to a second table.
    pub number: u16,
    /// What the log proves of it.
    pub class: TableClass,
    /// Which child its rows are about.
    pub subject: RecordSubject,
    /// All columns, in the order of a row's values.
    pub columns: &'static [Column],
    /// The key columns of a table in which a row replaces the one of the same key. Empty if the database refuses a row
    /// of an existing key.
    pub replace_key: &'static [&'static str],
    /// The versions that a row sets in `current_versions`; only records set any.
    pub versions: RowVersions,
}

/// The versions of a row of a table that is no record: none.
///
/// # Errors
/// None.
pub const NO_VERSIONS: RowVersions = |_| Ok(Vec::new());

macro_rules! from {
    ($($rust:ty => $kind:ident($value:ident) $some:expr, $none:expr;)*) => {$(
        impl From<$rust> for Value {
            fn from($value: $rust) -> Self { Self::$kind(Some($some)) }
        }
        impl From<Option<$rust>> for Value {
            fn from(option: Option<$rust>) -> Self { option.map_or(Self::$kind(None), Self::from) }
        }
    )*};
}

from! {
    i64 => Int(value) value, None;
    i32 => Int(value) i64::from(value), None;
    u32 => Int(value) i64::from(value), None;
    bool => Int(value) i64::from(value), None;
    String => Text(value) value, None;
    &str => Text(value) value.to_owned(), None;
    Vec<u8> => Blob(value) value, None;
    &[u8] => Blob(value) value.to_vec(), None;
    [u8; 32] => Blob(value) value.to_vec(), None;
    uuid::Uuid => Blob(value) value.into_bytes().to_vec(), None;
}

impl Value {
    /// Returns NULL for a column of this kind.
    #[must_use]
    pub const fn null(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Int => Self::Int(None),
            ColumnKind::Text => Self::Text(None),
            ColumnKind::Blob => Self::Blob(None),
        }
    }

    /// Returns whether the value is NULL. SQLite gives NULL no kind of its own.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Int(None) | Self::Text(None) | Self::Blob(None))
    }

    /// Returns whether the value is what an added column holds in older rows: NULL, zero or empty.
    #[must_use]
    pub fn is_default(&self) -> bool {
        match self {
            Self::Int(value) => value.is_none_or(|value| value == 0),
            Self::Text(value) => value.as_ref().is_none_or(String::is_empty),
            Self::Blob(value) => value.as_ref().is_none_or(Vec::is_empty),
        }
    }

    /// Appends the canonical encoding of the value: a tag, a length, the bytes. Record rows are hashed in it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut field = |tag: u8, bytes: Option<&[u8]>| {
            out.push(if bytes.is_some() { tag } else { 0 });
            if let Some(bytes) = bytes {
                out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
                out.extend_from_slice(bytes);
            }
        };
        match self {
            Self::Int(value) => field(1, value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
            Self::Text(value) => field(2, value.as_ref().map(String::as_bytes)),
            Self::Blob(value) => field(3, value.as_deref()),
        }
    }
}

/// The names of a result's columns, in their order.
pub(super) type ColumnNames = Arc<[Box<str>]>;

/// A row of a result.
pub struct Row {
    values: Vec<Value>,
    names: ColumnNames,
    sql: &'static str,
}

impl Row {
    pub(super) fn new(values: Vec<Value>, names: ColumnNames, sql: &'static str) -> Self {
        Self { values, names, sql }
    }

    /// Reads the column of this name.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there is no such column or it holds what the type cannot hold.
    pub fn get<T: ColumnType>(&self, column: &'static str) -> Result<T, StoreError> {
        self.find(column).and_then(T::from_value).ok_or_else(|| StoreError::corrupt(self.sql, column))
    }

    /// Reads the text in the column of this name without a copy of it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there is no such column or it holds no text.
    pub fn get_str(&self, column: &'static str) -> Result<&str, StoreError> {
        match self.find(column) {
            Some(Value::Text(Some(text))) => Ok(text),
            _ => Err(StoreError::corrupt(self.sql, column)),
        }
    }

    /// Reads the bytes in the column of this name without a copy of them.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there is no such column or it holds no bytes.
    pub fn get_bytes(&self, column: &'static str) -> Result<&[u8], StoreError> {
        match self.find(column) {
            Some(Value::Blob(Some(bytes))) => Ok(bytes),
            _ => Err(StoreError::corrupt(self.sql, column)),
        }
    }

    /// Returns the value of the column of this name, if there is one.
    #[must_use]
    pub fn value(&self, column: &str) -> Option<Value> {
        self.find(column).cloned()
    }

    fn find(&self, column: &str) -> Option<&Value> {
        let position = self.names.iter().position(|name| **name == *column);
        position.and_then(|position| self.values.get(position))
    }

    /// Returns all values, for code that hashes rows of any table.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}
