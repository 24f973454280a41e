//! Reader of workbooks (.xlsx): the first visible sheet becomes the text of a CSV file, which goes the same way as any
//! other. A date becomes YYYY-MM-DD and a time HH:MM, so that nothing depends on how a spreadsheet displays them.
//!
//! Everything is bounded before it is held: the content of the archive, also where its directory lies about it, the
//! cells of the sheet, and how far from the first one they stand.

use std::io::{Cursor, Read};

use calamine::{Data, DataRef, Dimensions, ExcelDateTime, Reader, SheetType, SheetVisible, Xlsx};
use zip::ZipArchive;

use super::super::Failure;

/// First bytes of a workbook, which is a ZIP archive.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// Largest content of a workbook, in bytes, so that a small file cannot take all memory.
const MAX_CONTENT_BYTES: u64 = 256 << 20;
/// Maximum number of files in the archive.
const MAX_ARCHIVE_FILES: usize = 10_000;
/// Maximum number of cells of a sheet: its rows, counted from the first, times its columns. It also bounds the number of
/// texts for which the workbook asks memory.
const MAX_CELLS: usize = 4_000_000;
/// Maximum number of merged ranges of a sheet.
const MAX_MERGED: usize = 10_000;
/// How the name of the file with the texts of all cells ends, in lower case.
const TEXTS_FILE: &str = "sharedstrings.xml";
/// Name of the attribute by which a workbook says how many texts it has. The library allocates as many.
const TEXT_COUNT: &[u8] = b"uniqueCount";

/// A place in a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Row, from 1.
    pub row: u64,
    /// Index of the column, from 0.
    pub column: usize,
}

/// Cells that were merged into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergedCells {
    /// The first of them, which has the value.
    pub first: Place,
    /// Row of the last of them.
    pub last_row: u64,
}

/// The sheet of a workbook that is read.
#[derive(Debug, Default)]
pub struct Sheet {
    /// Its name.
    pub name: String,
    /// Number of the other sheets, which are not read.
    pub others: usize,
    /// Its cells as CSV, separated by commas.
    pub text: String,
    /// Its merged cells.
    pub merged: Vec<MergedCells>,
    /// Formulas that have no value, because the program that wrote them does not calculate.
    pub formulas_without_value: Vec<Place>,
}

/// Returns whether a file is a workbook.
#[must_use]
pub fn is_workbook(bytes: &[u8]) -> bool {
    bytes.starts_with(ZIP_MAGIC)
}

/// Reads the first visible sheet of a workbook.
///
/// # Errors
/// Exit code 64 if the file is no workbook, has no sheet that is shown, or is too large.
pub fn read(bytes: &[u8]) -> Result<Sheet, Failure> {
    check_content(bytes)?;
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|_| unreadable())?;
    let sheets = workbook.sheets_metadata();
    let is_shown = |sheet: &&calamine::Sheet| {
        sheet.visible == SheetVisible::Visible && sheet.typ == SheetType::WorkSheet
    };
    let shown = sheets.iter().find(is_shown);
    let name = shown.map(|sheet| sheet.name.clone());
    let name = name.ok_or_else(|| Failure::input("the workbook has no sheet that is shown"))?;
    let others = sheets.len().saturating_sub(1);
    let merged = workbook.merge_cells_by_sheet_name(&name).map_err(|_| unreadable())?;
    if merged.len() > MAX_MERGED {
        return Err(too_large());
    }
    let mut cells = workbook.worksheet_cells_reader(&name).map_err(|_| unreadable())?;
    let (mut rows, mut formulas): (Vec<Vec<String>>, _) = (Vec::new(), Vec::new());
    let mut width = 0;
    while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(|_| unreadable())? {
        let (row, column) = (index(cell.pos.0), index(cell.pos.1));
        let text = match cell.value {
            DataRef::Empty if cell.formula.is_some() => {
                formulas.push(place(cell.pos));
                String::new()
            }
            // A cell that has a format only.
            DataRef::Empty => continue,
            value => cell_text(&Data::from(value)),
        };
        width = width.max(column.saturating_add(1));
        let height = rows.len().max(row.saturating_add(1));
        if height.saturating_mul(width) > MAX_CELLS {
            return Err(too_large());
        }
        rows.resize(height, Vec::new());
        if let Some(row) = rows.get_mut(row) {
            row.resize(row.len().max(column + 1), String::new());
            if let Some(cell) = row.get_mut(column) {
                *cell = text;
            }
        }
    }
    let text = rows.iter().map(|row| csv_line(row, width)).collect();
    let merged = merged.into_iter().map(merged_cells).collect();
    Ok(Sheet { name, others, text, merged, formulas_without_value: formulas })
}

/// Checks that the archive can be read whole, within the bounds, before anything of it is parsed.
fn check_content(bytes: &[u8]) -> Result<(), Failure> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| unreadable())?;
    if archive.len() > MAX_ARCHIVE_FILES {
        return Err(too_large());
    }
    let mut left = MAX_CONTENT_BYTES;
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|_| unreadable())?;
        let name = file.name().map_err(|_| unreadable())?;
        let has_texts = name.to_ascii_lowercase().ends_with(TEXTS_FILE);
        // The size in the archive's directory may be a lie.
        let mut bounded = file.take(left.saturating_add(1));
        let mut texts = Vec::new();
        let read = if has_texts {
            bounded.read_to_end(&mut texts).map(|_| u64::try_from(texts.len()).unwrap_or(u64::MAX))
        } else {
            std::io::copy(&mut bounded, &mut std::io::sink())
        };
        left = left.checked_sub(read.map_err(|_| unreadable())?).ok_or_else(too_large)?;
        if has_too_many_texts(&texts) {
            return Err(too_large());
        }
    }
    Ok(())
}

/// Returns whether the list of texts says of itself that it has more of them than a sheet may have cells.
fn has_too_many_texts(content: &[u8]) -> bool {
    let mut counts = content.windows(TEXT_COUNT.len()).enumerate().filter(|(_, word)| *word == TEXT_COUNT);
    counts.any(|(at, _)| {
        let after = content.iter().skip(at + TEXT_COUNT.len());
        let after =
            after.skip_while(|byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'"' | b'\''));
        let digits = after.take_while(|byte| byte.is_ascii_digit());
        let count = digits
            .fold(0_usize, |count, digit| count.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
        count > MAX_CELLS
    })
}

fn unreadable() -> Failure {
    Failure::input(
        "not a workbook (.xlsx) that can be read: save it as .xlsx without a password, or as CSV UTF-8",
    )
}

fn too_large() -> Failure {
    Failure::input("the workbook has more than 4 million cells or 256 MiB")
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn place((row, column): (u32, u32)) -> Place {
    Place { row: u64::from(row) + 1, column: index(column) }
}

fn merged_cells(range: Dimensions) -> MergedCells {
    MergedCells { first: place(range.start), last_row: place(range.end).row }
}

/// Returns a row as a line of CSV. Each row has all columns, so that rows and columns keep the numbers that the spreadsheet
/// shows; one without a cell is an empty line.
fn csv_line(row: &[String], width: usize) -> String {
    if row.is_empty() {
        return "\n".to_owned();
    }
    let blank = String::new();
    let cells = row.iter().chain(std::iter::repeat(&blank)).take(width).map(|cell| quote(cell));
    cells.collect::<Vec<_>>().join(",") + "\n"
}

/// Returns a cell as a person reads it.
fn cell_text(cell: &Data) -> String {
    match cell {
        Data::DateTime(at) if at.is_datetime() => time_text(*at),
        // Hours that may be more than a day: neither a date nor a time of day.
        Data::DateTime(at) => at.as_f64().to_string(),
        Data::DateTimeIso(text) => {
            let (date, time) = text.split_once('T').unwrap_or((text, ""));
            let time = time.strip_suffix('Z').unwrap_or(time);
            let time = time.strip_suffix(":00").filter(|time| time.len() == 5).unwrap_or(time);
            if matches!(time, "" | "00:00") { date.to_owned() } else { format!("{date} {time}") }
        }
        other => other.to_string(),
    }
}

/// Returns a date without a time of day, a time of day without a date, or both.
fn time_text(at: ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = at.to_ymd_hms_milli();
    let seconds = if second == 0 { String::new() } else { format!(":{second:02}") };
    let (date, time) = (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}{seconds}"));
    match at.as_f64() {
        days if days < 1.0 => time,
        days if days.fract() == 0.0 => date,
        _ => format!("{date} {time}"),
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

    use calamine::ExcelDateTimeType;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";

    /// Makes a workbook with this sheet, and with texts of this count if there is one.
    fn workbook(sheet: &str, texts: Option<&str>) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let mut add = |name: &str, content: &str| {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        };
        add(
            "[Content_Types].xml",
            &format!(
                "<Types xmlns=\"{PACKAGE}/content-types\"><Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>"
            ),
        );
        add(
            "_rels/.rels",
            &format!(
                "<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"r1\" Type=\"{OFFICE}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
            ),
        );
        add(
            "xl/workbook.xml",
            &format!(
                "<workbook xmlns=\"{MAIN}\" xmlns:r=\"{OFFICE}\"><sheets><sheet name=\"Register\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
            ),
        );
        add(
            "xl/_rels/workbook.xml.rels",
            &format!(
                "<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"r1\" Type=\"{OFFICE}/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
            ),
        );
        if let Some(count) = texts {
            add("xl/sharedStrings.xml", &format!("<sst xmlns=\"{MAIN}\" {count}></sst>"));
        }
        add(
            "xl/worksheets/sheet1.xml",
            &format!("<worksheet xmlns=\"{MAIN}\"><sheetData>{sheet}</sheetData></worksheet>"),
        );
        archive.finish().unwrap().into_inner()
    }

    fn cell(place: &str) -> String {
        format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>x</t></is></c>")
    }

    #[test]
    fn a_sheet_is_the_text_of_a_csv_file() {
        let sheet = format!("<row r=\"2\">{}</row><row r=\"4\">{}</row>", cell("B2"), cell("A4"));
        let read = read(&workbook(&sheet, Some("uniqueCount=\"3\""))).unwrap();
        assert_eq!((read.text.as_str(), read.name.as_str(), read.others), ("\n,x\n\nx,\n", "Register", 0));
    }

    #[test]
    fn every_minute_of_a_day_is_read_as_it_is_shown() {
        for (day, date) in [(0.0, ""), (46_349.0, "2026-11-23 ")] {
            for minute in 1..1_440_u32 {
                let value = day + f64::from(minute) / 1_440.0;
                let at = ExcelDateTime::new(value, ExcelDateTimeType::DateTime, false);
                assert_eq!(time_text(at), format!("{date}{:02}:{:02}", minute / 60, minute % 60));
            }
        }
        let iso = |text: &str| cell_text(&Data::DateTimeIso(text.to_owned()));
        assert_eq!(iso("2026-11-23T00:00:00"), "2026-11-23");
        assert_eq!(iso("2026-11-23T13:30:00"), "2026-11-23 13:30");
        let hours = ExcelDateTime::new(1.5, ExcelDateTimeType::TimeDelta, false);
        assert_eq!(cell_text(&Data::DateTime(hours)), "1.5");
    }

    /// Checks the bounds with files that are small and would be large, and what is no workbook.
    #[test]
    fn what_is_no_workbook_or_would_be_too_large_is_refused() {
        let book = workbook("", None);
        for damaged in [&book[..book.len() / 2], b"PK\x03\x04", b""] {
            assert!(read(damaged).unwrap_err().to_string().contains("not a workbook"));
        }
        let is_too_large = |book: &[u8]| {
            let refused = read(book).unwrap_err().to_string();
            refused.contains("4 million cells or 256 MiB")
        };
        // The last cell of a sheet: a grid of it would have 17 thousand million cells.
        assert!(is_too_large(&workbook(&format!("<row r=\"1048576\">{}</row>", cell("XFD1048576")), None)));
        for count in ["uniqueCount=\"99999999999999999999\"", "uniqueCount = '5000000'"] {
            assert!(is_too_large(&workbook("", Some(count))), "{count}");
        }
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("xl/media/zeros", SimpleFileOptions::default()).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..257 {
            archive.write_all(&zeros).unwrap();
        }
        let bomb = archive.finish().unwrap().into_inner();
        assert!(bomb.len() < 1 << 20 && is_too_large(&bomb), "{} bytes", bomb.len());
        // The same with a directory that says one byte: the sizes stand in the local header and in the directory.
        let mut lying = bomb;
        let size = (257_u32 << 20).to_le_bytes();
        let places: Vec<usize> = (0..lying.len() - 4).filter(|at| lying[*at..at + 4] == size).collect();
        assert!(!places.is_empty());
        for at in places {
            lying[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
        }
        assert!(read(&lying).is_err());
    }
}
