//! Pure rules about a placement's arrangement: who arranged a session and where it is, warnings for marks that differ
//! from the plan, and the code suggested to the home school (Working together to improve school attendance, 2024).

use super::rules::{MarkStatement, ParsedMark, SessionSlot};
use crate::calendar::{Date, Period, SchoolCalendar, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationKind;
use crate::codes::suggestion::{
    ArrangedBy, Observation, ProviderMark, SessionCircumstances, suggest_home_code,
};
use crate::placements::Placement;
use crate::placements::party_periods::PartyPeriod;
use crate::proto::v1::{Plan, SeenMark, Session, SettingType};

/// Number of school days within which the reason of an absence (code N) must be established. After them the code is O.
const MAX_SCHOOL_DAYS_WITHOUT_REASON: u32 = 5;

/// The arrangement for a child, from its placement and plan.
#[derive(Clone)]
pub struct Arrangement {
    arranged_by: ArrangedBy,
    /// Whether a school other than the provider has the child on its roll now.
    on_a_roll_now: bool,
    /// Periods on the rolls of schools other than the provider; None while no party has changed.
    roll_periods: Option<Vec<PartyPeriod>>,
    dual_registered: bool,
    /// The days of a part-time timetable, to which the parents agreed and which ends.
    pub part_time_period: Option<Period>,
    /// Whether the placement is one-to-one tuition.
    pub is_tuition: bool,
    /// The weekly timetable.
    pub sessions: Vec<PlannedSession>,
    /// Days of education in addition to the weekly timetable's school days.
    pub extra_dates: Vec<Date>,
}

/// A session of the weekly timetable.
#[derive(Clone)]
pub struct PlannedSession {
    /// Days since Monday.
    pub weekday: i8,
    pub slot: SessionSlot,
    /// When the session begins, if the plan has a time.
    start: Option<TimeOfDay>,
    /// When the session ends.
    pub end: SessionEnd,
    /// When the mark is due.
    pub cut_off: Option<TimeOfDay>,
    /// The place of education; empty if the plan has none.
    pub site: String,
    online_at_home: bool,
}

/// When a session of a plan ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// It is a morning without times.
    Morning,
    /// It is an afternoon without times.
    Afternoon,
    /// At a time.
    At(TimeOfDay),
    /// The plan names a day without a session.
    Day,
}

impl Arrangement {
    /// Creates the arrangement from a placement and its plan.
    pub fn new(placement: &Placement, plan: Option<&Plan>) -> Self {
        let (provider, by_la) = (&placement.provider, placement.commissioner.kind() == OrganisationKind::La);
        // Without a plan, the child is dual registered if the provider is one of the schools on roll.
        let dual = plan.map_or(placement.schools.contains(provider), |plan| plan.dual_registered);
        let dates = plan.map(|plan| plan.extra_dates.as_slice()).unwrap_or_default();
        Self {
            arranged_by: if by_la { ArrangedBy::LocalAuthority } else { ArrangedBy::School },
            on_a_roll_now: placement.schools.iter().any(|school| school != provider),
            roll_periods: placement.school_periods_without(provider),
            dual_registered: dual && provider.kind() == OrganisationKind::School,
            part_time_period: plan.and_then(agreed_part_time_period),
            is_tuition: plan.is_some_and(|plan| plan.setting_type() == SettingType::OneOnOneTuition),
            sessions: plan.map(planned_sessions).unwrap_or_default(),
            extra_dates: dates.iter().filter_map(|date| Date::parse(date).ok()).collect(),
        }
    }

    /// Returns the plan's site for a session. If the session has none, returns the first site in the timetable.
    #[must_use]
    pub fn site(&self, date: Date, slot: SessionSlot) -> &str {
        let planned = self.planned_session(date, slot).filter(|planned| !planned.site.is_empty());
        let any = || self.sessions.iter().find(|planned| !planned.site.is_empty());
        planned.or_else(any).map_or("", |planned| &planned.site)
    }

    /// Returns warnings for a mark received at `now` (day and time in England) that differs from the arrangement.
    #[must_use]
    pub fn warnings(
        &self,
        mark: &ParsedMark,
        calendar: &SchoolCalendar,
        now: (Date, TimeOfDay),
    ) -> Vec<&'static str> {
        let begun = self.has_begun(mark, now);
        let time = (!begun).then_some("SESSION_NOT_BEGUN");
        let day = self.day_warning(mark, calendar);
        day.into_iter().chain(time).chain(self.code_warnings(mark)).collect()
    }

    /// Returns whether today's afternoon session has begun by the plan's start time. Morning sessions always pass,
    /// because they are registered just before they begin.
    fn has_begun(&self, mark: &ParsedMark, (today, now): (Date, TimeOfDay)) -> bool {
        let start = self.planned_session(mark.date, mark.slot).and_then(|planned| planned.start);
        mark.date != today || mark.slot != SessionSlot::PM || start.is_none_or(|start| start <= now)
    }

    /// Returns the warning for a day on which no child is expected, unless a closure explains the code.
    fn day_warning(&self, mark: &ParsedMark, calendar: &SchoolCalendar) -> Option<&'static str> {
        let site = if mark.site.is_empty() { self.site(mark.date, mark.slot) } else { &mark.site };
        if calendar.is_closed(mark.date, site) {
            (!explains_closure(&mark.statement)).then_some("CLOSURE_DECLARED")
        } else {
            let open = calendar.is_school_day(mark.date) || self.extra_dates.contains(&mark.date);
            (!open).then_some("NOT_A_SCHOOL_DAY")
        }
    }

    /// Returns the warnings for a code that does not fit who arranged the session, its site, or the timetable.
    fn code_warnings(&self, mark: &ParsedMark) -> Vec<&'static str> {
        let MarkStatement::Code(sent) = &mark.statement else {
            return Vec::new();
        };
        let without_site = mark.site.is_empty() && self.site(mark.date, mark.slot).is_empty();
        let checks = [
            (sent == "K" && self.arranged_by == ArrangedBy::School, "CODE_NEEDS_LA"),
            (sent == "B" && self.arranged_by == ArrangedBy::LocalAuthority, "CODE_NEEDS_SCHOOL"),
            ((sent == "K" || sent == "B") && without_site, "PLACE_MISSING"),
            (sent == "C2" && !self.is_part_time_agreed(mark.date), "PART_TIME_NOT_AGREED"),
        ];
        checks.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
    }

    /// Returns the code suggested for the home school's register, as of `today`.
    #[must_use]
    pub fn suggestion(
        &self,
        mark: &ParsedMark,
        calendar: &SchoolCalendar,
        today: Date,
    ) -> Option<AttendanceCode> {
        let sent = match &mark.statement {
            MarkStatement::Code(code) => {
                ProviderMark::Statutory(AttendanceCode::parse_on(code, mark.date).ok()?)
            }
            MarkStatement::Seen(seen) => ProviderMark::Observed(match SeenMark::try_from(*seen).ok()? {
                SeenMark::Present => Observation::Present,
                SeenMark::Late => Observation::Late,
                SeenMark::Absent => Observation::Absent,
                SeenMark::NotExpected => Observation::NotExpected,
                SeenMark::Unspecified => return None,
            }),
            MarkStatement::Withdrawn => return None,
        };
        let circumstances = SessionCircumstances {
            arranged_by: self.arranged_by,
            on_school_roll: self.is_on_a_roll(mark.date),
            dual_registered: self.dual_registered,
            online_at_home: self
                .planned_session(mark.date, mark.slot)
                .is_some_and(|planned| planned.online_at_home),
            part_time_agreed: self.is_part_time_agreed(mark.date),
        };
        let code = suggest_home_code(sent, circumstances)?;
        Some(apply_reason_deadline(code, mark.date, calendar, today))
    }

    /// Returns whether the child is on the roll of a school other than the provider on a day.
    fn is_on_a_roll(&self, day: Date) -> bool {
        let changed = self.roll_periods.as_ref();
        changed.map_or(self.on_a_roll_now, |periods| periods.iter().any(|period| period.contains(day)))
    }

    /// Returns whether the session is expected: the weekly timetable contains it, or the day is an extra date on whose
    /// weekday the timetable has no session.
    #[must_use]
    pub fn expects(&self, date: Date, slot: SessionSlot) -> bool {
        let weekday = date.days_since_monday();
        let mut of_day = self.sessions.iter().filter(|planned| planned.weekday == weekday);
        self.is_extra_without_session(date) || of_day.any(|planned| planned.slot == slot)
    }

    /// Returns whether the day is an extra date on whose weekday the timetable has no session, so that any mark counts.
    #[must_use]
    pub fn is_extra_without_session(&self, date: Date) -> bool {
        let weekday = date.days_since_monday();
        self.extra_dates.contains(&date) && !self.sessions.iter().any(|planned| planned.weekday == weekday)
    }

    fn planned_session(&self, date: Date, slot: SessionSlot) -> Option<&PlannedSession> {
        let weekday = date.days_since_monday();
        self.sessions.iter().find(|planned| planned.weekday == weekday && planned.slot == slot)
    }

    /// Returns whether a part-time timetable covers the day. It must be agreed with the parents and have an end.
    #[must_use]
    pub fn is_part_time_agreed(&self, date: Date) -> bool {
        self.part_time_period.is_some_and(|period| period.contains(date))
    }
}

/// Returns a suggested code as of `today`: N becomes O if the reason was not established within five school days.
pub fn apply_reason_deadline(
    code: AttendanceCode,
    date: Date,
    calendar: &SchoolCalendar,
    today: Date,
) -> AttendanceCode {
    let open = code == AttendanceCode::ReasonNotEstablished;
    if open && calendar.has_more_school_days(date, today, MAX_SCHOOL_DAYS_WITHOUT_REASON) {
        AttendanceCode::OtherAbsence
    } else {
        code
    }
}

fn explains_closure(statement: &MarkStatement) -> bool {
    match statement {
        MarkStatement::Code(code) => matches!(code.as_str(), "#" | "Y1" | "Y2" | "Y3" | "Y4" | "Y6"),
        MarkStatement::Seen(seen) => *seen == SeenMark::NotExpected as i32,
        MarkStatement::Withdrawn => true,
    }
}

/// Returns the period of the plan's part-time timetable, if the parents agreed to it and it has an end.
fn agreed_part_time_period(plan: &Plan) -> Option<Period> {
    let sent = plan.part_time.as_ref().filter(|sent| sent.parents_agreed)?;
    Period::new(Date::parse(&sent.start_date).ok()?, Date::parse(&sent.end_date).ok()?)
}

/// Returns when a session ends: at its time; else, if it has a start, after its planned minutes.
fn session_end(sent: &crate::proto::v1::TimetableSlot, slot: SessionSlot) -> SessionEnd {
    if let Ok(end) = TimeOfDay::parse(&sent.end_time) {
        return SessionEnd::At(end);
    }
    let planned = u16::try_from(sent.minutes_planned).unwrap_or(0);
    let start = TimeOfDay::parse(&sent.start_time).ok();
    let end = start.and_then(|start| TimeOfDay::from_minutes(start.minutes().checked_add(planned)?));
    match (end, slot) {
        (Some(end), _) => SessionEnd::At(end),
        (None, SessionSlot::AM) => SessionEnd::Morning,
        (None, SessionSlot::PM) => SessionEnd::Afternoon,
        (None, _) => SessionEnd::Day,
    }
}

fn planned_sessions(plan: &Plan) -> Vec<PlannedSession> {
    let read = |sent: &crate::proto::v1::TimetableSlot| {
        let slot = match sent.session() {
            Session::Am => SessionSlot::AM,
            Session::Pm => SessionSlot::PM,
            Session::Timed => SessionSlot::timed(TimeOfDay::parse(&sent.start_time).ok()?),
            Session::Unspecified => return None,
        };
        Some(PlannedSession {
            weekday: i8::try_from(sent.weekday - 1).ok()?,
            slot,
            start: TimeOfDay::parse(&sent.start_time).ok(),
            end: session_end(sent, slot),
            cut_off: TimeOfDay::parse(&sent.cut_off).ok(),
            site: sent.site.clone(),
            online_at_home: sent.online_at_home,
        })
    };
    plan.timetable.iter().filter_map(read).collect()
}

#[cfg(test)]
pub(super) mod tests;
