//! The table of the findings of the review (`src/oversight/findings.csv`): each finding is there once, and whatever a row
//! names is in the code.

use std::collections::BTreeSet;
use std::fmt::Write;

use ap_gateway::exchange::Reason;
use ap_gateway::oversight::RuleBook;
use ap_gateway::oversight::findings::{self, Finding};
use ap_gateway::oversight::rule_id::RuleId;
use ap_gateway::placements::open_item_code::OpenItemCode;
use ap_gateway::proto;
use ap_gateway::violation_reason::ViolationReason;

use super::tidy::files_under;

/// The groups of the review and the number of findings in each: 70 in all.
const GROUPS: [(&str, usize); 13] = [
    ("I", 3),
    ("IC", 7),
    ("IG", 5),
    ("RC", 4),
    ("RG", 4),
    ("SC", 4),
    ("SG", 7),
    ("PC", 9),
    ("PG", 3),
    ("OC", 5),
    ("OG", 5),
    ("TC", 3),
    ("TG", 11),
];

#[test]
fn each_finding_of_the_review_has_one_row() {
    let numbers = GROUPS.iter().flat_map(|(group, count)| (1..=*count).map(move |at| format!("{group}{at}")));
    let numbers: Vec<String> = numbers.collect();
    let rows: Vec<&String> = findings::all().iter().map(|finding| &finding.finding).collect();
    assert_eq!((rows.len(), rows), (70, numbers.iter().collect()));
}

#[test]
fn each_finding_of_a_rule_is_a_row_and_the_other_way_round() {
    let of_book: BTreeSet<(String, String)> = RuleBook::embedded()
        .rules()
        .flat_map(|(id, rule)| rule.findings.iter().map(move |one| (one.clone(), id.as_str().to_owned())))
        .collect();
    let of_rows: BTreeSet<(String, String)> = findings::all()
        .iter()
        .flat_map(|row| row.rule_ids().map(|id| (row.finding.clone(), id.to_owned())))
        .collect();
    assert_eq!(of_book, of_rows);
}

/// Checks every name of a list, and returns the faults.
fn faults_of(row: &Finding, names: &str, kind: &str, exists: impl Fn(&str) -> bool) -> String {
    let missing = names.split_whitespace().filter(|name| !exists(name));
    missing.fold(String::new(), |mut faults, name| {
        writeln!(faults, "{}: there is no {kind} {name}", row.finding).unwrap();
        faults
    })
}

#[test]
fn whatever_a_row_names_is_in_the_code() {
    let sources: Vec<String> = files_under("src", "rs").into_iter().map(|(_, text)| text).collect();
    let tests: Vec<String> = files_under("tests/it", "rs").into_iter().map(|(_, text)| text).collect();
    let is_test = |name: &str| {
        let declaration = format!("fn {name}()");
        let of_file = |text: &String| {
            let before = text.split_once(&declaration).map(|(before, _)| before);
            before.and_then(|before| before.rsplit("\n\n").next()).is_some_and(|lines| lines.contains("test"))
        };
        sources.iter().chain(&tests).any(of_file)
    };
    let is_refusal = |name: &str| {
        Reason::ALL.iter().any(|reason| reason.name() == name) || ViolationReason::from_name(name).is_some()
    };
    let is_warning = |name: &str| {
        let literal = format!("\"{name}\"");
        OpenItemCode::parse(name).is_some() || sources.iter().any(|text| text.contains(&literal))
    };
    let mut faults = String::new();
    for row in findings::all() {
        faults += &faults_of(row, &row.rules, "rule", |id| RuleId::parse(id).is_some());
        faults += &faults_of(row, &row.refusals, "refusal", is_refusal);
        faults += &faults_of(row, &row.warnings, "warning", is_warning);
        faults += &faults_of(row, &row.records, "record", is_record);
        faults += &faults_of(row, &row.tests, "test", is_test);
        // What exists is not waited for.
        let waits = row.waits_for.split(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit());
        for rule in waits.filter(|word| RuleId::parse(word).is_some()) {
            writeln!(faults, "{}: waits for the rule {rule}, which exists", row.finding).unwrap();
        }
        if row.is_not_collected() {
            let is_so = row.answer == "Not collected" && row.tests.is_empty() && !row.waits_for.is_empty();
            assert!(is_so, "{}: a row without an answer says what it waits for", row.finding);
        } else {
            assert!(!row.answer.is_empty() && !row.tests.is_empty(), "{}: no test", row.finding);
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// Returns whether the protocol has a field or a method, such as `Plan.outcomes` or `AuditService.ListExchanges`.
fn is_record(name: &str) -> bool {
    let (owner, member) = name.split_once('.').unwrap();
    let pool = proto::descriptor_pool();
    let full = format!("apgateway.v1.{owner}");
    let field = pool.get_message_by_name(&full).and_then(|message| message.get_field_by_name(member));
    let method = pool
        .get_service_by_name(&full)
        .is_some_and(|service| service.methods().any(|one| one.name() == member));
    field.is_some() || method
}
