//! The canonical form of rows, format by format. A released format never changes, because the log is hashed in it.

use std::fmt::Write;

use ap_gateway::gateway;
use ap_gateway::store::canonical::{ENTRY_FORMAT, is_hashed};
use ap_gateway::store::{Column, ENTRIES, ENTRY_COLUMNS, Table, TableClass};

use super::super::golden;

/// What to do about a difference.
const ADVICE: &str = "entries of this format are hashed so for ever: give a new column or table `since` and a new format, \
                      as docs/migrations.md says";

/// Returns the columns that entries of a format hash, and those of a wrapped key.
fn columns_of(table: &Table, format: u32) -> Vec<String> {
    let columns: &[Column] = if table.number == ENTRIES.number {
        &ENTRY_COLUMNS
    } else {
        table.columns.get(2..).unwrap_or_default()
    };
    let known = columns.iter().filter(|column| column.since <= format);
    let describe = |column: &Column| {
        let wrapped = if is_hashed(column, format) { "" } else { " wrapped" };
        format!("{} {:?}{wrapped}", column.name, column.kind)
    };
    known.map(describe).collect()
}

/// Describes the form: number, name, class and child of each table, and its columns in the order in which they are
/// hashed. Tables that no entry hashes are listed for their numbers.
fn describe(format: u32) -> String {
    let mut tables = gateway::tables();
    tables.sort_by_key(|table| table.number);
    let mut text = format!("format {format}\n");
    for table in tables {
        let is_committed = matches!(table.class, TableClass::Committed | TableClass::Wrapped);
        let columns = if is_committed { columns_of(table, format) } else { Vec::new() };
        if is_committed && columns.is_empty() {
            continue;
        }
        writeln!(text, "\n{} {} {:?} {:?}", table.number, table.name, table.class, table.subject).unwrap();
        for column in columns {
            writeln!(text, "  {column}").unwrap();
        }
    }
    text
}

#[test]
fn the_form_of_each_format_is_what_it_was() {
    for format in 1..=ENTRY_FORMAT {
        let compared = std::panic::catch_unwind(|| {
            golden::check(&format!("src/store/form-{format}.golden"), &describe(format));
        });
        assert!(compared.is_ok(), "src/store/form-{format}.golden: {ADVICE}");
    }
}
