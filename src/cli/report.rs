//! `report findings`: which of the review's findings the placements of a commissioner pass, fail, or have no facts for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::args::ProfileArgs;
use super::{Failure, output, print_line, profile};
use crate::client::Client;
use crate::oversight::findings::{self, Finding};
use crate::proto::v1::oversight_service as oversight;
use crate::proto::v1::{GetOversightReportRequest, ReportedPlacement, ReportedRule, RuleResult};

/// Maximum number of pages that are requested: two million placements.
const MAX_PAGES: usize = 10_000;

/// The report of all placements.
#[derive(Default)]
struct Report {
    rules: Vec<ReportedRule>,
    placements: Vec<ReportedPlacement>,
}

/// What the placements say about a finding.
struct Tally<'a> {
    finding: &'a Finding,
    /// Rules that answer it, as the gateway's rule book says.
    rules: Vec<&'a str>,
    passed: Vec<&'a str>,
    /// Failed placements, each with the rule and the day by which the cause should have been gone.
    failed: Vec<(&'a ReportedPlacement, &'a str, &'a str)>,
    no_facts: Vec<&'a str>,
}

/// Prints each finding with the counts of placements, and the placements that fail one.
///
/// # Errors
/// The client's.
pub async fn findings(args: &ProfileArgs) -> Result<(), Failure> {
    let client = profile::connect_from_args(args).await?;
    let report = load(&client).await?;
    let tallies: Vec<Tally<'_>> = findings::all().iter().map(|finding| tally(finding, &report)).collect();
    if args.json {
        for tally in &tallies {
            print_line(&to_json(tally).to_string());
        }
        return output::check_written();
    }
    let rows: Vec<_> = tallies.iter().map(table_row).collect();
    output::print_table(["FINDING", "FAIL", "PASS", "NO FACTS", "RULES", "WHAT THE GATEWAY DOES"], &rows);
    let failed: Vec<_> = tallies.iter().flat_map(failed_rows).collect();
    print_line("");
    print_line(&format!("{} active placements, {}", report.placements.len(), failed_text(&tallies)));
    if !failed.is_empty() {
        print_line("");
        output::print_table(["FINDING", "RULE", "DUE", "PLACEMENT", "REFERENCE", "PROVIDER"], &failed);
    }
    output::check_written()
}

fn failed_text(tallies: &[Tally<'_>]) -> String {
    let failing: BTreeSet<&str> = tallies
        .iter()
        .flat_map(|tally| &tally.failed)
        .map(|(placement, ..)| placement.placement_id.as_str())
        .collect();
    let findings = tallies.iter().filter(|tally| !tally.failed.is_empty()).count();
    format!("of which {} fail, {findings} of {} findings", failing.len(), tallies.len())
}

async fn load(client: &Client) -> Result<Report, Failure> {
    let (mut report, mut page_token) = (Report::default(), String::new());
    for _ in 0..MAX_PAGES {
        let request = GetOversightReportRequest { page_token, ..GetOversightReportRequest::default() };
        let reply = client.call(oversight::GET_OVERSIGHT_REPORT, &request).await?.message;
        report.rules = reply.rules;
        report.placements.extend(reply.placements);
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(report)
}

/// Counts the placements for a finding. A placement fails it if it fails one of its rules, and passes it if it passes one
/// and fails none. A finding that no rule answers has no facts.
fn tally<'a>(finding: &'a Finding, report: &'a Report) -> Tally<'a> {
    let answers = |rule: &&ReportedRule| rule.findings.contains(&finding.finding);
    let rules: Vec<&str> = report.rules.iter().filter(answers).map(|rule| rule.rule.as_str()).collect();
    let mut tally = Tally { finding, rules, passed: Vec::new(), failed: Vec::new(), no_facts: Vec::new() };
    for placement in &report.placements {
        let results: BTreeMap<&str, (RuleResult, &str)> = placement
            .results
            .iter()
            .filter(|one| tally.rules.contains(&one.rule.as_str()))
            .map(|one| (one.rule.as_str(), (one.result(), one.due_date.as_str())))
            .collect();
        let has = |result: RuleResult| results.values().any(|(found, _)| *found == result);
        if has(RuleResult::Fail) {
            let failed = results.iter().filter(|(_, (found, _))| *found == RuleResult::Fail);
            tally.failed.extend(failed.map(|(rule, (_, due))| (placement, *rule, *due)));
        } else if has(RuleResult::Pass) {
            tally.passed.push(&placement.placement_id);
        } else {
            tally.no_facts.push(&placement.placement_id);
        }
    }
    tally
}

impl Tally<'_> {
    /// Returns the placements that fail, each once.
    fn failed_placements(&self) -> BTreeSet<&str> {
        self.failed.iter().map(|(placement, ..)| placement.placement_id.as_str()).collect()
    }
}

fn table_row(tally: &Tally<'_>) -> [String; 6] {
    let count = |count: usize| count.to_string();
    let rules = if tally.rules.is_empty() { "-".to_owned() } else { tally.rules.join(" ") };
    let waits = &tally.finding.waits_for;
    let answer = if waits.is_empty() || !tally.finding.is_not_collected() {
        tally.finding.answer.clone()
    } else {
        format!("{}: waits for {waits}", tally.finding.answer)
    };
    [
        tally.finding.finding.clone(),
        count(tally.failed_placements().len()),
        count(tally.passed.len()),
        count(tally.no_facts.len()),
        rules,
        answer,
    ]
}

fn failed_rows<'a>(tally: &'a Tally<'_>) -> impl Iterator<Item = [String; 6]> + 'a {
    tally.failed.iter().map(|(placement, rule, due)| {
        [
            tally.finding.finding.clone(),
            (*rule).to_owned(),
            (*due).to_owned(),
            placement.placement_id.clone(),
            placement.provider_reference.clone(),
            placement.provider.clone(),
        ]
    })
}

fn to_json(tally: &Tally<'_>) -> serde_json::Value {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let Finding { finding, answer, refusals, warnings, records, waits_for, .. } = tally.finding;
    let failed = tally.failed.iter().map(|(placement, rule, due)| {
        json!({
            "placement_id": placement.placement_id,
            "provider": placement.provider,
            "provider_reference": placement.provider_reference,
            "rule": rule,
            "due_date": due,
        })
    });
    json!({
        "finding": finding,
        "answer": answer,
        "rules": tally.rules,
        "refusals": names(refusals),
        "warnings": names(warnings),
        "records": names(records),
        "waits_for": waits_for,
        "fail": tally.failed_placements().len(),
        "pass": tally.passed.len(),
        "no_facts": tally.no_facts.len(),
        "failed": failed.collect::<Vec<_>>(),
        "passed": tally.passed,
        "without_facts": tally.no_facts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::ReportedResult;

    fn finding(number: &str) -> &'static Finding {
        findings::all().iter().find(|finding| finding.finding == number).unwrap()
    }

    fn report(results: &[(&str, RuleResult)]) -> Report {
        let rules = [("OPEN_ITEM_OVERDUE", &["IC7", "RC2"][..]), ("PAST_END", &["RC2"])];
        let rules = rules.map(|(rule, findings)| ReportedRule {
            rule: rule.to_owned(),
            findings: findings.iter().map(|finding| (*finding).to_owned()).collect(),
            ..ReportedRule::default()
        });
        let results = results.iter().map(|(rule, result)| ReportedResult {
            rule: (*rule).to_owned(),
            result: (*result).into(),
            ..ReportedResult::default()
        });
        let placement = ReportedPlacement {
            placement_id: "7".to_owned(),
            results: results.collect(),
            ..Default::default()
        };
        Report { rules: rules.to_vec(), placements: vec![placement] }
    }

    #[test]
    fn a_placement_fails_with_one_rule_and_passes_with_one_and_no_failure() {
        use RuleResult::{Fail, NoFacts, Pass};
        for (of_items, of_end, counts) in [
            (Pass, Fail, [1, 0, 0]),
            (Fail, Fail, [1, 0, 0]),
            (Pass, NoFacts, [0, 1, 0]),
            (Pass, Pass, [0, 1, 0]),
            (NoFacts, NoFacts, [0, 0, 1]),
        ] {
            let report = report(&[("OPEN_ITEM_OVERDUE", of_items), ("PAST_END", of_end)]);
            let tally = tally(finding("RC2"), &report);
            assert_eq!(
                [tally.failed_placements().len(), tally.passed.len(), tally.no_facts.len()],
                counts,
                "{of_items:?} {of_end:?}"
            );
        }
        let report = report(&[("OPEN_ITEM_OVERDUE", Pass), ("PAST_END", Fail)]);
        assert_eq!(tally(finding("IC7"), &report).passed, ["7"], "its end is not of this finding");
        assert_eq!(tally(finding("IG4"), &report).no_facts, ["7"], "no rule answers it");
    }
}
