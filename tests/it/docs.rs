//! The documentation: every command in it is run or states why not, every link leads somewhere, every function that it
//! names is in its file, and the README is short.
//!
//! A fence `sh run` is run; `sh run ready` is started, must print `READY`, and goes on until its page ends. Any other
//! `sh` fence stands directly below a comment `<!-- not run: REASON -->`. The fences of a page are one script in one
//! folder; where they use the sandbox, the README's command starts it first.

mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use self::page::{Page, root};

const ARCHITECTURE: &str = "src/ARCHITECTURE.md";
const MAX_README_LINES: usize = 120;
const NOT_RUN: &str = "<!-- not run: ";

/// The most terms of the sector, and of the field, in the glossary.
const MAX_TERMS: [usize; 2] = [40, 25];

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

/// Commands from an empty machine to READY, and of a provider from nothing to its first stored mark.
const COMMANDS_TO_READY: usize = 4;
const COMMANDS_TO_FIRST_MARK: usize = 8;

/// Counts the commands of a fence: not lines that go on with one, and not the text of a file that one writes.
fn count_commands(text: &str) -> usize {
    let (mut commands, mut goes_on, mut file_end) = (0, false, None);
    for line in text.lines() {
        if let Some(end) = file_end {
            file_end = (line != end).then_some(end);
            continue;
        }
        commands += usize::from(!goes_on && !line.trim().is_empty() && !line.starts_with('#'));
        file_end = line.split_once("<<").map(|(_, end)| end);
        goes_on = line.ends_with('\\');
    }
    commands
}

/// The pages are run by [`the_commands_of_every_page_do_what_it_says`]; here it is counted what they need.
#[test]
fn a_gateway_needs_four_commands_and_a_first_mark_eight() {
    let readme = Page::read(Path::new("README.md"));
    let section = Page { path: "README.md".into(), text: readme.section("Make your own").to_owned() };
    let fences = section.fences();
    let last = fences.last().unwrap();
    assert!(last.info == "sh run ready" && last.text.starts_with("ap-gateway serve "), "{}", last.text);
    assert_eq!(fences.iter().map(|fence| count_commands(&fence.text)).sum::<usize>(), COMMANDS_TO_READY);

    let page = Page::read(Path::new("docs/providers.md"));
    let text = page.section("From nothing to your first mark");
    let section = Page { path: page.path.clone(), text: text.to_owned() };
    let fences = section.fences();
    assert!(fences.iter().all(|fence| fence.info == "sh run"), "every command is run");
    // Each fence is below the paragraph that says whose commands it has.
    let whose: Vec<_> = text.split("\n**").skip(1).map(|part| part.split("**").next().unwrap()).collect();
    assert_eq!(whose.len(), fences.len(), "{whose:?}");
    let own = whose.iter().zip(&fences).filter(|(who, _)| **who == "You");
    assert_eq!(own.map(|(_, fence)| count_commands(&fence.text)).sum::<usize>(), COMMANDS_TO_FIRST_MARK);
    assert!(whose.iter().all(|who| ["You", "The operator", "The commissioner"].contains(who)), "{whose:?}");
    assert_eq!(count_commands("cat > a <<EOF\nx\ny\nEOF\na \\\n  b\n# c\n\nd\n"), 3);
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
    assert_eq!(walkthroughs.len(), 5);
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
            let columns = columns.split("\n)").next().unwrap();
            if columns.contains("-- encrypted") || columns.contains("-- sealed") {
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
