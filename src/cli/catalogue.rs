//! The catalogue of errors for integrators, `proto/ERRORS.md`: written from the tables of reasons, and held to
//! them and to the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::files::finding::WORDS;
use crate::exchange::check::REASONS;
use crate::exchange::refusal::{Mender, Reason};

const INTRODUCTION: &str = "\
# Errors

Written from the code by its tests; to write it anew: `AP_GATEWAY_REGENERATE=1 cargo test --lib catalogue`.

Every refusal carries `google.rpc.ErrorInfo` (domain `ap-gateway`) with one of the reasons below and the
exchange's id in its metadata. Branch on reasons, never on texts: reasons are stable, texts are for people.
`INVALID_REQUEST` also carries `google.rpc.BadRequest`, which names all fields at fault at once, each by path,
with a reason of the second table. Of more than 50 faults the first 50 are named, fewer only where their paths and
reasons alone would take more than 4 KiB of trailers; texts are left out where they do not fit, and
`violations_omitted` counts the faults that are not named. `google.rpc.RetryInfo` says when the same request may be
sent again, with the same `request_id`. No text repeats what was sent.

Metadata of `ErrorInfo`, where they apply: `exchange_id`; `violations_omitted`; of `STATE_INVALID` `state` (the present
one: an enum value of the protocol, or `ENDED`, `VOIDED`, `COMPLETE`, `COUNTERSIGNED`), `needed` (states in which it can
be done, joined by commas; empty where none is left) and `next_actor` (`COMMISSIONER`, `PROVIDER`,
`COMMISSIONER_OR_PROVIDER`, `OTHER_PARTY`, `CALLER`, `NOBODY`); of `SAFETY_NOT_ACKNOWLEDGED` `passport_acknowledged`
and `passport_needed`, versions of the commissioner's own passport (0 where there is none); of `FAILED`, where a list or
a mailbox begins with a damaged record, `placement_id` and the place behind it: `next_page_token`, or `next_log`,
`next_index` and `next_ordinal` of a `Cursor`. From there the rest can be read, without what is damaged.

";

fn catalogue() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str(
        "## Refusals\n\n| Reason | Status | Again? | Who mends it | What it says |\n|---|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let again = match reason.retry_after_ms() {
            0 => "no".to_owned(),
            after => format!("after {after} ms"),
        };
        let mender = match reason.mender() {
            Mender::Client => "the calling software",
            Mender::People => "people: the caller's or the other party's",
            Mender::Operator => "the gateway's operator",
            Mender::Time => "nobody: it passes",
        };
        let status = screaming(&format!("{:?}", reason.code()));
        writeln!(out, "| `{}` | {status} | {again} | {mender} | {} |", reason.name(), reason.text()).unwrap();
    }
    out.push_str(
        "\n## Fields at fault\n\nOf a request, or as `reason` of a mark that was rejected alone.\n\n",
    );
    out.push_str("| Reason | What it says |\n|---|---|\n");
    for (reason, words) in REASONS {
        writeln!(out, "| `{reason}` | {words} |").unwrap();
    }
    out.push_str(
        "\n## Files and warnings\n\nWhat `ap-gateway submit` also says of a row of a file, and warnings of marks, \
         which refuse nothing.\n\n| Reason | What it says |\n|---|---|\n",
    );
    let listed: BTreeSet<&str> = REASONS.iter().map(|(reason, _)| *reason).collect();
    for (reason, words) in WORDS.iter().filter(|(reason, _)| !listed.contains(reason)) {
        writeln!(out, "| `{reason}` | {words} |").unwrap();
    }
    out
}

fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_uppercase() {
            out.push('_');
        }
        out.extend(letter.to_uppercase());
    }
    out
}

#[test]
fn the_catalogue_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/ERRORS.md");
    if std::env::var_os("AP_GATEWAY_REGENERATE").is_some() {
        std::fs::write(&path, catalogue()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == catalogue(), "write it anew: AP_GATEWAY_REGENERATE=1 cargo test --lib catalogue");
}

/// The sources without the two tables and without tests: a file's own tests come last in it.
fn sources() -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut text) = (vec![src], String::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !["tests.rs", "reasons.rs", "refusal.rs", "catalogue.rs"].contains(&name)
            {
                let file = std::fs::read_to_string(path).unwrap();
                text.push_str(file.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }
    text
}

#[test]
fn every_reason_can_be_met() {
    let sources = sources();
    for reason in Reason::ALL {
        let used = format!("Reason::{reason:?}");
        let own = ["Malformed", "Invalid"].contains(&used.trim_start_matches("Reason::"));
        assert!(own || sources.contains(&used), "no code refuses for {}", reason.name());
    }
    for (reason, _) in REASONS {
        assert!(sources.contains(&format!("\"{reason}\"")), "no field is at fault for {reason}");
    }
}

/// Reports whether a text is written as reasons are.
fn is_reason(text: &str) -> bool {
    let mut parts = text.split('_');
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    text.contains('_') && text.starts_with(|first: char| first.is_ascii_uppercase()) && parts.all(part)
}

/// Every text in the code that is written as a reason is explained, in ERRORS.md or where the interface names it as
/// a warning, a flag or an open item. So no reason can be given that integrators cannot look up.
#[test]
fn every_reason_in_the_code_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut explained = std::fs::read_to_string(root.join("ERRORS.md")).unwrap();
    for entry in std::fs::read_dir(root.join("apgateway/v1")).unwrap() {
        explained.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|other: char| !other.is_ascii_alphanumeric() && other != '_').map(str::to_owned).collect()
    };
    let explained = words(&explained);
    let ours = |text: &str| text.starts_with("AP_GATEWAY_") || text == "OUT_DIR";
    let sources = sources();
    let texts: BTreeSet<&str> = sources.split('"').filter(|text| is_reason(text) && !ours(text)).collect();
    assert!(texts.len() > 100 && texts.contains("CHILD_NOT_FOUND"), "{}", texts.len());
    let unexplained: Vec<_> = texts.into_iter().filter(|text| !explained.contains(*text)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}
