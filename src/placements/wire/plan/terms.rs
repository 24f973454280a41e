//! Parser of a plan's fields other than outcomes and timetable: sites, part-time, curriculum, safety, duties, terms.

use crate::exchange::check::{Check, MAX_LINE_CHARS, MAX_NOTE_CHARS, TextRule};
use crate::placements::rules::all_distinct;
use crate::proto::v1::{
    AttendancePattern, AttendanceRoutine, ConsentKind, PartTimeTimetable, Plan, PlanConsent, PlanDuty,
    PlanSite, PlanTransport, PriceUnit, ReportingCycle, Weekday,
};
use crate::violation_reason::ViolationReason;

const NOTES_RULE: TextRule = TextRule::notes(MAX_NOTE_CHARS);
const LINE_RULE: TextRule = TextRule::line(MAX_LINE_CHARS);
/// Sections of an education, health and care plan (SEND Regulations 2014, reg. 12).
const EHCP_SECTIONS: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H1", "H2", "I", "J", "K"];
/// Maximum price in pence: 100,000 pounds.
const MAX_PRICE_PENCE: i64 = 10_000_000;

/// Reads these fields of a plan; the others are empty.
pub(super) fn parse_terms(check: &mut Check, sent: &Plan) -> Plan {
    codes_and_numbers(check, sent);
    let date = |check: &mut Check, field, sent: &str| {
        check.optional_date(field, sent);
        sent.to_owned()
    };
    Plan {
        sites: check.read_list("sites", &sent.sites, site),
        exit_date: date(check, "exit_date", &sent.exit_date),
        exit_destination: check.text_or_empty("exit_destination", &sent.exit_destination, LINE_RULE),
        attendance_pattern: sent.attendance_pattern,
        sessions_per_week: sent.sessions_per_week,
        minutes_per_week: sent.minutes_per_week,
        part_time: sent.part_time.as_ref().map(|sent| part_time(&mut check.enter("part_time"), sent)),
        rest_of_week: check.text_or_empty("rest_of_week", &sent.rest_of_week, NOTES_RULE),
        curriculum: check.text_or_empty("curriculum", &sent.curriculum, NOTES_RULE),
        qualifications: check.read_list("qualifications", &sent.qualifications, Check::qualification),
        continuity: check.text_or_empty("continuity", &sent.continuity, NOTES_RULE),
        attendance_routine: (sent.attendance_routine.as_ref())
            .map(|sent| routine(&mut check.enter("attendance_routine"), sent)),
        reporting_cycle: sent.reporting_cycle,
        commissioner_safeguarding: (sent.commissioner_safeguarding.as_ref())
            .map(|sent| check.enter("commissioner_safeguarding").contact(sent)),
        provider_safeguarding: (sent.provider_safeguarding.as_ref())
            .map(|sent| check.enter("provider_safeguarding").contact(sent)),
        missing_child_protocol: check.text_or_empty(
            "missing_child_protocol",
            &sent.missing_child_protocol,
            NOTES_RULE,
        ),
        risk_assessment: check.text_or_empty("risk_assessment", &sent.risk_assessment, NOTES_RULE),
        risk_assessed_on: date(check, "risk_assessed_on", &sent.risk_assessed_on),
        consents: check.read_list("consents", &sent.consents, consent),
        transport: sent.transport.as_ref().map(|sent| transport(&mut check.enter("transport"), sent)),
        meals: check.text_or_empty("meals", &sent.meals, NOTES_RULE),
        free_school_meals: sent.free_school_meals,
        duties: check.read_list("duties", &sent.duties, duty),
        panel_reference: check.text_or_empty("panel_reference", &sent.panel_reference, LINE_RULE),
        panel_attendees: check.read_list("panel_attendees", &sent.panel_attendees, Check::officer_fields),
        child_view: check.view("child_view", sent.child_view.as_ref()),
        parent_view: check.view("parent_view", sent.parent_view.as_ref()),
        health_view: check.view("health_view", sent.health_view.as_ref()),
        child_agreed_on: date(check, "child_agreed_on", &sent.child_agreed_on),
        parent_agreed_on: date(check, "parent_agreed_on", &sent.parent_agreed_on),
        ehcp_sections: ehcp_sections(check, &sent.ehcp_sections),
        pep_reference: check.text_or_empty("pep_reference", &sent.pep_reference, LINE_RULE),
        price_pence: sent.price_pence,
        price_unit: sent.price_unit,
        contract_reference: check.text_or_empty("contract_reference", &sent.contract_reference, LINE_RULE),
        notice_days: sent.notice_days,
        retention: check.text_or_empty("retention", &sent.retention, NOTES_RULE),
        end_of_placement_return: check.text_or_empty(
            "end_of_placement_return",
            &sent.end_of_placement_return,
            NOTES_RULE,
        ),
        complaints: check.text_or_empty("complaints", &sent.complaints, NOTES_RULE),
        rest_of_week_minutes: sent.rest_of_week_minutes,
        ..Plan::default()
    }
}

fn codes_and_numbers(check: &mut Check, sent: &Plan) {
    let pattern = check.optional_enum::<AttendancePattern>("attendance_pattern", sent.attendance_pattern);
    let max_sessions = if pattern == Some(AttendancePattern::PartTime) { 9 } else { 10 };
    check.int_range("sessions_per_week", sent.sessions_per_week, 0..=max_sessions);
    check.minutes("minutes_per_week", sent.minutes_per_week, 0..=3_000);
    if let Some(minutes) = sent.rest_of_week_minutes {
        check.minutes("rest_of_week_minutes", minutes, 0..=3_000);
    }
    check.optional_enum::<ReportingCycle>("reporting_cycle", sent.reporting_cycle);
    check.int_range("price_pence", sent.price_pence, 0..=MAX_PRICE_PENCE);
    check.optional_enum::<PriceUnit>("price_unit", sent.price_unit);
    check.int_range("notice_days", sent.notice_days, 0..=365);
}

fn site(check: &mut Check, sent: &PlanSite) -> PlanSite {
    check.enum_value::<Weekday>("weekday", sent.weekday);
    check.optional_date("staff_checks_confirmed_on", &sent.staff_checks_confirmed_on);
    let by = TextRule::legal_name(MAX_LINE_CHARS);
    PlanSite {
        weekday: sent.weekday,
        site: check.text_or_empty("site", &sent.site, LINE_RULE.required()),
        subcontractor: check.text_or_empty("subcontractor", &sent.subcontractor, LINE_RULE),
        staff_checks_confirmed_on: sent.staff_checks_confirmed_on.clone(),
        staff_checks_confirmed_by: check.text_or_empty(
            "staff_checks_confirmed_by",
            &sent.staff_checks_confirmed_by,
            by,
        ),
    }
}

fn part_time(check: &mut Check, sent: &PartTimeTimetable) -> PartTimeTimetable {
    let start = check.date("start_date", &sent.start_date);
    let end = check.optional_date("end_date", &sent.end_date);
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        check.add_violation("end_date", ViolationReason::DateOrder);
    }
    check.optional_date("review_date", &sent.review_date);
    check.optional_date("parents_agreed_on", &sent.parents_agreed_on);
    PartTimeTimetable {
        reason: check.text_or_empty("reason", &sent.reason, NOTES_RULE),
        agreed_by: check.text_or_empty("agreed_by", &sent.agreed_by, TextRule::legal_name(MAX_LINE_CHARS)),
        ..sent.clone()
    }
}

fn routine(check: &mut Check, sent: &AttendanceRoutine) -> AttendanceRoutine {
    check.optional_time_of_day("first_call_by", &sent.first_call_by);
    AttendanceRoutine {
        contact_order: check.read_list("contact_order", &sent.contact_order, Check::contact),
        first_call_by: sent.first_call_by.clone(),
        note: check.text_or_empty("note", &sent.note, NOTES_RULE),
    }
}

fn consent(check: &mut Check, sent: &PlanConsent) -> PlanConsent {
    check.enum_value::<ConsentKind>("kind", sent.kind);
    check.optional_date("given_on", &sent.given_on);
    let given_by = check.text_or_empty("given_by", &sent.given_by, TextRule::legal_name(MAX_LINE_CHARS));
    PlanConsent { given_by, ..sent.clone() }
}

fn transport(check: &mut Check, sent: &PlanTransport) -> PlanTransport {
    PlanTransport {
        mode: check.text_or_empty("mode", &sent.mode, LINE_RULE),
        escort: check.text_or_empty("escort", &sent.escort, LINE_RULE),
        cost_owner: check.text_or_empty("cost_owner", &sent.cost_owner, LINE_RULE),
    }
}

fn duty(check: &mut Check, sent: &PlanDuty) -> PlanDuty {
    PlanDuty {
        duty: check.text_or_empty("duty", &sent.duty, LINE_RULE.required()),
        responsible: check.optional_officer("responsible", sent.responsible.as_ref()),
        accountable: check.optional_officer("accountable", sent.accountable.as_ref()),
    }
}

/// Reads a list of distinct existing sections.
fn ehcp_sections(check: &mut Check, sent: &[String]) -> Vec<String> {
    if check.list_len("ehcp_sections", sent.len(), EHCP_SECTIONS.len()) {
        for (at, sent) in sent.iter().enumerate() {
            if !EHCP_SECTIONS.contains(&sent.as_str()) {
                check.enter("ehcp_sections").index(at).add_violation("", ViolationReason::EnumUnknown);
            }
        }
        if !all_distinct(sent) {
            check.add_violation("ehcp_sections", ViolationReason::ConflictInBatch);
        }
    }
    sent.to_vec()
}
