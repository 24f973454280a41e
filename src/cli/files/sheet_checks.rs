//! Checks of what only a workbook has: merged cells, formulas without a value and further sheets.

use std::collections::BTreeMap;

use super::csv_reader::CsvReader;
use super::rows;
use super::workbook::{MergedCells, Place, Sheet};
use super::{Diagnostic, Register, Severity};

/// Checks the sheet of a register. Merged cells among the headings or the titles above them are common and harmless. Below
/// them all but the first are empty, so that a mark that was meant for several sessions, or a child for several rows, would
/// be lost without a word.
pub fn check_sheet(register: &mut Register, sheet: &Sheet, text: &str) {
    let (line, last_heading) = register.heading_position();
    if sheet.others > 0 {
        let notice = Diagnostic::for_row(line, last_heading, String::new(), "SHEETS_LEFT_OUT");
        let note = format!("only the first that is shown is read: {}", sheet.name);
        register.diagnostics.push(notice.with_severity(Severity::Notice).with_note(note));
    }
    let (mut merged, mut formulas) = (BTreeMap::new(), BTreeMap::new());
    for cells in sheet.merged.iter().filter(|cells| cells.last_row > last_heading) {
        merged.entry(cells.first.row).or_insert_with(Vec::new).push(*cells);
    }
    for place in &sheet.formulas_without_value {
        formulas.entry(place.row).or_insert_with(Vec::new).push(*place);
    }
    if merged.is_empty() && formulas.is_empty() {
        return;
    }
    let mut faults = Vec::new();
    for record in CsvReader::new(text, register.separator).map_while(Result::ok) {
        let mut add = |column, reason| {
            let column = register.heading(column);
            faults.push(Diagnostic { column, ..Diagnostic::for_file(record.line, record.row, reason) });
        };
        for MergedCells { first, last_row } in merged.remove(&record.row).unwrap_or_default() {
            if last_row > first.row || rows::is_register_row(register, &record) {
                add(first.column, "MERGED_CELLS");
            }
        }
        for Place { column, .. } in formulas.remove(&record.row).unwrap_or_default() {
            add(column, "FORMULA_WITHOUT_VALUE");
        }
    }
    register.diagnostics.extend(faults);
}
