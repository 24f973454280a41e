//! A page of the documentation: its commands, links, headings and functions.

use super::super::support::{gateway, installed_tool, run};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Seconds that the commands of one page may take, on a busy machine.
const MAX_PAGE_SECONDS: &str = "240";

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
/// Folders of the repository that commands of the pages name.
const FOLDERS: [&str; 5] = ["certs-example", "deploy", "proto", "src", "tests"];

pub struct Page {
    /// Its path in the repository.
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block.
pub struct Fence<'a> {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// What stands behind the backticks.
    pub info: &'a str,
    pub text: String,
    /// The line above it.
    pub above: &'a str,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        Self { path: path.to_owned(), text }
    }

    pub fn all() -> Vec<Self> {
        let docs = std::fs::read_dir(root().join("docs")).unwrap();
        let mut paths: Vec<_> =
            docs.map(|entry| Path::new("docs").join(entry.unwrap().file_name())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        PAGES.iter().map(PathBuf::from).chain(paths).map(|path| Self::read(&path)).collect()
    }

    pub fn fences(&self) -> Vec<Fence<'_>> {
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
    pub fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
    }

    /// The anchors of its headings, as the host of a repository makes them.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose().filter(|line| line.starts_with('#'));
        let slug = |heading: &str| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.collect::<String>().replace(' ', "-")
        };
        headings.map(slug).collect()
    }

    /// The targets of its links.
    pub fn links(&self) -> Vec<&str> {
        let ends = self.prose().flat_map(|line| line.split("](").skip(1));
        ends.filter_map(|end| end.split_once(')')).map(|(target, _)| target).collect()
    }

    /// The functions that it names, each with its file: code spans directly behind a link to a source file.
    pub fn functions(&self) -> Vec<(PathBuf, &str)> {
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
    pub fn section(&self, heading: &str) -> &str {
        let (_, section) = self.text.split_once(&format!("\n## {heading}\n")).unwrap();
        section.split("\n## ").next().unwrap()
    }

    /// The script of its commands that are run; `None` where there are none.
    pub fn script(&self, sandbox: &Fence) -> Option<String> {
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
    pub fn run(&self, sandbox: &Fence) {
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
    pub fn is_shell(&self) -> bool {
        self.info.split(' ').next() == Some("sh")
    }

    pub fn is_run(&self) -> bool {
        matches!(self.info, "sh run" | "sh run ready")
    }

    pub fn write(&self, script: &mut String, page: &Path) {
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
