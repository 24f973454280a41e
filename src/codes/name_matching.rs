//! Comparison of names: whether two spellings can be one child's name. It protects against marks for the wrong child.
//!
//! Folding is used for comparison only and never changes stored data. It ignores case, Latin accents, apostrophes,
//! hyphens and spaces. A `?` or U+FFFD, which a wrong code page leaves, matches any one letter.

use unicode_normalization::UnicodeNormalization;

/// Returns whether `one` and `other` are the same name after folding.
#[must_use]
pub fn is_same_name(one: &str, other: &str) -> bool {
    let (one, other) = (fold(one), fold(other));
    let (mut a, mut b) = (one.as_slice(), other.as_slice());
    while let (Some(first), Some(second)) = (a.first(), b.first()) {
        match (first, second) {
            (FoldedChar::Wildcard, FoldedChar::Wildcard) => (a, b) = (skip_char(a), skip_char(b)),
            (FoldedChar::Wildcard, _) => (a, b) = (skip_char(a), skip_letter(b)),
            (_, FoldedChar::Wildcard) => (a, b) = (skip_letter(a), skip_char(b)),
            (
                FoldedChar::First(x) | FoldedChar::Further(x),
                FoldedChar::First(y) | FoldedChar::Further(y),
            ) if x == y => {
                (a, b) = (skip_char(a), skip_char(b));
            }
            _ => return false,
        }
    }
    a.is_empty() && b.is_empty()
}

/// Folded character: the first one of a written letter, a further one of it (`ß` gives two), or a wildcard for any
/// letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FoldedChar {
    First(char),
    Further(char),
    Wildcard,
}

fn fold(name: &str) -> Vec<FoldedChar> {
    let mut out = Vec::with_capacity(name.len());
    for letter in name.nfkc() {
        if matches!(letter, '?' | '\u{fffd}') {
            out.push(FoldedChar::Wildcard);
            continue;
        }
        let mut started = false;
        for base in letter.to_lowercase().nfkd().filter(|part| is_significant(*part)) {
            push_letters(base, &mut started, &mut out);
        }
    }
    out
}

fn push_letters(base: char, started: &mut bool, out: &mut Vec<FoldedChar>) {
    let mut push = |letter| {
        out.push(if *started { FoldedChar::Further(letter) } else { FoldedChar::First(letter) });
        *started = true;
    };
    match base {
        'ß' => "ss".chars().for_each(push),
        'æ' => "ae".chars().for_each(push),
        'œ' => "oe".chars().for_each(push),
        'þ' => "th".chars().for_each(push),
        'ø' => push('o'),
        'ł' => push('l'),
        'đ' | 'ð' => push('d'),
        'ħ' => push('h'),
        'ı' => push('i'),
        'ŧ' => push('t'),
        'ς' => push('σ'),
        other => push(other),
    }
}

/// Returns whether a character is significant. Letters and digits are; accents of European scripts, marks that join
/// names, and spaces are not. The vowel signs of other scripts are significant, because without them different names
/// could be equal.
fn is_significant(part: char) -> bool {
    let accent = matches!(part, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{fe20}'..='\u{fe2f}');
    let joins = matches!(part, '\'' | '`' | '´' | '"' | '.' | '-' | '_' | '\u{ad}' | 'ʹ'..='ˁ' | '‐'..='―'
        | '‘'..='‟' | '′' | '−' | '\u{200b}'..='\u{200d}' | '\u{feff}');
    !accent && !joins && !part.is_whitespace()
}

fn skip_char(name: &[FoldedChar]) -> &[FoldedChar] {
    name.get(1..).unwrap_or_default()
}

fn skip_letter(name: &[FoldedChar]) -> &[FoldedChar] {
    let after = skip_char(name);
    let further = after.iter().take_while(|part| matches!(part, FoldedChar::Further(_))).count();
    after.get(further..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name() {
        for (one, other) in [
            ("José", "Jose\u{301}"),
            ("José", "JOSE"),
            ("O’Brien", "O'Brien"),
            ("O’Brien", "obrien"),
            ("O‘Brien", "OʼBrien"),
            ("Ó Séaghdha", "O Seaghdha"),
            ("Anne-Marie", "Anne Marie"),
            ("Nguyễn An", "Nguy?n An"),
            ("Siân", "Si\u{fffd}n"),
            ("Łukasz", "Lukasz"),
            ("Weiß", "WEISS"),
            ("Wei?", "Weiß"),
            ("Sørensen", "S?rensen"),
            ("İpek", "ipek"),
            ("李", "?"),
            ("ﬁona", "Fiona"),
            ("Van der Berg", "Van  Der\u{a0}Berg"),
            ("Ｍｅｎｓａｈ", "Mensah"),
        ] {
            assert!(is_same_name(one, other), "{one} {other}");
            assert!(is_same_name(other, one), "{other} {one}");
        }
    }

    #[test]
    fn other_names() {
        for (one, other) in [
            ("Aisha", "Aishah"),
            ("Nguyễn", "Nguy??n"),
            ("Nguyễn", "Nguy?"),
            ("Smith", ""),
            ("कि", "कु"),
            ("Li", "李"),
            ("Ann", "Anna"),
        ] {
            assert!(!is_same_name(one, other), "{one} {other}");
            assert!(!is_same_name(other, one), "{other} {one}");
        }
    }
}
