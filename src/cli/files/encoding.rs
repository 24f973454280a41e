//! Detection of a file's text encoding: UTF-8, UTF-16 with a byte order mark, or else Windows-1252, which Excel writes
//! when it saves as "CSV". A notice names an encoding other than UTF-8, because the bytes cannot prove Windows-1252.

/// Characters of bytes 0x80 to 0x9F in Windows-1252 (WHATWG Encoding, index windows-1252); five are unassigned.
const WINDOWS_1252_C1: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// First bytes of file formats that are not CSV, each with the error text.
const UNSUPPORTED_SIGNATURES: [(&[u8], &str); 4] = [
    (b"PK\x03\x04", "the file is a workbook (.xlsx, .ods): save it as CSV UTF-8"),
    (
        b"\xd0\xcf\x11\xe0",
        "the file is a workbook (.xls, or .xlsx with a password): save it as .xlsx without a password",
    ),
    (b"%PDF", "the file is a PDF document: export it as CSV UTF-8"),
    (b"<", "the file is HTML or XML: save it as CSV UTF-8"),
];

/// Returns the text of a file and the name of its encoding.
///
/// # Errors
/// The reason why the bytes cannot be decoded, with advice.
pub fn decode(bytes: &[u8]) -> Result<(String, &'static str), &'static str> {
    for (start, reason) in UNSUPPORTED_SIGNATURES {
        if bytes.starts_with(start) {
            return Err(reason);
        }
    }
    let (text, encoding) = if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        (decode_utf_16(rest, u16::from_le_bytes)?, "UTF-16, little endian")
    } else if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        (decode_utf_16(rest, u16::from_be_bytes)?, "UTF-16, big endian")
    } else if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        let text = std::str::from_utf8(rest);
        let text =
            text.map_err(|_| "the file begins as UTF-8 but is not valid UTF-8: save it as CSV UTF-8")?;
        (text.to_owned(), "UTF-8 with a byte order mark")
    } else if let Ok(text) = std::str::from_utf8(bytes) {
        (text.to_owned(), "UTF-8")
    } else {
        (decode_windows_1252(bytes)?, "Windows-1252")
    };
    if text.contains('\0') {
        return Err("the file is not text, or UTF-16 without a byte order mark: save it as CSV UTF-8");
    }
    Ok((text, encoding))
}

fn decode_utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, &'static str> {
    let broken = "the file begins as UTF-16 but is not valid UTF-16: save it as CSV UTF-8";
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(broken);
    }
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<_, _>>().map_err(|_| broken)
}

fn decode_windows_1252(bytes: &[u8]) -> Result<String, &'static str> {
    if bytes.utf8_chunks().flat_map(|chunk| chunk.valid().chars()).any(is_likely_utf_8_character) {
        return Err("some lines of the file are UTF-8 and others are not: save it as CSV UTF-8");
    }
    let letter = |byte: &u8| {
        let high = byte.checked_sub(0x80).and_then(|at| WINDOWS_1252_C1.get(usize::from(at)));
        high.copied().unwrap_or(char::from(*byte))
    };
    let text: String = bytes.iter().map(letter).collect();
    if text.contains(|letter: char| ('\u{80}'..='\u{9f}').contains(&letter)) {
        return Err("the file is neither UTF-8 nor Windows-1252: save it as CSV UTF-8");
    }
    Ok(text)
}

/// Returns whether a character that was decoded as UTF-8 shows that the bytes are UTF-8: as Windows-1252 they would be
/// sequences such as `Ã©`, which do not occur in names.
fn is_likely_utf_8_character(letter: char) -> bool {
    matches!(letter, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{2010}'..='\u{203a}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_known_by_its_bytes() {
        assert_eq!(decode("\u{feff}Zoë".as_bytes()), Ok(("Zoë".to_owned(), "UTF-8 with a byte order mark")));
        assert_eq!(decode("Nguyễn".as_bytes()), Ok(("Nguyễn".to_owned(), "UTF-8")));
        assert_eq!(decode(b"Si\xe2n O\x92Brien, \x80"), Ok(("Siân O’Brien, €".to_owned(), "Windows-1252")));
        let units =
            |unit: fn(u16) -> [u8; 2]| "\u{feff}Zoë,李".encode_utf16().flat_map(unit).collect::<Vec<_>>();
        assert_eq!(decode(&units(u16::to_le_bytes)), Ok(("Zoë,李".to_owned(), "UTF-16, little endian")));
        assert_eq!(decode(&units(u16::to_be_bytes)), Ok(("Zoë,李".to_owned(), "UTF-16, big endian")));
        for unreadable in [
            &b"\xff\xfeU\0P"[..],
            b"\xfe\xff\xd8\0",
            b"U\0P\0",
            b"PK\x03\x04\0",
            b"<table>",
            b"\xe9\x81",
            b"\xef\xbb\xbf\xff",
            b"Zo\xc3\xab and Si\xe2n",
            b"\xff\xfe\0\0U\0\0\0",
        ] {
            assert!(decode(unreadable).is_err(), "{unreadable:?}");
        }
    }
}
