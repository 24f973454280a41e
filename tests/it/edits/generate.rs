//! The edits: made from the schema, for each column and a few rows of each table.

use std::collections::BTreeSet;

use ap_gateway::store::{ColumnKind, Value};

use super::copies::Statement;
use super::schema::FilledTable;

/// Columns of unique indexes. The copy of a row gets other values in them, because the index would refuse it.
const UNIQUE_COLUMNS: [(&str, &str); 2] = [("entries", "exchange"), ("entries", "request_id")];

/// An edit of one table.
pub struct Edit {
    pub table: String,
    /// What is done to which row.
    pub what: String,
    /// The column; empty when rows are deleted, added, swapped or moved.
    pub column: String,
    pub statements: Vec<Statement>,
    /// The entries to which the rows belong, before and after the edit; empty in a table without entries.
    pub entries: BTreeSet<i64>,
}

/// Makes the edits of a table.
pub fn edits_of(table: &FilledTable) -> Vec<Edit> {
    let mut maker = EditMaker { table, edits: Vec::new() };
    if table.rows.is_empty() {
        maker.add_first_row();
        return maker.edits;
    }
    maker.change_values();
    maker.delete_rows();
    maker.add_rows();
    maker.move_rows();
    maker.swap_rows();
    maker.edits
}

struct EditMaker<'a> {
    table: &'a FilledTable,
    edits: Vec<Edit>,
}

impl EditMaker<'_> {
    /// Returns the first, the middle and the last row, each once, with its name.
    fn chosen_rows(&self) -> Vec<(usize, &'static str)> {
        let last = self.table.rows.len() - 1;
        let mut chosen = vec![(last / 2, "middle"), (0, "first"), (last, "last")];
        let mut seen = BTreeSet::new();
        chosen.retain(|(row, _)| seen.insert(*row));
        chosen
    }

    fn change_values(&mut self) {
        for at in 0..self.table.columns.len() {
            let column = &self.table.columns[at];
            let mut rows = self.chosen_rows();
            // A column that may hold NULL is edited both where it does and where it does not.
            for wanted in [true, false] {
                let covered = rows.iter().any(|(row, _)| is_null(&self.table.rows[*row][at]) == wanted);
                if let Some(row) = self.table.rows.iter().position(|row| is_null(&row[at]) == wanted)
                    && !covered
                {
                    rows.push((row, if wanted { "first NULL" } else { "first other" }));
                }
            }
            for (row, name) in rows {
                let value = &self.table.rows[row][at].clone();
                let mut changes = changed_values(value, name == "middle" || name == "first other");
                if !column.is_required && !is_null(value) {
                    changes.push(("set to NULL", Value::null(column.kind)));
                }
                if column.name == "ordinal"
                    && let Value::Int(Some(ordinal)) = value
                {
                    changes.push(("100 more", Value::from(ordinal + 100)));
                }
                for (how, changed) in changes.into_iter().filter(|(_, changed)| changed != value) {
                    self.set(row, at, changed, &format!("{} of the {name} row {how}", column.name));
                }
            }
        }
    }

    fn set(&mut self, row: usize, at: usize, value: Value, what: &str) {
        let mut changed = self.table.rows[row].clone();
        changed[at] = value;
        let statement = self.update(&self.table.rows[row], &changed, &[at]);
        let entries = [self.entry_of(&self.table.rows[row]), self.entry_of(&changed)];
        let column = self.table.columns[at].name.clone();
        self.add(what.to_owned(), column, vec![statement], entries.into_iter().flatten().collect());
    }

    fn delete_rows(&mut self) {
        for (row, name) in self.chosen_rows() {
            let row = &self.table.rows[row];
            let (condition, arguments) = self.condition(row, 1);
            let statement = (format!("DELETE FROM {} WHERE {condition}", self.table.name), arguments);
            let entries = self.entry_of(row).into_iter().collect();
            self.add(format!("the {name} row deleted"), String::new(), vec![statement], entries);
        }
    }

    /// Adds a row to a table that has none.
    fn add_first_row(&mut self) {
        let made_up = |kind: ColumnKind| match kind {
            ColumnKind::Int => Value::from(0_i64),
            ColumnKind::Text => Value::from("x"),
            ColumnKind::Blob => Value::from(vec![1; 16]),
        };
        let row = self.table.columns.iter().map(|column| made_up(column.kind)).collect();
        self.insert("a first row added", row);
    }

    fn insert(&mut self, what: &str, row: Vec<Value>) {
        let names: Vec<&str> = self.table.columns.iter().map(|column| column.name.as_str()).collect();
        let places: Vec<String> = (1..=row.len()).map(|number| format!("${number}")).collect();
        let (table, names, places) = (&self.table.name, names.join(", "), places.join(", "));
        let sql = format!("INSERT INTO {table} ({names}) VALUES ({places})");
        let entries = self.entry_of(&row).into_iter().collect();
        self.add(what.to_owned(), String::new(), vec![(sql, row)], entries);
    }

    /// Adds a copy of a row under another key, and under another entry.
    fn add_rows(&mut self) {
        let (first, middle) =
            (self.table.rows[0].clone(), self.table.rows[self.table.rows.len() / 2].clone());
        let Some(last) = self.table.key().pop() else { return };
        let another = |row: &[Value]| {
            let mut copy = row.to_vec();
            for (_, column) in UNIQUE_COLUMNS.iter().filter(|(table, _)| *table == self.table.name) {
                let at = self.table.position(column).unwrap();
                if !is_null(&copy[at]) {
                    copy[at] = another_value(&copy[at]);
                }
            }
            let is_whole_key = self.table.key().len() == 1;
            copy[last] = match (&copy[last], &self.table.rows[self.table.rows.len() - 1][last]) {
                // Behind all rows.
                (Value::Int(_), Value::Int(Some(highest))) if is_whole_key => Value::from(highest + 1),
                (Value::Int(Some(number)), _) => Value::from(number + 1_000),
                (value, _) => another_value(value),
            };
            copy
        };
        let mut copies = vec![("a copy of the middle row added", another(&middle))];
        if let Some(idx) = self.table.position("idx")
            && self.table.key().len() > 1
            && first[idx] != middle[idx]
        {
            let mut copy = another(&middle);
            copy[idx] = first[idx].clone();
            copies.push(("a copy of the middle row added to the first entry", copy));
        }
        for (what, copy) in copies {
            self.insert(what, copy);
        }
    }

    /// Moves a row to the entry of another row, behind that entry's rows.
    fn move_rows(&mut self) {
        let (Some(idx), Some(ordinal)) = (self.table.position("idx"), self.table.position("ordinal")) else {
            return;
        };
        for (row, name) in self.chosen_rows() {
            let row = self.table.rows[row].clone();
            let Some(other) = self.table.rows.iter().rev().find(|other| other[idx] != row[idx]) else {
                continue;
            };
            let mut moved = row.clone();
            moved[idx] = other[idx].clone();
            moved[ordinal] = Value::from(500_i64);
            let statement = self.update(&row, &moved, &[idx, ordinal]);
            let entries = [self.entry_of(&row), self.entry_of(&moved)].into_iter().flatten().collect();
            let what = format!("the {name} row moved to another entry");
            self.add(what, String::new(), vec![statement], entries);
        }
    }

    /// Swaps the contents of two rows by swapping their keys, which unique columns permit: two rows of one entry, and
    /// two of different entries.
    fn swap_rows(&mut self) {
        let idx = self.table.position("idx");
        let key = self.table.key();
        let contents = |row: &Vec<Value>| {
            let positions = (0..row.len()).filter(|at| !key.contains(at));
            positions.map(|at| row[at].clone()).collect::<Vec<_>>()
        };
        let pairs = || self.table.rows.iter().zip(self.table.rows.iter().skip(1)).rev();
        let differ = |(one, other): &(&Vec<Value>, &Vec<Value>)| contents(one) != contents(other);
        let is_one_entry =
            |(one, other): &(&Vec<Value>, &Vec<Value>)| idx.is_some_and(|idx| one[idx] == other[idx]);
        let near = pairs().find(|pair| differ(pair) && is_one_entry(pair));
        let far = pairs().find(|pair| differ(pair) && !is_one_entry(pair));
        let mut swaps = Vec::new();
        for (pair, name) in [(near, "of one entry"), (far, "of two entries")] {
            let Some((one, other)) = pair else { continue };
            let mut aside = one.clone();
            aside[key[0]] = match &one[key[0]] {
                Value::Int(_) => Value::from(-7_i64),
                Value::Text(_) => Value::from("aside"),
                Value::Blob(_) => Value::from(b"aside".to_vec()),
            };
            let statements = vec![
                self.update(one, &aside, &key),
                self.update(other, one, &key),
                self.update(&aside, other, &key),
            ];
            let entries = [self.entry_of(one), self.entry_of(other)].into_iter().flatten().collect();
            swaps.push((format!("two rows {name} swapped"), statements, entries));
        }
        for (what, statements, entries) in swaps {
            self.add(what, String::new(), statements, entries);
        }
    }

    /// Returns the statement that sets columns of one row to the values of another.
    fn update(&self, row: &[Value], to: &[Value], columns: &[usize]) -> Statement {
        let set: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(number, at)| format!("{} = ${}", self.table.columns[*at].name, number + 1))
            .collect();
        let (condition, key) = self.condition(row, columns.len() + 1);
        let values = columns.iter().map(|at| to[*at].clone()).chain(key).collect();
        (format!("UPDATE {} SET {} WHERE {condition}", self.table.name, set.join(", ")), values)
    }

    /// Returns the condition that selects a row by its key, whose first argument has this number, and the arguments.
    fn condition(&self, row: &[Value], first: usize) -> (String, Vec<Value>) {
        let key = self.table.key();
        let parts: Vec<String> = (key.iter().zip(first..))
            .map(|(at, number)| format!("{} = ${number}", self.table.columns[*at].name))
            .collect();
        (parts.join(" AND "), key.iter().map(|at| row[*at].clone()).collect())
    }

    fn entry_of(&self, row: &[Value]) -> Option<i64> {
        match &row[self.table.position("idx")?] {
            Value::Int(index) => *index,
            _ => None,
        }
    }

    fn add(&mut self, what: String, column: String, statements: Vec<Statement>, entries: BTreeSet<i64>) {
        self.edits.push(Edit { table: self.table.name.clone(), what, column, statements, entries });
    }
}

fn is_null(value: &Value) -> bool {
    matches!(value, Value::Int(None) | Value::Text(None) | Value::Blob(None))
}

/// Returns other values of the same type: one, or several that go each another way.
fn changed_values(value: &Value, several: bool) -> Vec<(&'static str, Value)> {
    let mut changes = match value {
        Value::Int(Some(number)) => vec![
            ("1 more", Value::from(number.wrapping_add(1))),
            ("1 less", Value::from(number.wrapping_sub(1))),
            ("set to the largest number", Value::from(i64::MAX)),
        ],
        Value::Text(Some(text)) if text.is_empty() => vec![("set", Value::from("x"))],
        Value::Text(Some(text)) => vec![
            ("with another last letter", Value::from(with_another_letter(text, text.chars().count() - 1))),
            ("with another first letter", Value::from(with_another_letter(text, 0))),
            ("emptied", Value::from("")),
        ],
        Value::Blob(Some(bytes)) if bytes.is_empty() => vec![("set", Value::from(vec![1]))],
        Value::Blob(Some(bytes)) => vec![
            ("with its last bit flipped", Value::from(with_flipped_bit(bytes, bytes.len() - 1, 1))),
            ("with its first bit flipped", Value::from(with_flipped_bit(bytes, 0, 0x80))),
            ("a byte shorter", Value::from(bytes[..bytes.len() - 1].to_vec())),
        ],
        Value::Int(None) => vec![("set", Value::from(1_i64))],
        Value::Text(None) => vec![("set", Value::from("x"))],
        Value::Blob(None) => vec![("set", Value::from(vec![1; 16]))],
    };
    changes.truncate(if several { changes.len() } else { 1 });
    changes
}

/// Returns one other value of the same type.
fn another_value(value: &Value) -> Value {
    changed_values(value, false).remove(0).1
}

/// Changes a letter to the next one, and a digit to the next digit, so that a date or a number stays one.
fn with_another_letter(text: &str, position: usize) -> String {
    let change = |(at, letter): (usize, char)| match letter {
        _ if at != position => letter,
        '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from_u32(u32::from(letter) + 1).unwrap(),
        '9' => '0',
        _ => 'a',
    };
    text.chars().enumerate().map(change).collect()
}

fn with_flipped_bit(bytes: &[u8], position: usize, bit: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[position] ^= bit;
    changed
}
