//! The meaning of a mark for the rules of oversight, and which changes of marks have a placement evaluated.
//!
//! An absence is unexplained if it counts as unauthorised (Working together to improve school attendance, 2024; domain
//! facts 1.1): N, O, U, G, or a child seen to be absent. Every other absence is explained. A session that was not possible
//! (D, Q, X, Y1 to Y7), one that is not collected (Z, #), and one of which no mark was received say nothing about the child.

use super::rules::MarkStatement;
use crate::calendar::Date;
use crate::codes::attendance::{AttendanceClass, AttendanceCode};
use crate::proto::v1::SeenMark;

/// The meaning of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkMeaning {
    /// Present at the provider.
    Present,
    /// At an approved educational activity elsewhere.
    AttendedElsewhere,
    /// Absent, and nobody has given a good reason.
    Unexplained,
    /// Absent through illness, code I.
    Illness,
    /// Absent by a temporary part-time timetable, code C2.
    PartTimeLeave,
    /// Absent for another good reason.
    OtherAbsence,
    /// Not a possible session.
    NotPossible,
    /// The mark was withdrawn.
    Withdrawn,
}

impl MarkMeaning {
    /// Returns the meaning of a statement about a day.
    #[must_use]
    pub fn from_statement(statement: &MarkStatement, date: Date) -> Self {
        match statement {
            MarkStatement::Code(code) => {
                AttendanceCode::parse_on(code, date).map_or(Self::NotPossible, Self::of_code)
            }
            MarkStatement::Seen(seen) => match SeenMark::try_from(*seen) {
                Ok(SeenMark::Present | SeenMark::Late) => Self::Present,
                Ok(SeenMark::Absent) => Self::Unexplained,
                Ok(SeenMark::NotExpected | SeenMark::Unspecified) | Err(_) => Self::NotPossible,
            },
            MarkStatement::Withdrawn => Self::Withdrawn,
        }
    }

    /// Returns the meaning of a code.
    #[must_use]
    pub fn of_code(code: AttendanceCode) -> Self {
        match (code, code.class()) {
            (AttendanceCode::Illness, _) => Self::Illness,
            (AttendanceCode::PartTimeTimetable, _) => Self::PartTimeLeave,
            (_, AttendanceClass::Present) => Self::Present,
            (_, AttendanceClass::ApprovedEducationalActivity) => Self::AttendedElsewhere,
            (_, AttendanceClass::UnauthorisedAbsence) => Self::Unexplained,
            (_, AttendanceClass::AuthorisedAbsence) => Self::OtherAbsence,
            (_, AttendanceClass::NotPossible | AttendanceClass::NotCollected) => Self::NotPossible,
        }
    }

    /// Returns whether the child attended.
    #[must_use]
    pub fn is_attended(self) -> bool {
        matches!(self, Self::Present | Self::AttendedElsewhere)
    }

    /// Returns whether the session counts in the rate of attendance.
    #[must_use]
    pub fn is_possible(self) -> bool {
        !matches!(self, Self::NotPossible | Self::Withdrawn)
    }

    /// Returns whether a mark that has, or had, this meaning can raise or close an alert at once. With one-to-one tuition
    /// each missed session can. Attendance closes alerts too, but that is found without the mark's doing: an ordinary mark
    /// costs nothing.
    #[must_use]
    pub fn concerns_rules(self, is_tuition: bool) -> bool {
        match self {
            Self::Unexplained | Self::Illness | Self::PartTimeLeave => true,
            Self::OtherAbsence => is_tuition,
            Self::Present | Self::AttendedElsewhere | Self::NotPossible | Self::Withdrawn => false,
        }
    }
}

/// Returns whether a change of a session's mark has its placement evaluated.
#[must_use]
pub fn is_evaluated(
    before: Option<&MarkStatement>,
    after: &MarkStatement,
    date: Date,
    is_tuition: bool,
) -> bool {
    let mut meanings =
        before.into_iter().chain([after]).map(|statement| MarkMeaning::from_statement(statement, date));
    before != Some(after) && meanings.any(|meaning| meaning.concerns_rules(is_tuition))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Date {
        Date::parse("2026-11-20").unwrap()
    }

    fn code(text: &str) -> MarkStatement {
        MarkStatement::Code(text.to_owned())
    }

    #[test]
    fn the_meaning_of_each_code_agrees_with_its_class() {
        for code in AttendanceCode::ALL {
            let (meaning, class) = (MarkMeaning::of_code(code), code.class());
            assert_eq!(meaning.is_attended(), class.is_attended(), "{code}");
            assert_eq!(meaning.is_possible(), class.is_possible(), "{code}");
            let unexplained = matches!(code.as_str(), "N" | "O" | "U" | "G");
            assert_eq!(meaning == MarkMeaning::Unexplained, unexplained, "{code}");
        }
        let seen = |seen: SeenMark| MarkMeaning::from_statement(&MarkStatement::Seen(seen as i32), day());
        assert_eq!(seen(SeenMark::Absent), MarkMeaning::Unexplained);
        assert_eq!(seen(SeenMark::Late), MarkMeaning::Present);
        assert_eq!(seen(SeenMark::NotExpected), MarkMeaning::NotPossible);
        assert_eq!(MarkMeaning::from_statement(&MarkStatement::Withdrawn, day()), MarkMeaning::Withdrawn);
    }

    #[test]
    fn an_ordinary_mark_has_nothing_evaluated() {
        for ordinary in ["/", "L", "K", "B", "M", "E", "C", "D", "Y4", "#"] {
            assert!(!is_evaluated(None, &code(ordinary), day(), false), "{ordinary}");
            assert!(!is_evaluated(Some(&code("M")), &code(ordinary), day(), false), "{ordinary}");
        }
        for absence in ["N", "O", "U", "G", "I", "C2"] {
            assert!(is_evaluated(None, &code(absence), day(), false), "{absence}");
            assert!(is_evaluated(Some(&code(absence)), &code("/"), day(), false), "corrected {absence}");
            assert!(is_evaluated(Some(&code(absence)), &MarkStatement::Withdrawn, day(), false), "{absence}");
            assert!(!is_evaluated(Some(&code(absence)), &code(absence), day(), false), "unchanged {absence}");
        }
        assert!(is_evaluated(None, &code("M"), day(), true) && !is_evaluated(None, &code("/"), day(), true));
    }
}
