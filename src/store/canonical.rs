//! Canonical bytes of rows, which the leaves of entries commit to, and the format of entries.
//!
//! A row is: number of its table (2 bytes), format (4), ordinal (8), number of columns (2), then each column as a tag, a
//! length and bytes (see [`Value::encode`]). Numbers are big-endian. The columns are those of the declaration that the
//! entry's format has, without `idx` and `ordinal`, and without those of a wrapped key.

use super::sql::{Column, Table, Value};

/// The format that this release gives its entries. A release that changes what is hashed, or adds a column, takes the
/// next number, and still verifies entries of each earlier one.
pub const ENTRY_FORMAT: u32 = 1;

/// The ordinal of the private columns of an entry, which stand before its rows.
pub const ENTRY_COLUMNS_ORDINAL: i64 = -1;

/// Appends the canonical bytes of a row. `values` are those of the table's columns from the third on, which are `idx` and
/// `ordinal`.
pub fn encode_row(table: &Table, format: u32, ordinal: i64, values: &[Value], out: &mut Vec<u8>) {
    let columns = table.columns.get(2..).unwrap_or_default().iter().zip(values);
    encode_columns(table.number, format, ordinal, columns, out);
}

/// Appends the canonical bytes of some columns of a row.
pub fn encode_columns<'a>(
    table: u16,
    format: u32,
    ordinal: i64,
    columns: impl Iterator<Item = (&'a Column, &'a Value)>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&table.to_be_bytes());
    out.extend_from_slice(&format.to_be_bytes());
    out.extend_from_slice(&ordinal.to_be_bytes());
    let count_at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count: u16 = 0;
    for (_, value) in columns.filter(|(column, _)| is_hashed(column, format)) {
        value.encode(out);
        count = count.saturating_add(1);
    }
    for (byte, number) in out.iter_mut().skip(count_at).zip(count.to_be_bytes()) {
        *byte = number;
    }
}

/// Returns whether entries of a format hash this column.
#[must_use]
pub fn is_hashed(column: &Column, format: u32) -> bool {
    column.since <= format && !column.is_wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::{NO_VERSIONS, RecordSubject, TableClass};

    const TABLE: Table = Table {
        name: "things",
        number: 0x0102,
        class: TableClass::Committed,
        subject: RecordSubject::NoChild,
        columns: &[
            Column::new::<i64>("idx"),
            Column::new::<i64>("ordinal"),
            Column::new::<i64>("number"),
            Column::new::<Vec<u8>>("key").wrapped(),
            Column::new::<String>("later").since(2),
        ],
        replace_key: &[],
        versions: NO_VERSIONS,
    };

    fn encode(format: u32, ordinal: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let values = [Value::from(7_i64), Value::from(&b"wrapped"[..]), Value::from("x")];
        encode_row(&TABLE, format, ordinal, &values, &mut bytes);
        bytes
    }

    #[test]
    fn a_row_is_encoded_as_documented() {
        let number = [&[1][..], &8_u64.to_be_bytes(), &7_i64.to_be_bytes()].concat();
        let head = |format: u8, count: u8| [1, 2, 0, 0, 0, format, 0, 0, 0, 0, 0, 0, 0, 3, 0, count];
        assert_eq!(encode(1, 3), [&head(1, 1)[..], &number].concat());
        let later = [&[2][..], &1_u64.to_be_bytes(), b"x"].concat();
        assert_eq!(encode(2, 3), [&head(2, 2)[..], &number, &later].concat());
        assert_ne!(encode(1, 3), encode(1, 4));
    }
}
