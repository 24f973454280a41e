//! What a placement and its plan say of a session: who arranged it, where it is, and which code the home
//! school might enter for it (Working together to improve school attendance, 2024). Pure.

use super::rules::{Entered, Slot, Statement};
use crate::calendar::{Date, Period, SchoolCalendar, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationKind;
use crate::codes::suggestion::{ArrangedBy, Circumstances, ProviderMark, Seen, suggest_home_code};
use crate::placements::Placement;
use crate::placements::parties::PartyPeriod;
use crate::proto::v1::{Plan, SeenMark, Session};

/// School days in which a reason not yet established (N) is to be established; from then on it is O.
const UNRESOLVED: u32 = 5;

/// What is arranged for a child.
#[derive(Clone)]
pub struct Arrangement {
    by: ArrangedBy,
    on_a_roll: bool,
    /// Periods on the rolls of schools other than the provider; none while no party has changed.
    on_rolls: Option<Vec<PartyPeriod>>,
    dual_registered: bool,
    part_time: Option<Period>,
    /// The weekly timetable.
    pub sessions: Vec<Planned>,
    /// Days beside it.
    pub extra_dates: Vec<Date>,
}

/// A session of the weekly timetable.
#[derive(Clone)]
pub struct Planned {
    /// Days since Monday.
    pub weekday: i8,
    /// Session.
    pub slot: Slot,
    /// When it begins, where the plan says so.
    start: Option<TimeOfDay>,
    /// When the mark is due.
    pub cut_off: Option<TimeOfDay>,
    /// Where.
    pub site: String,
    online_at_home: bool,
}

impl Arrangement {
    /// From the placement and its newest plan.
    pub fn of(placement: &Placement, plan: Option<&Plan>) -> Self {
        let (provider, by_la) = (&placement.provider, placement.commissioner.kind() == OrganisationKind::La);
        // Without a plan only the roll can tell whether the provider's register is a school's.
        let dual = plan.map_or(placement.schools.contains(provider), |plan| plan.dual_registered);
        let dates = plan.map(|plan| plan.extra_dates.as_slice()).unwrap_or_default();
        Self {
            by: if by_la { ArrangedBy::LocalAuthority } else { ArrangedBy::School },
            on_a_roll: placement.schools.iter().any(|school| school != provider),
            on_rolls: placement.school_periods_without(provider),
            dual_registered: dual && provider.kind() == OrganisationKind::School,
            part_time: plan.and_then(part_time),
            sessions: plan.map(sessions).unwrap_or_default(),
            extra_dates: dates.iter().filter_map(|date| Date::parse(date).ok()).collect(),
        }
    }

    /// Where a session is, as the plan says; of one that it does not hold, where it holds any.
    pub fn site(&self, date: Date, slot: Slot) -> &str {
        let planned = self.planned(date, slot).filter(|planned| !planned.site.is_empty());
        let any = || self.sessions.iter().find(|planned| !planned.site.is_empty());
        planned.or_else(any).map_or("", |planned| &planned.site)
    }

    /// Returns the differences between a mark received at `now` (day and time in England) and what is arranged.
    /// They are warnings; the mark is accepted.
    pub fn warnings(
        &self,
        mark: &Entered,
        calendar: &SchoolCalendar,
        now: (Date, TimeOfDay),
    ) -> Vec<&'static str> {
        let begun = self.has_begun(mark, now);
        let hour = (!begun).then_some("SESSION_NOT_BEGUN");
        let day = self.of_the_day(mark, calendar);
        day.into_iter().chain(hour).chain(self.of_the_code(mark)).collect()
    }

    /// Returns whether an afternoon session of today has begun by the plan's time for it. Mornings are registered
    /// just before they begin, and are not asked.
    fn has_begun(&self, mark: &Entered, (today, now): (Date, TimeOfDay)) -> bool {
        let start = self.planned(mark.date, mark.slot).and_then(|planned| planned.start);
        mark.date != today || mark.slot != Slot::PM || start.is_none_or(|start| start <= now)
    }

    /// A day on which nobody is expected; a code that says so itself fits it.
    fn of_the_day(&self, mark: &Entered, calendar: &SchoolCalendar) -> Option<&'static str> {
        let site = if mark.site.is_empty() { self.site(mark.date, mark.slot) } else { &mark.site };
        if calendar.is_closed(mark.date, site) {
            (!says_closed(&mark.statement)).then_some("CLOSURE_DECLARED")
        } else {
            let open = calendar.is_school_day(mark.date) || self.extra_dates.contains(&mark.date);
            (!open).then_some("NOT_A_SCHOOL_DAY")
        }
    }

    fn of_the_code(&self, mark: &Entered) -> Vec<&'static str> {
        let Statement::Code(sent) = &mark.statement else {
            return Vec::new();
        };
        let placeless = mark.site.is_empty() && self.site(mark.date, mark.slot).is_empty();
        let all = [
            (sent == "K" && self.by == ArrangedBy::School, "CODE_NEEDS_LA"),
            (sent == "B" && self.by == ArrangedBy::LocalAuthority, "CODE_NEEDS_SCHOOL"),
            ((sent == "K" || sent == "B") && placeless, "PLACE_MISSING"),
            (sent == "C2" && !self.agreed_part_time(mark.date), "PART_TIME_NOT_AGREED"),
        ];
        all.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
    }

    /// The code that the home school's register would hold as things stand on `today`; it is suggested, never
    /// written.
    pub fn suggestion(
        &self,
        mark: &Entered,
        calendar: &SchoolCalendar,
        today: Date,
    ) -> Option<AttendanceCode> {
        let sent = match &mark.statement {
            Statement::Code(code) => ProviderMark::Statutory(AttendanceCode::on(code, mark.date).ok()?),
            Statement::Seen(seen) => ProviderMark::Seen(match SeenMark::try_from(*seen).ok()? {
                SeenMark::Present => Seen::Present,
                SeenMark::Late => Seen::Late,
                SeenMark::Absent => Seen::Absent,
                SeenMark::NotExpected => Seen::NotExpected,
                SeenMark::Unspecified => return None,
            }),
            Statement::Withdrawn => return None,
        };
        let circumstances = Circumstances {
            arranged_by: self.by,
            on_a_roll: self.is_on_a_roll(mark.date),
            dual_registered: self.dual_registered,
            online_at_home: self.planned(mark.date, mark.slot).is_some_and(|planned| planned.online_at_home),
            part_time_agreed: self.agreed_part_time(mark.date),
        };
        let code = suggest_home_code(sent, circumstances)?;
        Some(resolved(code, mark.date, calendar, today))
    }

    /// Reports whether the child is on the roll of a school other than the provider on a day.
    fn is_on_a_roll(&self, day: Date) -> bool {
        let changed = self.on_rolls.as_ref();
        changed.map_or(self.on_a_roll, |periods| periods.iter().any(|period| period.contains(day)))
    }

    /// Reports whether the weekly timetable holds a session of that day, or the plan names the day without sessions
    /// of its own.
    pub fn expects(&self, date: Date, slot: Slot) -> bool {
        let weekday = date.days_since_monday();
        let mut of_day = self.sessions.iter().filter(|planned| planned.weekday == weekday).peekable();
        if of_day.peek().is_none() {
            return self.extra_dates.contains(&date);
        }
        of_day.any(|planned| planned.slot == slot)
    }

    fn planned(&self, date: Date, slot: Slot) -> Option<&Planned> {
        let weekday = date.days_since_monday();
        self.sessions.iter().find(|planned| planned.weekday == weekday && planned.slot == slot)
    }

    /// Whether a part-time timetable that is agreed and ends covers the day.
    pub fn agreed_part_time(&self, date: Date) -> bool {
        self.part_time.is_some_and(|period| period.contains(date))
    }
}

/// A suggestion as it stands on `today`: a reason that five school days did not establish is none.
pub fn resolved(code: AttendanceCode, date: Date, calendar: &SchoolCalendar, today: Date) -> AttendanceCode {
    let open = code == AttendanceCode::ReasonNotEstablished;
    if open && calendar.has_more_school_days(date, today, UNRESOLVED) {
        AttendanceCode::OtherAbsence
    } else {
        code
    }
}

fn says_closed(statement: &Statement) -> bool {
    match statement {
        Statement::Code(code) => matches!(code.as_str(), "#" | "Y1" | "Y2" | "Y3" | "Y4" | "Y6"),
        Statement::Seen(seen) => *seen == SeenMark::NotExpected as i32,
        Statement::Withdrawn => true,
    }
}

/// A part-time timetable counts only with the parents' agreement and an end.
fn part_time(plan: &Plan) -> Option<Period> {
    let sent = plan.part_time.as_ref().filter(|sent| sent.parents_agreed)?;
    Period::new(Date::parse(&sent.start_date).ok()?, Date::parse(&sent.end_date).ok()?)
}

fn sessions(plan: &Plan) -> Vec<Planned> {
    let read = |sent: &crate::proto::v1::TimetableSlot| {
        let slot = match sent.session() {
            Session::Am => Slot::AM,
            Session::Pm => Slot::PM,
            Session::Timed => Slot::timed(TimeOfDay::parse(&sent.start_time).ok()?),
            Session::Unspecified => return None,
        };
        Some(Planned {
            weekday: i8::try_from(sent.weekday - 1).ok()?,
            slot,
            start: TimeOfDay::parse(&sent.start_time).ok(),
            cut_off: TimeOfDay::parse(&sent.cut_off).ok(),
            site: sent.site.clone(),
            online_at_home: sent.online_at_home,
        })
    };
    plan.timetable.iter().filter_map(read).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::codes::organisation::OrganisationId;
    use crate::proto::v1::{PartTimeTimetable, PlacementState, TimetableSlot, Weekday};
    use uuid::Uuid;

    fn placement(commissioner: &str, provider: &str, schools: &[&str]) -> Placement {
        let organisation = |id: &str| OrganisationId::parse(id).unwrap();
        Placement {
            id: Uuid::from_u128(1),
            version: 1,
            state: PlacementState::Active,
            commissioner: organisation(commissioner),
            provider: organisation(provider),
            residence: organisation("la/331"),
            schools: schools.iter().map(|school| organisation(school)).collect(),
            periods: Vec::new(),
            child: Uuid::from_u128(2),
            agreement: Uuid::from_u128(3),
            provider_reference: None,
            upn_index: None,
            start: None,
            planned_end: None,
            end: None,
            legal_basis: 0,
            reason: 0,
            detail: Vec::new(),
        }
    }

    pub(in crate::returns) fn by_school() -> Placement {
        placement("school/134567", "provider/riverside", &["school/134567"])
    }

    fn monday(slot: Slot, statement: Statement) -> Entered {
        let date = Date::parse("2026-11-16").unwrap();
        Entered { slot, statement, ..super::super::rules::tests::mark(&date.to_string(), slot, "/") }
    }

    fn code(text: &str) -> Statement {
        Statement::Code(text.to_owned())
    }

    fn suggested(placement: &Placement, plan: Option<&Plan>, mark: &Entered, today: &str) -> String {
        let (today, calendar) = (Date::parse(today).unwrap(), SchoolCalendar::default());
        let code = Arrangement::of(placement, plan).suggestion(mark, &calendar, today);
        code.map(|code| code.as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn who_arranged_it_and_whose_register_it_is() {
        let dual = Plan { dual_registered: true, ..Plan::default() };
        let present = monday(Slot::AM, Statement::Seen(SeenMark::Present as i32));
        for (commissioner, provider, schools, plan, expected) in [
            ("la/330", "provider/riverside", &["school/134567"][..], None, "K"),
            ("school/134567", "provider/riverside", &["school/134567"], None, "B"),
            ("la/330", "provider/riverside", &[], None, ""),
            ("school/134567", "school/145678", &["school/134567"], Some(&dual), "D"),
            ("school/134567", "school/145678", &["school/134567", "school/145678"], None, "D"),
            // A school where the child is not registered is a place like any other.
            ("school/134567", "school/145678", &["school/134567"], Some(&Plan::default()), "B"),
            // The provider's own roll is no home school's.
            ("la/330", "school/145678", &["school/145678"], Some(&dual), ""),
            // Only a school keeps a register, whatever the plan says.
            ("la/330", "provider/riverside", &["school/134567"], Some(&dual), "K"),
        ] {
            let placement = placement(commissioner, provider, schools);
            assert_eq!(suggested(&placement, plan, &present, "2026-11-16"), expected, "{provider}");
        }
    }

    #[test]
    fn a_part_time_timetable_counts_with_agreement_and_end_only() {
        let not_expected = monday(Slot::AM, Statement::Seen(SeenMark::NotExpected as i32));
        let plan = |end: &str, parents_agreed| Plan {
            part_time: Some(PartTimeTimetable {
                start_date: "2026-11-02".to_owned(),
                end_date: end.to_owned(),
                parents_agreed,
                ..PartTimeTimetable::default()
            }),
            ..Plan::default()
        };
        for (end, agreed, expected) in
            [("2026-11-27", true, "C2"), ("2026-11-13", true, ""), ("", true, ""), ("2026-11-27", false, "")]
        {
            let plan = plan(end, agreed);
            assert_eq!(suggested(&by_school(), Some(&plan), &not_expected, "2026-11-16"), expected);
            let warned =
                Arrangement::of(&by_school(), Some(&plan)).of_the_code(&monday(Slot::AM, code("C2")));
            assert_eq!(warned.is_empty(), expected == "C2");
        }
    }

    #[test]
    fn a_reason_not_established_in_five_school_days_is_none() {
        let absent = monday(Slot::AM, Statement::Seen(SeenMark::Absent as i32));
        for (today, expected) in [("2026-11-16", "N"), ("2026-11-23", "N"), ("2026-11-24", "O")] {
            assert_eq!(suggested(&by_school(), None, &absent, today), expected, "{today}");
        }
        assert_eq!(suggested(&by_school(), None, &monday(Slot::AM, code("I")), "2026-12-24"), "I");
    }

    #[test]
    fn a_mark_of_a_day_on_which_nobody_is_expected_is_warned_of() {
        let arrangement = Arrangement::of(&by_school(), None);
        let mut calendar = SchoolCalendar::default();
        let day = Date::parse("2026-11-16").unwrap();
        let warned = |calendar: &SchoolCalendar, sent: &str, site: &str| {
            let mark = Entered { site: site.to_owned(), ..monday(Slot::AM, code(sent)) };
            arrangement.of_the_day(&mark, calendar)
        };
        assert_eq!(warned(&calendar, "/", ""), None);
        calendar.site_closures.push(("Unit 4".to_owned(), Period::new(day, day).unwrap()));
        assert_eq!(warned(&calendar, "/", "Unit 4"), Some("CLOSURE_DECLARED"));
        assert_eq!(warned(&calendar, "/", "Unit 5"), None);
        calendar.closures.push(Period::new(day, day).unwrap());
        assert_eq!(
            [warned(&calendar, "/", ""), warned(&calendar, "Y4", "")],
            [Some("CLOSURE_DECLARED"), None]
        );
        calendar = SchoolCalendar::default();
        calendar.inset_days.insert(day);
        assert_eq!(warned(&calendar, "/", ""), Some("NOT_A_SCHOOL_DAY"));
    }

    #[test]
    fn an_afternoon_before_the_plan_s_time_is_warned_of() {
        let slot = |session: Session, start: &str| TimetableSlot {
            weekday: Weekday::Monday as i32,
            session: session as i32,
            start_time: start.to_owned(),
            ..TimetableSlot::default()
        };
        let plan = Plan {
            timetable: vec![slot(Session::Am, "09:15"), slot(Session::Pm, "12:45")],
            ..Plan::default()
        };
        let arrangement = Arrangement::of(&by_school(), Some(&plan));
        let warned = |arrangement: &Arrangement, slot: Slot, sent: &str, day: &str, now: &str| {
            let now = (Date::parse(day).unwrap(), TimeOfDay::parse(now).unwrap());
            let warnings = arrangement.warnings(&monday(slot, code(sent)), &SchoolCalendar::default(), now);
            warnings.contains(&"SESSION_NOT_BEGUN")
        };
        let today = "2026-11-16";
        assert!(warned(&arrangement, Slot::PM, "\\", today, "12:00"));
        assert!(warned(&arrangement, Slot::PM, "I", today, "12:44"));
        assert!(!warned(&arrangement, Slot::PM, "\\", today, "12:45"));
        assert!(!warned(&arrangement, Slot::PM, "\\", "2026-11-17", "08:30"));
        assert!(!warned(&arrangement, Slot::AM, "/", today, "08:55"));
        assert!(!warned(&Arrangement::of(&by_school(), None), Slot::PM, "\\", today, "12:00"));
    }

    #[test]
    fn what_does_not_fit_is_warned_of() {
        let mut plan = Plan::default();
        plan.timetable.push(TimetableSlot {
            weekday: Weekday::Monday as i32,
            session: Session::Am as i32,
            site: "Unit 4".to_owned(),
            online_at_home: true,
            ..TimetableSlot::default()
        });
        let by_la = placement("la/330", "provider/riverside", &["school/134567"]);
        let elsewhere = Entered { site: "the farm".to_owned(), ..monday(Slot::AM, code("B")) };
        for (placement, plan, mark, expected) in [
            (&by_school(), None, monday(Slot::AM, code("K")), &["CODE_NEEDS_LA", "PLACE_MISSING"][..]),
            (&by_la, Some(&plan), monday(Slot::AM, code("B")), &["CODE_NEEDS_SCHOOL"]),
            (&by_la, Some(&plan), monday(Slot::AM, code("K")), &[]),
            (&by_school(), None, elsewhere, &[]),
            (&by_school(), None, monday(Slot::AM, code("/")), &[]),
        ] {
            assert_eq!(Arrangement::of(placement, plan).of_the_code(&mark), expected);
        }
        // Taught online at home it is no attendance, and nothing is agreed that would explain it.
        assert_eq!(suggested(&by_school(), Some(&plan), &monday(Slot::AM, code("/")), "2026-11-16"), "");
        assert_eq!(suggested(&by_school(), Some(&plan), &monday(Slot::PM, code("\\")), "2026-11-16"), "B");
    }
}
