//! Records: rows of append-only tables, each declared once with [`record!`](crate::record!). The declaration gives the
//! table, the columns with their kinds, the class, the values that are written and how they are read.

use super::position::{LogPosition, Revision};
use super::sql::{ColumnType, Row, StoreError, Table, Value};
use super::version_key::VersionKey;

/// A record: a row of an append-only table. Only [`record!`](crate::record!) implements it.
pub trait Record: Sized {
    /// The table; its first two columns are `idx` and `ordinal`, which the committer assigns.
    const TABLE: &'static Table;
    /// Selects every column that is read, then `idx` and `ordinal`; a list of further columns can follow.
    const SELECT_COLUMNS: &'static str;
    /// Names the table and its alias; a query continues behind it.
    const FROM: &'static str;
    /// Selects every column that is read; a query continues behind the table's alias.
    const SELECT: &'static str;
    /// Selects the newest version of the key `$1`.
    const SELECT_NEWEST: &'static str;
    /// Selects the newest versions of several keys; ends where the list of keys begins.
    const SELECT_NEWEST_BY_KEYS: &'static str;
    /// Selects the records that the entry with the index `$1` wrote, in the order of their ordinals.
    const SELECT_WRITTEN: &'static str;

    /// Returns the values of the columns after `idx` and `ordinal`, in the order of the table.
    fn values(&self) -> Vec<Value>;

    /// Returns the keys of which this record becomes the newest version, each with that version.
    fn versions(&self) -> Vec<(VersionKey, Revision)> {
        Vec::new()
    }

    /// Reads a row of a query that begins with [`Record::SELECT`].
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the table and the column whose value its type cannot hold.
    fn read(row: &Row) -> Result<Self, StoreError>;
}

/// A record with its position in the log.
pub type Located<T> = (LogPosition, T);

/// Reads a record with its position in the log.
///
/// # Errors
/// As [`Record::read`].
pub fn read_located<R: Record>(row: &Row) -> Result<Located<R>, StoreError> {
    Ok((LogPosition { index: row.get("idx")?, ordinal: row.get("ordinal")? }, R::read(row)?))
}

/// Reads the columns of one row in the order in which a record declares them.
pub struct RecordColumns<'a> {
    row: &'a Row,
    table: &'static str,
    next: usize,
}

impl<'a> RecordColumns<'a> {
    /// Begins at the column with this number, from 0.
    #[must_use]
    pub fn new(row: &'a Row, table: &'static str, first: usize) -> Self {
        Self { row, table, next: first }
    }

    /// Reads the next column.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the table and this column.
    pub fn next<T: ColumnType>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let value = self.row.values().get(self.next);
        self.next += 1;
        value.and_then(T::from_value).ok_or_else(|| StoreError::corrupt(self.table, column))
    }
}

/// Declares a record: the struct, its table and everything between them. Each field is the column of the same name.
/// `written` columns are computed from the record and are not read back.
///
/// `record!` takes, behind the struct's name, the table's name, alias and number, its class (a variant of
/// [`TableClass`](crate::store::TableClass)) and whose child its rows are about (a variant of
/// [`RecordSubject`](crate::store::RecordSubject)). A number is never given to a second table. Behind a field's type can
/// stand `[since(2)]`, the format of entries that added the column, or `[wrapped]`.
#[macro_export]
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident in $table:literal as $alias:ident, $number:literal, $class:ident, $subject:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty $([$($modifier:ident $(($argument:expr))?)+])?,)*
        }
        $(written { $($derived:ident: $derived_type:ty = |$derived_row:ident| $derive:expr;)* })?
        $(versions = |$row:ident| $versions:expr;)?
    ) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type,)* }

        impl $crate::store::Record for $name {
            const TABLE: &'static $crate::store::Table = &$crate::store::Table {
                name: $table,
                number: $number,
                class: $crate::store::TableClass::$class,
                subject: $crate::store::RecordSubject::$subject,
                columns: &[
                    $crate::store::Column::new::<i64>("idx"),
                    $crate::store::Column::new::<i64>("ordinal"),
                    $($($crate::store::Column::new::<$derived_type>(stringify!($derived)),)*)?
                    $($crate::store::Column::new::<$type>(stringify!($field))$($(.$modifier($($argument)?))+)?,)*
                ],
                replace_key: &[],
                versions: |row| {
                    let written: &[&str] = &[$($(stringify!($derived),)*)?];
                    let columns = $crate::store::RecordColumns::new(row, $table, 2 + written.len());
                    let versions = <Self as $crate::store::Record>::versions(&Self::read_columns(columns)?);
                    Ok(versions.into_iter().map(|(key, version)| (key.into_bytes(), version.get())).collect())
                },
            };
            const SELECT_COLUMNS: &'static str = $crate::record!(@columns $alias, [$($field)*]);
            const FROM: &'static str = concat!(" FROM ", $table, " ", stringify!($alias), " ");
            const SELECT: &'static str = $crate::record!(@select $table, $alias, [$($field)*], [""]);
            const SELECT_NEWEST: &'static str = $crate::record!(@newest $table, $alias, [$($field)*], "= $1");
            const SELECT_NEWEST_BY_KEYS: &'static str = $crate::record!(@newest $table, $alias, [$($field)*], "");
            const SELECT_WRITTEN: &'static str = $crate::record!(@select $table, $alias, [$($field)*], [
                "WHERE ", stringify!($alias), ".idx = $1 ORDER BY ", stringify!($alias), ".ordinal"
            ]);

            fn values(&self) -> Vec<$crate::store::Value> {
                vec![
                    $($({
                        let $derived_row = self;
                        $crate::store::ColumnType::to_value(&$derive)
                    },)*)?
                    $($crate::store::ColumnType::to_value(&self.$field),)*
                ]
            }

            $(fn versions(&self) -> Vec<($crate::store::version_key::VersionKey, $crate::store::Revision)> {
                let $row = self;
                $versions
            })?

            fn read(row: &$crate::store::Row) -> Result<Self, $crate::store::StoreError> {
                Self::read_columns($crate::store::RecordColumns::new(row, $table, 0))
            }
        }

        impl $name {
            fn read_columns(
                mut columns: $crate::store::RecordColumns<'_>,
            ) -> Result<Self, $crate::store::StoreError> {
                Ok(Self { $($field: columns.next(stringify!($field))?,)* })
            }
        }
    };
    (@columns $alias:ident, [$($field:ident)*]) => {
        concat!(
            "SELECT ",
            $(stringify!($alias), ".", stringify!($field), ", ",)*
            stringify!($alias), ".idx, ", stringify!($alias), ".ordinal"
        )
    };
    (@select $table:literal, $alias:ident, [$($field:ident)*], [$($rest:tt)*]) => {
        concat!(
            $crate::record!(@columns $alias, [$($field)*]), " FROM ", $table, " ", stringify!($alias), " ", $($rest)*
        )
    };
    (@newest $table:literal, $alias:ident, [$($field:ident)*], $end:literal) => {
        $crate::record!(@select $table, $alias, [$($field)*], [
            "JOIN current_versions v ON v.idx = ", stringify!($alias), ".idx AND v.ordinal = ",
            stringify!($alias), ".ordinal WHERE v.key ", $end
        ])
    };
}

/// Gives the text of a query for a record, a `&'static str`: its [`Record::SELECT`] and the rest of the statement. With
/// `and`, further columns are selected, which are read by name.
#[macro_export]
macro_rules! select {
    ($record:ty, $rest:expr) => {
        $crate::select!(@concat &[<$record as $crate::store::Record>::SELECT, $rest])
    };
    ($record:ty, and $columns:expr, $rest:expr) => {
        $crate::select!(@concat &[
            <$record as $crate::store::Record>::SELECT_COLUMNS,
            ", ",
            $columns,
            <$record as $crate::store::Record>::FROM,
            $rest,
        ])
    };
    (@concat $parts:expr) => {{
        const PARTS: &[&str] = $parts;
        const BYTES: [u8; $crate::store::total_length(PARTS)] = $crate::store::concat_bytes(PARTS);
        const SQL: &str = $crate::store::text_of(&BYTES);
        SQL
    }};
}

/// Returns the number of bytes of some texts.
#[must_use]
pub const fn total_length(mut texts: &[&str]) -> usize {
    let mut length = 0;
    while let [text, rest @ ..] = texts {
        length += text.len();
        texts = rest;
    }
    length
}

/// Concatenates texts at compile time; `N` is their [`total_length`].
#[must_use]
pub const fn concat_bytes<const N: usize>(mut texts: &[&str]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut free: &mut [u8] = &mut bytes;
    while let [text, rest @ ..] = texts {
        let mut text = text.as_bytes();
        while let [byte, tail @ ..] = text {
            if let [slot, others @ ..] = free {
                *slot = *byte;
                free = others;
            }
            text = tail;
        }
        texts = rest;
    }
    bytes
}

/// Returns the text of bytes that [`concat_bytes()`] made; empty for any others.
#[must_use]
pub const fn text_of(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => "",
    }
}
