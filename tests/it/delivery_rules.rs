//! The rule about deliveries, on both databases: a referral or passport that is not collected, or not acted on, is alerted at
//! the instant that `GetDeliveryStatus` names, to its sender and to the recipient concerned alone.

use ap_gateway::calendar::Date;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::respond_to_referral_request::Answer;
use ap_gateway::proto::v1::{
    Acceptance, AcknowledgeDeliveryRequest, Acknowledged, Alert, AlertState, CreateReferralRequest,
    DeliveryKind, DeliveryStage, DeliveryStatus, GetDeliveryStatusRequest, ListAlertsRequest, Officer,
    RespondToReferralRequest, delivery_service, oversight_service, placement_service,
};
use prost_types::Timestamp;
use tempfile::TempDir;

use super::documents::{acknowledge, deliveries_of_kind, put_passport, share_passport};
use super::exchange_semantics::new_id;
use super::fixtures::{Fixtures, find_example};
use super::log_verification::assert_verifies;
use super::support::World;

/// Maximum number of polls, 50 ms apart.
const MAX_POLLS: usize = 400;

/// Lists the alerts about deliveries of a placement to a recipient.
async fn list_alerts(client: &Client, placement: &str, to: &str) -> Vec<Alert> {
    let (placement_id, rule) = (placement.to_owned(), "NOT_ACTED_ON".to_owned());
    let request = ListAlertsRequest { placement_id, rule, ..ListAlertsRequest::default() };
    let mut alerts = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts;
    alerts.retain(|alert| alert.subject.ends_with(to));
    alerts
}

/// Waits until the newest alert about a delivery to a recipient is in a state.
async fn wait_for_alert(client: &Client, (placement, to): (&str, &str), state: AlertState) -> Alert {
    for _ in 0..MAX_POLLS {
        let mut found = list_alerts(client, placement, to).await;
        if let Some(alert) = found.pop().filter(|alert| alert.state() == state) {
            return alert;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no alert about a delivery to {to} is {state:?}");
}

/// Refers a child of la-a to riverside, who lives in the area of la-b; returns the id of the placement.
async fn refer(stage: &Fixtures, la: &Client) -> String {
    let request = stage.request(find_example("CreateReferral").unwrap(), false);
    let mut referral = request.transcode_to::<CreateReferralRequest>().unwrap();
    let child = referral.child.as_mut().unwrap();
    "Dunlin".clone_into(&mut child.legal_surname);
    (child.upn, child.preferred_surname) = (String::new(), String::new());
    "la/331".clone_into(&mut referral.la_of_residence);
    referral.request_id = new_id();
    la.call(placement_service::CREATE_REFERRAL, &referral).await.unwrap().message.placement_id
}

/// Accepts a referral.
async fn accept(riverside: &Client, placement: &str) {
    let request = RespondToReferralRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: "1".to_owned(),
        answer: Some(Answer::Accept(Acceptance { provider_reference: "DUNLIN-1".to_owned() })),
        ..RespondToReferralRequest::default()
    };
    riverside.call(placement_service::RESPOND_TO_REFERRAL, &request).await.unwrap();
}

/// Returns the stage and the due time of the newest delivery of a kind to a recipient.
async fn status(
    la: &Client,
    placement: &str,
    (kind, to): (DeliveryKind, &str),
) -> (DeliveryStage, Option<i64>) {
    let request = GetDeliveryStatusRequest { object_id: placement.to_owned() };
    let reply = la.call(delivery_service::GET_DELIVERY_STATUS, &request).await.unwrap().message;
    let is_wanted = |found: &&DeliveryStatus| found.kind() == kind && found.recipient == to;
    let found = reply.deliveries.iter().rfind(is_wanted).unwrap();
    (found.stage(), found.due_time.map(|Timestamp { seconds, .. }| seconds))
}

/// Returns the end of a day of winter in England, in seconds since 1970 UTC.
fn end_of(day: &str) -> i64 {
    Date::parse(day).unwrap().end_of_day().micros() / 1_000_000
}

/// Checks a referral that one recipient collects and the other does not, from Friday 20 November on.
async fn a_referral(world: &World, placement: &str) {
    let (la, lb, riverside) =
        (world.client("la-a").await, world.client("la-b").await, world.client("provider-a").await);
    let to_riverside = (placement, "provider/riverside");
    let to_lb = (placement, "la/331");
    let referral = DeliveryKind::Referral;
    let accepted = (DeliveryStage::Accepted, Some(end_of("2026-11-23")));
    assert_eq!(status(&la, placement, (referral, "provider/riverside")).await, accepted);
    let received = deliveries_of_kind(&lb, referral, placement).await.remove(0);
    let collected = (DeliveryStage::Collected, Some(end_of("2026-11-24")));
    assert_eq!(status(&la, placement, (referral, "la/331")).await, collected);
    world.advance("2026-11-23T23:59:59Z");
    assert_eq!(list_alerts(&la, placement, "").await, []);
    world.advance("2026-11-24T00:00:01Z");
    let raised = wait_for_alert(&riverside, to_riverside, AlertState::Open).await;
    assert_eq!((&*raised.rule, raised.severity, &*raised.due_date), ("NOT_ACTED_ON", 2, "2026-11-23"));
    assert_eq!(raised.subject, format!("delivery/REFERRAL/{placement}/la/330/provider/riverside"));
    assert_eq!(list_alerts(&la, placement, "").await, std::slice::from_ref(&raised));
    assert!(deliveries_of_kind(&lb, DeliveryKind::Alert, placement).await.is_empty());
    // It is collected late, and may still be acted on in time.
    assert_eq!(deliveries_of_kind(&riverside, referral, placement).await.len(), 1);
    wait_for_alert(&la, to_riverside, AlertState::Closed).await;
    assert_eq!(status(&la, placement, (referral, "provider/riverside")).await, collected);
    world.advance("2026-11-24T23:59:59Z");
    assert_eq!(list_alerts(&la, placement, "la/331").await, []);
    world.advance("2026-11-25T00:00:01Z");
    let again = wait_for_alert(&riverside, to_riverside, AlertState::Open).await;
    assert_eq!((&again.alert_id, again.times_raised), (&raised.alert_id, 2));
    assert_eq!(again.due_date, "2026-11-24");
    let of_lb = wait_for_alert(&la, to_lb, AlertState::Open).await;
    assert_eq!(deliveries_of_kind(&lb, DeliveryKind::Alert, placement).await[0].object_id, of_lb.alert_id);
    assert_eq!(list_alerts(&riverside, placement, "").await, [again], "each recipient is told of its own");
    let officer = Officer { name: "Kim Example".to_owned(), ..Officer::default() };
    let request = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged { cursor: received.cursor, content_sha256: received.content_sha256 }],
        stage: DeliveryStage::ActedOn as i32,
        officer: Some(officer),
        ..AcknowledgeDeliveryRequest::default()
    };
    lb.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.unwrap();
    wait_for_alert(&la, to_lb, AlertState::Closed).await;
    assert_eq!(status(&la, placement, (referral, "la/331")).await, (DeliveryStage::ActedOn, None));
    accept(&riverside, placement).await;
    wait_for_alert(&riverside, to_riverside, AlertState::Closed).await;
    assert_eq!(
        status(&la, placement, (referral, "provider/riverside")).await,
        (DeliveryStage::Collected, None),
        "the answer is the action"
    );
}

/// Checks a passport that is not collected, one that replaces it, and the acknowledgement of that, from Wednesday 25
/// November on.
async fn a_passport(world: &World, placement: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let passport = (placement, "la/330/provider/riverside");
    let kind = (DeliveryKind::Passport, "provider/riverside");
    let etag = put_passport(&la, placement, "").await.unwrap().etag;
    share_passport(&la, placement, &etag).await.unwrap();
    assert_eq!(status(&la, placement, kind).await, (DeliveryStage::Accepted, Some(end_of("2026-11-26"))));
    let of_passport = async |client: &Client| {
        let alerts = list_alerts(client, placement, "").await.into_iter();
        alerts.filter(|alert| alert.subject.contains("PASSPORT")).collect::<Vec<_>>()
    };
    world.advance("2026-11-26T23:59:59Z");
    assert_eq!(of_passport(&la).await, []);
    world.advance("2026-11-27T00:00:01Z");
    let raised = wait_for_alert(&la, passport, AlertState::Open).await;
    assert_eq!(raised.due_date, "2026-11-26");
    assert_eq!(of_passport(&riverside).await, [raised]);
    let etag = put_passport(&la, placement, &etag).await.unwrap().etag;
    share_passport(&la, placement, &etag).await.unwrap();
    wait_for_alert(&la, passport, AlertState::Closed).await;
    assert_eq!(status(&la, placement, kind).await, (DeliveryStage::Accepted, Some(end_of("2026-11-30"))));
    world.advance("2026-12-01T00:00:01Z");
    wait_for_alert(&riverside, passport, AlertState::Open).await;
    acknowledge(&riverside, placement, DeliveryStage::ActedOn).await;
    wait_for_alert(&riverside, passport, AlertState::Closed).await;
    assert_eq!(status(&la, placement, kind).await, (DeliveryStage::ActedOn, None));
}

async fn all(world: World) -> TempDir {
    let stage = Fixtures::create(world.dir.path(), ap_gateway::clock::Randomness::system()).await;
    let placement = refer(&stage, &world.client("la-a").await).await;
    a_referral(&world, &placement).await;
    a_passport(&world, &placement).await;
    drop(stage);
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_on_which_nobody_acts_is_alerted_on_sqlite() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_on_which_nobody_acts_is_alerted_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}
