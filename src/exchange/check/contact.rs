//! Formats of postcodes, telephone numbers and e-mail addresses (B49). None is looked up.

/// Checks for a United Kingdom postcode in capitals, `SW1A 1AA` or `SW1A1AA`.
#[must_use]
pub fn is_postcode(text: &str) -> bool {
    let Some((outward, inward)) = text.len().checked_sub(3).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    let outward = outward.strip_suffix(' ').unwrap_or(outward);
    let shape: String = outward.chars().map(char_class).collect();
    let inward: String = inward.chars().map(char_class).collect();
    matches!(shape.as_str(), "A9" | "A99" | "AA9" | "AA99" | "A9A" | "AA9A") && inward == "9AA"
}

/// Checks for 7 to 15 digits (E.164), with an optional leading `+`, spaces, hyphens and brackets.
#[must_use]
pub fn is_phone(text: &str) -> bool {
    let rest = text.strip_prefix('+').unwrap_or(text);
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    (7..=15).contains(&digits)
        && rest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'(' | b')'))
}

/// Checks for a local part, one `@`, and a domain with a dot; at most 254 bytes.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let labels = |domain: &str| {
        domain.contains('.')
            && domain
                .split('.')
                .all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'))
    };
    let plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | '<' | '>' | ',' | ';' | '"');
    text.len() <= 254 && !local.is_empty() && local.chars().all(plain) && labels(domain)
}

fn char_class(character: char) -> char {
    match character {
        'A'..='Z' => 'A',
        '0'..='9' => '9',
        _ => '?',
    }
}
