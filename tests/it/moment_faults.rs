//! Faults in the evaluation of moments: a change during an evaluation, a node whose clock is behind, a value that holds from a
//! later day, a damaged row.

use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::AlertState;
use ap_gateway::store::Value;
use uuid::Uuid;

use super::alert_bundles::{self, wait_for_bundle};
use super::attendance_rules::{place_children, send, wait_for_state};
use super::exchange_semantics::{mark, submission, submit};
use super::fixtures::Fixtures;
use super::missing_returns::{self, MORNING, figures, wait_for_ticks};
use super::placement_rules::{list_alerts, put_short_plan, start_short_placement, wait_for_alert};
use super::support::{NOW, World};

/// A second value of a parameter from a Thursday, on which nothing else of the placement is due.
const LATER_VALUE: &str = "[rules.PROGRESS_MISSING]
from = '2026-11-02'
findings = ['IG2']
severity = 3
recipients = ['provider']
[rules.PROGRESS_MISSING.parameters]
school_days = [{ from = '2026-11-02', value = 35 }, { from = '2026-11-26', value = 1 }]
";

/// Returns the versions of a placement's moment with their instants.
async fn moments_of(world: &World, placement: &str) -> Vec<(i64, Option<i64>)> {
    let database = world.database().await;
    let sql = "SELECT version, due FROM moments WHERE subject = $1 ORDER BY version";
    let subject = vec![format!("placement/{placement}").into()];
    let rows = database.reader().await.unwrap().fetch(sql, subject).await.unwrap();
    database.close().await;
    rows.iter().map(|row| (row.get("version").unwrap(), row.get("due").unwrap())).collect()
}

/// An evaluation that has read the former plan is committed under a guard on the moment, which the new plan has replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_replaces_the_moment_that_may_be_under_evaluation() {
    let world = World::sqlite().await;
    let la = world.client("la-a").await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (placement, plan) = start_short_placement(&mut stage, &la).await;
    let before = moments_of(&world, &placement).await;
    put_short_plan(&stage, &la, &placement, (plan, "2026-11-25")).await;
    let after = moments_of(&world, &placement).await;
    let [.., (version, due)] = before[..] else { panic!("no moment") };
    assert_eq!(after.last(), Some(&(version + 1, due)), "another version, for the same instant");
    drop((la, stage));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_holds_from_a_later_day_is_evaluated_on_it() {
    let world = World::sqlite().await.with_rules(LATER_VALUE, NOW).await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (placement, _) = start_short_placement(&mut stage, &la).await;
    let rule = "PROGRESS_MISSING";
    world.advance("2026-11-25T00:00:01Z");
    wait_for_alert(&la, &placement, "PAST_END", AlertState::Open).await;
    assert_eq!(list_alerts(&riverside, &placement, rule).await, []);
    world.advance("2026-11-26T00:00:01Z");
    wait_for_alert(&riverside, &placement, rule, AlertState::Open).await;
    drop((la, riverside, stage));
    world.stop().await;
}

/// A bundle is not closed by a node to which it is still the day before.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_behind_closes_no_bundle() {
    let world = World::sqlite().await.with_rules(alert_bundles::RULES, NOW).await;
    let la = world.client("la-a").await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (placement, _) = start_short_placement(&mut stage, &la).await;
    world.advance("2026-11-25T00:00:00Z");
    let wednesday = "commissioner/la/330/2026-11-25";
    wait_for_bundle(&la, wednesday, AlertState::Open, &[&placement]).await;
    drop((la, stage));
    let world = world.restart_at("2026-11-24T23:59:59.800Z").await;
    wait_for_ticks().await;
    wait_for_bundle(&world.client("la-a").await, wednesday, AlertState::Open, &[&placement]).await;
    world.stop().await;
}

/// The weeks before a Friday are those of the alert's day, also to a node to which it is still Thursday.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_behind_closes_no_alert_of_the_week() {
    let world = World::sqlite().await;
    let dropped = place_children(&world).await.remove(0);
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let days = (2..20).filter(|day| !matches!(day, 7 | 8 | 14 | 15));
    let days: Vec<String> = days.map(|day| format!("2026-11-{day:02}:/\\")).collect();
    send(&riverside, &dropped, &days.join(", ")).await;
    world.advance("2026-11-26T16:00:00Z");
    let days = ["20", "23", "24", "25", "26"].map(|day| format!("2026-11-{day}:MM"));
    send(&riverside, &dropped, &days.join(", ")).await;
    world.advance("2026-11-27T00:00:00Z");
    let about = (&*dropped, "ATTENDANCE_DROP");
    wait_for_state(&la, about, AlertState::Open).await;
    drop((la, riverside));
    let world = world.restart_at("2026-11-26T23:59:59.800Z").await;
    wait_for_ticks().await;
    wait_for_state(&world.client("la-a").await, about, AlertState::Open).await;
    world.stop().await;
}

/// A placement whose row is damaged is not taken for one whose marks have come.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_placement_closes_no_alert_about_missing_returns() {
    let world = World::sqlite().await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let own = missing_returns::start_placement(&mut stage, &la, "la/330").await;
    let damaged = missing_returns::start_placement(&mut stage, &la, "la/331").await;
    world.advance("2026-11-23T10:00:01Z");
    let open = missing_returns::wait_for_alert(&riverside, MORNING, (AlertState::Open, 1)).await;
    assert_eq!(open.figures, Some(figures(2, 2)));
    let database = world.database().await;
    let id = Value::from(Uuid::parse_str(&damaged).unwrap());
    let sql = "UPDATE placements SET commissioner = 'nobody' WHERE id = $1";
    assert!(database.writer().await.unwrap().execute(sql, vec![id]).await.unwrap() > 0);
    database.close().await;
    submit(&riverside, &submission(vec![mark(&own, "2026-11-23", "/")])).await.unwrap();
    wait_for_ticks().await;
    let open = missing_returns::wait_for_alert(&riverside, MORNING, (AlertState::Open, 1)).await;
    assert_eq!(open.figures, Some(figures(2, 2)), "what cannot be read changes nothing");
    drop((la, riverside, stage));
    world.stop().await;
}

/// Rules without a first day, so that nothing of a placement is evaluated.
fn without_rules() -> String {
    let embedded = include_str!("../../src/oversight/rules.toml").lines();
    let lines = embedded.map(|line| if line.starts_with("from = ") { "from = \"\"" } else { line });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Returns how many entries set the moments of a subject, and whether one is due.
async fn state_of(world: &World, subject: &str) -> (usize, bool) {
    let database = world.database().await;
    let sql = "SELECT due FROM moments WHERE subject = $1 ORDER BY version";
    let rows = database.reader().await.unwrap().fetch(sql, vec![subject.into()]).await.unwrap();
    database.close().await;
    let due: Vec<Option<i64>> = rows.iter().map(|row| row.get("due").unwrap()).collect();
    (due.len(), due.last().is_some_and(Option::is_some))
}

/// A node that starts with rules that cover a placement, of which none did before, sets its moment and its provider's once.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_sets_the_moments_that_are_missing() {
    let world = World::sqlite().await.with_rules(&without_rules(), NOW).await;
    let la = world.client("la-a").await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (placement, _) = start_short_placement(&mut stage, &la).await;
    world.advance("2026-11-24T00:00:01Z");
    wait_for_ticks().await;
    let subjects = [format!("placement/{placement}"), "provider/provider/riverside".to_owned()];
    for subject in &subjects {
        assert!(!state_of(&world, subject).await.1, "nothing is due of {subject}");
    }
    drop((la, stage));
    std::fs::write(world.dir.path().join("rules.toml"), "").unwrap();
    let world = world.restart_at("2026-11-24T10:00:00Z").await;
    let la = world.client("la-a").await;
    wait_for_alert(&la, &placement, "REVIEW_DATE_PASSED", AlertState::Open).await;
    let mut set = Vec::new();
    for subject in &subjects {
        let found = state_of(&world, subject).await;
        assert!(found.1, "the moment of {subject} follows");
        set.push(found);
    }
    drop(la);
    let world = world.restart_at("2026-11-24T10:00:01Z").await;
    wait_for_ticks().await;
    for (subject, before) in subjects.iter().zip(set) {
        assert_eq!(state_of(&world, subject).await, before, "another start sets nothing of {subject}");
    }
    world.stop().await;
}
