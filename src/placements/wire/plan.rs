//! A placement plan as it is sent. What it lacks refuses nothing; what it says must be possible.

use uuid::Uuid;

use super::{LINE, LIST, NOTE, dates, finish, named_officer, request_id, text};
use crate::calendar::TimeOfDay;
use crate::exchange::Refusal;
use crate::exchange::check::{Check, TextRule};
use crate::placements::rules::{PlanShape, distinct};
use crate::proto::v1::{
    Officer, PartTimeTimetable, Plan, PlanOutcome, PutPlanRequest, Session, SettingType, TimetableSlot,
    Weekday,
};

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
    /// What its completeness rests on.
    pub shape: PlanShape,
}

pub(in crate::placements) fn put_plan(m: &PutPlanRequest) -> Result<PlanPut, Refusal> {
    let mut check = Check::new();
    request_id(&mut check, &m.request_id);
    let placement = check.uuid("placement_id", &m.placement_id);
    let plan = check.present("plan", m.plan.as_ref());
    let plan = plan.map(|sent| plan_of(&mut check.at("plan"), sent));
    let put = placement.zip(plan);
    let put = put.map(|(placement, (plan, shape))| PlanPut { placement, etag: m.etag.clone(), plan, shape });
    finish(check, put)
}

fn plan_of(check: &mut Check, sent: &Plan) -> (Plan, PlanShape) {
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
    let reviews = dates(check, "review_dates", &sent.review_dates, LIST);
    let outcomes = outcomes(check, &sent.outcomes);
    let plan = Plan {
        setting_type: sent.setting_type,
        purpose: text(check, "purpose", &sent.purpose, TextRule::notes(NOTE)),
        timetable: timetable(check, &sent.timetable),
        extra_dates: sent.extra_dates.clone(),
        start_date: sent.start_date.clone(),
        planned_end_date: sent.planned_end_date.clone(),
        review_dates: sent.review_dates.clone(),
        long_term: sent.long_term,
        outcomes,
        success_criteria: text(check, "success_criteria", &sent.success_criteria, TextRule::notes(NOTE)),
        exit_route: text(check, "exit_route", &sent.exit_route, TextRule::notes(NOTE)),
        commissioner_lead: lead(check, "commissioner_lead", sent.commissioner_lead.as_ref()),
        provider_lead: lead(check, "provider_lead", sent.provider_lead.as_ref()),
        contract: sent.contract.clone(),
        dual_registered: sent.dual_registered,
        part_time: sent.part_time.as_ref().map(|sent| part_time(&mut check.at("part_time"), sent)),
    };
    let due = |outcome: &PlanOutcome| outcome.target_date.parse().ok();
    let shape = PlanShape {
        start,
        planned_end,
        long_term: plan.long_term,
        reviews,
        outcomes: plan.outcomes.iter().map(due).collect(),
        exit_route: !plan.exit_route.is_empty(),
        leads: plan.commissioner_lead.is_some() && plan.provider_lead.is_some(),
    };
    (plan, shape)
}

/// Somebody responsible, or nobody yet.
fn lead(check: &mut Check, field: &'static str, sent: Option<&Officer>) -> Option<Officer> {
    sent.and_then(|sent| named_officer(check, field, Some(sent)))
}

/// What a part-time timetable lacks refuses nothing: nothing rests on it then.
fn part_time(check: &mut Check, sent: &PartTimeTimetable) -> PartTimeTimetable {
    let start = check.date("start_date", &sent.start_date);
    let end = check.optional_date("end_date", &sent.end_date);
    check.optional_date("review_date", &sent.review_date);
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        check.fault("end_date", "DATE_ORDER");
    }
    sent.clone()
}

fn outcomes(check: &mut Check, sent: &[PlanOutcome]) -> Vec<PlanOutcome> {
    if !check.list_len("outcomes", sent.len(), LIST) {
        return Vec::new();
    }
    let one = |(at, sent): (usize, &PlanOutcome)| {
        let mut check = check.at("outcomes").index(at);
        check.optional_date("target_date", &sent.target_date);
        let note = TextRule::notes(NOTE);
        PlanOutcome {
            outcome: text(&mut check, "outcome", &sent.outcome, note.required()),
            baseline: text(&mut check, "baseline", &sent.baseline, note),
            measure: text(&mut check, "measure", &sent.measure, note),
            target: text(&mut check, "target", &sent.target, note),
            target_date: sent.target_date.clone(),
        }
    };
    sent.iter().enumerate().map(one).collect()
}

fn timetable(check: &mut Check, sent: &[TimetableSlot]) -> Vec<TimetableSlot> {
    if !check.list_len("timetable", sent.len(), LIST) {
        return Vec::new();
    }
    let slots: Vec<TimetableSlot> = (sent.iter().enumerate())
        .map(|(at, sent)| slot(&mut check.at("timetable").index(at), sent))
        .collect();
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
    TimetableSlot { site: text(check, "site", &sent.site, TextRule::line(LINE)), ..sent.clone() }
}

fn length((start, end): (TimeOfDay, TimeOfDay)) -> i32 {
    i32::from(end.minutes()) - i32::from(start.minutes())
}
