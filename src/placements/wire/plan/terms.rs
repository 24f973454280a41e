//! What a plan says beside outcomes and timetable: places, part-time, curriculum, safety, duties, terms.

use crate::exchange::check::{Check, LINE, NOTE, TextRule};
use crate::placements::rules::distinct;
use crate::proto::v1::{
    AttendancePattern, AttendanceRoutine, ConsentKind, PartTimeTimetable, Plan, PlanConsent, PlanDuty,
    PlanSite, PlanTransport, PriceUnit, ReportingCycle, Weekday,
};

const NOTES: TextRule = TextRule::notes(NOTE);
const ONE_LINE: TextRule = TextRule::line(LINE);
/// Sections of an education, health and care plan (SEND Regulations 2014, reg. 12).
const EHCP_SECTIONS: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H1", "H2", "I", "J", "K"];
/// A hundred thousand pounds, in pence.
const MOST_PENCE: i64 = 10_000_000;

/// These fields of a plan; the others are left empty.
pub(super) fn of(check: &mut Check, sent: &Plan) -> Plan {
    codes_and_numbers(check, sent);
    let on = |check: &mut Check, field, sent: &str| {
        check.optional_date(field, sent);
        sent.to_owned()
    };
    Plan {
        sites: check.each("sites", &sent.sites, site),
        exit_date: on(check, "exit_date", &sent.exit_date),
        exit_destination: check.words("exit_destination", &sent.exit_destination, ONE_LINE),
        attendance_pattern: sent.attendance_pattern,
        sessions_per_week: sent.sessions_per_week,
        minutes_per_week: sent.minutes_per_week,
        part_time: sent.part_time.as_ref().map(|sent| part_time(&mut check.at("part_time"), sent)),
        rest_of_week: check.words("rest_of_week", &sent.rest_of_week, NOTES),
        curriculum: check.words("curriculum", &sent.curriculum, NOTES),
        qualifications: check.each("qualifications", &sent.qualifications, Check::qualification),
        continuity: check.words("continuity", &sent.continuity, NOTES),
        attendance_routine: (sent.attendance_routine.as_ref())
            .map(|sent| routine(&mut check.at("attendance_routine"), sent)),
        reporting_cycle: sent.reporting_cycle,
        commissioner_safeguarding: (sent.commissioner_safeguarding.as_ref())
            .map(|sent| check.at("commissioner_safeguarding").contact(sent)),
        provider_safeguarding: (sent.provider_safeguarding.as_ref())
            .map(|sent| check.at("provider_safeguarding").contact(sent)),
        missing_child_protocol: check.words("missing_child_protocol", &sent.missing_child_protocol, NOTES),
        risk_assessment: check.words("risk_assessment", &sent.risk_assessment, NOTES),
        risk_assessed_on: on(check, "risk_assessed_on", &sent.risk_assessed_on),
        consents: check.each("consents", &sent.consents, consent),
        transport: sent.transport.as_ref().map(|sent| transport(&mut check.at("transport"), sent)),
        meals: check.words("meals", &sent.meals, NOTES),
        free_school_meals: sent.free_school_meals,
        duties: check.each("duties", &sent.duties, duty),
        panel_reference: check.words("panel_reference", &sent.panel_reference, ONE_LINE),
        panel_attendees: check.each("panel_attendees", &sent.panel_attendees, Check::named),
        child_view: check.view("child_view", sent.child_view.as_ref()),
        parent_view: check.view("parent_view", sent.parent_view.as_ref()),
        health_view: check.view("health_view", sent.health_view.as_ref()),
        child_agreed_on: on(check, "child_agreed_on", &sent.child_agreed_on),
        parent_agreed_on: on(check, "parent_agreed_on", &sent.parent_agreed_on),
        ehcp_sections: ehcp_sections(check, &sent.ehcp_sections),
        pep_reference: check.words("pep_reference", &sent.pep_reference, ONE_LINE),
        price_pence: sent.price_pence,
        price_unit: sent.price_unit,
        contract_reference: check.words("contract_reference", &sent.contract_reference, ONE_LINE),
        notice_days: sent.notice_days,
        retention: check.words("retention", &sent.retention, NOTES),
        end_of_placement_return: check.words("end_of_placement_return", &sent.end_of_placement_return, NOTES),
        complaints: check.words("complaints", &sent.complaints, NOTES),
        ..Plan::default()
    }
}

fn codes_and_numbers(check: &mut Check, sent: &Plan) {
    let pattern = check.optional_enum::<AttendancePattern>("attendance_pattern", sent.attendance_pattern);
    let most = if pattern == Some(AttendancePattern::PartTime) { 9 } else { 10 };
    check.int_range("sessions_per_week", sent.sessions_per_week, 0..=most);
    check.minutes("minutes_per_week", sent.minutes_per_week, 0..=3_000);
    check.optional_enum::<ReportingCycle>("reporting_cycle", sent.reporting_cycle);
    check.int_range("price_pence", sent.price_pence, 0..=MOST_PENCE);
    check.optional_enum::<PriceUnit>("price_unit", sent.price_unit);
    check.int_range("notice_days", sent.notice_days, 0..=365);
}

fn site(check: &mut Check, sent: &PlanSite) -> PlanSite {
    check.enum_value::<Weekday>("weekday", sent.weekday);
    check.optional_date("staff_checks_confirmed_on", &sent.staff_checks_confirmed_on);
    let by = TextRule::legal_name(LINE);
    PlanSite {
        weekday: sent.weekday,
        site: check.words("site", &sent.site, ONE_LINE.required()),
        subcontractor: check.words("subcontractor", &sent.subcontractor, ONE_LINE),
        staff_checks_confirmed_on: sent.staff_checks_confirmed_on.clone(),
        staff_checks_confirmed_by: check.words(
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
        check.fault("end_date", "DATE_ORDER");
    }
    check.optional_date("review_date", &sent.review_date);
    check.optional_date("parents_agreed_on", &sent.parents_agreed_on);
    PartTimeTimetable {
        reason: check.words("reason", &sent.reason, NOTES),
        agreed_by: check.words("agreed_by", &sent.agreed_by, TextRule::legal_name(LINE)),
        ..sent.clone()
    }
}

fn routine(check: &mut Check, sent: &AttendanceRoutine) -> AttendanceRoutine {
    check.optional_time_of_day("first_call_by", &sent.first_call_by);
    AttendanceRoutine {
        contact_order: check.each("contact_order", &sent.contact_order, Check::contact),
        first_call_by: sent.first_call_by.clone(),
        note: check.words("note", &sent.note, NOTES),
    }
}

fn consent(check: &mut Check, sent: &PlanConsent) -> PlanConsent {
    check.enum_value::<ConsentKind>("kind", sent.kind);
    check.optional_date("given_on", &sent.given_on);
    let given_by = check.words("given_by", &sent.given_by, TextRule::legal_name(LINE));
    PlanConsent { given_by, ..sent.clone() }
}

fn transport(check: &mut Check, sent: &PlanTransport) -> PlanTransport {
    PlanTransport {
        mode: check.words("mode", &sent.mode, ONE_LINE),
        escort: check.words("escort", &sent.escort, ONE_LINE),
        cost_owner: check.words("cost_owner", &sent.cost_owner, ONE_LINE),
    }
}

fn duty(check: &mut Check, sent: &PlanDuty) -> PlanDuty {
    PlanDuty {
        duty: check.words("duty", &sent.duty, ONE_LINE.required()),
        responsible: check.optional_person("responsible", sent.responsible.as_ref()),
        accountable: check.optional_person("accountable", sent.accountable.as_ref()),
    }
}

/// Sections that exist, none of them twice.
fn ehcp_sections(check: &mut Check, sent: &[String]) -> Vec<String> {
    if check.list_len("ehcp_sections", sent.len(), EHCP_SECTIONS.len()) {
        for (at, sent) in sent.iter().enumerate() {
            if !EHCP_SECTIONS.contains(&sent.as_str()) {
                check.at("ehcp_sections").index(at).fault("", "ENUM_UNKNOWN");
            }
        }
        if !distinct(sent) {
            check.fault("ehcp_sections", "CONFLICT_IN_BATCH");
        }
    }
    sent.to_vec()
}
