//! The output of `demo`, compared with its golden transcript.

use super::golden;
use super::support::{gateway, run};

#[test]
fn the_demonstration_is_its_golden_transcript() {
    let printed = run(gateway().arg("demo"));
    golden::check("tests/it/demo.golden", &printed);
}
