//! `report findings` and `GetOversightReport`: a commissioner's own active placements, and nobody else's.

use std::collections::{BTreeMap, BTreeSet};

use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{
    GetOversightReportRequest, GetOversightReportResponse, ReportedPlacement, ReportedResult, RuleResult,
    oversight_service,
};
use serde_json::Value;
use tempfile::TempDir;

use super::documents::refusal_reason;
use super::fixtures::Fixtures;
use super::log_verification::assert_verifies;
use super::person_commands::Shell;
use super::support::World;

/// Maximum number of pages of a report.
const MAX_PAGES: usize = 100;

async fn pages(client: &Client, page_size: i32) -> Vec<GetOversightReportResponse> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let request = GetOversightReportRequest { page_size, page_token: page_token.clone() };
        let page = client.call(oversight_service::GET_OVERSIGHT_REPORT, &request).await.unwrap().message;
        page_token.clone_from(&page.next_page_token);
        pages.push(GetOversightReportResponse { receipt: None, ..page });
        if page_token.is_empty() {
            return pages;
        }
    }
    panic!("the report has no end");
}

async fn report(client: &Client, page_size: i32) -> Vec<ReportedPlacement> {
    pages(client, page_size).await.into_iter().flat_map(|page| page.placements).collect()
}

fn result(placement: &ReportedPlacement, rule: &str) -> (RuleResult, String) {
    let found: Vec<&ReportedResult> = placement.results.iter().filter(|one| one.rule == rule).collect();
    assert_eq!(found.len(), 1, "{rule}");
    (found[0].result(), found[0].due_date.clone())
}

/// Checks what the rules say of the sandbox's placements, which are older than most rules, and of one without a plan.
async fn each_rule_says_what_it_finds(world: &World, without_plan: &str) {
    use RuleResult::{Fail, NoFacts, Pass};
    let la = world.client("la-a").await;
    let found = report(&la, 0).await;
    let ids: BTreeSet<&str> = found.iter().map(|placement| placement.placement_id.as_str()).collect();
    let own: Vec<String> =
        ["provider-a", "provider-c"].iter().flat_map(|provider| world.placements("la-a", provider)).collect();
    assert_eq!(ids.len(), found.len());
    assert!(own.iter().all(|id| ids.contains(id.as_str())) && ids.contains(without_plan));
    let placement = |id: &str| found.iter().find(|placement| placement.placement_id == id).unwrap();
    let says = |id: &str, rule: &str| {
        let (result, due) = result(placement(id), rule);
        (result, if due.is_empty() { None } else { Some(due) })
    };
    let due = |day: &str| Some(day.to_owned());
    for (at, id) in own.iter().enumerate() {
        // The review of October is past, and nothing has spoken of it since.
        assert_eq!(says(id, "REVIEW_DATE_PASSED"), (Fail, due("2026-10-16")));
        assert_eq!(says(id, "PAST_END"), (Pass, None));
        // The first child has a passport that was acknowledged. No term is known for the day of the start.
        let (passport, item) = if at == 0 {
            ((Pass, None), (Pass, None))
        } else {
            ((Fail, due("2026-09-01")), (Fail, due("2026-09-08")))
        };
        assert_eq!(says(id, "START_WITHOUT_PASSPORT"), passport, "{id}");
        assert_eq!(says(id, "OPEN_ITEM_OVERDUE"), item, "{id}");
    }
    for rule in ["REVIEW_DATE_PASSED", "PAST_END"] {
        assert_eq!(says(without_plan, rule), (NoFacts, None), "{rule}");
    }
    assert_eq!(placement(&own[0]).provider, "provider/riverside");
    assert!(placement(&own[0]).provider_reference.starts_with("RV-"));
}

/// Checks that pages join to the whole, and that a page token is of this caller and method.
async fn pages_are_one_report(world: &World) {
    let la = world.client("la-a").await;
    let (whole, joined) = (report(&la, 0).await, report(&la, 2).await);
    assert_eq!(whole, joined);
    let first = pages(&la, 2).await.remove(0);
    assert_eq!(first.placements.len(), 2);
    let request = GetOversightReportRequest { page_token: first.next_page_token, ..Default::default() };
    let school = world.client("school").await;
    let refused = school.call(oversight_service::GET_OVERSIGHT_REPORT, &request).await.map(drop);
    assert_eq!(refused.map_err(refusal_reason), Err("INVALID_REQUEST".to_owned()));
}

/// Checks that each commissioner has its own placements, and that others are refused.
async fn nobody_has_another_s_placements(world: &World) {
    let la: BTreeSet<String> =
        report(&world.client("la-a").await, 0).await.into_iter().map(|one| one.placement_id).collect();
    let school = report(&world.client("school").await, 0).await;
    assert!(school.len() > 3 && school.iter().all(|one| !la.contains(&one.placement_id)));
    for other in ["la-b", "provider-b"] {
        assert_eq!(report(&world.client(other).await, 0).await, [], "{other} commissions nothing");
    }
    for other in ["provider-a", "provider-c", "auditor", "operator"] {
        let client = world.client(other).await;
        let request = GetOversightReportRequest::default();
        let refused = client.call(oversight_service::GET_OVERSIGHT_REPORT, &request).await.map(drop);
        assert_eq!(refused.map_err(refusal_reason), Err("METHOD_NOT_ALLOWED".to_owned()), "{other}");
    }
}

/// Checks the counts of the command, the placements behind them, and its refusal.
fn the_command_prints_each_finding(world: &World) {
    let shell = Shell { dir: world.dir.path() };
    let findings = shell.json("la-a", &["report", "findings"]);
    assert_eq!(findings.len(), 70);
    let lines: BTreeMap<&str, &Value> =
        findings.iter().map(|line| (line["finding"].as_str().unwrap(), line)).collect();
    let all = lines["OG2"]["fail"].as_u64().unwrap() + lines["OG2"]["no_facts"].as_u64().unwrap();
    for line in &findings {
        let counts = ["fail", "pass", "no_facts"].map(|name| line[name].as_u64().unwrap());
        assert_eq!(counts.iter().sum::<u64>(), all, "{line}");
        assert_eq!(line["passed"].as_array().unwrap().len() as u64, counts[1]);
        assert_eq!(line["without_facts"].as_array().unwrap().len() as u64, counts[2]);
    }
    // Nobody has sent a progress return, and those of the sandbox have a review that is past.
    assert_eq!(lines["OG2"]["fail"], all);
    let failed = lines["OG2"]["failed"].as_array().unwrap().iter();
    assert_eq!(failed.filter(|failed| failed["rule"] == "REVIEW_DATE_PASSED").count(), 6);
    assert_eq!((&lines["OC5"]["pass"], &lines["OC5"]["no_facts"]), (&6.into(), &(all - 6).into()));
    assert_eq!(
        (&lines["IG4"]["no_facts"], &lines["IG4"]["waits_for"]),
        (&all.into(), &"meetings as records".into())
    );
    let table = shell.succeed("la-a", &["report", "findings"]);
    let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("OG2 ").contains("REVIEW_DATE_PASSED"), "{table}");
    assert!(line("IG4 ").contains("Not collected: waits for meetings as records"), "{table}");
    assert!(line(&format!("{all} active placements, of which ")).contains(" of 70 findings"), "{table}");
    assert!(line("OG2      REVIEW_DATE_PASSED").contains("2026-10-16"), "{table}");
    assert!(shell.fail("provider-a", &["report", "findings"], 1).contains("METHOD_NOT_ALLOWED"));
}

async fn all(world: World) -> TempDir {
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    // The example of a start waives the plan.
    stage.create_placement(3).await;
    let without_plan = stage.names["active"].clone();
    drop(stage);
    each_rule_says_what_it_finds(&world, &without_plan).await;
    pages_are_one_report(&world).await;
    nobody_has_another_s_placements(&world).await;
    the_command_prints_each_finding(&world);
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_findings_are_reported_for_own_placements_only() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_findings_are_reported_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}
