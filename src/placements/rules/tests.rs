//! Tests of the rules of placements.

use super::*;
use crate::proto::v1::{Officer, PartTimeTimetable, Plan, PlanDuty, PlanOutcome, PlanSite};

const ALL: [State; 9] = [
    State::Unspecified,
    State::Referred,
    State::Accepted,
    State::Declined,
    State::Approved,
    State::Rejected,
    State::Active,
    State::Ended,
    State::Withdrawn,
];

const TRANSITIONS: [Transition; 7] = [
    Transition::Accept,
    Transition::Decline,
    Transition::Approve,
    Transition::Reject,
    Transition::Plan,
    Transition::Start,
    Transition::End,
];
/// Transitions that correct recorded facts.
const CORRECTIONS: [Transition; 3] =
    [Transition::UpdateParties, Transition::CorrectEnd, Transition::WithdrawEnd];

/// The state after each transition (column) from each state (row); `-` is `STATE_INVALID`.
const GOLDEN: &str = "\
State        Accept    Decline   Approve   Reject    Plan      Start     End
Unspecified  -         -         -         -         -         -         -
Referred     Accepted  Declined  -         -         Referred  -         -
Accepted     -         -         Approved  Rejected  Accepted  Active    -
Declined     -         -         -         -         -         -         -
Approved     -         -         -         -         Approved  Active    -
Rejected     -         -         -         -         -         -         -
Active       -         -         Active    -         Active    -         Ended
Ended        -         -         -         -         -         -         -
Withdrawn    -         -         -         -         -         -         -
";

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    let line = cells.fold(format!("{first:<13}"), |line, cell| line + &format!("{cell:<10}"));
    format!("{}\n", line.trim_end())
}

#[test]
fn every_state_and_transition() {
    let mut table = line("State", TRANSITIONS.iter().map(|transition| format!("{transition:?}")));
    for state in ALL {
        let cell = |transition: &Transition| {
            next_state(state, *transition).map_or("-".to_owned(), |next| format!("{next:?}"))
        };
        table.push_str(&line(&format!("{state:?}"), TRANSITIONS.iter().map(cell)));
    }
    assert_eq!(table, GOLDEN, "\n{table}");
}

#[test]
fn no_transition_leads_out_of_an_ended_placement() {
    for state in [State::Declined, State::Rejected, State::Ended, State::Withdrawn] {
        for transition in TRANSITIONS {
            assert!(next_state(state, transition).is_err(), "{state:?} {transition:?}");
        }
    }
}

#[test]
fn what_is_recorded_can_be_corrected() {
    let can = |state| CORRECTIONS.map(|transition| next_state(state, transition).ok());
    for state in [State::Referred, State::Accepted, State::Approved, State::Active] {
        assert_eq!(can(state), [Some(state), None, None]);
    }
    assert_eq!(can(State::Ended), [Some(State::Ended), Some(State::Ended), Some(State::Active)]);
    for state in [State::Declined, State::Rejected, State::Withdrawn] {
        assert_eq!(can(state), [None, None, None]);
    }
}

#[test]
fn a_wrong_state_names_those_that_would_do_and_who_acts_next() {
    let wrong = next_state(State::Referred, Transition::Start).unwrap_err();
    assert_eq!(wrong.current, "PLACEMENT_STATE_REFERRED");
    assert_eq!(wrong.required, ["PLACEMENT_STATE_ACCEPTED", "PLACEMENT_STATE_APPROVED"]);
    assert_eq!(wrong.next_actor, NextActor::Provider);
    for state in STATES {
        for transition in TRANSITIONS.into_iter().chain(CORRECTIONS) {
            if let Err(wrong) = next_state(state, transition) {
                assert!(
                    !wrong.required.is_empty() && !wrong.required.contains(&wrong.current),
                    "{state:?} {transition:?}"
                );
            }
        }
    }
}

#[test]
fn a_placement_lists_what_its_start_would_refuse() {
    use OpenItemCode::{DecisionMissing as Decision, PlanMissing as Plan, SafetyNotAcknowledged as Safety};
    assert_eq!(start_blockers(State::Referred, false, false), [Plan, Decision, Safety]);
    assert_eq!(start_blockers(State::Accepted, true, false), [Decision, Safety]);
    assert_eq!(start_blockers(State::Approved, true, true), []);
    for state in [State::Declined, State::Rejected, State::Active, State::Ended] {
        assert_eq!(start_blockers(state, false, false), [], "{state:?}");
    }
}

#[test]
fn a_late_decision_replaces_no_other() {
    assert_eq!(check_late_decision(State::Active, true).unwrap_err().required, ["PLACEMENT_STATE_ACCEPTED"]);
    assert_eq!(check_late_decision(State::Active, false), Ok(()));
    assert_eq!(check_late_decision(State::Accepted, true), Ok(()));
}

#[test]
fn what_is_missing_is_passed_or_named() {
    use MissingItem::{Decision, Plan, SafetyAcknowledgement as Safety};
    let check = |open: &[MissingItem], unpassed: &[MissingItem]| StartCheck {
        left_open: open.to_vec(),
        not_waived: unpassed.to_vec(),
    };
    assert_eq!(check_start(State::Approved, true, true, &[]), check(&[], &[]));
    assert_eq!(check_start(State::Accepted, false, false, &[]), check(&[], &[Plan, Decision, Safety]));
    assert_eq!(check_start(State::Accepted, false, true, &[Plan]), check(&[Plan], &[Decision]));
    assert_eq!(check_start(State::Accepted, true, true, &[Decision]), check(&[Decision], &[]));
    assert_eq!(
        check_start(State::Accepted, false, true, &[Decision, Plan, Decision]),
        check(&[Plan, Decision], &[])
    );
    assert_eq!(check_start(State::Approved, true, false, &[Safety]), check(&[Safety], &[]));
    // A waived item that is not missing is not open.
    assert_eq!(check_start(State::Approved, true, true, &[Safety, Plan]), check(&[], &[]));
}

#[test]
fn a_placement_ends_between_its_start_and_today() {
    let day = |text: &str| Date::parse(text).unwrap();
    let (start, today) = (day("2026-09-01"), day("2026-11-20"));
    for (end, answer) in [
        ("2026-08-31", Err(ViolationReason::DateOrder)),
        ("2026-09-01", Ok(())),
        ("2026-11-20", Ok(())),
        ("2026-11-21", Err(ViolationReason::DateInFuture)),
    ] {
        assert_eq!(check_end_date(start, day(end), today), answer, "{end}");
    }
    // A placement that was to start in the future and never did.
    assert_eq!(check_end_date(day("2027-01-05"), day("2027-01-05"), today), Ok(()));
    assert_eq!(
        check_end_date(day("2027-01-05"), day("2027-01-06"), today),
        Err(ViolationReason::DateInFuture)
    );
}

#[test]
fn active_days_include_both_ends() {
    let day = |text: &str| Date::parse(text).unwrap();
    let (start, end) = (Some(day("2026-09-01")), Some(day("2026-10-02")));
    assert!(is_active_on(State::Ended, start, end, day("2026-09-01")));
    assert!(is_active_on(State::Ended, start, end, day("2026-10-02")));
    assert!(!is_active_on(State::Ended, start, end, day("2026-10-03")));
    assert!(!is_active_on(State::Active, start, None, day("2026-08-31")));
    assert!(is_active_on(State::Active, start, None, day("2030-01-01")));
    assert!(!is_active_on(State::Approved, None, None, day("2026-09-01")));
}

#[test]
fn decisions_worth_a_second_look() {
    assert!(decision_warnings(true, true, 2).is_empty());
    assert_eq!(decision_warnings(false, true, 2), ["NO_CHILD_VIEW"]);
    assert_eq!(
        decision_warnings(false, false, 1),
        ["NO_CHILD_VIEW", "NO_PARENT_VIEW", "FEWER_THAN_TWO_OPTIONS"]
    );
}

fn owner() -> Officer {
    Officer { name: "Ada Officer".to_owned(), ..Officer::default() }
}

fn complete_plan() -> Plan {
    Plan {
        start_date: "2026-09-01".to_owned(),
        planned_end_date: "2026-12-18".to_owned(),
        review_dates: vec!["2026-10-16".to_owned()],
        outcomes: vec![PlanOutcome {
            outcome: "reads for pleasure".to_owned(),
            baseline: "never".to_owned(),
            measure: "books".to_owned(),
            target: "three".to_owned(),
            target_date: "2026-12-18".to_owned(),
        }],
        success_criteria: "three books".to_owned(),
        exit_route: "the home school".to_owned(),
        commissioner_lead: Some(owner()),
        provider_lead: Some(owner()),
        duties: vec![PlanDuty {
            duty: "calls home".to_owned(),
            responsible: Some(owner()),
            accountable: Some(owner()),
        }],
        ..Plan::default()
    }
}

/// Returns what a plan lacks as texts.
fn lacks_of(plan: &Plan) -> Vec<&'static str> {
    plan_open_items(plan).into_iter().map(OpenItemCode::as_str).collect()
}

#[test]
fn every_code_is_parsed_from_its_text() {
    for code in OpenItemCode::ALL {
        assert_eq!(OpenItemCode::parse(code.as_str()), Some(*code));
    }
    assert_eq!(OpenItemCode::parse("plan_missing"), None);
}

#[test]
fn what_a_plan_lacks() {
    assert!(plan_open_items(&complete_plan()).is_empty());
    assert_eq!(
        lacks_of(&Plan::default()),
        [
            "NO_OUTCOME",
            "NO_END",
            "NO_SUCCESS_CRITERIA",
            "NO_EXIT_ROUTE",
            "NO_REVIEW",
            "NO_LEAD",
            "DUTY_WITHOUT_OWNER",
        ]
    );
    let lacks = |change: fn(&mut Plan)| {
        let mut plan = complete_plan();
        change(&mut plan);
        lacks_of(&plan).join(" ")
    };
    assert_eq!(lacks(|plan| plan.outcomes[0].target_date = "2026-12-19".to_owned()), "OUTCOME_AFTER_END");
    assert_eq!(lacks(|plan| plan.outcomes[0].baseline.clear()), "NO_OUTCOME");
    assert_eq!(lacks(|plan| plan.duties[0].accountable = None), "DUTY_WITHOUT_OWNER");
    assert_eq!(lacks(|plan| plan.sites.push(PlanSite::default())), "STAFF_CHECKS_UNCONFIRMED");
    assert_eq!(lacks(|plan| plan.attendance_pattern = 2), "PART_TIME_NOT_AGREED");
    assert_eq!(lacks(|plan| plan.attendance_pattern = 1), "");
}

#[test]
fn a_long_term_placement_is_reviewed_every_year() {
    let lacks = |reviews: &[&str]| {
        let mut plan = complete_plan();
        plan.long_term = true;
        plan.planned_end_date.clear();
        plan.exit_route.clear();
        plan.success_criteria.clear();
        plan.review_dates = reviews.iter().map(|&review| review.to_owned()).collect();
        lacks_of(&plan).join(" ")
    };
    assert_eq!(lacks(&["2027-09-01"]), "");
    assert_eq!(lacks(&["2027-09-02"]), "NO_REVIEW");
    assert_eq!(lacks(&["2028-06-01", "2027-06-01"]), "");
    assert_eq!(lacks(&["2027-06-01", "2028-06-02"]), "NO_REVIEW");
    assert_eq!(lacks(&[]), "NO_REVIEW");
}

#[test]
fn a_part_time_timetable_is_agreed_reviewed_and_ends() {
    let agreed = PartTimeTimetable {
        start_date: "2026-09-01".to_owned(),
        end_date: "2026-10-02".to_owned(),
        review_date: "2026-09-18".to_owned(),
        parents_agreed: true,
        ..PartTimeTimetable::default()
    };
    let lacks = |part_time: PartTimeTimetable| {
        lacks_of(&Plan { part_time: Some(part_time), ..complete_plan() }).join(" ")
    };
    assert_eq!(lacks(agreed.clone()), "");
    assert_eq!(lacks(PartTimeTimetable { parents_agreed: false, ..agreed.clone() }), "PART_TIME_NOT_AGREED");
    assert_eq!(
        lacks(PartTimeTimetable { review_date: String::new(), ..agreed.clone() }),
        "PART_TIME_NOT_AGREED"
    );
    assert_eq!(lacks(PartTimeTimetable { end_date: String::new(), ..agreed }), "PART_TIME_NOT_AGREED");
}

#[test]
fn what_a_start_left_open_is_made_good() {
    use MissingItem::{Decision, Plan, SafetyAcknowledgement as Safety};
    let all = [Plan, Decision, Safety];
    let codes = |items: &[MissingItem]| -> Vec<_> {
        items.iter().copied().filter_map(OpenItemCode::from_missing_item).collect()
    };
    assert_eq!(still_open_items(&all, false, false, false), codes(&all));
    assert_eq!(still_open_items(&all, true, true, false), codes(&[Safety]));
    assert!(still_open_items(&all, true, true, true).is_empty());
    assert!(still_open_items(&[], false, false, false).is_empty());
}

fn child(surname: &str, forename: &str, born: &str, upn: &str) -> ChildIdentity {
    ChildIdentity {
        legal_surname: surname.to_owned(),
        legal_forename: forename.to_owned(),
        date_of_birth: born.to_owned(),
        upn: upn.to_owned(),
        ..ChildIdentity::default()
    }
}

#[test]
fn a_known_child_stays_the_same_child() {
    let known = child("O'Canary", "Zoë", "2012-02-29", "");
    assert!(identity_mismatches(&known, &ChildIdentity::default()).is_empty());
    assert!(identity_mismatches(&known, &child("OCANARY", "Zoe", "2012-02-29", "A123")).is_empty());
    assert_eq!(
        identity_mismatches(&known, &child("Other", "Zoë", "2012-02-28", "")),
        ["legal_surname", "date_of_birth"]
    );
    let numbered = child("O'Canary", "Zoë", "2012-02-29", "A123");
    assert_eq!(identity_mismatches(&numbered, &child("", "", "", "B123")), ["upn"]);
}

#[test]
fn a_referral_adds_to_the_record_and_takes_nothing_away() {
    let known =
        ChildIdentity { preferred_forename: "Zo".to_owned(), ..child("O'Canary", "Zoë", "2012-02-29", "") };
    let sent = ChildIdentity { year_group: 9, sex: "F".to_owned(), ..ChildIdentity::default() };
    let merged = merge_identity(&known, &sent);
    assert_eq!(merged, ChildIdentity { year_group: 9, sex: "F".to_owned(), ..known.clone() });
    assert_eq!(super::merge_identity(&known, &known), known);
}
