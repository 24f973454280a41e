//! Parser of `PutPlan` requests. Missing fields are accepted; impossible values are refused.

mod terms;

use uuid::Uuid;

use super::{dates, finish};
use crate::calendar::{Date, TimeOfDay};
use crate::exchange::Refusal;
use crate::exchange::check::{Check, MAX_LINE_CHARS, MAX_LIST_ITEMS, MAX_NOTE_CHARS, TextRule};
use crate::placements::rules::all_distinct;
use crate::proto::v1::{Plan, PlanOutcome, PutPlanRequest, Session, SettingType, TimetableSlot, Weekday};
use crate::violation_reason::ViolationReason;

/// Maximum number of days in addition to the timetable: more than a school year has.
const MAX_EXTRA_DATES: usize = 200;

/// A request to put a version of a plan.
pub(in crate::placements) struct ParsedPlan {
    /// The placement.
    pub placement: Uuid,
    /// The etag in the request, not parsed; empty for the first version.
    pub etag: String,
    /// The plan.
    pub plan: Plan,
    /// Planned end of the plan.
    pub planned_end: Option<Date>,
}

pub(in crate::placements) fn put_plan(m: &PutPlanRequest) -> Result<ParsedPlan, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let plan = check.present("plan", m.plan.as_ref());
    let plan = plan.map(|sent| parse_plan(&mut check.enter("plan"), sent));
    let put = placement.zip(plan).map(|(placement, plan)| ParsedPlan {
        placement,
        etag: m.etag.clone(),
        planned_end: Date::parse(&plan.planned_end_date).ok(),
        plan,
    });
    finish(check, put)
}

fn parse_plan(check: &mut Check, sent: &Plan) -> Plan {
    let start = check.date("start_date", &sent.start_date);
    let planned_end = check.optional_date("planned_end_date", &sent.planned_end_date);
    if start.zip(planned_end).is_some_and(|(start, end)| end < start) {
        check.add_violation("planned_end_date", ViolationReason::DateOrder);
    }
    check.optional_enum::<SettingType>("setting_type", sent.setting_type);
    if !matches!(sent.contract.as_str(), "" | "block" | "spot") {
        check.add_violation("contract", ViolationReason::EnumUnknown);
    }
    dates(check, "extra_dates", &sent.extra_dates, MAX_EXTRA_DATES);
    dates(check, "review_dates", &sent.review_dates, MAX_LIST_ITEMS);
    let outcomes = check.read_list("outcomes", &sent.outcomes, outcome);
    Plan {
        setting_type: sent.setting_type,
        purpose: check.text_or_empty("purpose", &sent.purpose, TextRule::notes(MAX_NOTE_CHARS)),
        timetable: timetable(check, &sent.timetable),
        extra_dates: sent.extra_dates.clone(),
        start_date: sent.start_date.clone(),
        planned_end_date: sent.planned_end_date.clone(),
        review_dates: sent.review_dates.clone(),
        long_term: sent.long_term,
        outcomes,
        success_criteria: check.text_or_empty(
            "success_criteria",
            &sent.success_criteria,
            TextRule::notes(MAX_NOTE_CHARS),
        ),
        exit_route: check.text_or_empty("exit_route", &sent.exit_route, TextRule::notes(MAX_NOTE_CHARS)),
        commissioner_lead: check.optional_officer("commissioner_lead", sent.commissioner_lead.as_ref()),
        provider_lead: check.optional_officer("provider_lead", sent.provider_lead.as_ref()),
        contract: sent.contract.clone(),
        dual_registered: sent.dual_registered,
        ..terms::parse_terms(check, sent)
    }
}

fn outcome(check: &mut Check, sent: &PlanOutcome) -> PlanOutcome {
    check.optional_date("target_date", &sent.target_date);
    let note = TextRule::notes(MAX_NOTE_CHARS);
    PlanOutcome {
        outcome: check.text_or_empty("outcome", &sent.outcome, note.required()),
        baseline: check.text_or_empty("baseline", &sent.baseline, note),
        measure: check.text_or_empty("measure", &sent.measure, note),
        target: check.text_or_empty("target", &sent.target, note),
        target_date: sent.target_date.clone(),
    }
}

fn timetable(check: &mut Check, sent: &[TimetableSlot]) -> Vec<TimetableSlot> {
    let slots = check.read_list("timetable", sent, slot);
    // Each session of a weekday occurs once; timed sessions differ by their start.
    if !all_distinct(slots.iter().map(|slot| {
        let start = if slot.session == Session::Timed as i32 { slot.start_time.as_str() } else { "" };
        (slot.weekday, slot.session, start)
    })) {
        check.add_violation("timetable", ViolationReason::ConflictInBatch);
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
        Some((start, end)) if end <= start => check.add_violation("end_time", ViolationReason::DateOrder),
        Some(span) if minutes.is_some_and(|minutes| minutes > duration_minutes(span)) => {
            check.add_violation("minutes_planned", ViolationReason::MinutesRange);
        }
        _ => {}
    }
    TimetableSlot {
        site: check.text_or_empty("site", &sent.site, TextRule::line(MAX_LINE_CHARS)),
        ..sent.clone()
    }
}

fn duration_minutes((start, end): (TimeOfDay, TimeOfDay)) -> i32 {
    i32::from(end.minutes()) - i32::from(start.minutes())
}
