//! Whether two spellings can be one child's name: the guard against marks that land on the wrong child.
//!
//! Folding compares only; it never changes what is stored. Case, Latin accents, apostrophes, hyphens and spaces do
//! not count, and a `?` or U+FFFD, left by a code page, stands for one letter.

use unicode_normalization::UnicodeNormalization;

/// Whether `one` and `other` are the same name after folding.
#[must_use]
pub fn same_name(one: &str, other: &str) -> bool {
    let (one, other) = (folded(one), folded(other));
    let (mut a, mut b) = (one.as_slice(), other.as_slice());
    while let (Some(first), Some(second)) = (a.first(), b.first()) {
        match (first, second) {
            (Folded::Any, Folded::Any) => (a, b) = (rest(a), rest(b)),
            (Folded::Any, _) => (a, b) = (rest(a), after_letter(b)),
            (_, Folded::Any) => (a, b) = (after_letter(a), rest(b)),
            (Folded::Starts(x) | Folded::Goes(x), Folded::Starts(y) | Folded::Goes(y)) if x == y => {
                (a, b) = (rest(a), rest(b));
            }
            _ => return false,
        }
    }
    a.is_empty() && b.is_empty()
}

/// One folded character: the first of a written letter, a further one of it (`ß` gives two), or any letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Folded {
    Starts(char),
    Goes(char),
    Any,
}

fn folded(name: &str) -> Vec<Folded> {
    let mut out = Vec::with_capacity(name.len());
    for letter in name.nfkc() {
        if matches!(letter, '?' | '\u{fffd}') {
            out.push(Folded::Any);
            continue;
        }
        let mut started = false;
        for base in letter.to_lowercase().nfkd().filter(|part| counts(*part)) {
            push_letters(base, &mut started, &mut out);
        }
    }
    out
}

fn push_letters(base: char, started: &mut bool, out: &mut Vec<Folded>) {
    let mut push = |letter| {
        out.push(if *started { Folded::Goes(letter) } else { Folded::Starts(letter) });
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

/// Letters and digits count; accents of European scripts, marks that join names, and spaces do not. The vowel signs
/// of other scripts are letters here: without them two names could be one.
fn counts(part: char) -> bool {
    let accent = matches!(part, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{fe20}'..='\u{fe2f}');
    let joins = matches!(part, '\'' | '`' | '´' | '"' | '.' | '-' | '_' | '\u{ad}' | 'ʹ'..='ˁ' | '‐'..='―'
        | '‘'..='‟' | '′' | '−' | '\u{200b}'..='\u{200d}' | '\u{feff}');
    !accent && !joins && !part.is_whitespace()
}

fn rest(name: &[Folded]) -> &[Folded] {
    name.get(1..).unwrap_or_default()
}

fn after_letter(name: &[Folded]) -> &[Folded] {
    let after = rest(name);
    let further = after.iter().take_while(|part| matches!(part, Folded::Goes(_))).count();
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
            assert!(same_name(one, other), "{one} {other}");
            assert!(same_name(other, one), "{other} {one}");
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
            assert!(!same_name(one, other), "{one} {other}");
            assert!(!same_name(other, one), "{other} {one}");
        }
    }
}
