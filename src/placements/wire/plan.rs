//! A placement plan as it is sent. What it lacks refuses nothing; what it says must be possible.

mod terms;

use uuid::Uuid;

use super::{dates, finish};
use crate::calendar::{Date, TimeOfDay};
use crate::exchange::Refusal;
use crate::exchange::check::{Check, LINE, LIST, NOTE, TextRule};
use crate::placements::rules::distinct;
use crate::proto::v1::{Plan, PlanOutcome, PutPlanRequest, Session, SettingType, TimetableSlot, Weekday};

/// Most days beside the timetable: more than a school year has.
const EXTRA_DATES: usize = 200;

/// A version of a plan.
pub(in crate::placements) struct PlanPut {
    /// The placement.
    pub placement: Uuid,
    /// The version that was read, as it was sent; empty for the first.
    pub etag: String,
    /// The plan.
    pub plan: Plan,
    /// Its end.
    pub planned_end: Option<Date>,
}

pub(in crate::placements) fn put_plan(m: &PutPlanRequest) -> Result<PlanPut, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let plan = check.present("plan", m.plan.as_ref());
    let plan = plan.map(|sent| plan_of(&mut check.at("plan"), sent));
    let put = placement.zip(plan).map(|(placement, plan)| PlanPut {
        placement,
        etag: m.etag.clone(),
        planned_end: Date::parse(&plan.planned_end_date).ok(),
        plan,
    });
    finish(check, put)
}

fn plan_of(check: &mut Check, sent: &Plan) -> Plan {
    let start = check.date("start_date", &sent.start_date);
    let planned_end = check.optional_date("planned_end_date", &sent.planned_end_date);
    if start.zip(planned_end).is_some_and(|(start, end)| end < start) {
        check.fault("planned_end_date", "DATE_ORDER");
    }
    check.optional_enum::<SettingType>("setting_type", sent.setting_type);
    if !matches!(sent.contract.as_str(), "" | "block" | "spot") {
        check.fault("contract", "ENUM_UNKNOWN");
    }
    dates(check, "extra_dates", &sent.extra_dates, EXTRA_DATES);
    dates(check, "review_dates", &sent.review_dates, LIST);
    let outcomes = check.each("outcomes", &sent.outcomes, outcome);
    Plan {
        setting_type: sent.setting_type,
        purpose: check.words("purpose", &sent.purpose, TextRule::notes(NOTE)),
        timetable: timetable(check, &sent.timetable),
        extra_dates: sent.extra_dates.clone(),
        start_date: sent.start_date.clone(),
        planned_end_date: sent.planned_end_date.clone(),
        review_dates: sent.review_dates.clone(),
        long_term: sent.long_term,
        outcomes,
        success_criteria: check.words("success_criteria", &sent.success_criteria, TextRule::notes(NOTE)),
        exit_route: check.words("exit_route", &sent.exit_route, TextRule::notes(NOTE)),
        commissioner_lead: check.optional_person("commissioner_lead", sent.commissioner_lead.as_ref()),
        provider_lead: check.optional_person("provider_lead", sent.provider_lead.as_ref()),
        contract: sent.contract.clone(),
        dual_registered: sent.dual_registered,
        ..terms::of(check, sent)
    }
}

fn outcome(check: &mut Check, sent: &PlanOutcome) -> PlanOutcome {
    check.optional_date("target_date", &sent.target_date);
    let note = TextRule::notes(NOTE);
    PlanOutcome {
        outcome: check.words("outcome", &sent.outcome, note.required()),
        baseline: check.words("baseline", &sent.baseline, note),
        measure: check.words("measure", &sent.measure, note),
        target: check.words("target", &sent.target, note),
        target_date: sent.target_date.clone(),
    }
}

fn timetable(check: &mut Check, sent: &[TimetableSlot]) -> Vec<TimetableSlot> {
    let slots = check.each("timetable", sent, slot);
    // A session is planned once; a timed one is told from another by its start.
    if !distinct(slots.iter().map(|slot| {
        let start = if slot.session == Session::Timed as i32 { slot.start_time.as_str() } else { "" };
        (slot.weekday, slot.session, start)
    })) {
        check.fault("timetable", "CONFLICT_IN_BATCH");
    }
    slots
}

fn slot(check: &mut Check, sent: &TimetableSlot) -> TimetableSlot {
    check.enum_value::<Weekday>("weekday", sent.weekday);
    let timed = check.enum_value::<Session>("session", sent.session) == Some(Session::Timed);
    let mut time = |field, sent: &str| {
        if timed { check.time_of_day(field, sent) } else { check.optional_time_of_day(field, sent) }
    };
    let span = time("start_time", &sent.start_time).zip(time("end_time", &sent.end_time));
    check.optional_time_of_day("cut_off", &sent.cut_off);
    let minutes = check.minutes("minutes_planned", sent.minutes_planned, 1..=600);
    match span {
        Some((start, end)) if end <= start => check.fault("end_time", "DATE_ORDER"),
        Some(span) if minutes.is_some_and(|minutes| minutes > length(span)) => {
            check.fault("minutes_planned", "MINUTES_RANGE");
        }
        _ => {}
    }
    TimetableSlot { site: check.words("site", &sent.site, TextRule::line(LINE)), ..sent.clone() }
}

fn length((start, end): (TimeOfDay, TimeOfDay)) -> i32 {
    i32::from(end.minutes()) - i32::from(start.minutes())
}
