//! Golden files: texts that tests compare with what the code prints. The unit tests use this module too.

use std::path::Path;

/// Compares a text with its golden file, which is named from the repository's root. Writes the file instead if
/// `AP_GATEWAY_REGENERATE=1` is set.
#[track_caller]
pub fn check(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("AP_GATEWAY_REGENERATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, actual).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, golden, "{file} is not what the code prints; AP_GATEWAY_REGENERATE=1 writes it");
}
