//! The output of `demo`, compared with its golden transcript.

use super::golden;
use super::support::{gateway, run};

/// The word in front of a pseudonym.
const PSEUDONYM: &str = ", pseudonym ";

#[test]
fn the_demonstration_is_its_golden_transcript() {
    let printed = run(gateway().arg("demo"));
    golden::check("tests/it/demo.golden", &mask_sizes(&mask_pseudonyms(&printed)));
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

/// Masks the sizes of the log and the numbers of its entries, because a moment that is due at once is evaluated again or
/// not, as the scheduler wakes.
fn mask_sizes(text: &str) -> String {
    let words =
        ["The auditor verifies the log: ", " entries and ", "entry ", "at size ", "ends at ", "has size "];
    words.into_iter().fold(text.to_owned(), |text, word| {
        let mut parts = text.split(word);
        let mut masked = parts.next().unwrap().to_owned();
        for part in parts {
            masked += word;
            let rest = part.trim_start_matches(|found: char| found.is_ascii_digit());
            masked += if rest.len() < part.len() { "#" } else { "" };
            masked += rest;
        }
        masked
    })
}
