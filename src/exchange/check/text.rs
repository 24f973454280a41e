//! Rules for texts (bad-input catalogue B38–B52). A text is stored as sent but composed (NFC), and never
//! repaired.
//!
//! A refused real name is as much a failure as an accepted harmful character. So a name needs only a letter, and
//! no symbol. Invariant: a text is never logged or repeated.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{
    GeneralCategory as Category, GeneralCategoryGroup as Group, UnicodeGeneralCategory,
};

use crate::violation_reason::ViolationReason;

/// Maximum number of consecutive combining marks on one letter. No script needs as many.
const MAX_CONSECUTIVE_MARKS: usize = 8;

/// Rule for the text of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRule {
    /// Longest text in code points; in bytes it is four times as many.
    pub max: usize,
    /// Whether line breaks and tabs are allowed.
    pub multi_line: bool,
    /// Whether an empty or blank text is refused.
    pub required: bool,
    /// Whether the text is a person's name, and of which kind.
    pub name: NameRule,
}

/// Whether a text is a person's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// The text is not a name.
    AnyText,
    /// A name as it should be. A `?` is refused, because a code page conversion leaves it in place of a letter.
    Legal,
    /// A name as a register sent it. `?` and U+FFFD count as letters.
    Claimed,
}

impl TextRule {
    /// Creates a rule for one optional line of at most `max` code points.
    #[must_use]
    pub const fn line(max: usize) -> Self {
        Self { max, multi_line: false, required: false, name: NameRule::AnyText }
    }

    /// Creates a rule for optional notes of at most `max` code points, with line breaks.
    #[must_use]
    pub const fn notes(max: usize) -> Self {
        Self { multi_line: true, ..Self::line(max) }
    }

    /// Creates a rule for an optional legal name of at most `max` code points.
    #[must_use]
    pub const fn legal_name(max: usize) -> Self {
        Self { name: NameRule::Legal, ..Self::line(max) }
    }

    /// Creates a rule for an optional name as a register sent it, used for comparison only.
    #[must_use]
    pub const fn claimed_name(max: usize) -> Self {
        Self { name: NameRule::Claimed, ..Self::line(max) }
    }

    /// Makes the rule refuse an empty or blank text.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// Checks and composes a text. Returns `None` if it is blank and not required.
///
/// # Errors
/// A reason from the catalogue.
pub fn check_text(text: &str, rule: TextRule) -> Result<Option<String>, ViolationReason> {
    if text.len() > rule.max.saturating_mul(4) || text.chars().count() > rule.max {
        return Err(ViolationReason::FieldLength);
    }
    check_characters(text, rule.multi_line)?;
    if text.chars().all(char::is_whitespace) {
        return if rule.required { Err(ViolationReason::FieldRequired) } else { Ok(None) };
    }
    let composed: String = text.nfc().collect();
    check_combining_marks(&composed)?;
    match rule.name {
        NameRule::AnyText => {}
        NameRule::Legal => check_name(&composed, false)?,
        NameRule::Claimed => check_name(&composed, true)?,
    }
    Ok(Some(composed))
}

fn check_characters(text: &str, multi_line: bool) -> Result<(), ViolationReason> {
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_ascii_graphic() || character == ' ' {
            before = Some(character);
            continue;
        }
        match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' if multi_line => {}
            '\u{2028}' | '\u{2029}' => return Err(ViolationReason::TextControlChar),
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                return Err(ViolationReason::TextBidiControl);
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
            | '\u{ffa0}' => return Err(ViolationReason::TextInvisible),
            // The flags of England, Scotland and Wales are a black flag followed by tags.
            '\u{e0020}'..='\u{e007f}' if before.is_some_and(|b| b == '\u{1f3f4}' || is_tag(b)) => {}
            tag if is_tag(tag) => return Err(ViolationReason::TextInvisible),
            other => match other.general_category() {
                Category::Control => return Err(ViolationReason::TextControlChar),
                Category::Unassigned | Category::PrivateUse | Category::Surrogate => {
                    return Err(ViolationReason::TextUnassigned);
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

/// Returns whether a joiner may stand beside the character: a letter, a mark, or a symbol such as an emoji.
fn joins(character: char) -> bool {
    matches!(character.general_category_group(), Group::Letter | Group::Mark | Group::Symbol)
}

fn check_combining_marks(text: &str) -> Result<(), ViolationReason> {
    let mut marks = 0;
    for character in text.chars() {
        let is_mark = !character.is_ascii() && character.general_category_group() == Group::Mark;
        marks = if is_mark { marks + 1 } else { 0 };
        if marks > MAX_CONSECUTIVE_MARKS {
            return Err(ViolationReason::TextCombining);
        }
    }
    Ok(())
}

/// Checks a name: at least one letter, and no emoji. Digits and punctuation are allowed.
fn check_name(text: &str, claimed: bool) -> Result<(), ViolationReason> {
    let mut letters = 0_usize;
    for character in text.chars() {
        match character {
            '?' | '\u{fffd}' if claimed => letters += 1,
            '?' | '\u{fffd}' | '\u{fe0f}' | '\u{20e3}' | '\u{1f3fb}'..='\u{1f3ff}' => {
                return Err(ViolationReason::TextNotAName);
            }
            other => match other.general_category() {
                Category::OtherSymbol => return Err(ViolationReason::TextNotAName),
                category => letters += usize::from(is_letter(category)),
            },
        }
    }
    if letters > 0 { Ok(()) } else { Err(ViolationReason::TextNotAName) }
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
