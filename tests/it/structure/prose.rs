//! Sentences of comments and documents, and how they must not begin.

use super::Source;

/// Beginnings that make a reader go back: the sentence names its subject too late or not at all.
const BANNED_BEGINNINGS: [&str; 8] =
    ["Whoever ", "Whomever ", "What came of ", "What of ", "For ", "Of two ", "Of the two ", "Whom "];

/// Finds the sentences that begin so, each with its file and line.
pub fn findings(source: &Source) -> Vec<String> {
    let is_document = source.path.extension().is_some_and(|extension| extension == "md");
    let (mut found, mut begins, mut is_code) = (Vec::new(), true, false);
    for (number, line) in (1..).zip(source.text.lines()) {
        let prose = if is_document { document_line(line, &mut is_code) } else { comment_line(line) };
        let Some(prose) = prose.filter(|prose| !prose.is_empty()) else {
            begins = true;
            continue;
        };
        let banned = BANNED_BEGINNINGS
            .iter()
            .any(|banned| begins && prose.starts_with(banned) || prose.contains(&format!(". {banned}")));
        if banned {
            found.push(format!("{}:{number}: {prose}", source.path.display()));
        }
        begins = prose.ends_with(['.', ':', '?', '|']);
    }
    found
}

/// Returns the prose of a comment line of Rust, protobuf, SQL or a shell script.
fn comment_line(line: &str) -> Option<&str> {
    let line = line.trim();
    let marks = ["//!", "///", "//", "--", "# "];
    let prose = marks.iter().find_map(|mark| line.strip_prefix(mark))?;
    Some(prose.trim_start_matches(['-', '*', ' ']))
}

/// Returns the prose of a Markdown line; code blocks have none, and a heading is no sentence.
fn document_line<'a>(line: &'a str, is_code: &mut bool) -> Option<&'a str> {
    let line = line.trim();
    if line.starts_with("```") {
        *is_code = !*is_code;
        return None;
    }
    let is_prose = !*is_code && !line.starts_with('#');
    is_prose.then(|| line.trim_start_matches(['-', '*', '|', '>', ' ']))
}

#[test]
fn a_banned_beginning_is_found() {
    let source = |text: &str| Source { path: "a.rs".into(), text: text.to_owned() };
    assert_eq!(findings(&source("/// Whoever asks\nfn f() {}")).len(), 1);
    assert_eq!(findings(&source("// It ends. For it must.")).len(), 1);
    assert_eq!(findings(&source("// It waits\n// For the second.")).len(), 0);
    assert_eq!(findings(&source("// Waits for it.\n// Whom it takes.")).len(), 1);
}
