//! The graph of imports between source files, read from their `use` items: what a file takes, from which file.
//!
//! A name that a module re-exports counts as taken from the file that defines it; the `pub use` itself is no import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Source;

/// The modules of the crate by their path (`["store", "sql"]`; the root is empty).
pub struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

struct Module {
    file: PathBuf,
    /// What its `use` items name, as whole paths, with the name in the module and whether they are `pub`.
    uses: Vec<Use>,
}

struct Use {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

impl Crate {
    /// Reads the source files of a folder; tests are left out.
    pub fn read(sources: &[Source]) -> Self {
        let mut modules = BTreeMap::new();
        for Source { path: file, text } in sources {
            let path = module_path(file);
            if path.iter().any(|part| part == "tests" || part == "main") {
                continue;
            }
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .and_then(|code| code.split("#[cfg(test)]\n#[cfg(feature = \"world\")]\nmod tests {").next())
                .unwrap_or_default();
            modules.insert(path.clone(), Module { file: file.clone(), uses: uses(code, &path) });
        }
        Self { modules }
    }

    /// Returns the files from which each file imports.
    pub fn imports(&self) -> BTreeMap<&Path, BTreeSet<&Path>> {
        let mut found: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        for module in self.modules.values() {
            let targets = found.entry(&module.file).or_default();
            for taken in module.uses.iter().filter(|taken| !taken.is_public) {
                targets.extend(self.definer(&taken.path, 0).filter(|target| *target != module.file));
            }
        }
        found
    }

    /// Returns the file that defines what a path names, through re-exports.
    fn definer(&self, path: &[String], depth: usize) -> Option<&Path> {
        let known = (0..=path.len()).rev().find(|end| self.modules.contains_key(&path[..*end]))?;
        let module = &self.modules[&path[..known]];
        let Some(item) = path.get(known) else { return Some(&module.file) };
        let reexport = module.uses.iter().find(|taken| taken.is_public && taken.name == *item);
        match reexport.filter(|_| depth < 8) {
            Some(reexport) => self.definer(&reexport.path, depth + 1),
            None => Some(&module.file),
        }
    }
}

/// Finds the groups of files that import each other, directly or through others.
pub fn circles<'a>(imports: &BTreeMap<&'a Path, BTreeSet<&'a Path>>) -> Vec<BTreeSet<&'a Path>> {
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        imports.keys().map(|file| (*file, reachable(imports, file))).collect();
    let mut circles: Vec<BTreeSet<&Path>> = Vec::new();
    for file in imports.keys() {
        if !reached[file].contains(file) || circles.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let back = |other: &&&'a Path| reached.get(*other).is_some_and(|from| from.contains(file));
        circles.push(reached[file].iter().filter(back).copied().collect());
    }
    circles
}

fn reachable<'a>(imports: &BTreeMap<&'a Path, BTreeSet<&'a Path>>, from: &Path) -> BTreeSet<&'a Path> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        for next in imports.get(file).into_iter().flatten() {
            if found.insert(*next) {
                open.push(next);
            }
        }
    }
    found
}

/// `src/store/sql/mod.rs` and `src/store/sql.rs` are both `["store", "sql"]`.
fn module_path(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// Reads the `use` items of a file that begin in the crate; others are another crate's.
fn uses(text: &str, module: &[String]) -> Vec<Use> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        let is_public = line.starts_with("pub use ") || line.starts_with("pub(") && line.contains(") use ");
        let Some((_, tree)) = line.split_once("use ").filter(|(before, _)| is_public || before.is_empty())
        else {
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            let Some(next) = lines.next() else { break };
            tree.push_str(next.trim());
        }
        let tree = tree.split(';').next().unwrap_or_default();
        for (path, name) in leaves(tree, &[]) {
            found.extend(in_crate(path, module).map(|path| Use { path, name, is_public }));
        }
    }
    found
}

/// Takes a tree of imports apart into paths, each with the name that it gets.
fn leaves(tree: &str, prefix: &[String]) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let (head, rest) = match tree.find('{') {
        Some(at) => (&tree[..at], tree[at + 1..].strip_suffix('}')),
        None => (tree, None),
    };
    let mut path = prefix.to_vec();
    let (head, alias) = head.split_once(" as ").map_or((head, None), |(head, alias)| (head, Some(alias)));
    path.extend(
        head.split("::").map(str::trim).filter(|part| !part.is_empty() && *part != "self").map(str::to_owned),
    );
    if tree.starts_with("self::") && prefix.is_empty() {
        path.insert(0, "self".to_owned());
    }
    let Some(rest) = rest else {
        let name =
            alias.map(str::trim).map(str::to_owned).or_else(|| path.last().cloned()).unwrap_or_default();
        return vec![(path, name)];
    };
    split(rest).into_iter().flat_map(|part| leaves(part, &path)).collect()
}

/// Splits at the commas that are in no braces.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, found) in text.char_indices() {
        match found {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// Resolves `crate`, `super` and `self`; a path that begins with the name of a child module is its own too.
fn in_crate(path: Vec<String>, module: &[String]) -> Option<Vec<String>> {
    let mut parts = path.into_iter().peekable();
    let mut found = match parts.peek()?.as_str() {
        "crate" => {
            parts.next();
            Vec::new()
        }
        "self" => {
            parts.next();
            module.to_vec()
        }
        "super" => {
            let mut found = module.to_vec();
            while parts.next_if(|part| part == "super").is_some() {
                found.pop();
            }
            found
        }
        other if other.chars().next().is_some_and(char::is_lowercase) => {
            // `pub use policy::Action` in a module names its child.
            module.to_vec()
        }
        _ => return None,
    };
    found.extend(parts);
    Some(found)
}
