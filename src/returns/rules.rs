//! The rules of attendance, pure: what a mark says, whose it is, and what becomes of it beside what is
//! stored (SI 2024/208).

use uuid::Uuid;

use crate::calendar::{Date, TimeOfDay};
use crate::codes::attendance::{AttendanceCode, CodeError, RegisterSession};

/// School days after which a mark is late.
pub const LATE_AFTER: u32 = 60;

/// A session of a child's day, as it is stored: 1 AM, 2 PM, 16 + minute of the day of a timed start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The morning session.
    pub const AM: Self = Self(1);
    /// The afternoon session.
    pub const PM: Self = Self(2);
    const TIMED: u16 = 16;

    /// A session with a start of its own.
    pub fn timed(start: TimeOfDay) -> Self {
        Self(Self::TIMED + start.minutes())
    }

    /// As it is stored.
    pub fn number(self) -> u16 {
        self.0
    }

    /// From what is stored.
    pub fn from_number(number: i64) -> Option<Self> {
        let number = u16::try_from(number).ok()?;
        let timed = number.checked_sub(Self::TIMED).is_some_and(|minute| minute < 24 * 60);
        (number == 1 || number == 2 || timed).then_some(Self(number))
    }

    /// The start of a timed session.
    pub fn start(self) -> Option<TimeOfDay> {
        self.0.checked_sub(Self::TIMED).and_then(TimeOfDay::from_minutes)
    }
}

/// What a mark states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A statutory code, as sent.
    Code(String),
    /// `apgateway.v1.SeenMark`.
    Seen(i32),
    /// Nothing: the return that stated it was withdrawn.
    Withdrawn,
}

/// Reports whether only the closest readers and its sender get a code: Y5 (criminal justice detention) is data of
/// Article 10 UK GDPR, and Y6 and Y7 are restricted with it, because Y5 restricted alone would be known by that.
pub fn is_restricted(code: &str) -> bool {
    matches!(code, "Y5" | "Y6" | "Y7")
}

impl Statement {
    /// Reports whether its code is restricted.
    pub fn is_restricted(&self) -> bool {
        matches!(self, Self::Code(code) if is_restricted(code))
    }
}

/// What names the child.
#[derive(Clone, PartialEq, Eq)]
pub enum Named {
    Placement(Uuid),
    Upn(String),
    Reference(String),
}

/// A mark whose shape holds.
#[derive(Clone)]
pub struct Entered {
    pub child: Named,
    /// A further identifier, which must name the same child.
    pub check_upn: Option<String>,
    /// A further identifier, which must name the same child.
    pub check_reference: Option<String>,
    pub date_of_birth: Option<Date>,
    pub surname: Option<String>,
    pub forename: Option<String>,
    pub date: Date,
    pub slot: Slot,
    pub end: Option<TimeOfDay>,
    pub statement: Statement,
    pub minutes_late: Option<i32>,
    pub minutes_planned: Option<i32>,
    pub minutes_attended: Option<i32>,
    pub comment: String,
    pub correction_reason: String,
    pub site: String,
}

/// Why a row is not stored: the field at fault and the reason.
pub type Fault = (&'static str, &'static str);

/// What the mark itself says must be right for its day: the session has begun, and the code is one of that day and of
/// that session. An afternoon begins at noon at the earliest; the plan's own time is only warned of.
pub fn meaning(mark: &Entered, today: Date, now: TimeOfDay) -> Result<(), Fault> {
    let earliest = if mark.slot == Slot::PM { Some(TimeOfDay::NOON) } else { mark.slot.start() };
    let begun = earliest.is_none_or(|earliest| earliest <= now);
    if mark.date > today || (mark.date == today && !begun) {
        return Err(("date", "SESSION_IN_FUTURE"));
    }
    let Statement::Code(code) = &mark.statement else {
        return Ok(());
    };
    let session = match mark.slot {
        Slot::AM => RegisterSession::Morning,
        Slot::PM => RegisterSession::Afternoon,
        _ => return Err(("code", "CODE_SESSION_MISMATCH")),
    };
    let code = AttendanceCode::in_session(code, mark.date, session)
        .map_err(|error| ("code", CodeError::reason(error)))?;
    if mark.minutes_late.is_some() && !matches!(code.as_str(), "L" | "U") {
        return Err(("minutes_late", "MINUTES_RANGE"));
    }
    Ok(())
}

/// A mark belongs to a placement's days, whatever has become of the placement since.
pub fn inside(mark: &Entered, start: Option<Date>, end: Option<Date>) -> Result<(), Fault> {
    if within(mark.date, start, end) { Ok(()) } else { Err(("date", "PLACEMENT_NOT_ACTIVE")) }
}

/// Whether a day is one of a placement's.
pub fn within(date: Date, start: Option<Date>, end: Option<Date>) -> bool {
    start.is_some_and(|start| start <= date) && end.is_none_or(|end| date <= end)
}

/// Facts about a mark that refuse nothing.
pub fn flags(mark: &Entered, late_before: Date, agreed: bool) -> Vec<&'static str> {
    let mut flags = Vec::new();
    if mark.date < late_before {
        flags.push("LATE");
    }
    if !agreed {
        flags.push("AGREEMENT_LAPSED");
    }
    flags
}

/// What is stored of a natural key.
#[derive(Clone)]
pub struct Standing {
    pub revision: i64,
    /// A restricted code stands in this revision or in an earlier one.
    pub after_restricted: bool,
    pub idx: i64,
    pub ordinal: i64,
    pub statement: Statement,
    pub end: Option<TimeOfDay>,
    pub minutes_late: Option<i32>,
    pub minutes_planned: Option<i32>,
    pub minutes_attended: Option<i32>,
    pub comment: String,
    pub site: String,
}

/// What becomes of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    New,
    Unchanged,
    Correction,
}

/// The same mark again is unchanged; a different one is a correction, and needs a reason.
pub fn against(mark: &Entered, standing: Option<&Standing>) -> Result<Becomes, Fault> {
    let Some(standing) = standing.filter(|standing| standing.statement != Statement::Withdrawn) else {
        return Ok(Becomes::New);
    };
    let same = standing.statement == mark.statement
        && standing.end == mark.end
        && standing.minutes_late == mark.minutes_late
        && standing.minutes_planned == mark.minutes_planned
        && standing.minutes_attended == mark.minutes_attended
        && standing.comment == mark.comment
        && standing.site == mark.site;
    match (same, mark.correction_reason.is_empty()) {
        (true, _) => Ok(Becomes::Unchanged),
        (false, true) => Err(("correction_reason", "CORRECTION_REASON_REQUIRED")),
        (false, false) => Ok(Becomes::Correction),
    }
}

/// Whether two rows of one batch for one session say the same.
pub fn agree(one: &Entered, other: &Entered) -> bool {
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

    pub(in crate::returns) fn mark(date: &str, slot: Slot, code: &str) -> Entered {
        Entered {
            child: Named::Reference("RV-001".to_owned()),
            check_upn: None,
            check_reference: None,
            date_of_birth: None,
            surname: None,
            forename: None,
            date: Date::parse(date).unwrap(),
            slot,
            end: None,
            statement: Statement::Code(code.to_owned()),
            minutes_late: None,
            minutes_planned: None,
            minutes_attended: None,
            comment: String::new(),
            correction_reason: String::new(),
            site: String::new(),
        }
    }

    fn said(mark: &Entered) -> &'static str {
        said_at("16:00", mark)
    }

    fn said_at(now: &str, mark: &Entered) -> &'static str {
        let (today, now) = (Date::parse("2026-11-20").unwrap(), TimeOfDay::parse(now).unwrap());
        meaning(mark, today, now).err().map_or("", |(_, reason)| reason)
    }

    #[test]
    fn a_code_must_be_one_of_its_day_and_session() {
        for (date, slot, code, expected) in [
            ("2026-11-20", Slot::AM, "/", ""),
            ("2026-11-20", Slot::PM, "\\", ""),
            ("2026-11-20", Slot::AM, "\\", "CODE_SESSION_MISMATCH"),
            ("2026-11-20", Slot::AM, "J", "CODE_RETIRED"),
            ("2026-11-20", Slot::AM, "Y8", "CODE_UNKNOWN"),
            ("2026-11-20", Slot::AM, "o", "CODE_UNKNOWN"),
            ("2026-11-21", Slot::AM, "/", "SESSION_IN_FUTURE"),
            ("2024-06-03", Slot::AM, "J", ""),
        ] {
            assert_eq!(said(&mark(date, slot, code)), expected, "{date} {code}");
        }
        let evening = Slot::timed(TimeOfDay::parse("16:30").unwrap());
        assert_eq!(said(&mark("2026-11-20", evening, "/")), "SESSION_IN_FUTURE");
        assert_eq!(said(&mark("2026-11-19", evening, "/")), "CODE_SESSION_MISMATCH");
        let seen = Entered { statement: Statement::Seen(1), ..mark("2026-11-19", evening, "/") };
        assert_eq!(said(&seen), "");
        let late = Entered { minutes_late: Some(5), ..mark("2026-11-20", Slot::AM, "/") };
        assert_eq!(said(&late), "MINUTES_RANGE");
    }

    #[test]
    fn an_afternoon_is_in_the_future_until_noon() {
        let seen = Entered { statement: Statement::Seen(1), ..mark("2026-11-20", Slot::PM, "") };
        for afternoon in [mark("2026-11-20", Slot::PM, "\\"), mark("2026-11-20", Slot::PM, "I"), seen] {
            for (now, expected) in [
                ("00:00", "SESSION_IN_FUTURE"),
                ("08:30", "SESSION_IN_FUTURE"),
                ("11:59", "SESSION_IN_FUTURE"),
                ("12:00", ""),
            ] {
                assert_eq!(said_at(now, &afternoon), expected, "{now}");
            }
        }
        assert_eq!(said_at("08:30", &mark("2026-11-20", Slot::AM, "/")), "");
        assert_eq!(said_at("08:30", &mark("2026-11-19", Slot::PM, "\\")), "");
    }

    #[test]
    fn a_mark_belongs_to_the_days_of_its_placement() {
        let day = |text: &str| Some(Date::parse(text).unwrap());
        let of = |date| inside(&mark(date, Slot::AM, "/"), day("2026-09-01"), day("2026-11-06"));
        assert!(of("2026-09-01").is_ok() && of("2026-11-06").is_ok());
        assert!(of("2026-08-31").is_err() && of("2026-11-07").is_err());
        assert!(inside(&mark("2026-09-01", Slot::AM, "/"), None, None).is_err());
    }

    #[test]
    fn the_same_again_is_unchanged_and_another_needs_a_reason() {
        let standing = Standing {
            revision: 1,
            after_restricted: false,
            idx: 0,
            ordinal: 0,
            statement: Statement::Code("O".to_owned()),
            end: None,
            minutes_late: None,
            minutes_planned: None,
            minutes_attended: None,
            comment: String::new(),
            site: String::new(),
        };
        let same = mark("2026-11-20", Slot::AM, "O");
        assert_eq!(against(&same, None), Ok(Becomes::New));
        assert_eq!(against(&same, Some(&standing)), Ok(Becomes::Unchanged));
        let other = mark("2026-11-20", Slot::AM, "/");
        assert_eq!(against(&other, Some(&standing)).unwrap_err().1, "CORRECTION_REASON_REQUIRED");
        let explained = Entered { correction_reason: "came in at 9:20".to_owned(), ..other };
        assert_eq!(against(&explained, Some(&standing)), Ok(Becomes::Correction));
        let withdrawn = Standing { statement: Statement::Withdrawn, ..standing };
        assert_eq!(against(&mark("2026-11-20", Slot::AM, "/"), Some(&withdrawn)), Ok(Becomes::New));
    }

    #[test]
    fn slots_survive_storage() {
        for slot in [Slot::AM, Slot::PM, Slot::timed(TimeOfDay::parse("16:30").unwrap())] {
            assert_eq!(Slot::from_number(i64::from(slot.number())), Some(slot));
        }
        for number in [-1, 0, 3, 15, 16 + 1_440] {
            assert_eq!(Slot::from_number(number), None);
        }
    }
}
