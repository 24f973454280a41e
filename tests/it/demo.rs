//! The demonstration, word for word.

use super::support::{gateway, run};

#[test]
fn the_demonstration_is_its_golden_transcript() {
    let told = run(gateway().arg("demo"));
    let golden = include_str!("demo.golden");
    assert_eq!(told, golden);
}
