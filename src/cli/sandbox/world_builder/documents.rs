//! Documents that the script's commissioner writes about a child. All content is invented.

use crate::proto::v1::{
    AttendancePattern, AttendanceRoutine, Decision, Officer, Plan, PlanDuty, PlanOutcome, ReportingCycle,
    Session, SettingType, TimetableSlot, View, Weekday,
};

/// Returns a decision that approves the placement.
pub fn decision() -> Decision {
    let view = |text: &str| Some(View { text: text.to_owned(), ..View::default() });
    Decision {
        approved: true,
        rationale: "the offer meets the need".to_owned(),
        decided_by: Some(officer("Alex Example", "AP panel chair")),
        decided_on: "2026-09-01".to_owned(),
        child_view: view("would like to try it"),
        parent_view: view("agree"),
        options_considered: ["stay with support", "tuition"].map(str::to_owned).to_vec(),
    }
}

/// Returns a plan without open items.
pub fn plan(provider: &str) -> Plan {
    let tuition = provider == "provider-c";
    let weekdays =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    let slot = |weekday: Weekday, session: Session, cut_off: &str| TimetableSlot {
        weekday: weekday as i32,
        session: session as i32,
        minutes_planned: 150,
        cut_off: cut_off.to_owned(),
        ..TimetableSlot::default()
    };
    let mut timetable: Vec<TimetableSlot> = weekdays
        .into_iter()
        .flat_map(|day| [slot(day, Session::Am, "10:00"), slot(day, Session::Pm, "14:00")])
        .collect();
    if tuition {
        timetable = weekdays
            .into_iter()
            .map(|day| TimetableSlot {
                weekday: day as i32,
                session: Session::Timed as i32,
                start_time: "16:30".to_owned(),
                end_time: "18:00".to_owned(),
                minutes_planned: 90,
                cut_off: "19:00".to_owned(),
                ..TimetableSlot::default()
            })
            .collect();
    }
    let dates = |list: &[&str]| list.iter().map(|&date| date.to_owned()).collect();
    Plan {
        setting_type: match provider {
            "provider-a" => SettingType::OtherUnregistered,
            "provider-b" => SettingType::School,
            _ => SettingType::OneOnOneTuition,
        } as i32,
        purpose: "back to full-time education with confidence".to_owned(),
        timetable,
        extra_dates: if tuition { dates(&["2026-11-07", "2026-11-14"]) } else { vec![] },
        start_date: "2026-09-01".to_owned(),
        planned_end_date: "2026-12-18".to_owned(),
        review_dates: dates(&["2026-10-16", "2026-12-04"]),
        outcomes: vec![PlanOutcome {
            outcome: "attends every day".to_owned(),
            baseline: "62 % attendance last term".to_owned(),
            measure: "attendance".to_owned(),
            target: "90 %".to_owned(),
            target_date: "2026-12-11".to_owned(),
        }],
        success_criteria: "90 % attendance over six weeks".to_owned(),
        exit_route: "return to the home school in January".to_owned(),
        commissioner_lead: Some(officer("Sam Example", "AP commissioner")),
        provider_lead: Some(officer("Jo Example", "Head of centre")),
        contract: "spot".to_owned(),
        dual_registered: provider == "provider-b",
        attendance_pattern: AttendancePattern::FullTime as i32,
        sessions_per_week: if tuition { 5 } else { 10 },
        minutes_per_week: if tuition { 450 } else { 1_500 },
        rest_of_week: if tuition { "mornings at home with work set by the tutor" } else { "" }.to_owned(),
        curriculum: "English, mathematics, science, personal development".to_owned(),
        attendance_routine: Some(AttendanceRoutine {
            first_call_by: "10:30".to_owned(),
            note: "a parent is called first, then the home school".to_owned(),
            ..AttendanceRoutine::default()
        }),
        reporting_cycle: ReportingCycle::HalfTermly as i32,
        missing_child_protocol: "call a parent, then the police after 30 minutes".to_owned(),
        risk_assessment: "no particular risk".to_owned(),
        risk_assessed_on: "2026-08-28".to_owned(),
        duties: vec![PlanDuty {
            duty: "calls home on the first day of absence".to_owned(),
            responsible: Some(officer("Jo Example", "Head of centre")),
            accountable: Some(officer("Sam Example", "AP commissioner")),
        }],
        ..Plan::default()
    }
}

/// Returns an officer.
pub fn officer(name: &str, role: &str) -> Officer {
    Officer { name: name.to_owned(), role: role.to_owned(), ..Officer::default() }
}
