//! What a text may hold (bad-input catalogue B38–B52): stored as sent but composed (NFC), never repaired.
//!
//! Refusing a real name is as much a failure as taking a harmful character, so a name is only asked to hold a letter
//! and no symbol. It must never log or repeat the text.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{
    GeneralCategory as Category, GeneralCategoryGroup as Group, UnicodeGeneralCategory,
};

/// Marks in a row on one letter; the scripts that stack most use fewer.
const MARKS_IN_A_ROW: usize = 8;

/// What a field's text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRule {
    /// Code points at most; bytes at most four times as many.
    pub max: usize,
    /// Whether lines and tabs are allowed.
    pub multi_line: bool,
    /// Whether an empty or blank text is refused.
    pub required: bool,
    /// Whether it is a person's name, and which sort.
    pub name: NameRule,
}

/// Whether a text is a person's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// No name.
    None,
    /// A name as it should be: a `?` left by a code page is refused.
    Legal,
    /// A name as a register sent it: `?` and U+FFFD stand for letters.
    Claimed,
}

impl TextRule {
    /// One optional line of at most `max` code points.
    #[must_use]
    pub const fn line(max: usize) -> Self {
        Self { max, multi_line: false, required: false, name: NameRule::None }
    }

    /// Optional notes of at most `max` code points, lines allowed.
    #[must_use]
    pub const fn notes(max: usize) -> Self {
        Self { multi_line: true, ..Self::line(max) }
    }

    /// An optional legal name of at most `max` code points.
    #[must_use]
    pub const fn legal_name(max: usize) -> Self {
        Self { name: NameRule::Legal, ..Self::line(max) }
    }

    /// An optional name as a register sent it, to be compared only.
    #[must_use]
    pub const fn claimed_name(max: usize) -> Self {
        Self { name: NameRule::Claimed, ..Self::line(max) }
    }

    /// The same, required.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// The text composed, or the reason it is refused; none if it is blank and not required.
///
/// # Errors
/// A reason of the catalogue.
pub fn accept(text: &str, rule: TextRule) -> Result<Option<String>, &'static str> {
    if text.len() > rule.max.saturating_mul(4) || text.chars().count() > rule.max {
        return Err("FIELD_LENGTH");
    }
    held_characters(text, rule.multi_line)?;
    if text.chars().all(char::is_whitespace) {
        return if rule.required { Err("FIELD_REQUIRED") } else { Ok(None) };
    }
    let composed: String = text.nfc().collect();
    marks_in_a_row(&composed)?;
    match rule.name {
        NameRule::None => {}
        NameRule::Legal => is_name(&composed, false)?,
        NameRule::Claimed => is_name(&composed, true)?,
    }
    Ok(Some(composed))
}

fn held_characters(text: &str, multi_line: bool) -> Result<(), &'static str> {
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_ascii_graphic() || character == ' ' {
            before = Some(character);
            continue;
        }
        match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' if multi_line => {}
            '\u{2028}' | '\u{2029}' => return Err("TEXT_CONTROL_CHAR"),
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                return Err("TEXT_BIDI_CONTROL");
            }
            '\u{200c}' | '\u{200d}'
                if before.is_some_and(joins) && characters.peek().copied().is_some_and(joins) => {}
            '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{2064}'
            | '\u{feff}'
            | '\u{180e}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{3164}'
            | '\u{ffa0}' => return Err("TEXT_INVISIBLE"),
            // The flags of England, Scotland and Wales are a black flag and tags.
            '\u{e0020}'..='\u{e007f}' if before.is_some_and(|b| b == '\u{1f3f4}' || is_tag(b)) => {}
            tag if is_tag(tag) => return Err("TEXT_INVISIBLE"),
            other => match other.general_category() {
                Category::Control => return Err("TEXT_CONTROL_CHAR"),
                Category::Unassigned | Category::PrivateUse | Category::Surrogate => {
                    return Err("TEXT_UNASSIGNED");
                }
                _ => {}
            },
        }
        before = Some(character);
    }
    Ok(())
}

fn is_tag(character: char) -> bool {
    matches!(character, '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// What a joiner may stand between: letters, their marks, and emoji.
fn joins(character: char) -> bool {
    matches!(character.general_category_group(), Group::Letter | Group::Mark | Group::Symbol)
}

fn marks_in_a_row(text: &str) -> Result<(), &'static str> {
    let mut marks = 0;
    for character in text.chars() {
        let is_mark = !character.is_ascii() && character.general_category_group() == Group::Mark;
        marks = if is_mark { marks + 1 } else { 0 };
        if marks > MARKS_IN_A_ROW {
            return Err("TEXT_COMBINING");
        }
    }
    Ok(())
}

/// Digits and punctuation pass; a letter is asked for, and no pictures.
fn is_name(text: &str, claimed: bool) -> Result<(), &'static str> {
    let mut letters = 0_usize;
    for character in text.chars() {
        match character {
            '?' | '\u{fffd}' if claimed => letters += 1,
            '?' | '\u{fffd}' | '\u{fe0f}' | '\u{20e3}' | '\u{1f3fb}'..='\u{1f3ff}' => {
                return Err("TEXT_NOT_A_NAME");
            }
            other => match other.general_category() {
                Category::OtherSymbol => return Err("TEXT_NOT_A_NAME"),
                category => letters += usize::from(is_letter(category)),
            },
        }
    }
    if letters > 0 { Ok(()) } else { Err("TEXT_NOT_A_NAME") }
}

fn is_letter(category: Category) -> bool {
    matches!(
        category,
        Category::UppercaseLetter
            | Category::LowercaseLetter
            | Category::TitlecaseLetter
            | Category::ModifierLetter
            | Category::OtherLetter
    )
}
