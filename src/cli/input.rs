//! Input files of the commands. `-` is standard input.

use std::io::Read;
use std::path::Path;

use super::Failure;

/// Name of standard input in place of a file.
const STANDARD_INPUT: &str = "-";

/// Reads a file of text, or standard input, of at most so many bytes.
///
/// # Errors
/// Exit code 64 if it cannot be read, is too large or is not UTF-8 text.
pub fn read_text(file: &Path, max_bytes: u64) -> Result<String, Failure> {
    let bytes = read_bytes(file, max_bytes)?;
    String::from_utf8(bytes).map_err(|_| failure(file, "the file is not UTF-8 text"))
}

/// Reads a file, or standard input, of at most so many bytes.
///
/// # Errors
/// Exit code 64 if it cannot be read or is too large.
pub fn read_bytes(file: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let unreadable = |_| failure(file, "the file cannot be read");
    let mut bytes = Vec::new();
    if is_standard_input(file) {
        std::io::stdin().lock().take(max_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(max_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length > max_bytes) {
        let limit = if max_bytes < 1 << 20 { max_bytes >> 10 } else { max_bytes >> 20 };
        let unit = if max_bytes < 1 << 20 { "KiB" } else { "MiB" };
        return Err(failure(file, &format!("the file is larger than {limit} {unit}")));
    }
    Ok(bytes)
}

/// Returns whether a file stands for standard input.
#[must_use]
pub fn is_standard_input(file: &Path) -> bool {
    file == Path::new(STANDARD_INPUT)
}

/// Returns the name of a file in messages.
#[must_use]
pub fn name_of(file: &Path) -> String {
    if is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn failure(file: &Path, what: &str) -> Failure {
    Failure::input(format!("{}: {what}", name_of(file)))
}
