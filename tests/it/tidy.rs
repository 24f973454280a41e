//! Conventions of this repository, checked in every source file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ap_gateway::violation_reason::ViolationReason;

/// Returns the files of a folder and of its folders with an extension, each with its text.
pub fn files_under(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut found) = (vec![root.join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let all: Vec<_> =
        ["src", "tests", "examples"].iter().flat_map(|folder| files_under(folder, "rs")).collect();
    for own in ["src/lib.rs", "tests/it/tidy.rs"] {
        assert!(all.iter().any(|(path, _)| path == Path::new(own)), "{own} is not among them");
    }
    all
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!"), "{}", path.display());
    }
}

#[test]
fn only_the_store_uses_sql_and_inner_modules_do_not_use_tonic() {
    for (path, text) in files_under("src", "rs") {
        let path = path.to_str().unwrap();
        let names_a_driver = ["sqlx::", "rusqlite::"].iter().any(|driver| text.contains(driver));
        assert!(path.starts_with("src/store/sql") || !names_a_driver, "{path}");
        let floors = [
            "src/tlog",
            "src/seal",
            "src/codes",
            "src/calendar",
            "src/store",
            "src/placements",
            "src/passports",
            "src/returns",
        ];
        if floors.iter().any(|floor| path.starts_with(floor)) && !path.contains("tests") {
            assert!(!text.contains("use tonic"), "{path}");
        }
    }
}

/// The folders of `src`, each with the other folders that it imports. It imports only folders above it, so there is
/// no circle.
const IMPORTS: &[(&str, &str)] = &[
    ("violation_reason", ""),
    ("clock", "violation_reason"),
    ("calendar", "violation_reason clock"),
    ("codes", "violation_reason calendar"),
    ("tlog", ""),
    ("proto", ""),
    ("seal", ""),
    ("identity", "clock codes tlog seal"),
    ("metrics", ""),
    ("store", "clock calendar codes tlog proto seal metrics"),
    ("exchange", "violation_reason clock calendar codes tlog proto seal identity metrics store"),
    ("register", "violation_reason clock calendar codes tlog proto seal identity store exchange"),
    ("placements", "violation_reason clock calendar codes proto seal store exchange register"),
    ("passports", "violation_reason clock calendar codes proto seal store exchange register placements"),
    (
        "returns",
        "violation_reason clock calendar codes proto seal store exchange register placements passports",
    ),
    (
        "oversight",
        "violation_reason clock calendar codes proto seal store exchange register placements passports returns",
    ),
    (
        "delivery",
        "violation_reason clock calendar codes proto seal store exchange register placements passports returns oversight",
    ),
    ("audit", "violation_reason clock codes tlog proto seal store exchange register placements"),
    ("server", "clock seal identity metrics store exchange"),
    ("config", "store exchange server"),
    (
        "gateway",
        "clock tlog proto seal identity metrics store exchange register placements passports returns oversight delivery audit server config",
    ),
    ("backup", "clock tlog seal store audit config gateway"),
    ("client", "clock tlog proto"),
    (
        "cli",
        "violation_reason clock calendar codes tlog proto seal identity store exchange register oversight audit config gateway backup client",
    ),
];

/// Returns the folders and modules of this crate that a file names, apart from its tests.
fn named_modules(text: &str) -> BTreeSet<String> {
    let lines = text.lines().take_while(|line| !line.contains("mod tests"));
    let code: Vec<&str> = lines.filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let paths = code.split("crate::").skip(1).flat_map(|path| match path.strip_prefix('{') {
        Some(group) => group.split('}').next().unwrap().split(',').collect(),
        None => vec![path],
    });
    let is_part_of_name = |character: char| character.is_ascii_lowercase() || character == '_';
    paths.map(|path| path.trim().chars().take_while(|c| is_part_of_name(*c)).collect()).collect()
}

#[test]
fn imports_run_one_way() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files_under("src", "rs") {
        let folder = path.components().nth(1).unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if !path.to_str().unwrap().contains("tests") && !matches!(folder, "lib" | "main") {
            found.entry(folder.to_owned()).or_default().extend(named_modules(&text));
        }
    }
    assert!(
        found.keys().all(|folder| IMPORTS.iter().any(|(listed, _)| listed == folder)),
        "a folder is missing"
    );
    for (place, (folder, imports)) in IMPORTS.iter().enumerate() {
        let is_other = |name: &&String| *name != folder && found.contains_key(*name);
        let imported: Vec<&String> = found[*folder].iter().filter(is_other).collect();
        let mut allowed: Vec<&str> = imports.split_whitespace().collect();
        allowed.sort_unstable();
        assert_eq!(imported, allowed, "imports of {folder}");
        let is_above = |import: &&str| IMPORTS[..place].iter().any(|(above, _)| above == import);
        assert!(allowed.iter().all(is_above), "{folder} imports a folder below it");
    }
}

#[test]
fn the_client_shares_no_code_with_the_server() {
    // A client verifies what a server claims, so it may use only the protocol, the log's proofs, the sources of time and
    // randomness, and the names of reasons. The library with the feature `client` alone consists of these modules.
    let shared = ["client", "clock", "proto", "tlog", "violation_reason"];
    for (path, text) in files_under("src", "rs") {
        let mut parts = path.components().skip(1).map(|part| part.as_os_str().to_str().unwrap());
        let module = parts.next().unwrap().trim_end_matches(".rs");
        if shared.contains(&module) {
            for used in text.split("crate::").skip(1) {
                let used =
                    used.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap();
                assert!(shared.contains(&used), "{}: {module} uses {used}", path.display());
            }
        }
    }
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for module in lib.split("#[cfg(feature = \"client\")]\npub mod ").skip(1) {
        let module = module.split(';').next().unwrap();
        assert!(shared.contains(&module), "{module} is in the client's library");
    }
}

/// Returns the modules of `exchange` that a file there imports.
fn exchange_imports<'t>(text: &'t str, is_nested: bool, modules: &BTreeSet<String>) -> Vec<&'t str> {
    let text = text.split("mod tests").next().unwrap();
    let statements =
        text.split(';').filter_map(|statement| statement.rsplit_once("use ").map(|(_, path)| path));
    let paths = statements.filter_map(|path| {
        let relative = path.strip_prefix("super::").filter(|_| !is_nested);
        relative.or_else(|| path.strip_prefix("crate::exchange::"))
    });
    let names = paths.flat_map(|path| match path.strip_prefix('{') {
        Some(list) => list.split([',', '}']).map(|item| item.trim().split("::").next().unwrap()).collect(),
        None => vec![path.split("::").next().unwrap()],
    });
    names.filter(|name| modules.contains(*name)).collect()
}

#[test]
fn the_files_of_the_exchange_import_one_another_in_one_direction() {
    let files: Vec<(String, bool, String)> = files_under("src/exchange", "rs")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tests.rs") && !path.ends_with("mod.rs"))
        .map(|(path, text)| {
            let path = path.strip_prefix("src/exchange").unwrap().with_extension("");
            let module = path.iter().next().unwrap().to_str().unwrap().to_owned();
            (module, path.iter().count() > 1, text)
        })
        .collect();
    let modules: BTreeSet<String> = files.iter().map(|(module, ..)| module.clone()).collect();
    let mut remaining: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, is_nested, text) in &files {
        let imports =
            exchange_imports(text, *is_nested, &modules).into_iter().filter(|import| import != module);
        remaining.entry(module.clone()).or_default().extend(imports.map(str::to_owned));
    }
    assert!(remaining.values().flatten().count() > 40, "{remaining:?}");
    // Removes what imports nothing that remains. What is left is a circle.
    while let Some(next) = remaining.keys().find(|module| remaining[*module].is_empty()).cloned() {
        remaining.remove(&next);
        for imports in remaining.values_mut() {
            imports.remove(&next);
        }
    }
    assert!(remaining.is_empty(), "{remaining:#?}");
}

#[test]
fn only_the_calendar_steps_from_day_to_day() {
    // A date saturates at the end of the calendar, so a loop that adds days by hand may never end.
    for (path, text) in files_under("src", "rs") {
        let path = path.to_str().unwrap();
        let steps = ["plus_days(1)", "plus_days(-1)", "= day.plus_", "= date.plus_"];
        let text = text.split("mod tests").next().unwrap();
        let found = steps.iter().find(|step| text.contains(*step));
        assert!(path.starts_with("src/calendar") || found.is_none(), "{path}: use calendar::Period::days");
    }
}

#[test]
fn every_reason_of_a_violation_is_given_somewhere() {
    let sources: String = files_under("src", "rs")
        .into_iter()
        .filter(|(path, _)| {
            !path.ends_with("violation_reason.rs") && !path.to_str().unwrap().contains("tests")
        })
        .map(|(_, text)| text)
        .collect();
    let is_unused = |reason: &&ViolationReason| {
        let name = format!("{reason:?}");
        // A longer name that begins alike is another reason.
        sources
            .match_indices(&name)
            .all(|(at, name)| sources[at + name.len()..].starts_with(|next: char| next.is_alphanumeric()))
    };
    let unused: Vec<_> = ViolationReason::ALL.iter().filter(is_unused).collect();
    assert!(unused.is_empty(), "no check gives {unused:?}");
}

#[test]
fn no_private_key_is_in_the_repository() {
    for extension in ["rs", "md", "toml", "cnf", "py", "json", "csv", "sql", "proto"] {
        for folder in ["src", "tests", "deploy", "certs-example", "proto"] {
            for (path, text) in files_under(folder, extension) {
                let begins = ["-----BEGIN", "PRIVATE KEY"].join(" ");
                assert!(!text.contains(&begins), "{}", path.display());
            }
        }
    }
}
