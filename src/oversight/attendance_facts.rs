//! What the rules about attendance need to know of placements. It is read for several placements with a few queries, and
//! only as far back as a rule can need; what a rule counts over weeks is counted in the database.
//!
//! The facts are the marks of the provider. An expected session is a possible session of which a mark was received: one
//! that is not possible or not collected, and one without a mark, says nothing about the child (domain facts 1.2 and 9).
//! An absence is explained if the mark is an authorised absence, or if the commissioner or a school on roll says so in its
//! register or in a notice of expected absence. Days are the provider's school days and the plan's extra days.

use super::parameter_names::{DAYS, SCHOOL_DAYS, SESSIONS, WEEKS};
use super::rule_book::RuleBook;
use super::rule_id::RuleId;
use crate::calendar::{Date, Period, SchoolCalendar, TimeOfDay};
use crate::clock::Instant;
use crate::codes::rates::AttendanceRates;
use crate::placements::Placement;
use crate::returns::mark_facts::MarkedSession;
use crate::returns::mark_meaning::MarkMeaning;
use crate::returns::{Arrangement, SessionSlot};
use crate::seal::ChildKey;
use crate::store::Revision;
use crate::store::version_key::VersionKey;

/// How many calendar days are searched for school days.
const MAX_DAYS_BACK: i32 = 200;

/// Facts about the attendance of a placement.
#[derive(Clone, Debug, Default)]
pub struct AttendanceFacts {
    /// The last expected sessions, in order. An absence that commissioner or school explain is
    /// [`MarkMeaning::OtherAbsence`].
    pub sessions: Vec<Session>,
    /// Whether the commissioner's own passport marks the child as looked after, on a protection plan or missing before. It
    /// is read only if the newest session is an unexplained absence.
    pub is_at_risk: bool,
    /// The school days of the illness of the school year, one for each session, in order; empty while there are too few
    /// for the rule.
    pub illness: Vec<Date>,
    /// Totals as of the last Friday.
    pub weekly: Option<WeeklyTotals>,
    /// The days of a part-time timetable, to which the parents agreed and which ends.
    pub part_time: Option<Period>,
    /// Whether the placement is one-to-one tuition.
    pub is_tuition: bool,
    /// The newest day on which commissioner or provider acted on missed tuition.
    pub acted_on: Option<Date>,
    /// Whether the child has another placement of the commissioner in these days, which started before this one.
    pub has_other_place: bool,
    /// Sessions in which the child was present at another provider, in order.
    pub elsewhere: Vec<Session>,
}

/// An expected session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Day.
    pub date: Date,
    /// Session.
    pub slot: SessionSlot,
    /// What its mark says.
    pub meaning: MarkMeaning,
    /// End of a timed session, if the mark has one.
    pub end: Option<TimeOfDay>,
}

/// Totals of attendance as of a Friday: what was marked before that day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeeklyTotals {
    /// The Friday.
    pub friday: Date,
    /// The first day that is counted.
    pub first: Date,
    /// The last expected sessions.
    pub last: AttendanceRates,
    /// The weeks before them.
    pub before: AttendanceRates,
}

/// A placement whose attendance is read.
pub(super) struct AttendedPlacement<'a> {
    pub placement: &'a Placement,
    /// The commissioner's key of the child.
    pub key: &'a ChildKey,
    pub arrangement: Arrangement,
    /// The provider's school days.
    pub calendar: &'a SchoolCalendar,
}

/// Facts with the versions of the marks that can end an absence.
#[derive(Default)]
pub(super) struct LoadedAttendance {
    pub facts: AttendanceFacts,
    pub versions_read: Vec<(VersionKey, Revision)>,
}

/// What the rules need, by their settings on a day.
pub(super) struct Needed {
    pub day: Date,
    /// The last Friday.
    pub friday: Date,
    /// Expected days of absence that raise an alert.
    pub third_day: usize,
    /// Sessions whose attendance is compared with that of the weeks before; `None` while the rule does not run.
    pub last_sessions: Option<usize>,
    /// Number of those weeks.
    pub weeks_before: i32,
    /// Sessions of illness that raise an alert; `None` while the rule does not run.
    pub ill_sessions: Option<usize>,
}

impl Needed {
    pub fn on(day: Date, book: &RuleBook) -> Self {
        let parameter = |rule, name| book.running(rule, day).and_then(|rule| rule.parameter(name, day));
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let weeks = parameter(RuleId::AttendanceDrop, WEEKS).and_then(|weeks| i32::try_from(weeks).ok());
        Self {
            day,
            friday: last_friday(day),
            third_day: parameter(RuleId::AbsentThirdDay, DAYS).map_or(1, size).max(1),
            last_sessions: parameter(RuleId::AttendanceDrop, SESSIONS).map(size),
            weeks_before: weeks.unwrap_or(0),
            ill_sessions: parameter(RuleId::Illness15, SCHOOL_DAYS).map(|days| size(days.saturating_mul(2))),
        }
    }
}

impl AttendedPlacement<'_> {
    /// Returns the days of education until a day, the newest first.
    pub fn days_back(&self, until: Date) -> impl Iterator<Item = Date> + '_ {
        let start = self.placement.start_date.unwrap_or(until);
        let days = Period::new(until.plus_days(-MAX_DAYS_BACK).max(start), until);
        days.into_iter().flat_map(Period::days).rev().filter(|day| self.is_day(*day))
    }

    pub fn is_day(&self, day: Date) -> bool {
        self.calendar.is_term_day(day) || self.arrangement.extra_dates.contains(&day)
    }
}

impl Session {
    /// Makes the session of a mark.
    #[must_use]
    pub fn of_mark(marked: &MarkedSession) -> Self {
        Self { date: marked.date, slot: marked.slot, meaning: marked.meaning, end: marked.end }
    }
}

impl AttendanceFacts {
    /// Returns the newest session, if it is an unexplained absence.
    #[must_use]
    pub fn newest_unexplained(&self) -> Option<&Session> {
        self.sessions.last().filter(|session| session.meaning == MarkMeaning::Unexplained)
    }

    /// Returns the facts as of a day: without the sessions of later days.
    #[must_use]
    pub fn sessions_until(&self, day: Date) -> &[Session] {
        let later = self.sessions.iter().rev().take_while(|session| session.date > day).count();
        self.sessions.get(..self.sessions.len() - later).unwrap_or_default()
    }

    pub(super) fn days_of_absence(&self) -> Vec<Date> {
        days_of_absence(&self.sessions)
    }
}

/// Returns the unexplained days at the end of some sessions, in order: expected days of which every session is an
/// unexplained absence. A day on which the child attended, or of which an absence is explained, ends them.
#[must_use]
pub fn days_of_absence(sessions: &[Session]) -> Vec<Date> {
    let is_absence = |session: &&Session| session.meaning == MarkMeaning::Unexplained;
    let ended = sessions.iter().rev().find(|session| !is_absence(session)).map(|session| session.date);
    let after = sessions.iter().rev().take_while(is_absence).map(|session| session.date);
    let mut days: Vec<Date> = after.filter(|day| Some(*day) != ended).collect();
    days.dedup();
    days.reverse();
    days
}

/// Returns the last Friday on or before a day.
#[must_use]
pub fn last_friday(day: Date) -> Date {
    // Days since Monday: 4 is Friday.
    day.plus_days(-i32::from((day.days_since_monday() + 3) % 7))
}

/// Returns the first instant of the next Friday after a day.
#[must_use]
pub fn next_friday(day: Date) -> Instant {
    last_friday(day).plus_days(6).end_of_day()
}

/// Returns the first day of the school year of a day: 1 August, because some terms begin in the last days of August.
#[must_use]
pub fn school_year_start(day: Date) -> Date {
    let year = day.year() - i16::from(day.month() < 8);
    Date::new(year, 8, 1).unwrap_or(Date::MIN)
}

/// Returns the last day of the school year of a day.
#[must_use]
pub fn school_year_end(day: Date) -> Date {
    school_year_start(day).plus_years(1).previous().unwrap_or(Date::MAX)
}
