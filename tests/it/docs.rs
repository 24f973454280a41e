//! The documentation: every command in it is run or states why not, every link leads somewhere, every function that it
//! names is in its file, and the README is short.
//!
//! A fence `sh run` is run; `sh run ready` is started, must print `READY`, and goes on until its page ends. Any other
//! `sh` fence stands directly below a comment `<!-- not run: REASON -->`. The fences of a page are one script in one
//! folder; where they use the sandbox, the README's command starts it first.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::support::{gateway, installed_tool, run};

/// Pages outside `docs/`.
const PAGES: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "certs-example/README.md",
    "benches/README.md",
    "src/ARCHITECTURE.md",
    "tests/data/README.md",
];
const ARCHITECTURE: &str = "src/ARCHITECTURE.md";
/// Folders of the repository that commands of the pages name.
const FOLDERS: [&str; 5] = ["certs-example", "deploy", "proto", "src", "tests"];
const MAX_README_LINES: usize = 120;
/// The most terms of the sector, and of the field, in the glossary.
const MAX_TERMS: [usize; 2] = [40, 25];
/// Seconds that the commands of one page may take, on a busy machine.
const MAX_PAGE_SECONDS: &str = "240";
const NOT_RUN: &str = "<!-- not run: ";

struct Page {
    /// Its path in the repository.
    path: PathBuf,
    text: String,
}

/// A fenced block.
struct Fence<'a> {
    /// The line on which it begins, from 1.
    line: usize,
    /// What stands behind the backticks.
    info: &'a str,
    text: String,
    /// The line above it.
    above: &'a str,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        Self { path: path.to_owned(), text }
    }

    fn all() -> Vec<Self> {
        let docs = std::fs::read_dir(root().join("docs")).unwrap();
        let mut paths: Vec<_> =
            docs.map(|entry| Path::new("docs").join(entry.unwrap().file_name())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        PAGES.iter().map(PathBuf::from).chain(paths).map(|path| Self::read(&path)).collect()
    }

    fn fences(&self) -> Vec<Fence<'_>> {
        let (mut fences, mut open, mut above) = (Vec::new(), None, "");
        for (index, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(info), None) => {
                    let info = info.trim();
                    open = Some(Fence { line: index + 1, info, text: String::new(), above });
                }
                (Some(_), Some(_)) => fences.extend(open.take()),
                (None, Some(fence)) => writeln!(fence.text, "{line}").unwrap(),
                (None, None) => {}
            }
            above = line;
        }
        assert!(open.is_none(), "{}: a fence is never closed", self.path.display());
        fences
    }

    /// The lines outside of fences.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
    }

    /// The anchors of its headings, as the host of a repository makes them.
    fn anchors(&self) -> Vec<String> {
        let headings = self.prose().filter(|line| line.starts_with('#'));
        let slug = |heading: &str| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.collect::<String>().replace(' ', "-")
        };
        headings.map(slug).collect()
    }

    /// The targets of its links.
    fn links(&self) -> Vec<&str> {
        let ends = self.prose().flat_map(|line| line.split("](").skip(1));
        ends.filter_map(|end| end.split_once(')')).map(|(target, _)| target).collect()
    }

    /// The functions that it names, each with its file: code spans directly behind a link to a source file.
    fn functions(&self) -> Vec<(PathBuf, &str)> {
        let mut functions = Vec::new();
        for end in self.text.split("](").skip(1) {
            let Some((target, mut rest)) = end.split_once(')') else { continue };
            if Path::new(target).extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let mut before = "";
            while let Some((name, after)) = rest
                .strip_prefix(before)
                .and_then(|rest| rest.trim_start().strip_prefix('`')?.split_once('`'))
            {
                functions.push((self.path.parent().unwrap().join(target), name));
                (rest, before) = (after, ",");
            }
        }
        functions
    }

    /// The text of the section with a heading.
    fn section(&self, heading: &str) -> &str {
        let (_, section) = self.text.split_once(&format!("\n## {heading}\n")).unwrap();
        section.split("\n## ").next().unwrap()
    }

    /// The script of its commands that are run; `None` where there are none.
    fn script(&self, sandbox: &Fence) -> Option<String> {
        let fences: Vec<_> = self.fences().into_iter().filter(Fence::is_run).collect();
        if fences.is_empty() {
            return None;
        }
        let mut script = PRELUDE.to_owned();
        let starts = fences.iter().any(|fence| fence.text == sandbox.text);
        if !starts && fences.iter().any(|fence| fence.text.contains("world")) {
            sandbox.write(&mut script, Path::new("README.md"));
        }
        for fence in fences {
            fence.write(&mut script, &self.path);
        }
        Some(script)
    }

    /// Runs its commands in a folder of their own.
    fn run(&self, sandbox: &Fence) {
        let Some(script) = self.script(sandbox) else {
            return;
        };
        let folder = TempDir::new().unwrap();
        // What a page beside example files says is meant to be run beside them.
        let beside = self.path.parent().filter(|folder| folder.starts_with("certs-example"));
        let from = root().join(beside.unwrap_or(Path::new("")));
        for entry in std::fs::read_dir(&from).unwrap() {
            let name = entry.unwrap().file_name();
            if beside.is_some() || FOLDERS.iter().any(|folder| name == *folder) {
                std::os::unix::fs::symlink(from.join(&name), folder.path().join(&name)).unwrap();
            }
        }
        let binary = PathBuf::from(gateway().get_program());
        let mut path = vec![binary.parent().unwrap().to_owned(), installed_tool("python/bin")];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let mut bash = Command::new("timeout");
        bash.args([MAX_PAGE_SECONDS, "bash", "-euo", "pipefail", "-c", &script]);
        bash.current_dir(folder.path()).env("PATH", std::env::join_paths(path).unwrap());
        run(&mut bash);
    }
}

/// What begins every script: whatever was started ends with it.
const PRELUDE: &str = r#"
scratch=$PWD started=""
trap 'test -z "$started" || kill $started' EXIT
is_ready() {
  for _ in $(seq 600); do
    grep -q '^READY ' "$1" && return
    sleep 0.1
  done
  cat "$1" "$1-errors" >&2
  return 1
}
"#;

impl Fence<'_> {
    fn is_shell(&self) -> bool {
        self.info.split(' ').next() == Some("sh")
    }

    fn is_run(&self) -> bool {
        matches!(self.info, "sh run" | "sh run ready")
    }

    fn write(&self, script: &mut String, page: &Path) {
        let Self { line, info, text, .. } = self;
        writeln!(script, "echo '{} line {line}' >&2", page.display()).unwrap();
        if *info == "sh run ready" {
            let out = format!("\"$scratch\"/ready-{line}");
            writeln!(script, "(exec {}) > {out} 2> {out}-errors &", text.trim_end()).unwrap();
            writeln!(script, "started=\"$started $!\"\nis_ready {out}").unwrap();
        } else {
            script.push_str(text);
        }
    }
}

#[test]
fn every_command_is_run_or_states_why_not() {
    for page in Page::all() {
        for fence in page.fences() {
            let place = format!("{} line {}", page.path.display(), fence.line);
            assert!(!fence.info.is_empty(), "{place}: name the language of the fence");
            let reason = fence.above.strip_prefix(NOT_RUN).and_then(|rest| rest.strip_suffix(" -->"));
            let has_reason = reason.is_some_and(|reason| !reason.trim().is_empty());
            let is_command = fence.is_shell() || ["bash", "console", "shell"].contains(&fence.info);
            assert!(!is_command || fence.is_run() != has_reason, "{place}: run it, or say why not");
        }
    }
}

#[test]
fn the_commands_of_every_page_do_what_it_says() {
    let readme = Page::read(Path::new("README.md"));
    let sandbox = readme.fences().into_iter().find(|fence| fence.info == "sh run ready").unwrap();
    assert!(sandbox.text.starts_with("ap-gateway sandbox --dir world "), "{}", sandbox.text);
    let pages = Page::all();
    std::thread::scope(|scope| {
        for page in &pages {
            scope.spawn(|| page.run(&sandbox));
        }
    });
}

#[test]
fn a_command_that_fails_fails_its_page() {
    let text =
        "```sh run ready\nap-gateway sandbox --dir world --clock 2026-11-20T16:00:00Z\n```\n".to_owned();
    let sandbox = Page { path: "README.md".into(), text };
    let sandbox = sandbox.fences().remove(0);
    for command in ["false", "false | true", "echo $no_such_variable", "ap-gateway no-such-verb"] {
        let text = format!("```sh run\n{command}\n```\n\n```sh run\ntrue\n```\n");
        let page = Page { path: "page.md".into(), text };
        assert!(std::panic::catch_unwind(|| page.run(&sandbox)).is_err(), "{command}");
    }
    let text = "```sh run\ntest -d proto\n```\n".to_owned();
    Page { path: "page.md".into(), text }.run(&sandbox);
}

/// Returns the file that a relative link of a page leads to, and the heading in it, if it names one.
fn target<'a>(page: &Page, link: &'a str) -> (PathBuf, Option<&'a str>) {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path {
        "" => page.path.clone(),
        path => page.path.parent().unwrap().join(path),
    };
    (target, anchor)
}

/// Finds the relative links of all pages that lead to no file or no heading.
pub fn broken_links() -> Vec<String> {
    let mut broken = Vec::new();
    for page in Page::all() {
        for link in page.links().into_iter().filter(|link| !link.starts_with("https://")) {
            let (target, anchor) = target(&page, link);
            let has_anchor = |anchor| Page::read(&target).anchors().iter().any(|found| found == anchor);
            if !root().join(&target).exists() || !anchor.is_none_or(has_anchor) {
                broken.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    broken
}

#[test]
fn every_link_leads_somewhere() {
    assert_eq!(broken_links(), Vec::<String>::new());
}

#[test]
fn a_link_leads_to_every_page_of_the_docs() {
    let (pages, mut reached) = (Page::all(), BTreeSet::new());
    for page in &pages {
        for link in page.links().into_iter().filter(|link| !link.starts_with("https://")) {
            reached.extend(root().join(target(page, link).0).canonicalize());
        }
    }
    for page in pages.iter().filter(|page| page.path.starts_with("docs")) {
        let path = root().join(&page.path).canonicalize().unwrap();
        assert!(reached.contains(&path), "no link leads to {}", page.path.display());
    }
}

#[test]
fn every_named_function_is_in_its_file() {
    let mut found = 0;
    for page in Page::all() {
        for (file, name) in page.functions() {
            let text = std::fs::read_to_string(root().join(&file)).unwrap();
            let is_there = ["(", "<"].iter().any(|end| text.contains(&format!("fn {name}{end}")));
            assert!(is_there, "{}: {} has no function {name}", page.path.display(), file.display());
            found += 1;
        }
    }
    assert!(found > 40, "{found} functions");
    let text = "[`a`](x.rs) `one`,\n`two` and `no`; [`b`](y.rs), `no`, [`c`](z/) `no`, [`d`](z.rs)\n`three`"
        .to_owned();
    let page = Page { path: "src/page.md".into(), text };
    let named: Vec<_> = page.functions().into_iter().map(|(_, name)| name).collect();
    assert_eq!(named, ["one", "two", "three"]);
}

#[test]
fn each_step_of_a_walkthrough_begins_with_a_function() {
    let page = Page::read(Path::new(ARCHITECTURE));
    let walkthroughs: Vec<_> = page.section("Walkthroughs").split("\n### ").skip(1).collect();
    assert_eq!(walkthroughs.len(), 3);
    for walkthrough in walkthroughs {
        let steps = walkthrough.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        for step in steps {
            let (_, step) = step.split_once(". ").unwrap();
            let function = step.split_once(".rs) `").map(|(link, _)| link);
            assert!(function.is_some_and(|link| link.starts_with("[`") && !link.contains(' ')), "{step}");
        }
    }
}

#[test]
fn the_code_map_names_every_module() {
    let page = Page::read(Path::new(ARCHITECTURE));
    let map = page.section("Code map");
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_named = map.contains(&format!("({name}.rs)")) || map.contains(&format!("({name}/)"));
        assert!(is_named || ["lib", "main", "ARCHITECTURE"].contains(&name), "{name}");
    }
}

#[test]
fn the_tables_with_encrypted_columns_are_listed() {
    let page = Page::read(Path::new(ARCHITECTURE));
    let rows = page.section("What is encrypted").lines().filter(|line| line.starts_with("| `"));
    let listed: BTreeSet<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let (mut tables, mut encrypted) = (BTreeSet::new(), BTreeSet::new());
    for file in std::fs::read_dir(root().join("src/store/migrations/sqlite")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for statement in text.split("CREATE TABLE ").skip(1) {
            let (table, columns) = statement.split_once(" (").unwrap();
            tables.insert(table.to_owned());
            if columns.split("\n)").next().is_some_and(|columns| columns.contains("-- encrypted")) {
                encrypted.insert(table.to_owned());
            }
        }
    }
    assert!(listed.iter().all(|table| tables.contains(*table)), "{listed:?}");
    assert!(
        encrypted.len() > 8 && encrypted.iter().all(|table| listed.contains(&table[..])),
        "{encrypted:?}"
    );
}

#[test]
fn the_readme_is_short() {
    let lines = Page::read(Path::new("README.md")).text.lines().count();
    assert!(lines <= MAX_README_LINES, "{lines} lines");
}

#[test]
fn the_glossary_is_short_sorted_and_has_a_source_for_each_term() {
    let page = Page::read(Path::new("docs/glossary.md"));
    let tables: Vec<Vec<&str>> = page
        .text
        .split("\n## ")
        .skip(1)
        .map(|section| section.lines().filter(|line| line.starts_with("| ")).skip(1).collect())
        .collect();
    assert_eq!(tables.len(), MAX_TERMS.len());
    for (rows, most) in tables.iter().zip(MAX_TERMS) {
        assert!(!rows.is_empty() && rows.len() <= most, "{} terms", rows.len());
        assert!(rows.is_sorted_by_key(|row| row.to_lowercase()), "{rows:#?}");
        for row in rows {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
            assert!(cells[1].ends_with('.') && cells[1].matches(". ").count() == 0, "{row}");
        }
    }
}
