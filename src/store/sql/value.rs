//! The three kinds of value, rows of results, and the shape of a table as the committer writes it.

use super::StoreError;

/// A value of one of the three kinds that both databases store alike.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A 64-bit integer: counts, instants in microseconds UTC, codes of enums, booleans as 0 and 1.
    Int(Option<i64>),
    /// Text in UTF-8, compared byte by byte.
    Text(Option<String>),
    /// Bytes: ids (16), hashes (32), sealed values.
    Blob(Option<Vec<u8>>),
}

/// The kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Value::Int`]
    Int,
    /// [`Value::Text`]
    Text,
    /// [`Value::Blob`]
    Blob,
}

/// A column's name and kind.
pub type Column = (&'static str, Kind);

/// A table as the committer writes it: every column, in the order in which rows give their values.
#[derive(Debug)]
pub struct Table {
    /// Its name, the same on both databases.
    pub name: &'static str,
    /// Its columns, all of them.
    pub columns: &'static [Column],
    /// The columns of its key, when a row of an existing key replaces the old one; empty when such a row
    /// is refused by the database.
    pub replace_by: &'static [&'static str],
}

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
    /// Appends the one unambiguous encoding of the value: a tag, a length, the bytes. Hashes of record
    /// rows are taken over it.
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

/// A row of a result, its values in the order of the statement's columns.
pub struct Row {
    values: Vec<Value>,
    table: &'static str,
}

impl Row {
    pub(super) fn new(values: Vec<Value>, table: &'static str) -> Self {
        Self { values, table }
    }

    pub(super) fn without_first(mut self) -> Self {
        self.values.drain(..1.min(self.values.len()));
        self
    }

    /// An integer that must be there.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not there or is of another kind; so for every accessor.
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or(self.corrupt(column))
    }

    /// Text that must be there.
    ///
    /// # Errors
    /// As for [`Row::int`].
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.opt_text(column)?.ok_or(self.corrupt(column))
    }

    /// Bytes that must be there.
    ///
    /// # Errors
    /// As for [`Row::int`].
    pub fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        self.opt_blob(column)?.ok_or(self.corrupt(column))
    }

    /// A 16-byte id that must be there.
    ///
    /// # Errors
    /// As for [`Row::int`].
    pub fn id(&self, column: usize) -> Result<uuid::Uuid, StoreError> {
        uuid::Uuid::from_slice(self.blob(column)?).map_err(|_| self.corrupt(column))
    }

    /// A 32-byte hash that must be there.
    ///
    /// # Errors
    /// As for [`Row::int`].
    pub fn hash(&self, column: usize) -> Result<[u8; 32], StoreError> {
        self.blob(column)?.try_into().map_err(|_| self.corrupt(column))
    }

    /// An integer, if there is one.
    ///
    /// # Errors
    /// As for [`Row::int`].
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.values.get(column) {
            Some(Value::Int(value)) => Ok(*value),
            other => self.absent(column, other),
        }
    }

    /// Text, if there is any.
    ///
    /// # Errors
    /// As for [`Row::int`].
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.values.get(column) {
            Some(Value::Text(value)) => Ok(value.as_deref()),
            other => self.absent(column, other),
        }
    }

    /// Bytes, if there are any.
    ///
    /// # Errors
    /// As for [`Row::int`].
    pub fn opt_blob(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.values.get(column) {
            Some(Value::Blob(value)) => Ok(value.as_deref()),
            other => self.absent(column, other),
        }
    }

    /// The value as it is stored, for what hashes rows without knowing their meaning.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    fn corrupt(&self, column: usize) -> StoreError {
        StoreError::Corrupt { table: self.table, column }
    }

    /// SQLite gives NULL no kind of its own, so a NULL read as any kind is absent.
    fn absent<T>(&self, column: usize, value: Option<&Value>) -> Result<Option<T>, StoreError> {
        match value {
            Some(Value::Int(None) | Value::Text(None) | Value::Blob(None)) => Ok(None),
            _ => Err(self.corrupt(column)),
        }
    }
}
