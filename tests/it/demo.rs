//! The output of `demo`, compared with its golden transcript.

use super::golden;
use super::support::{gateway, run};

/// The word in front of a pseudonym.
const PSEUDONYM: &str = ", pseudonym ";

#[test]
fn the_demonstration_is_its_golden_transcript() {
    let printed = run(gateway().arg("demo"));
    golden::check("tests/it/demo.golden", &mask_rows(&mask_pseudonyms(&printed)));
}

/// Masks pseudonyms, because each sandbox derives them from keys of its own.
fn mask_pseudonyms(text: &str) -> String {
    let (first, rest) = text.split_once(PSEUDONYM).unwrap();
    let mut masked = first.to_owned();
    for part in rest.split(PSEUDONYM) {
        let (digits, rest) = part.split_at(8);
        assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{part}");
        masked += PSEUDONYM;
        masked += "########";
        masked += rest;
    }
    masked
}

/// Masks the number of rows, because a moment that is due at once is set again or not, as the scheduler wakes.
fn mask_rows(text: &str) -> String {
    let (before, rest) = text.split_once(" entries and ").unwrap();
    let (rows, after) = rest.split_once(" rows are unchanged").unwrap();
    assert!(rows.parse::<u32>().is_ok(), "{rows}");
    format!("{before} entries and # rows are unchanged{after}")
}
