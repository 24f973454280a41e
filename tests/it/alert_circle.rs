//! Who is told of an alert after it was raised: the present parties alone. A party that has left learns nothing more and
//! keeps nothing from being escalated; who is told of the escalation alone can list the alert and learns of its end.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::{AlertState, DeliveryKind};

use super::attendance_rules::{list_alerts, place_children, send, wait_for_state};
use super::documents::deliveries_of_kind;
use super::oversight::{act_on, resolve_alert};
use super::parties::{current_etag, update_parties};
use super::support::World;

const RULES: &str = include_str!("../../src/oversight/rules.toml");
const RULE: &str = "ABSENT_THIRD_DAY";
/// The sandbox's provider-b has the child on its roll.
const OTHER_SCHOOL: &str = "school/145678";

/// Returns the rule book with another text in the row of the rule.
fn rules_with(from: &str, to: &str) -> String {
    let (before, row) = RULES.split_once("[rules.ABSENT_THIRD_DAY]").unwrap();
    assert!(row.contains(from));
    format!("{before}[rules.ABSENT_THIRD_DAY]{}", row.replacen(from, to, 1))
}

/// Counts the deliveries of one kind about an alert.
async fn count(client: &Client, kind: DeliveryKind, (placement, alert): (&str, &str)) -> usize {
    let received = deliveries_of_kind(client, kind, placement).await;
    received.iter().filter(|delivery| delivery.object_id == alert).count()
}

/// Waits until a client has so many deliveries of one kind about an alert.
async fn wait_for_count(client: &Client, kind: DeliveryKind, about: (&str, &str), expected: usize) {
    let mut found = 0;
    for _ in 0..400 {
        found = count(client, kind, about).await;
        if found == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{found} deliveries of {kind:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn present_parties_alone_are_told_and_stop_an_escalation() {
    let without_commissioner = rules_with("recipients = [\"commissioner\", ", "recipients = [");
    let world = World::sqlite().await.with_rules(&without_commissioner, "2026-11-20T16:00:00Z").await;
    let placed = place_children(&world).await;
    let placement = &*placed[0];
    let [la, riverside, school, other] = [
        world.client("la-a").await,
        world.client("provider-a").await,
        world.client("school").await,
        world.client("provider-b").await,
    ];
    send(&riverside, placement, "2026-11-18:OO, 2026-11-19:OO, 2026-11-20:O").await;
    let raised = wait_for_state(&riverside, (placement, RULE), AlertState::Open).await;
    let about = (placement, &*raised.alert_id);
    assert_eq!(list_alerts(&la, placement, RULE).await, []);
    // The school says that it acts, and leaves.
    let received = deliveries_of_kind(&school, DeliveryKind::Alert, placement).await;
    act_on(&school, received.iter().find(|delivery| delivery.object_id == raised.alert_id).unwrap()).await;
    let etag = current_etag(&la, placement).await;
    update_parties(&la, placement, &etag, (&[OTHER_SCHOOL], "la/330", "2026-11-20")).await.unwrap();
    world.advance("2026-11-25T00:00:01Z");
    for client in [&la, &riverside] {
        wait_for_count(client, DeliveryKind::AlertEscalated, about, 1).await;
    }
    assert_eq!(count(&school, DeliveryKind::AlertEscalated, about).await, 0);
    // The commissioner lists it, and resolves it; the cause still holds five school days later.
    let listed = wait_for_state(&la, (placement, RULE), AlertState::Open).await;
    assert_eq!((&listed.alert_id, listed.level), (&raised.alert_id, 1));
    wait_for_count(&la, DeliveryKind::Alert, about, 1).await;
    resolve_alert(&la, &listed, "visited").await.unwrap();
    wait_for_count(&riverside, DeliveryKind::AlertEnded, about, 1).await;
    world.advance("2026-12-03T00:00:01Z");
    for client in [&la, &riverside] {
        wait_for_count(client, DeliveryKind::Alert, about, 2).await;
    }
    // It rests on days that the new school may not read.
    assert_eq!(count(&other, DeliveryKind::Alert, about).await, 0);
    assert_eq!(count(&school, DeliveryKind::Alert, about).await, 1);
    assert_eq!(count(&school, DeliveryKind::AlertEnded, about).await, 0);
    // The alerts of a rule that does not run close.
    drop((riverside, school, other, la));
    let disabled = rules_with("from = \"2026-11-02\"", "from = \"2027-09-01\"");
    std::fs::write(world.dir.path().join("rules.toml"), disabled).unwrap();
    let world = world.restart_at("2026-12-03T09:00:00Z").await;
    let la = world.client("la-a").await;
    wait_for_state(&la, (placement, RULE), AlertState::Closed).await;
    wait_for_count(&la, DeliveryKind::AlertEnded, about, 1).await;
    drop(la);
    world.stop().await;
}
