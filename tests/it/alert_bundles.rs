//! Bundles, on both databases: where the rule book says so, the placements of a commissioner share one alert a day. Each
//! party that is told has one of its own; placements join it and leave it, and it ends with the last.

use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    Alert, AlertState, DeliveryKind, EndPlacementRequest, ListAlertsRequest, oversight_service,
    placement_service,
};
use tempfile::TempDir;

use super::documents::get_placement;
use super::exchange_semantics::new_id;
use super::fixtures::Fixtures;
use super::log_verification::assert_verifies;
use super::placement_rules::{put_short_plan, start_short_placement};
use super::support::{World, deliveries};

const RULE: &str = "PAST_END";
/// Maximum number of polls, 50 ms apart.
const MAX_POLLS: usize = 400;
/// When the world begins, on Friday afternoon.
const NOW: &str = "2026-11-20T16:00:00Z";
/// Bundles the alerts of placements that are past their end, which the embedded rule book does not.
pub const RULES: &str = "[rules.PAST_END]\nfrom = \"2026-11-02\"\nfindings = [\"RC2\"]\nseverity = 2\n\
                     recipients = [\"commissioner\", \"provider\"]\nbundle = \"commissioner\"\n";

async fn list_alerts(client: &Client, subject: &str) -> Vec<Alert> {
    let request = ListAlertsRequest { rule: RULE.to_owned(), ..ListAlertsRequest::default() };
    let alerts = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts;
    alerts.into_iter().filter(|alert| alert.subject == subject).collect()
}

/// Waits until the organisation's bundle is in this state and holds these placements.
pub async fn wait_for_bundle(
    client: &Client,
    subject: &str,
    state: AlertState,
    placements: &[&str],
) -> Alert {
    let mut expected: Vec<String> = placements.iter().map(|id| (*id).to_owned()).collect();
    expected.sort_unstable();
    let mut found = Vec::new();
    for _ in 0..MAX_POLLS {
        found = list_alerts(client, subject).await;
        assert!(found.len() < 2, "an organisation has one bundle a day: {found:#?}");
        let ids = |alert: &Alert| alert.figures.clone().unwrap().placement_ids;
        if let Some(alert) = found.pop_if(|alert| alert.state() == state && ids(alert) == expected) {
            return alert;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no bundle is {state:?} with {expected:?}: {found:#?}");
}

async fn end_placement(la: &Client, placement: &str) {
    let etag = get_placement(la, placement).await.placement.unwrap().etag;
    let end = EndPlacementRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag,
        end_date: "2026-11-24".to_owned(),
        ..EndPlacementRequest::default()
    };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
}

/// Returns how often a bundle was delivered, by one kind of delivery.
async fn count_delivered(client: &Client, kind: DeliveryKind, subject: &str) -> usize {
    let all = deliveries(client).await.into_iter().filter(|delivery| delivery.kind() == kind);
    let of_subject = |content: Option<Content>| matches!(content, Some(Content::Alert(alert)) if alert.rule == RULE && alert.subject == subject);
    all.filter(|delivery| of_subject(delivery.content.clone())).count()
}

async fn all(world: World) -> TempDir {
    let world = world.with_rules(RULES, NOW).await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (first, _) = start_short_placement(&mut stage, &la).await;
    let (second, _) = start_short_placement(&mut stage, &la).await;
    let (later, plan) = start_short_placement(&mut stage, &la).await;
    // Its plan moves the end by a day.
    put_short_plan(&stage, &la, &later, (plan, "2026-11-25")).await;
    world.advance("2026-11-25T00:00:01Z");
    let wednesday = "commissioner/la/330/2026-11-25";
    let mut ids = Vec::new();
    for client in [&la, &riverside] {
        let bundle = wait_for_bundle(client, wednesday, AlertState::Open, &[&first, &second]).await;
        assert_eq!((&*bundle.placement_id, &*bundle.due_date, bundle.severity), ("", "2026-11-24", 2));
        assert_eq!((&*bundle.commissioner, bundle.figures.unwrap().sessions), ("la/330", 0));
        ids.push(bundle.alert_id);
    }
    assert_ne!(ids[0], ids[1], "each party has one of its own");
    for stranger in ["la-b", "school", "provider-b"] {
        assert_eq!(list_alerts(&world.client(stranger).await, wednesday).await, [], "{stranger}");
    }
    end_placement(&la, &first).await;
    wait_for_bundle(&la, wednesday, AlertState::Open, &[&second]).await;
    // On the next day the one that is new has a bundle of its own.
    world.advance("2026-11-26T00:00:01Z");
    let thursday = "commissioner/la/330/2026-11-26";
    wait_for_bundle(&la, thursday, AlertState::Open, &[&later]).await;
    wait_for_bundle(&la, wednesday, AlertState::Open, &[&second]).await;
    end_placement(&la, &second).await;
    for client in [&la, &riverside] {
        let requested = ListAlertsRequest { rule: RULE.to_owned(), ..ListAlertsRequest::default() };
        for round in 0.. {
            let alerts =
                client.call(oversight_service::LIST_ALERTS, &requested).await.unwrap().message.alerts;
            let bundle = alerts.into_iter().find(|alert| alert.subject == wednesday).unwrap();
            if bundle.state() == AlertState::Closed {
                break;
            }
            assert!(round < MAX_POLLS, "the bundle did not end with the last");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(count_delivered(client, DeliveryKind::AlertEnded, wednesday).await, 1);
        wait_for_bundle(client, thursday, AlertState::Open, &[&later]).await;
        assert_eq!(count_delivered(client, DeliveryKind::Alert, thursday).await, 1);
    }
    drop((la, riverside, stage));
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn placements_share_an_alert_on_sqlite() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placements_share_an_alert_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}
