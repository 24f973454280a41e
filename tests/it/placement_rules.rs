//! Rules about a placement, on both databases: each raises its alert when the day changes, tells those whom the rule book
//! names, and closes it when the cause is gone.

use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{
    Alert, AlertKind, AlertState, DeliveryKind, DeliveryStage, EndPlacementRequest, ListAlertsRequest,
    Officer, PutPlanRequest, ResolveAlertRequest, StartPlacementRequest, oversight_service,
    placement_service,
};
use tempfile::TempDir;

use super::documents::{acknowledge, deliveries_of_kind, get_placement, put_passport, share_passport};
use super::exchange_semantics::new_id;
use super::fixtures::{Fixtures, find_example};
use super::log_verification::assert_verifies;
use super::support::World;

/// Maximum number of polls, 50 ms apart.
const MAX_POLLS: usize = 400;

/// Puts a plan for a placement that starts on Friday 20 November, is reviewed on Monday and ends on this day.
pub async fn put_short_plan(
    stage: &Fixtures,
    la: &Client,
    placement: &str,
    (etag, end): (String, &str),
) -> String {
    let put = stage.request(find_example("PutPlan").unwrap(), false);
    let mut put = put.transcode_to::<PutPlanRequest>().unwrap();
    (put.request_id, put.placement_id, put.etag) = (new_id(), placement.to_owned(), etag);
    let plan = put.plan.as_mut().unwrap();
    "2026-11-20".clone_into(&mut plan.start_date);
    end.clone_into(&mut plan.planned_end_date);
    plan.review_dates = vec!["2026-11-23".to_owned()];
    la.call(placement_service::PUT_PLAN, &put).await.unwrap().message.etag
}

/// Starts a placement under such a plan; returns its id and the plan's etag.
pub async fn start_short_placement(stage: &mut Fixtures, la: &Client) -> (String, String) {
    stage.create_placement(2).await;
    let placement = stage.names["approved"].clone();
    let plan = put_short_plan(stage, la, &placement, (String::new(), "2026-11-24")).await;
    let start = stage.request(find_example("StartPlacement").unwrap(), false);
    let mut start = start.transcode_to::<StartPlacementRequest>().unwrap();
    (start.request_id, start.start_date) = (new_id(), "2026-11-20".to_owned());
    la.call(placement_service::START_PLACEMENT, &start).await.unwrap();
    (placement, plan)
}

/// Lists the alerts of a rule about a placement.
pub async fn list_alerts(client: &Client, placement: &str, rule: &str) -> Vec<Alert> {
    let (placement_id, rule) = (placement.to_owned(), rule.to_owned());
    let request = ListAlertsRequest { placement_id, rule, ..ListAlertsRequest::default() };
    client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts
}

/// Waits until the alert of a rule about a placement is in this state.
pub async fn wait_for_alert(client: &Client, placement: &str, rule: &str, state: AlertState) -> Alert {
    for _ in 0..MAX_POLLS {
        let mut found = list_alerts(client, placement, rule).await;
        assert!(found.len() < 2, "a rule raises one alert about a placement: {found:#?}");
        if let Some(alert) = found.pop().filter(|alert| alert.state() == state) {
            return alert;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no alert of {rule} is {state:?}");
}

/// Checks that the alert about the passport is raised when the first school day ends, and that the acknowledgement
/// closes it.
async fn a_start_without_a_passport(world: &World, placement: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let rule = "START_WITHOUT_PASSPORT";
    world.advance("2026-11-20T23:59:59Z");
    assert_eq!(list_alerts(&la, placement, rule).await, []);
    world.advance("2026-11-21T00:00:01Z");
    let raised = wait_for_alert(&riverside, placement, rule, AlertState::Open).await;
    assert_eq!((&*raised.rule, raised.kind(), raised.severity), (rule, AlertKind::Rule, 2));
    assert_eq!((&*raised.due_date, &*raised.item), ("2026-11-20", ""));
    assert_eq!(list_alerts(&la, placement, rule).await, std::slice::from_ref(&raised));
    let etag = put_passport(&la, placement, "").await.unwrap().etag;
    share_passport(&la, placement, &etag).await.unwrap();
    acknowledge(&riverside, placement, DeliveryStage::ActedOn).await;
    wait_for_alert(&riverside, placement, rule, AlertState::Closed).await;
}

/// Checks that the commissioner alone is told of a review of which nothing speaks, and that a new plan closes the alert.
async fn a_review_of_which_nothing_speaks(
    world: &World,
    stage: &Fixtures,
    (placement, plan): (&str, String),
) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let rule = "REVIEW_DATE_PASSED";
    world.advance("2026-11-24T00:00:01Z");
    let raised = wait_for_alert(&la, placement, rule, AlertState::Open).await;
    assert_eq!((&*raised.due_date, raised.severity), ("2026-11-23", 3));
    assert_eq!(list_alerts(&riverside, placement, rule).await, []);
    let resolve = ResolveAlertRequest {
        request_id: new_id(),
        alert_id: raised.alert_id.clone(),
        officer: Some(Officer {
            name: "Jo Example".to_owned(),
            role: "head".to_owned(),
            ..Officer::default()
        }),
        note: "not received".to_owned(),
        ..ResolveAlertRequest::default()
    };
    let refused = riverside.call(oversight_service::RESOLVE_ALERT, &resolve).await;
    let Err(ClientError::Refused(status)) = refused else { panic!("resolved by one who was not received") };
    assert_eq!(reason(&status), "NOT_FOUND");
    put_short_plan(stage, &la, placement, (plan, "2026-11-24")).await;
    wait_for_alert(&la, placement, rule, AlertState::Closed).await;
    assert!(deliveries_of_kind(&riverside, DeliveryKind::AlertEnded, placement).await.len() < 2);
}

/// Records the end of the placement, or withdraws it.
async fn end_placement(la: &Client, placement: &str, end: EndPlacementRequest) {
    let etag = get_placement(la, placement).await.placement.unwrap().etag;
    let end = EndPlacementRequest { request_id: new_id(), placement_id: placement.to_owned(), etag, ..end };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
}

/// Checks that a placement past its end is alerted, that its end closes the alert, and that the alert is open again once
/// the end is withdrawn.
async fn a_placement_past_its_end(world: &World, placement: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let rule = "PAST_END";
    assert_eq!(list_alerts(&la, placement, rule).await, []);
    world.advance("2026-11-25T00:00:01Z");
    let raised = wait_for_alert(&la, placement, rule, AlertState::Open).await;
    assert_eq!((&*raised.due_date, raised.severity, raised.times_raised), ("2026-11-24", 2, 1));
    assert_eq!(list_alerts(&riverside, placement, rule).await, std::slice::from_ref(&raised));
    let end = EndPlacementRequest { end_date: "2026-11-24".to_owned(), ..EndPlacementRequest::default() };
    end_placement(&la, placement, end).await;
    wait_for_alert(&la, placement, rule, AlertState::Closed).await;
    let correction_reason = "the wrong child".to_owned();
    let end = EndPlacementRequest { withdrawn: true, correction_reason, ..EndPlacementRequest::default() };
    end_placement(&la, placement, end).await;
    world.advance("2026-11-26T00:00:01Z");
    let again = wait_for_alert(&la, placement, rule, AlertState::Open).await;
    assert_eq!((&again.alert_id, again.times_raised), (&raised.alert_id, 2));
    let of_past_end = |alert: &&Alert| alert.alert_id == raised.alert_id;
    let received = deliveries_of_kind(&riverside, DeliveryKind::Alert, placement).await;
    let received: Vec<Alert> = received
        .into_iter()
        .filter_map(|one| match one.content {
            Some(ap_gateway::proto::v1::delivery::Content::Alert(alert)) => Some(alert),
            _ => None,
        })
        .collect();
    assert_eq!(received.iter().filter(of_past_end).count(), 2);
}

/// Checks that a placement that started before the first day of the rules is not alerted.
async fn an_older_placement_is_not_alerted(world: &World) {
    let la = world.client("la-a").await;
    for placement in world.placements("la-a", "provider-a") {
        for rule in ["START_WITHOUT_PASSPORT", "REVIEW_DATE_PASSED", "PAST_END"] {
            assert_eq!(list_alerts(&la, &placement, rule).await, [], "{rule}");
        }
    }
}

async fn all(world: World) -> TempDir {
    let la = world.client("la-a").await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (placement, plan) = start_short_placement(&mut stage, &la).await;
    a_start_without_a_passport(&world, &placement).await;
    a_review_of_which_nothing_speaks(&world, &stage, (&placement, plan)).await;
    a_placement_past_its_end(&world, &placement).await;
    an_older_placement_is_not_alerted(&world).await;
    drop((la, stage));
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_a_placement_hold_on_sqlite() {
    let dir = all(World::sqlite().await).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_a_placement_hold_on_postgresql() {
    all(World::postgres().await).await;
}
