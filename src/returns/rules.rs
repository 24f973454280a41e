//! Pure rules for attendance marks: checks of code, session and day, and the comparison with the stored mark
//! (SI 2024/208).

use uuid::Uuid;

use super::flags::MarkFlags;
use crate::calendar::{Date, TimeOfDay};
use crate::codes::attendance::{AttendanceCode, AttendanceCodeError, RegisterSession};
use crate::store::{ColumnKind, ColumnType, LogPosition, Revision, Value};
use crate::violation_reason::ViolationReason;

/// Number of school days after which a mark is late.
pub const LATE_AFTER_SCHOOL_DAYS: u32 = 60;

/// A session of a day, encoded as in the column `slot`: 1 is AM, 2 is PM, 16 + n is a timed session that starts at
/// minute n of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionSlot(u16);

impl SessionSlot {
    /// The morning session.
    pub const AM: Self = Self(1);
    /// The afternoon session.
    pub const PM: Self = Self(2);
    /// Number of the timed session that starts at 00:00.
    const TIMED_OFFSET: u16 = 16;

    /// Returns the timed session with this start.
    #[must_use]
    pub fn timed(start: TimeOfDay) -> Self {
        Self(Self::TIMED_OFFSET + start.minutes())
    }

    /// Returns the stored number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Decodes a stored number; None if no session has it.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        let number = u16::try_from(number).ok()?;
        let timed = number.checked_sub(Self::TIMED_OFFSET).is_some_and(|minute| minute < 24 * 60);
        (number == 1 || number == 2 || timed).then_some(Self(number))
    }

    /// Returns the start of a timed session; None for AM and PM.
    pub fn start(self) -> Option<TimeOfDay> {
        self.0.checked_sub(Self::TIMED_OFFSET).and_then(TimeOfDay::from_minutes)
    }
}

impl ColumnType for SessionSlot {
    const KIND: ColumnKind = ColumnKind::Int;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }

    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).and_then(Self::from_number)
    }
}

/// The statement of a mark: a code, a plain observation, or nothing after a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkStatement {
    /// A statutory attendance code, as sent.
    Code(String),
    /// A value of `apgateway.v1.SeenMark`.
    Seen(i32),
    /// No statement, because the return that made it was withdrawn.
    Withdrawn,
}

/// Returns whether a code is shown only to its sender, the commissioner and the home school. Y5 (criminal justice
/// detention) is data under Article 10 UK GDPR. Y6 and Y7 are restricted too: if only Y5 were hidden, a hidden code
/// would reveal it.
pub fn is_restricted(code: &str) -> bool {
    matches!(code, "Y5" | "Y6" | "Y7")
}

impl MarkStatement {
    /// Returns the columns `code` and `seen`.
    pub fn to_columns(&self) -> (Option<String>, Option<i32>) {
        match self {
            Self::Code(code) => (Some(code.clone()), None),
            Self::Seen(seen) => (None, Some(*seen)),
            Self::Withdrawn => (None, None),
        }
    }

    /// Makes the statement of the columns `code` and `seen`; `None` if both are set, which is never written.
    pub fn from_columns(code: Option<String>, seen: Option<i32>) -> Option<Self> {
        match (code, seen) {
            (Some(code), None) => Some(Self::Code(code)),
            (None, Some(seen)) => Some(Self::Seen(seen)),
            (None, None) => Some(Self::Withdrawn),
            (Some(_), Some(_)) => None,
        }
    }

    /// Returns whether this is a restricted code.
    pub fn is_restricted(&self) -> bool {
        matches!(self, Self::Code(code) if is_restricted(code))
    }
}

/// The identifier by which a mark names its child.
#[derive(Clone, PartialEq, Eq)]
pub enum ChildIdentifier {
    Placement(Uuid),
    Upn(String),
    Reference(String),
}

/// A mark that passed the checks of its format.
#[derive(Clone)]
pub struct ParsedMark {
    pub child: ChildIdentifier,
    /// A second identifier, which must name the same child.
    pub check_upn: Option<String>,
    /// A second identifier, which must name the same child.
    pub check_reference: Option<String>,
    pub date_of_birth: Option<Date>,
    pub surname: Option<String>,
    pub forename: Option<String>,
    pub date: Date,
    pub slot: SessionSlot,
    pub end: Option<TimeOfDay>,
    pub statement: MarkStatement,
    pub minutes_late: Option<i32>,
    pub minutes_planned: Option<i32>,
    pub minutes_attended: Option<i32>,
    pub comment: String,
    pub correction_reason: String,
    pub site: String,
}

/// Why a row is rejected: the name of the invalid field and the reason.
pub type RowFault = (&'static str, ViolationReason);

/// Checks that the session has begun and that the code is valid for the day and the session. An afternoon session
/// begins at noon at the earliest; a mark before the plan's own start time only gets a warning.
///
/// # Errors
/// The [`RowFault`] of the mark.
pub fn check_session_and_code(mark: &ParsedMark, today: Date, now: TimeOfDay) -> Result<(), RowFault> {
    let earliest = if mark.slot == SessionSlot::PM { Some(TimeOfDay::NOON) } else { mark.slot.start() };
    let begun = earliest.is_none_or(|earliest| earliest <= now);
    if mark.date > today || (mark.date == today && !begun) {
        return Err(("date", ViolationReason::SessionInFuture));
    }
    let MarkStatement::Code(code) = &mark.statement else {
        return Ok(());
    };
    let session = match mark.slot {
        SessionSlot::AM => RegisterSession::Morning,
        SessionSlot::PM => RegisterSession::Afternoon,
        _ => return Err(("code", ViolationReason::CodeSessionMismatch)),
    };
    let code = AttendanceCode::parse_in_session(code, mark.date, session)
        .map_err(|error| ("code", AttendanceCodeError::reason(error)))?;
    if mark.minutes_late.is_some() && !matches!(code.as_str(), "L" | "U") {
        return Err(("minutes_late", ViolationReason::MinutesRange));
    }
    Ok(())
}

/// Checks that the day of a mark lies between the start and the end of its placement. The placement's present state
/// does not matter.
///
/// # Errors
/// `PLACEMENT_NOT_ACTIVE` for the field `date`.
pub fn check_within_placement(
    mark: &ParsedMark,
    start: Option<Date>,
    end: Option<Date>,
) -> Result<(), RowFault> {
    if is_within(mark.date, start, end) { Ok(()) } else { Err(("date", ViolationReason::PlacementNotActive)) }
}

/// Returns whether a day lies between a placement's start and end. A placement without a start has no days.
pub fn is_within(date: Date, start: Option<Date>, end: Option<Date>) -> bool {
    start.is_some_and(|start| start <= date) && end.is_none_or(|end| date <= end)
}

/// Returns the flags of a mark. A flag does not reject the mark.
pub fn flags(mark: &ParsedMark, late_before: Date, agreed: bool) -> MarkFlags {
    let mut flags = MarkFlags::empty();
    flags.set(MarkFlags::LATE, mark.date < late_before);
    flags.set(MarkFlags::AGREEMENT_LAPSED, !agreed);
    flags
}

/// The newest stored revision under the natural key of a mark.
#[derive(Clone)]
pub struct CurrentMark {
    pub revision: Revision,
    /// Whether this revision or an earlier one has a restricted code.
    pub after_restricted: bool,
    pub position: LogPosition,
    pub statement: MarkStatement,
    pub end: Option<TimeOfDay>,
    pub minutes_late: Option<i32>,
    pub minutes_planned: Option<i32>,
    pub minutes_attended: Option<i32>,
    pub comment: String,
    pub site: String,
}

/// The effect of a submitted mark on what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkChange {
    New,
    Unchanged,
    Correction,
}

/// Compares a mark with the newest stored revision. An equal mark is unchanged; a different mark is a correction and
/// needs a reason.
///
/// # Errors
/// `CORRECTION_REASON_REQUIRED` for a correction without a reason.
pub fn compare_with_current(
    mark: &ParsedMark,
    standing: Option<&CurrentMark>,
) -> Result<MarkChange, RowFault> {
    let Some(standing) = standing.filter(|standing| standing.statement != MarkStatement::Withdrawn) else {
        return Ok(MarkChange::New);
    };
    let same = standing.statement == mark.statement
        && standing.end == mark.end
        && standing.minutes_late == mark.minutes_late
        && standing.minutes_planned == mark.minutes_planned
        && standing.minutes_attended == mark.minutes_attended
        && standing.comment == mark.comment
        && standing.site == mark.site;
    match (same, mark.correction_reason.is_empty()) {
        (true, _) => Ok(MarkChange::Unchanged),
        (false, true) => Err(("correction_reason", ViolationReason::CorrectionReasonRequired)),
        (false, false) => Ok(MarkChange::Correction),
    }
}

/// Returns whether two rows of a batch for the same session have the same content.
pub fn has_same_content(one: &ParsedMark, other: &ParsedMark) -> bool {
    one.statement == other.statement
        && one.end == other.end
        && one.minutes_late == other.minutes_late
        && one.minutes_planned == other.minutes_planned
        && one.minutes_attended == other.minutes_attended
        && one.comment == other.comment
        && one.site == other.site
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::{EntryIndex, Ordinal};

    pub(in crate::returns) fn mark(date: &str, slot: SessionSlot, code: &str) -> ParsedMark {
        ParsedMark {
            child: ChildIdentifier::Reference("RV-001".to_owned()),
            check_upn: None,
            check_reference: None,
            date_of_birth: None,
            surname: None,
            forename: None,
            date: Date::parse(date).unwrap(),
            slot,
            end: None,
            statement: MarkStatement::Code(code.to_owned()),
            minutes_late: None,
            minutes_planned: None,
            minutes_attended: None,
            comment: String::new(),
            correction_reason: String::new(),
            site: String::new(),
        }
    }

    fn said(mark: &ParsedMark) -> Option<ViolationReason> {
        said_at("16:00", mark)
    }

    fn said_at(now: &str, mark: &ParsedMark) -> Option<ViolationReason> {
        let (today, now) = (Date::parse("2026-11-20").unwrap(), TimeOfDay::parse(now).unwrap());
        check_session_and_code(mark, today, now).err().map(|(_, reason)| reason)
    }

    #[test]
    fn a_code_must_be_one_of_its_day_and_session() {
        for (date, slot, code, expected) in [
            ("2026-11-20", SessionSlot::AM, "/", None),
            ("2026-11-20", SessionSlot::PM, "\\", None),
            ("2026-11-20", SessionSlot::AM, "\\", Some(ViolationReason::CodeSessionMismatch)),
            ("2026-11-20", SessionSlot::AM, "J", Some(ViolationReason::CodeRetired)),
            ("2026-11-20", SessionSlot::AM, "Y8", Some(ViolationReason::CodeUnknown)),
            ("2026-11-20", SessionSlot::AM, "o", Some(ViolationReason::CodeUnknown)),
            ("2026-11-21", SessionSlot::AM, "/", Some(ViolationReason::SessionInFuture)),
            ("2024-06-03", SessionSlot::AM, "J", None),
        ] {
            assert_eq!(said(&mark(date, slot, code)), expected, "{date} {code}");
        }
        let evening = SessionSlot::timed(TimeOfDay::parse("16:30").unwrap());
        assert_eq!(said(&mark("2026-11-20", evening, "/")), Some(ViolationReason::SessionInFuture));
        assert_eq!(said(&mark("2026-11-19", evening, "/")), Some(ViolationReason::CodeSessionMismatch));
        let seen = ParsedMark { statement: MarkStatement::Seen(1), ..mark("2026-11-19", evening, "/") };
        assert_eq!(said(&seen), None);
        let late = ParsedMark { minutes_late: Some(5), ..mark("2026-11-20", SessionSlot::AM, "/") };
        assert_eq!(said(&late), Some(ViolationReason::MinutesRange));
    }

    #[test]
    fn an_afternoon_is_in_the_future_until_noon() {
        let seen =
            ParsedMark { statement: MarkStatement::Seen(1), ..mark("2026-11-20", SessionSlot::PM, "") };
        for afternoon in
            [mark("2026-11-20", SessionSlot::PM, "\\"), mark("2026-11-20", SessionSlot::PM, "I"), seen]
        {
            for (now, expected) in [
                ("00:00", Some(ViolationReason::SessionInFuture)),
                ("08:30", Some(ViolationReason::SessionInFuture)),
                ("11:59", Some(ViolationReason::SessionInFuture)),
                ("12:00", None),
            ] {
                assert_eq!(said_at(now, &afternoon), expected, "{now}");
            }
        }
        assert_eq!(said_at("08:30", &mark("2026-11-20", SessionSlot::AM, "/")), None);
        assert_eq!(said_at("08:30", &mark("2026-11-19", SessionSlot::PM, "\\")), None);
    }

    #[test]
    fn a_mark_belongs_to_the_days_of_its_placement() {
        let day = |text: &str| Some(Date::parse(text).unwrap());
        let check = |date| {
            check_within_placement(&mark(date, SessionSlot::AM, "/"), day("2026-09-01"), day("2026-11-06"))
        };
        assert!(check("2026-09-01").is_ok() && check("2026-11-06").is_ok());
        assert!(check("2026-08-31").is_err() && check("2026-11-07").is_err());
        assert!(check_within_placement(&mark("2026-09-01", SessionSlot::AM, "/"), None, None).is_err());
    }

    #[test]
    fn the_same_again_is_unchanged_and_another_needs_a_reason() {
        let standing = CurrentMark {
            revision: Revision::FIRST,
            after_restricted: false,
            position: LogPosition { index: EntryIndex::new(0), ordinal: Ordinal::FIRST },
            statement: MarkStatement::Code("O".to_owned()),
            end: None,
            minutes_late: None,
            minutes_planned: None,
            minutes_attended: None,
            comment: String::new(),
            site: String::new(),
        };
        let same = mark("2026-11-20", SessionSlot::AM, "O");
        assert_eq!(compare_with_current(&same, None), Ok(MarkChange::New));
        assert_eq!(compare_with_current(&same, Some(&standing)), Ok(MarkChange::Unchanged));
        let other = mark("2026-11-20", SessionSlot::AM, "/");
        assert_eq!(
            compare_with_current(&other, Some(&standing)).unwrap_err().1,
            ViolationReason::CorrectionReasonRequired
        );
        let explained = ParsedMark { correction_reason: "came in at 9:20".to_owned(), ..other };
        assert_eq!(compare_with_current(&explained, Some(&standing)), Ok(MarkChange::Correction));
        let withdrawn = CurrentMark { statement: MarkStatement::Withdrawn, ..standing };
        assert_eq!(
            compare_with_current(&mark("2026-11-20", SessionSlot::AM, "/"), Some(&withdrawn)),
            Ok(MarkChange::New)
        );
    }

    #[test]
    fn slots_survive_storage() {
        for slot in [SessionSlot::AM, SessionSlot::PM, SessionSlot::timed(TimeOfDay::parse("16:30").unwrap())]
        {
            assert_eq!(SessionSlot::from_number(i64::from(slot.number())), Some(slot));
        }
        for number in [-1, 0, 3, 15, 16 + 1_440] {
            assert_eq!(SessionSlot::from_number(number), None);
        }
    }
}
