//! Reader of workbooks (.xlsx): the first sheet becomes the text of a CSV file, which goes the same way as any other. A
//! date becomes YYYY-MM-DD and a time HH:MM, so that nothing depends on how a spreadsheet displays them.

use std::io::Cursor;

use calamine::{Data, Range, Reader, Xlsx};
use zip::ZipArchive;

use super::super::Failure;

/// First bytes of a workbook, which is a ZIP archive.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// Largest content of a workbook, in bytes, so that a small file cannot take all memory.
const MAX_CONTENT_BYTES: u64 = 256 << 20;
/// Maximum number of cells of a sheet, those before its first one included.
const MAX_CELLS: usize = 4_000_000;

/// Returns whether a file is a workbook.
#[must_use]
pub fn is_workbook(bytes: &[u8]) -> bool {
    bytes.starts_with(ZIP_MAGIC)
}

/// Returns the first sheet of a workbook as the text of a CSV file with commas.
///
/// # Errors
/// Exit code 64 if the file is no workbook, or is too large.
pub fn to_csv(bytes: &[u8]) -> Result<String, Failure> {
    let unreadable = || Failure::input("not a workbook (.xlsx) that can be read");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| unreadable())?;
    let mut content = 0_u64;
    for index in 0..archive.len() {
        content = content.saturating_add(archive.by_index_raw(index).map_err(|_| unreadable())?.size());
    }
    if content > MAX_CONTENT_BYTES {
        return Err(Failure::input("the workbook is larger than 256 MiB"));
    }
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|_| unreadable())?;
    let sheet = workbook.worksheet_range_at(0).and_then(Result::ok).ok_or_else(unreadable)?;
    sheet_to_csv(&sheet)
}

fn sheet_to_csv(sheet: &Range<Data>) -> Result<String, Failure> {
    let Some((first_row, first_column)) = sheet.start() else {
        return Ok(String::new());
    };
    let offset = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let (rows, columns) = (offset(first_row), offset(first_column));
    let width = columns.saturating_add(sheet.width());
    if width.saturating_mul(rows.saturating_add(sheet.height())) > MAX_CELLS {
        return Err(Failure::input("the sheet has more than 4 million cells"));
    }
    // Rows and columns keep the numbers that the spreadsheet shows.
    let mut text = "\n".repeat(rows);
    for row in sheet.rows() {
        let cells = std::iter::repeat_n(String::new(), columns).chain(row.iter().map(cell_text));
        let cells: Vec<String> = cells.map(|cell| quote(&cell)).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    Ok(text)
}

/// Returns a cell as a person reads it.
fn cell_text(cell: &Data) -> String {
    match cell {
        Data::DateTime(at) if !at.is_datetime() => at.as_f64().to_string(),
        Data::DateTime(at) => {
            let (year, month, day, hour, minute, ..) = at.to_ymd_hms_milli();
            let (date, time) = (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}"));
            match at.as_f64() {
                days if days < 1.0 => time,
                days if days.fract() == 0.0 => date,
                _ => format!("{date} {time}"),
            }
        }
        other => other.to_string(),
    }
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";

    /// Makes a workbook with these cells in the second row; style 1 is a date, style 2 a time.
    pub fn workbook(cells: &str) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let files = [
            (
                "[Content_Types].xml",
                format!(
                    "<Types xmlns=\"{PACKAGE}/content-types\"><Default Extension=\"xml\" \
                     ContentType=\"application/xml\"/></Types>"
                ),
            ),
            (
                "xl/workbook.xml",
                format!(
                    "<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets><sheet name=\"Register\" sheetId=\"1\" \
                     r:id=\"r1\"/></sheets></workbook>"
                ),
            ),
            (
                "xl/_rels/workbook.xml.rels",
                format!(
                    "<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"r1\" \
                     Type=\"{OFFICE}/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
                ),
            ),
            (
                "xl/styles.xml",
                format!(
                    "<styleSheet xmlns=\"{MAIN}\"><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf \
                     numFmtId=\"20\"/></cellXfs></styleSheet>"
                ),
            ),
            (
                "xl/worksheets/sheet1.xml",
                format!(
                    "<worksheet xmlns=\"{MAIN}\"><sheetData><row r=\"2\">{cells}</row></sheetData></worksheet>"
                ),
            ),
        ];
        for (name, content) in files {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn text_cell(place: &str, text: &str) -> String {
        format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
    }

    #[test]
    fn a_sheet_is_the_text_of_a_csv_file() {
        let cells = [
            text_cell("B2", "Kestrel, Wren"),
            "<c r=\"C2\" s=\"1\"><v>46349</v></c>".to_owned(),
            "<c r=\"D2\" s=\"2\"><v>0.5625</v></c>".to_owned(),
            "<c r=\"E2\"><v>25</v></c>".to_owned(),
            text_cell("F2", "/"),
        ];
        let book = workbook(&cells.concat());
        assert!(is_workbook(&book));
        assert_eq!(to_csv(&book).unwrap(), "\n,\"Kestrel, Wren\",2026-11-23,13:30,25,/\n");
    }

    #[test]
    fn what_is_no_workbook_is_refused() {
        let book = workbook("");
        for damaged in [&book[..book.len() / 2], b"PK\x03\x04", b""] {
            assert!(to_csv(damaged).is_err());
        }
    }
}
