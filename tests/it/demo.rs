//! The output of `demo`, compared with its golden transcript.

use super::golden;
use super::support::{gateway, run};

/// The word in front of a pseudonym.
const PSEUDONYM: &str = ", pseudonym ";

#[test]
fn the_demonstration_is_its_golden_transcript() {
    let printed = run(gateway().arg("demo"));
    golden::check("tests/it/demo.golden", &mask_pseudonyms(&printed));
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
