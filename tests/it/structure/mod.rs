//! The structure of the source, measured: sizes of files, circles of imports, names, sentences, links. `tests/structure`
//! prints the report; each line of it that must be none fails here.

mod imports;
mod names;
mod prose;

use std::path::{Path, PathBuf};

use self::imports::{Crate, circles};

/// Lines that a file may have.
const MAX_LINES: usize = 400;

/// A source file or a document, with its path from the repository's root.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// Reads the files with these extensions in folders of the repository and below.
pub fn read(folders: &[&str], extensions: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|found| extensions.iter().any(|known| found == *known)) {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.push(Source { path: path.strip_prefix(root).unwrap().to_owned(), text });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// What is measured of the repository.
struct Report {
    files: usize,
    median_lines: usize,
    long_files: Vec<String>,
    circles: Vec<String>,
    names: Vec<String>,
    sentences: Vec<String>,
    links: Vec<String>,
}

impl Report {
    fn new() -> Self {
        let code = read(&["src", "tests", "benches", "examples"], &["rs"]);
        let mut lengths: Vec<usize> = code.iter().map(|source| source.text.lines().count()).collect();
        let long = code.iter().zip(&lengths).filter(|(_, lines)| **lines > MAX_LINES);
        let long_files = long.map(|(source, lines)| format!("{}: {lines}", source.path.display())).collect();
        lengths.sort_unstable();
        let library = Crate::read(&read(&["src"], &["rs"]));
        let of_circle = |circle: &std::collections::BTreeSet<&Path>| {
            circle.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let prose = read(&["src", "tests", "benches", "examples", "proto"], &["rs", "proto", "sql"]);
        let documents = read(
            &[
                "README.md",
                "CONTRIBUTING.md",
                "SECURITY.md",
                "CHANGELOG.md",
                "docs",
                "src",
                "benches",
                "proto",
            ],
            &["md"],
        );
        Self {
            files: code.len(),
            median_lines: lengths[lengths.len() / 2],
            long_files,
            circles: circles(&library.imports()).iter().map(of_circle).collect(),
            names: code.iter().flat_map(names::findings).collect(),
            sentences: prose.iter().chain(&documents).flat_map(prose::findings).collect(),
            links: super::docs::broken_links(),
        }
    }

    /// The lines that must be none, each with its findings.
    fn must_be_none(&self) -> [(&'static str, &[String]); 5] {
        [
            ("files over 400 lines", &self.long_files),
            ("circles of imports between files", &self.circles),
            ("banned names", &self.names),
            ("sentences with a banned beginning", &self.sentences),
            ("broken links in documents", &self.links),
        ]
    }
}

#[test]
fn report() {
    let report = Report::new();
    let mut lines =
        vec![format!("files: {}", report.files), format!("median of their lines: {}", report.median_lines)];
    for (what, findings) in report.must_be_none() {
        let count = if findings.is_empty() { "none".to_owned() } else { findings.len().to_string() };
        lines.push(format!("{what}: {count}"));
        lines.extend(findings.iter().map(|finding| format!("    {finding}")));
    }
    let lines = lines.join("\n");
    println!("{lines}");
    assert!(report.files > 300, "the files are not where this test looks");
    assert!(report.must_be_none().iter().all(|(_, findings)| findings.is_empty()), "{lines}");
}
