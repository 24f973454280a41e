//! Names that say nothing to a stranger, found where they are declared.

use std::collections::BTreeSet;

use super::Source;

/// Pictures, private vocabulary, and words that stand for anything. A name is banned as a whole: `told` is, `is_told` is
/// left to the reader of the change.
const BANNED: &str = "appender appending apart bell bells door doubts edge few folding founding give_up lineage look look_after look_at looked_at \
     looks longest mender of owe owed parcel parcels ring_all roll rolls sameness somebody something stand stands stated \
     stuff surroundings tell tell_all tells thing things tip told watchman Cx Door Held Known Mender Of Parcel Told";

/// Constants that do not say what they bound.
const BANNED_CONSTANTS: &str = "AGAIN APART FEW LONGEST MANY MOST KEPT REMEMBERED";

/// Finds the banned names that a source file declares.
pub fn findings(source: &Source) -> Vec<String> {
    if source.path.ends_with("structure/names.rs") {
        return Vec::new();
    }
    let names = declared(&source.text);
    let banned: BTreeSet<&str> =
        BANNED.split_whitespace().chain(BANNED_CONSTANTS.split_whitespace()).collect();
    let is_banned = |name: &&String| banned.contains(name.as_str());
    names.iter().filter(is_banned).map(|name| format!("{}: {name}", source.path.display())).collect()
}

/// Returns the names of items, parameters, fields and variables that the code declares.
fn declared(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        // Without the texts in quotes: their words declare nothing.
        let line: String = line.split('"').step_by(2).collect();
        let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        let keywords =
            ["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "let", "for", "mut"];
        for pair in words.windows(2) {
            if keywords.contains(&pair[0]) && pair[1] != "mut" {
                found.insert(pair[1].to_owned());
            }
        }
        // A field or a parameter is a word before a colon that is not doubled.
        for (at, _) in line.match_indices(": ") {
            let name =
                line[..at].rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
            let is_name = name.chars().next().is_some_and(|first| first.is_lowercase() || first == '_');
            if is_name {
                found.insert(name.to_owned());
            }
        }
        for closure in line.split('|').skip(1).step_by(2) {
            for name in closure.split([',', '(', ')', '&', ' ']).filter(|name| !name.is_empty()) {
                found.insert(name.trim_end_matches(':').to_owned());
            }
        }
    }
    found
}

#[test]
fn a_banned_name_is_found_where_it_is_declared() {
    let source = |text: &str| Source { path: "a.rs".into(), text: text.to_owned() };
    for text in
        ["fn told() {}", "let mut edge = 1;", "fn f(of: &str) {}", "const FEW: u64 = 3;", "x.map(|tip| tip)"]
    {
        assert_eq!(findings(&source(text)).len(), 1, "{text}");
    }
    assert!(findings(&source("/// of what was told\nfn tree() {}")).is_empty());
    assert!(findings(&source("let text = \"what is told: of it\";")).is_empty());
}
