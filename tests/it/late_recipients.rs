//! Parties that are told of an alert after a delay, on both databases: they are told at their own instant, also if the
//! node was down then, if the alert is still open and its cause holds, whatever the others did.

use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    AcademicProgress, Alert, AlertState, DeliveryKind, Officer, OutcomeProgress, ProgressReturn, Rag,
    ResolveAlertRequest, SubmitProgressRequest, oversight_service, returns_service,
};
use tempfile::TempDir;

use super::documents::deliveries_of_kind;
use super::exchange_semantics::new_id;
use super::fixtures::Fixtures;
use super::log_verification::assert_verifies;
use super::oversight::act_on;
use super::placement_rules::{list_alerts, start_short_placement, wait_for_alert};
use super::support::World;

const RULE: &str = "PROGRESS_MISSING";

/// Returns the alerts of the rule that were delivered about a placement, by one kind of delivery.
async fn delivered(client: &Client, kind: DeliveryKind, placement: &str) -> Vec<Alert> {
    let deliveries = deliveries_of_kind(client, kind, placement).await.into_iter();
    let alerts = deliveries.filter_map(|delivery| match delivery.content {
        Some(Content::Alert(alert)) => Some(alert),
        _ => None,
    });
    alerts.filter(|alert| alert.rule == RULE).collect()
}

async fn submit_progress(provider: &Client, placement: &str) {
    let academic = AcademicProgress { subject: "English".to_owned(), ..AcademicProgress::default() };
    let progress = ProgressReturn {
        from_date: "2026-11-20".to_owned(),
        to_date: "2027-01-13".to_owned(),
        academic: vec![academic],
        plan_etag: "1".to_owned(),
        outcomes: vec![OutcomeProgress { outcome: 0, rag: Rag::Amber as i32, ..OutcomeProgress::default() }],
        author: Some(Officer { name: "Jo Example".to_owned(), ..Officer::default() }),
        signed_on: "2027-01-14".to_owned(),
        ..ProgressReturn::default()
    };
    let request = SubmitProgressRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        progress: Some(progress),
        ..SubmitProgressRequest::default()
    };
    provider.call(returns_service::SUBMIT_PROGRESS, &request).await.unwrap();
}

/// Returns the name of the refusal to an organisation that resolves an alert of which it was not told.
async fn refused_resolution(client: &Client, alert: &Alert) -> String {
    let request = ResolveAlertRequest {
        request_id: new_id(),
        alert_id: alert.alert_id.clone(),
        officer: Some(Officer {
            name: "Jo Example".to_owned(),
            role: "head".to_owned(),
            ..Officer::default()
        }),
        note: "not told".to_owned(),
        ..ResolveAlertRequest::default()
    };
    match client.call(oversight_service::RESOLVE_ALERT, &request).await {
        Err(ClientError::Refused(status)) => reason(&status),
        other => panic!("{other:?}"),
    }
}

/// Of three placements without a progress return, the commissioner is told of those that still lack it, also if the
/// provider said that it acts.
async fn all(world: World) -> TempDir {
    let la = world.client("la-a").await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (ignored, _) = start_short_placement(&mut stage, &la).await;
    let (acted_on, _) = start_short_placement(&mut stage, &la).await;
    let (returned, _) = start_short_placement(&mut stage, &la).await;
    drop((la, stage));
    // The 35th school day after Friday 20 November is Wednesday 13 January.
    let world = world.restart_at("2027-01-14T00:00:01Z").await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let raised = wait_for_alert(&riverside, &ignored, RULE, AlertState::Open).await;
    assert_eq!((&*raised.due_date, raised.severity), ("2027-01-13", 3));
    for placement in [&acted_on, &returned] {
        wait_for_alert(&riverside, placement, RULE, AlertState::Open).await;
    }
    let deliveries = deliveries_of_kind(&riverside, DeliveryKind::Alert, &acted_on).await;
    let of_rule =
        |content: &Option<Content>| matches!(content, Some(Content::Alert(alert)) if alert.rule == RULE);
    let delivery = deliveries.iter().find(|delivery| of_rule(&delivery.content)).unwrap();
    act_on(&riverside, delivery).await;
    submit_progress(&riverside, &returned).await;
    world.advance("2027-01-15T00:00:01Z");
    wait_for_alert(&riverside, &returned, RULE, AlertState::Closed).await;
    // The fifth school day after Wednesday 13 January, with which the alert was raised, is the 20th.
    world.advance("2027-01-20T23:59:59Z");
    assert_eq!(list_alerts(&la, &ignored, RULE).await, []);
    assert_eq!(refused_resolution(&la, &raised).await, "NOT_FOUND");
    drop((la, riverside));
    let world = world.restart_at("2027-01-25T09:00:00Z").await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    // It is told of the alert as it is, and once; the provider is not told again.
    assert_eq!(wait_for_alert(&la, &ignored, RULE, AlertState::Open).await, raised);
    assert_eq!(delivered(&la, DeliveryKind::Alert, &ignored).await, std::slice::from_ref(&raised));
    assert_eq!(delivered(&riverside, DeliveryKind::Alert, &ignored).await, std::slice::from_ref(&raised));
    wait_for_alert(&la, &acted_on, RULE, AlertState::Open).await;
    assert_eq!(list_alerts(&la, &returned, RULE).await, []);
    for kind in [DeliveryKind::Alert, DeliveryKind::AlertEnded] {
        assert_eq!(delivered(&la, kind, &returned).await, []);
    }
    // Who was told late has its own part from then on: the escalation and the end.
    world.advance("2027-01-30T09:00:00Z");
    for client in [&la, &riverside] {
        let mut escalated = Vec::new();
        for _ in 0..400 {
            escalated = delivered(client, DeliveryKind::AlertEscalated, &ignored).await;
            if !escalated.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(escalated.len(), 1);
        assert_eq!(delivered(client, DeliveryKind::AlertEscalated, &acted_on).await, []);
    }
    submit_progress(&riverside, &ignored).await;
    world.advance("2027-01-31T00:00:01Z");
    for client in [&la, &riverside] {
        wait_for_alert(client, &ignored, RULE, AlertState::Closed).await;
        assert_eq!(delivered(client, DeliveryKind::AlertEnded, &ignored).await.len(), 1);
    }
    drop((la, riverside));
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_is_told_after_its_delay_on_sqlite() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_is_told_after_its_delay_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}
