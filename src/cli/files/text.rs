//! The bytes of a file as text. Exports are UTF-8, with or without a byte order mark, or what Excel saves as
//! "CSV": Windows-1252, in which a letter that the code page lacks has become `?`.

/// What bytes 0x80 to 0x9F are in Windows-1252 (WHATWG Encoding, index windows-1252); five are nothing.
const C1: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text of a file, and the name of how it was encoded.
///
/// # Errors
/// Why it is no text that can be read.
pub fn decode(bytes: &[u8]) -> Result<(String, &'static str), &'static str> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("the file is UTF-16 (\"Unicode text\"): save it as CSV UTF-8");
    }
    if bytes.contains(&0) {
        return Err("the file is not text: a workbook or UTF-16; save it as CSV UTF-8");
    }
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        let text = std::str::from_utf8(rest).map_err(|_| "the file begins as UTF-8 and does not go on so")?;
        return Ok((text.to_owned(), "UTF-8 with a byte order mark"));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok((text.to_owned(), "UTF-8"));
    }
    let text: String = bytes.iter().map(|byte| windows_1252(*byte)).collect();
    if text.contains(|letter: char| ('\u{80}'..='\u{9f}').contains(&letter)) {
        return Err("the file is neither UTF-8 nor Windows-1252: save it as CSV UTF-8");
    }
    Ok((text, "Windows-1252"))
}

fn windows_1252(byte: u8) -> char {
    let high = byte.checked_sub(0x80).and_then(|at| C1.get(usize::from(at)));
    high.copied().unwrap_or(char::from(byte))
}

/// A cell without what spreadsheets put around it: spaces, those that do not break too, and the formula
/// `="…"` that keeps a number from losing its zeros.
#[must_use]
pub fn clean(cell: &str) -> String {
    let spaced = cell.replace('\u{a0}', " ");
    let cell = spaced.trim();
    let guarded = cell.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    guarded.unwrap_or(cell).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_known_by_its_bytes() {
        assert_eq!(decode("\u{feff}Zoë".as_bytes()), Ok(("Zoë".to_owned(), "UTF-8 with a byte order mark")));
        assert_eq!(decode("Nguyễn".as_bytes()), Ok(("Nguyễn".to_owned(), "UTF-8")));
        assert_eq!(decode(b"Si\xe2n O\x92Brien, \x80"), Ok(("Siân O’Brien, €".to_owned(), "Windows-1252")));
        for unreadable in [
            &b"\xff\xfeU\0"[..],
            b"\xfe\xff\0U",
            b"U\0P\0",
            b"PK\x03\x04\0",
            b"\xe9\x81",
            b"\xef\xbb\xbf\xff",
        ] {
            assert!(decode(unreadable).is_err(), "{unreadable:?}");
        }
    }

    #[test]
    fn a_cell_loses_what_spreadsheets_put_around_it() {
        for (cell, cleaned) in [
            (" AM ", "AM"),
            ("\u{a0}Van\u{a0}der Berg\u{a0}", "Van der Berg"),
            ("=\"0012\"", "0012"),
            ("\\", "\\"),
            ("=cmd|x", "=cmd|x"),
        ] {
            assert_eq!(clean(cell), cleaned);
        }
    }
}
