//! What `check` and `serve` make of each value of each key: the rows of `tests/data/configuration-keys.txt`, and whether
//! they cover every key of the configuration's structs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::Command;

use super::configuration::set_key;
use super::serve_process::ServeFolder;
use super::support::run;

const TABLE: &str = "tests/data/configuration-keys.txt";
/// Folders in which rows are run at the same time.
const FOLDERS: usize = 3;

/// A value of a key, and what comes of it.
#[derive(Clone)]
struct Case {
    key: String,
    name: String,
    /// The value as TOML; `None` if the key is absent.
    value: Option<String>,
    code: i32,
    words: Vec<String>,
}

/// The type of a key, which decides which cases it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Number,
    Flag,
    Text,
    File,
}

impl KeyKind {
    fn of_rust_type(kind: &str) -> Self {
        let kind = kind.trim_start_matches("Option<").trim_start_matches("Vec<").trim_end_matches('>');
        match kind {
            "PathBuf" => Self::File,
            "bool" => Self::Flag,
            "String" | "SocketAddr" | "ManagementAddress" => Self::Text,
            "usize" | "u64" | "u32" | "u16" | "i64" => Self::Number,
            other => panic!(
                "{TABLE}: say in tests/it/configuration_keys.rs which cases a key of type {other} needs"
            ),
        }
    }

    fn needed_cases(self) -> &'static [&'static str] {
        match self {
            Self::Number => &["number"],
            Self::Flag => &["absent", "empty", "wrong type", "set"],
            Self::Text => &["absent", "empty", "wrong type", "wrong value"],
            Self::File => &["absent", "empty", "wrong type", "missing", "unreadable", "folder", "wrong kind"],
        }
    }
}

/// Returns every key of the configuration's structs with its kind, from their source.
fn declared_keys() -> BTreeMap<String, KeyKind> {
    let mut sources = std::fs::read_to_string("src/config.rs").unwrap();
    for file in std::fs::read_dir("src/config").unwrap() {
        sources += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    let mut structs = BTreeMap::<String, Vec<(String, String)>>::new();
    let mut current = "";
    for line in sources.lines().map(str::trim) {
        if let Some((_, name)) = line.split_once("struct ") {
            current = name.trim_end_matches(" {");
        } else if let Some((name, kind)) =
            line.strip_prefix("pub ").and_then(|line| line.strip_suffix(',')?.split_once(": "))
        {
            structs.entry(current.to_owned()).or_default().push((name.to_owned(), kind.to_owned()));
        }
    }
    let mut keys = BTreeMap::new();
    for (name, kind) in &structs["Config"] {
        match structs.get(kind) {
            None => drop(keys.insert(name.clone(), KeyKind::of_rust_type(kind))),
            Some(section) => keys.extend(
                section.iter().map(|(key, kind)| (format!("{name}.{key}"), KeyKind::of_rust_type(kind))),
            ),
        }
    }
    keys
}

/// Returns the rows of the table; those of numbers are still one each.
fn rows() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(TABLE).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('|').map(|column| column.trim().to_owned()).collect()).collect()
}

/// Returns the cases of a row.
fn cases(row: &[String]) -> Vec<Case> {
    let [key, name, value, rest @ ..] = row else { panic!("{TABLE}: {row:?} has fewer than three columns") };
    if name == "number" {
        return number_cases(key, value);
    }
    let code = rest.first().unwrap_or_else(|| panic!("{TABLE}: {row:?} has no exit code"));
    let words = rest.get(1).into_iter().flat_map(|words| words.split(" + ")).map(str::to_owned).collect();
    let value = Some(value.clone()).filter(|_| name != "absent");
    vec![Case { key: key.clone(), name: name.clone(), value, code: code.parse().unwrap(), words }]
}

fn number_cases(key: &str, range: &str) -> Vec<Case> {
    let (least, most) = range.split_once(" to ").unwrap_or_else(|| panic!("{TABLE}: {key}: {range}"));
    let [least, most]: [i64; 2] = [least, most].map(|bound| bound.parse().unwrap());
    let case = |name: &str, value: Option<String>, code| Case {
        key: key.to_owned(),
        name: name.to_owned(),
        value,
        code,
        words: match code {
            0 => Vec::new(),
            _ => vec!["whole number".to_owned(), format!("from {least} to {most}")],
        },
    };
    let taken = [("absent", None), ("least", Some(least)), ("most", Some(most))];
    let beyond = [("below", least - 1), ("above", most + 1), ("negative", -1), ("largest", i64::MAX)];
    let beyond = beyond.into_iter().chain((least > 0).then_some(("zero", 0)));
    let other = [
        ("empty", "\"\""),
        ("text", "\"1000\""),
        ("fraction", "1000.5"),
        ("flag", "true"),
        ("beyond 64 bits", "99999999999999999999"),
    ];
    let taken = taken.into_iter().map(|(name, value)| case(name, value.map(|value| value.to_string()), 0));
    let beyond = beyond.map(|(name, value)| case(name, Some(value.to_string()), 78));
    taken
        .chain(beyond)
        .chain(other.into_iter().map(|(name, value)| case(name, Some(value.to_owned()), 78)))
        .collect()
}

/// Makes the files that the table names.
fn make_files(folder: &ServeFolder) {
    folder.write("empty", "");
    folder.write("private.pem", &std::fs::read_to_string(folder.file_path("ca.pem")).unwrap());
    std::os::unix::fs::symlink("loop", folder.file_path("loop")).unwrap();
    let other = folder.file_path("other.sqlite");
    run(Command::new("sqlite3").arg(&other).arg("CREATE TABLE recipes (id INTEGER)"));
    run(Command::new("chmod").arg("600").arg(&other));
}

/// Runs a case, and returns its fault.
fn fault(folder: &ServeFolder, good: &str, case: &Case) -> Option<String> {
    let Case { key, name, value, code, words } = case;
    let without_sqlite = set_key(good, "database.sqlite", None).0;
    let is_url = key == "database.postgres_url_file" && value.is_some();
    let (text, line) = set_key(if is_url { &without_sqlite } else { good }, key, value.as_deref());
    folder.write("gateway.toml", &text);
    // A refusal is the same for both; a node that serves would not end.
    let verbs: &[&str] = if *code == 0 { &["check"] } else { &["check", "serve"] };
    for verb in verbs {
        let (found, printed) = folder.run_command(verb);
        let lines: Vec<_> = printed.lines().collect();
        let last = key.rsplit('.').next().unwrap();
        let has_words = words.iter().all(|word| printed.contains(word.as_str())) && printed.contains(last);
        // An error in the text names its line; an error in a file names its path.
        let place = format!("gateway.toml line {line}: {key}");
        let has_place = value.is_none() || printed.contains(&place) || printed.contains("(/");
        let is_right = *code == 0 || (lines.len() == 1 && has_words && has_place);
        if found != *code || !is_right {
            let value = value.as_deref().unwrap_or("(absent)");
            return Some(format!("{key} | {name} | {value}: {verb} ends with {found} and prints: {printed}"));
        }
    }
    None
}

#[test]
fn every_key_has_its_rows() {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for row in rows() {
        found.entry(row[0].clone()).or_default().insert(row[1].clone());
    }
    let declared = declared_keys();
    let mut faults = String::new();
    for (key, kind) in &declared {
        let cases = found.remove(key).unwrap_or_default();
        let missing: Vec<_> = kind.needed_cases().iter().filter(|case| !cases.contains(**case)).collect();
        if !missing.is_empty() {
            writeln!(faults, "{key}, a {kind:?}, needs a row for each of {missing:?}").unwrap();
        }
    }
    for key in found.keys() {
        writeln!(faults, "{key} is not a key of the configuration").unwrap();
    }
    assert_eq!(faults, "", "{TABLE}, whose first lines explain its rows:\n{faults}");
}

fn faults(cases: &[Case]) -> Vec<String> {
    let folder = ServeFolder::new();
    make_files(&folder);
    let good = folder.configuration();
    cases.iter().filter_map(|case| fault(&folder, &good, case)).collect()
}

#[test]
fn every_value_has_the_effect_that_the_table_says() {
    let cases: Vec<_> = rows().iter().flat_map(|row| cases(row)).collect();
    let share = cases.len().div_ceil(FOLDERS);
    let found: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = cases.chunks(share).map(|share| scope.spawn(move || faults(share))).collect();
        running.into_iter().flat_map(|share| share.join().unwrap()).collect()
    });
    assert!(found.is_empty(), "{TABLE}:\n{}", found.join("\n"));
}

/// The one cause that no value has by itself: an address that another process listens on.
#[test]
fn an_address_in_use_is_named() {
    let folder = ServeFolder::new();
    let used = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = used.local_addr().unwrap().to_string();
    let (text, _) = set_key(&folder.configuration(), "listen", Some(&format!("\"{address}\"")));
    folder.write("gateway.toml", &text);
    let (code, printed) = folder.run_command("serve");
    assert_eq!((code, printed.lines().count()), (69, 1), "{printed}");
    assert!(printed.contains(&format!("listen on {address}")), "{printed}");
}
