//! The rules of a placement, case by case.

use super::*;

const STATES: [State; 9] = [
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

const VERBS: [Verb; 7] =
    [Verb::Accept, Verb::Decline, Verb::Approve, Verb::Reject, Verb::Plan, Verb::Start, Verb::End];

/// Every state (row) by every verb (column); `-` is `STATE_INVALID`.
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
fn every_state_and_verb() {
    let mut table = line("State", VERBS.iter().map(|verb| format!("{verb:?}")));
    for state in STATES {
        let cell = |verb: &Verb| next(state, *verb).map_or("-".to_owned(), |next| format!("{next:?}"));
        table.push_str(&line(&format!("{state:?}"), VERBS.iter().map(cell)));
    }
    assert_eq!(table, GOLDEN, "\n{table}");
}

#[test]
fn no_verb_leads_out_of_an_ended_placement() {
    for state in [State::Declined, State::Rejected, State::Ended, State::Withdrawn] {
        for verb in VERBS {
            assert_eq!(next(state, verb), Err(Reason::StateInvalid), "{state:?} {verb:?}");
        }
    }
}

#[test]
fn a_late_decision_replaces_no_other() {
    assert_eq!(late_decision(State::Active, true), Err(Reason::StateInvalid));
    assert_eq!(late_decision(State::Active, false), Ok(()));
    assert_eq!(late_decision(State::Accepted, true), Ok(()));
}

#[test]
fn what_is_missing_is_passed_or_named() {
    use MissingItem::{Decision, Plan, SafetyAcknowledgement as Safety};
    let of = |open: &[MissingItem], unpassed: &[MissingItem]| Opening {
        open: open.to_vec(),
        unpassed: unpassed.to_vec(),
    };
    assert_eq!(opening(State::Approved, true, &[]), of(&[], &[]));
    assert_eq!(opening(State::Accepted, false, &[]), of(&[], &[Plan, Decision]));
    assert_eq!(opening(State::Accepted, false, &[Plan]), of(&[Plan], &[Decision]));
    assert_eq!(opening(State::Accepted, true, &[Decision]), of(&[Decision], &[]));
    assert_eq!(opening(State::Accepted, false, &[Decision, Plan, Decision]), of(&[Plan, Decision], &[]));
    // Safety items are the officer's word; what is not missing is not open.
    assert_eq!(opening(State::Approved, true, &[Safety, Plan]), of(&[Safety], &[]));
}

#[test]
fn a_placement_ends_between_its_start_and_today() {
    let day = |text: &str| Date::parse(text).unwrap();
    let (start, today) = (day("2026-09-01"), day("2026-11-20"));
    for (end, answer) in [
        ("2026-08-31", Err("DATE_ORDER")),
        ("2026-09-01", Ok(())),
        ("2026-11-20", Ok(())),
        ("2026-11-21", Err("DATE_IN_FUTURE")),
    ] {
        assert_eq!(end_date(start, day(end), today), answer, "{end}");
    }
    // One that was to start later and never did.
    assert_eq!(end_date(day("2027-01-05"), day("2027-01-05"), today), Ok(()));
    assert_eq!(end_date(day("2027-01-05"), day("2027-01-06"), today), Err("DATE_IN_FUTURE"));
}

#[test]
fn active_days_include_both_ends() {
    let day = |text: &str| Date::parse(text).unwrap();
    let (start, end) = (Some(day("2026-09-01")), Some(day("2026-10-02")));
    assert!(active_on(State::Ended, start, end, day("2026-09-01")));
    assert!(active_on(State::Ended, start, end, day("2026-10-02")));
    assert!(!active_on(State::Ended, start, end, day("2026-10-03")));
    assert!(!active_on(State::Active, start, None, day("2026-08-31")));
    assert!(active_on(State::Active, start, None, day("2030-01-01")));
    assert!(!active_on(State::Approved, None, None, day("2026-09-01")));
}

#[test]
fn decisions_worth_a_second_look() {
    assert!(warnings(true, true, 2).is_empty());
    assert_eq!(warnings(false, true, 2), ["NO_CHILD_VIEW"]);
    assert_eq!(warnings(false, false, 1), ["NO_CHILD_VIEW", "NO_PARENT_VIEW", "FEWER_THAN_TWO_OPTIONS"]);
}

#[test]
fn what_a_plan_lacks() {
    let day = |text: &str| Date::parse(text).unwrap();
    let whole = PlanShape {
        start: Some(day("2026-09-01")),
        planned_end: Some(day("2026-12-18")),
        long_term: false,
        reviews: vec![day("2026-10-16")],
        outcomes: vec![Some(day("2026-12-18")), None],
        exit_route: true,
        leads: true,
    };
    assert!(open_items(&whole).is_empty());
    let nothing = PlanShape::default();
    assert_eq!(open_items(&nothing), ["NO_OUTCOME", "NO_END", "NO_EXIT_ROUTE", "NO_REVIEW", "NO_LEAD"]);
    let late = PlanShape { outcomes: vec![Some(day("2026-12-19"))], ..whole.clone() };
    assert_eq!(open_items(&late), ["OUTCOME_AFTER_END"]);
    let long_term = PlanShape { planned_end: None, long_term: true, ..whole.clone() };
    assert!(open_items(&long_term).is_empty());
    let unreviewed = PlanShape { reviews: vec![day("2027-09-02")], ..long_term };
    assert_eq!(open_items(&unreviewed), ["NO_REVIEW"]);
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
    assert!(mismatches(&known, &ChildIdentity::default()).is_empty());
    assert!(mismatches(&known, &child("OCANARY", "Zoe", "2012-02-29", "A123")).is_empty());
    assert_eq!(
        mismatches(&known, &child("Other", "Zoë", "2012-02-28", "")),
        ["legal_surname", "date_of_birth"]
    );
    let numbered = child("O'Canary", "Zoë", "2012-02-29", "A123");
    assert_eq!(mismatches(&numbered, &child("", "", "", "B123")), ["upn"]);
}

#[test]
fn a_referral_adds_to_the_record_and_takes_nothing_away() {
    let known =
        ChildIdentity { preferred_forename: "Zo".to_owned(), ..child("O'Canary", "Zoë", "2012-02-29", "") };
    let sent = ChildIdentity { year_group: 9, sex: "F".to_owned(), ..ChildIdentity::default() };
    let merged = merged(&known, &sent);
    assert_eq!(merged, ChildIdentity { year_group: 9, sex: "F".to_owned(), ..known.clone() });
    assert_eq!(super::merged(&known, &known), known);
}
