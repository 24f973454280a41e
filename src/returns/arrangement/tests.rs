//! Arrangements: which sessions are planned, and the warnings that marks get.

use super::*;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{
    LegalBasis, PartTimeTimetable, PlacementReason, PlacementState, TimetableSlot, Weekday,
};
use crate::store::Revision;
use uuid::Uuid;

fn placement(commissioner: &str, provider: &str, schools: &[&str]) -> Placement {
    let organisation = |id: &str| OrganisationId::parse(id).unwrap();
    Placement {
        id: Uuid::from_u128(1),
        version: Revision::FIRST,
        state: PlacementState::Active,
        commissioner: organisation(commissioner),
        provider: organisation(provider),
        residence: organisation("la/331"),
        schools: schools.iter().map(|school| organisation(school)).collect(),
        party_periods: Vec::new(),
        child: Uuid::from_u128(2),
        agreement: Uuid::from_u128(3),
        provider_reference: None,
        upn_index: None,
        start_date: None,
        planned_end_date: None,
        end_date: None,
        legal_basis: LegalBasis::Unspecified,
        reason: PlacementReason::Unspecified,
        detail: Vec::new(),
    }
}

pub(in crate::returns) fn by_school() -> Placement {
    placement("school/134567", "provider/riverside", &["school/134567"])
}

fn monday(slot: SessionSlot, statement: MarkStatement) -> ParsedMark {
    let date = Date::parse("2026-11-16").unwrap();
    ParsedMark { slot, statement, ..super::super::rules::tests::mark(&date.to_string(), slot, "/") }
}

fn code(text: &str) -> MarkStatement {
    MarkStatement::Code(text.to_owned())
}

fn suggested(placement: &Placement, plan: Option<&Plan>, mark: &ParsedMark, today: &str) -> String {
    let (today, calendar) = (Date::parse(today).unwrap(), SchoolCalendar::default());
    let code = Arrangement::new(placement, plan).suggestion(mark, &calendar, today);
    code.map(|code| code.as_str().to_owned()).unwrap_or_default()
}

#[test]
fn who_arranged_it_and_whose_register_it_is() {
    let dual = Plan { dual_registered: true, ..Plan::default() };
    let present = monday(SessionSlot::AM, MarkStatement::Seen(SeenMark::Present as i32));
    for (commissioner, provider, schools, plan, expected) in [
        ("la/330", "provider/riverside", &["school/134567"][..], None, "K"),
        ("school/134567", "provider/riverside", &["school/134567"], None, "B"),
        ("la/330", "provider/riverside", &[], None, ""),
        ("school/134567", "school/145678", &["school/134567"], Some(&dual), "D"),
        ("school/134567", "school/145678", &["school/134567", "school/145678"], None, "D"),
        // A school where the child is not registered counts like any other provider.
        ("school/134567", "school/145678", &["school/134567"], Some(&Plan::default()), "B"),
        // The provider's roll does not make it a home school.
        ("la/330", "school/145678", &["school/145678"], Some(&dual), ""),
        // A provider that is not a school has no admission register, so the plan's dual registration is ignored.
        ("la/330", "provider/riverside", &["school/134567"], Some(&dual), "K"),
    ] {
        let placement = placement(commissioner, provider, schools);
        assert_eq!(suggested(&placement, plan, &present, "2026-11-16"), expected, "{provider}");
    }
}

#[test]
fn a_part_time_timetable_counts_with_agreement_and_end_only() {
    let not_expected = monday(SessionSlot::AM, MarkStatement::Seen(SeenMark::NotExpected as i32));
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
            Arrangement::new(&by_school(), Some(&plan)).code_warnings(&monday(SessionSlot::AM, code("C2")));
        assert_eq!(warned.is_empty(), expected == "C2");
    }
}

#[test]
fn a_reason_not_established_in_five_school_days_is_none() {
    let absent = monday(SessionSlot::AM, MarkStatement::Seen(SeenMark::Absent as i32));
    for (today, expected) in [("2026-11-16", "N"), ("2026-11-23", "N"), ("2026-11-24", "O")] {
        assert_eq!(suggested(&by_school(), None, &absent, today), expected, "{today}");
    }
    assert_eq!(suggested(&by_school(), None, &monday(SessionSlot::AM, code("I")), "2026-12-24"), "I");
}

#[test]
fn a_mark_of_a_day_on_which_nobody_is_expected_is_warned_of() {
    let arrangement = Arrangement::new(&by_school(), None);
    let mut calendar = SchoolCalendar::default();
    let day = Date::parse("2026-11-16").unwrap();
    let warned = |calendar: &SchoolCalendar, sent: &str, site: &str| {
        let mark = ParsedMark { site: site.to_owned(), ..monday(SessionSlot::AM, code(sent)) };
        arrangement.day_warning(&mark, calendar)
    };
    assert_eq!(warned(&calendar, "/", ""), None);
    calendar.site_closures.push(("Unit 4".to_owned(), Period::new(day, day).unwrap()));
    assert_eq!(warned(&calendar, "/", "Unit 4"), Some("CLOSURE_DECLARED"));
    assert_eq!(warned(&calendar, "/", "Unit 5"), None);
    calendar.closures.push(Period::new(day, day).unwrap());
    assert_eq!([warned(&calendar, "/", ""), warned(&calendar, "Y4", "")], [Some("CLOSURE_DECLARED"), None]);
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
    let plan =
        Plan { timetable: vec![slot(Session::Am, "09:15"), slot(Session::Pm, "12:45")], ..Plan::default() };
    let arrangement = Arrangement::new(&by_school(), Some(&plan));
    let warned = |arrangement: &Arrangement, slot: SessionSlot, sent: &str, day: &str, now: &str| {
        let now = (Date::parse(day).unwrap(), TimeOfDay::parse(now).unwrap());
        let warnings = arrangement.warnings(&monday(slot, code(sent)), &SchoolCalendar::default(), now);
        warnings.contains(&"SESSION_NOT_BEGUN")
    };
    let today = "2026-11-16";
    assert!(warned(&arrangement, SessionSlot::PM, "\\", today, "12:00"));
    assert!(warned(&arrangement, SessionSlot::PM, "I", today, "12:44"));
    assert!(!warned(&arrangement, SessionSlot::PM, "\\", today, "12:45"));
    assert!(!warned(&arrangement, SessionSlot::PM, "\\", "2026-11-17", "08:30"));
    assert!(!warned(&arrangement, SessionSlot::AM, "/", today, "08:55"));
    assert!(!warned(&Arrangement::new(&by_school(), None), SessionSlot::PM, "\\", today, "12:00"));
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
    let elsewhere = ParsedMark { site: "the farm".to_owned(), ..monday(SessionSlot::AM, code("B")) };
    for (placement, plan, mark, expected) in [
        (&by_school(), None, monday(SessionSlot::AM, code("K")), &["CODE_NEEDS_LA", "PLACE_MISSING"][..]),
        (&by_la, Some(&plan), monday(SessionSlot::AM, code("B")), &["CODE_NEEDS_SCHOOL"]),
        (&by_la, Some(&plan), monday(SessionSlot::AM, code("K")), &[]),
        (&by_school(), None, elsewhere, &[]),
        (&by_school(), None, monday(SessionSlot::AM, code("/")), &[]),
    ] {
        assert_eq!(Arrangement::new(placement, plan).code_warnings(&mark), expected);
    }
    // Online teaching at home is no attendance, and no part-time timetable is agreed, so no code is suggested.
    assert_eq!(suggested(&by_school(), Some(&plan), &monday(SessionSlot::AM, code("/")), "2026-11-16"), "");
    assert_eq!(suggested(&by_school(), Some(&plan), &monday(SessionSlot::PM, code("\\")), "2026-11-16"), "B");
}
