//! The output of `demo`, compared with its golden transcript.

use super::support::{gateway, run};

#[test]
fn the_demonstration_is_its_golden_transcript() {
    let printed = run(gateway().arg("demo"));
    let golden = include_str!("demo.golden");
    assert_eq!(printed, golden);
}
