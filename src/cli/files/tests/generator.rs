//! Generator of random registers: first the marks, then the mutations that they suffer on the way into a file.

use super::rng::Rng;

/// Mark that a file contains, with its position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExpectedMark {
    pub row: u64,
    pub line: u64,
    pub child: String,
    pub date: String,
    pub half: &'static str,
    pub code: String,
    pub comment: String,
}

/// Mutation of a file because of which the reader may refuse rows or the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    StrayQuote,
    CellCut,
    CellTooMany,
    BadDate,
    BadSession,
    MonthFirst,
    ColumnRepeated,
    ColumnOfMarks,
    BytesChanged,
    RowAbove,
    LineBreakWithSeparator,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ColumnKind {
    Upn,
    Reference,
    Surname,
    Date,
    Session,
    Mark,
    Late,
    Comment,
    Noise,
    Week,
    String,
    Cell(usize, usize),
    Half(usize),
}

/// Generated file with the marks that it contains.
pub struct GeneratedFile {
    pub bytes: Vec<u8>,
    pub expected_marks: Vec<ExpectedMark>,
    pub mutations: Vec<Mutation>,
}

const DAYS: [(&str, &str, &[&str]); 5] = [
    ("02/11/2026", "2026-11-02", &["Mon", "Monday", "MON."]),
    ("03/11/2026", "2026-11-03", &["Tue", "Tues", "Tuesday"]),
    ("04/11/2026", "2026-11-04", &["Wed", "Weds", "Wednesday"]),
    ("05/11/2026", "2026-11-05", &["Thu", "Thur", "Thurs"]),
    ("06/11/2026", "2026-11-06", &["Fri", "Friday", "fri"]),
];
const HALVES: [(&str, &[&str]); 2] =
    [("AM", &["AM", "am", "Morning", "a.m."]), ("PM", &["PM", "pm", "Afternoon"])];
const NAMES: [&str; 6] = ["Adeyemi", "Ó Séaghdha", "de la Cruz", "Smith-Jones", "O'Neil", "Zoë \"Zo\""];
const NOTES: [&str; 6] = ["", "", "", "overslept, 10 min", "he said \"no\"", "rang home"];
const CODES: [&str; 8] = ["/", "\\", "L", "I", "N", "O", "C2", ""];

struct GeneratedRow {
    cells: Vec<String>,
    /// Child, date, half, code and comment of each mark.
    expected_marks: Vec<(String, String, &'static str, String, String)>,
}

impl GeneratedFile {
    pub fn random(rng: &mut Rng) -> Self {
        let mut done = Vec::new();
        let columns = columns(rng, &mut done);
        let headings: Vec<String> = columns.iter().map(|kind| heading(rng, *kind)).collect();
        let two_rows = columns.iter().all(|kind| !matches!(kind, ColumnKind::Half(_))) && rng.once_in(3);
        let mut rows = Vec::new();
        for title in ["Riverside AP - Register", "Printed 20/11/2026 15:02", ""] {
            if rng.once_in(4) {
                rows.push(GeneratedRow { cells: vec![title.to_owned()], expected_marks: Vec::new() });
            }
        }
        let mut body: Vec<GeneratedRow> = content(rng, &columns, &mut done);
        if rng.once_in(60) && !body.is_empty() {
            done.push(Mutation::RowAbove);
            rows.push(body.remove(0));
        }
        let heads = head_rows(&columns, &headings, two_rows);
        let again = heads.clone();
        rows.extend(heads.into_iter().map(|cells| GeneratedRow { cells, expected_marks: Vec::new() }));
        for row in body {
            if rng.once_in(8) {
                let blank = if rng.once_in(2) { Vec::new() } else { vec![String::new(); columns.len()] };
                rows.push(GeneratedRow { cells: blank, expected_marks: Vec::new() });
            }
            if rng.once_in(15) {
                rows.extend(
                    again.iter().cloned().map(|cells| GeneratedRow { cells, expected_marks: Vec::new() }),
                );
            }
            rows.push(row);
        }
        if rng.once_in(5) {
            let mut total = vec![String::new(); columns.len()];
            total[0] = "Total".to_owned();
            let names_child = matches!(columns.last(), Some(ColumnKind::Upn | ColumnKind::Reference));
            if let Some(last) = total.last_mut().filter(|_| !names_child) {
                last.push_str(if rng.once_in(2) { "12" } else { "" });
            }
            rows.push(GeneratedRow { cells: total, expected_marks: Vec::new() });
        }
        render(rng, &rows, done)
    }

    /// Returns whether the reader may refuse the whole file.
    pub fn may_be_refused(&self) -> bool {
        let harmless = [Mutation::CellCut, Mutation::CellTooMany, Mutation::BadDate, Mutation::BadSession];
        self.expected_marks.is_empty() || self.mutations.iter().any(|done| !harmless.contains(done))
    }

    /// Returns whether the reader may leave rows out, if it reports them.
    pub fn may_lose_rows(&self) -> bool {
        !self.mutations.is_empty()
    }

    /// Returns whether the content of the file is undefined, because random bytes were changed.
    pub fn is_garbled(&self) -> bool {
        self.mutations.contains(&Mutation::BytesChanged)
    }
}

fn columns(rng: &mut Rng, done: &mut Vec<Mutation>) -> Vec<ColumnKind> {
    let mut columns = vec![if rng.once_in(3) { ColumnKind::Reference } else { ColumnKind::Upn }];
    match rng.below(5) {
        0 | 1 => columns.extend([ColumnKind::Date, ColumnKind::Session, ColumnKind::Mark, ColumnKind::Late]),
        2 => columns.extend([ColumnKind::Date, ColumnKind::Half(0), ColumnKind::Half(1)]),
        3 => columns.extend([ColumnKind::Week, ColumnKind::String]),
        _ => {
            let days = 1 + rng.below(5);
            columns.extend((0..days).flat_map(|day| [ColumnKind::Cell(day, 0), ColumnKind::Cell(day, 1)]));
        }
    }
    for extra in [ColumnKind::Surname, ColumnKind::Noise, ColumnKind::Comment] {
        if rng.once_in(2) {
            columns.push(extra);
        }
    }
    if rng.once_in(3) {
        for at in (1..columns.len()).rev() {
            columns.swap(at, rng.below(at + 1));
        }
    }
    if rng.once_in(40) {
        done.push(Mutation::ColumnRepeated);
        columns.push(columns[rng.below(columns.len())]);
    }
    if rng.once_in(60) {
        done.push(Mutation::ColumnOfMarks);
    }
    columns
}

fn heading(rng: &mut Rng, kind: ColumnKind) -> String {
    let name = match kind {
        ColumnKind::Upn => rng.one_of(&["UPN", "upn", "Unique Pupil Number", "unique_pupil_number"]),
        ColumnKind::Reference => rng.one_of(&["Ref", "Provider Reference", "REFERENCE"]),
        ColumnKind::Surname => rng.one_of(&["Surname", "Legal Surname", "last name"]),
        ColumnKind::Date => rng.one_of(&["Date", "DATE", " Date "]),
        ColumnKind::Session => rng.one_of(&["Session", "session"]),
        ColumnKind::Mark => rng.one_of(&["Mark", "Code", "Attendance Code"]),
        ColumnKind::Late => rng.one_of(&["Minutes Late", "Mins Late"]),
        ColumnKind::Comment => rng.one_of(&["Comment", "Notes"]),
        ColumnKind::Noise => rng.one_of(&["House", "Year group", "Sex, as recorded", "Tutor"]),
        ColumnKind::Week => rng.one_of(&["Week Commencing", "W/C"]),
        ColumnKind::String => "Marks",
        ColumnKind::Half(half) => rng.one_of(HALVES[half].1),
        ColumnKind::Cell(day, half) => {
            let half = rng.one_of(HALVES[half].1);
            return match rng.below(3) {
                0 => format!("{} {half}", DAYS[day].0),
                1 => format!("{} {half}", DAYS[day].1),
                _ => format!("{} {} {half}", DAYS[day].2[0], DAYS[day].0),
            };
        }
    };
    name.to_owned()
}

/// Returns the headings as one row, or as a row of days above a row of sessions.
fn head_rows(columns: &[ColumnKind], headings: &[String], two_rows: bool) -> Vec<Vec<String>> {
    let wide = columns.iter().any(|kind| matches!(kind, ColumnKind::Cell(..)));
    // A day is above its AM column only, so the PM column must be next to it.
    let paired = columns.windows(2).all(|pair| match pair {
        [_, ColumnKind::Cell(day, 1)] => pair[0] == ColumnKind::Cell(*day, 0),
        _ => true,
    });
    if !(wide && two_rows && paired && !matches!(columns[0], ColumnKind::Cell(_, 1))) {
        return vec![headings.to_vec()];
    }
    let cell = |kind: &ColumnKind, heading: &String| match kind {
        ColumnKind::Cell(day, 0) => (DAYS[*day].0.to_owned(), "AM".to_owned()),
        ColumnKind::Cell(_, _) => (String::new(), "PM".to_owned()),
        _ => (String::new(), heading.clone()),
    };
    let (above, below) = columns.iter().zip(headings).map(|(kind, heading)| cell(kind, heading)).unzip();
    vec![above, below]
}

fn content(rng: &mut Rng, columns: &[ColumnKind], done: &mut Vec<Mutation>) -> Vec<GeneratedRow> {
    let mut rows = Vec::new();
    let halves = if columns.contains(&ColumnKind::Mark) { 2 } else { 1 };
    for number in 0..=rng.below(5) {
        let days =
            if columns.iter().any(|kind| matches!(kind, ColumnKind::Date)) { 1 + rng.below(4) } else { 1 };
        for day in 0..days {
            for half in 0..halves {
                rows.push(row(rng, columns, (number, day, half), done));
            }
        }
    }
    rows
}

fn has_comment(columns: &[ColumnKind]) -> bool {
    columns.contains(&ColumnKind::Mark) && columns.contains(&ColumnKind::Comment)
}

fn row(
    rng: &mut Rng,
    columns: &[ColumnKind],
    (number, day, half): (usize, usize, usize),
    done: &mut Vec<Mutation>,
) -> GeneratedRow {
    let names = ["MENSAH", "ADEYEMI", "KOWALSKI", "RV-004", "RV-005"];
    let reference = names[number % names.len()].to_owned();
    let upn = format!("E94057861946{number}");
    let child = if columns.contains(&ColumnKind::Upn) { upn.clone() } else { reference.clone() };
    let mut note = rng.one_of(&NOTES).to_owned();
    if rng.once_in(12) {
        note = "rang home\nno answer".to_owned();
    } else if rng.once_in(40) {
        done.extend(columns.contains(&ColumnKind::Comment).then_some(Mutation::LineBreakWithSeparator));
        note = "late\nsorry, he said, and, again; so\tit|was, all of it, really, truly, yes".to_owned();
    }
    // A comment belongs to one mark; rows with several marks have none.
    let comment = if has_comment(columns) { note.clone() } else { String::new() };
    let mut meant = Vec::new();
    let mut mean = |day: usize, half: usize, code: &str| {
        if !code.is_empty() && code != "-" {
            let (date, half) = (DAYS[day].1.to_owned(), HALVES[half].0);
            meant.push((child.clone(), date, half, code.to_owned(), comment.clone()));
        }
    };
    let bad = rng.below(150);
    let mut seen = Vec::new();
    let cells = columns.iter().map(|kind| {
        let again = seen.contains(kind);
        seen.push(*kind);
        match kind {
            ColumnKind::Upn => upn.clone(),
            ColumnKind::Reference => reference.clone(),
            ColumnKind::Surname => rng.one_of(&NAMES).to_owned(),
            ColumnKind::Date if bad == 0 => (done.push(Mutation::BadDate), "31/11/2026".to_owned()).1,
            ColumnKind::Date if bad == 1 => (done.push(Mutation::MonthFirst), "11/13/2026".to_owned()).1,
            ColumnKind::Date => rng.one_of(&[DAYS[day].0, DAYS[day].1]).to_owned(),
            ColumnKind::Session if bad == 2 => (done.push(Mutation::BadSession), "EVE".to_owned()).1,
            ColumnKind::Session => rng.one_of(HALVES[half].1).to_owned(),
            ColumnKind::Late => rng.one_of(&["", "0"]).to_owned(),
            ColumnKind::Comment => note.clone(),
            ColumnKind::Noise if done.contains(&Mutation::ColumnOfMarks) => {
                rng.one_of(&["/", "\\"]).to_owned()
            }
            ColumnKind::Noise => rng.one_of(&["10", "Red", "M", "7B", ""]).to_owned(),
            ColumnKind::Week => "02/11/2026".to_owned(),
            ColumnKind::Mark | ColumnKind::Half(_) | ColumnKind::Cell(..) => {
                let code = if rng.once_in(20) { "-" } else { rng.one_of(&CODES) };
                if !again {
                    match kind {
                        ColumnKind::Half(half) => mean(day, *half, code),
                        ColumnKind::Cell(day, half) => mean(*day, *half, code),
                        _ => mean(day, half, code),
                    }
                }
                code.to_owned()
            }
            ColumnKind::String => {
                let codes: Vec<&str> =
                    (0..rng.below(11)).map(|_| rng.one_of(&["/", "\\", "I", "C2", "-"])).collect();
                let marks = codes.iter().enumerate().filter(|_| !again);
                marks.for_each(|(at, code)| mean(at / 2, at % 2, code));
                codes.concat()
            }
        }
    });
    let cells = cells.collect();
    GeneratedRow { cells, expected_marks: meant }
}

fn render(rng: &mut Rng, rows: &[GeneratedRow], mut done: Vec<Mutation>) -> GeneratedFile {
    let separator = rng.one_of(&[',', ',', ',', ';', '\t', '|']);
    let end = rng.one_of(&["\n", "\r\n", "\r\n", "\r"]);
    let (quote_all, spoil) = (rng.once_in(4), rng.once_in(3));
    let (mut text, mut line, mut meant) = (String::new(), 1, Vec::new());
    for (row, number) in rows.iter().zip(1..) {
        for (child, date, half, code, comment) in row.expected_marks.iter().cloned() {
            meant.push(ExpectedMark { row: number, line, child, date, half, code, comment });
        }
        let mut cells = row.cells.clone();
        let of_marks = !row.expected_marks.is_empty();
        if rng.once_in(6) {
            while cells.len() > 1 && cells.last().is_some_and(String::is_empty) {
                cells.pop();
            }
        }
        // After a stray quote, a separator in a cell cannot be distinguished from one between cells.
        if cells.len() < row.cells.len() && cells.iter().any(|cell| cell.contains(separator)) {
            done.push(Mutation::CellCut);
        }
        // A cell that is cut off is not in the file. The reader must report the row if it had one mark.
        let is_comment =
            row.expected_marks.iter().any(|meant| !meant.4.is_empty() && cells.last() == Some(&meant.4));
        if spoil && row.expected_marks.len() == 1 && !is_comment && rng.once_in(15) {
            done.push(Mutation::CellCut);
            cells.pop();
        }
        if spoil && of_marks && rng.once_in(25) {
            done.push(Mutation::CellTooMany);
            // A row with excess cells and a line break may contain the end of another row.
            done.extend(
                cells.iter().any(|cell| cell.contains('\n')).then_some(Mutation::LineBreakWithSeparator),
            );
            cells.resize(row.cells.len(), String::new());
            cells.push("more".to_owned());
        }
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                text.push(separator);
            }
            let needs = cell.contains(|letter: char| letter == separator || "\"\n\r".contains(letter));
            if spoil && rng.once_in(60) {
                done.push(Mutation::StrayQuote);
                let (before, after) = cell.split_at(cell.chars().next().map_or(0, char::len_utf8));
                let stray = [format!("\"{cell}"), format!("{cell}\""), format!("{before}\"{after}")];
                text.push_str(&stray[rng.below(3)]);
            } else if needs || (quote_all && !cell.is_empty()) || rng.once_in(30) {
                text.push('"');
                text.push_str(&cell.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(cell);
            }
            line += cell.matches('\n').count() as u64;
        }
        text.push_str(end);
        line += 1;
    }
    let mut bytes = encode(rng, &text);
    if rng.once_in(40) && !bytes.is_empty() {
        done.push(Mutation::BytesChanged);
        let at = rng.below(bytes.len());
        bytes[at] = u8::try_from(rng.below(256)).unwrap();
    }
    GeneratedFile { bytes, expected_marks: meant, mutations: done }
}

fn encode(rng: &mut Rng, text: &str) -> Vec<u8> {
    let marked = || format!("\u{feff}{text}");
    match rng.below(6) {
        0 => marked().into_bytes(),
        1 => marked().encode_utf16().flat_map(u16::to_le_bytes).collect(),
        2 => marked().encode_utf16().flat_map(u16::to_be_bytes).collect(),
        3 => text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect(),
        _ => text.as_bytes().to_vec(),
    }
}
