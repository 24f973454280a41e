//! Alerts, on both databases: an open item of a start that becomes overdue raises one alert for commissioner and
//! provider. The alert ends when somebody resolves it or when its cause is gone.

use ap_gateway::calendar::Date;
use ap_gateway::cli::{audit, sandbox};
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::oversight;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, Alert, AlertOrder, AlertState, Delivery, DeliveryKind,
    DeliveryStage, DeliveryStatus, EndPlacementRequest, GetDeliveryStatusRequest, ListAlertsRequest, Officer,
    ResolveAlertRequest, delivery_service, oversight_service, placement_service,
};
use ap_gateway::store::Value;
use tempfile::TempDir;
use tonic::Code;
use uuid::Uuid;

use super::documents::{acknowledge, deliveries_of_kind, get_placement, put_passport, share_passport};
use super::exchange_semantics::new_id;
use super::fixtures::{Fixtures, find_example};
use super::log_verification::assert_verifies;
use super::support::{World, gateway, run};

/// Maximum number of polls, 50 ms apart.
const MAX_POLLS: usize = 400;

/// Starts a placement without an acknowledgement of the safety information; returns its id.
pub async fn start_without_acknowledgement(stage: &mut Fixtures) -> String {
    stage.create_placement(2).await;
    stage.call_ok("PutPlan").await;
    stage.call_ok("StartPlacement").await;
    stage.names["approved"].clone()
}

async fn list_alerts(client: &Client, placement: &str) -> Vec<Alert> {
    let placement_id = placement.to_owned();
    let request = ListAlertsRequest { placement_id, page_size: 1, ..ListAlertsRequest::default() };
    let reply = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message;
    assert_eq!(reply.next_page_token, "", "a placement of these has one at most");
    reply.alerts
}

/// Waits until the placement's alert is in this state.
async fn wait_for_alert(client: &Client, placement: &str, state: AlertState) -> Alert {
    for _ in 0..MAX_POLLS {
        if let Some(found) =
            list_alerts(client, placement).await.into_iter().find(|found| found.state() == state)
        {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no alert is {state:?}");
}

/// Waits until the gateway has checked the open items of a placement.
async fn wait_until_checked(world: &World, placement: &str) {
    let database = world.database().await;
    let sql = "SELECT COUNT(*) AS count FROM open_items WHERE placement = $1 AND is_checked = 1";
    let id = || vec![Value::from(Uuid::parse_str(placement).unwrap())];
    for round in 0.. {
        let row = database.reader().await.unwrap().fetch_one(sql, id()).await.unwrap().unwrap();
        if row.get::<i64>("count").unwrap() == 1 {
            break;
        }
        assert!(round < MAX_POLLS, "the open items were not checked");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    database.close().await;
}

fn officer(name: &str) -> Officer {
    Officer { name: name.to_owned(), role: "safeguarding lead".to_owned(), ..Officer::default() }
}

/// Resolves an alert by a named person; returns its state, or code and reason of the refusal.
pub async fn resolve_alert(client: &Client, alert: &Alert, note: &str) -> Result<AlertState, (Code, String)> {
    let request = ResolveAlertRequest {
        request_id: new_id(),
        alert_id: alert.alert_id.clone(),
        officer: Some(officer("Jo Example")),
        note: note.to_owned(),
        ..ResolveAlertRequest::default()
    };
    match client.call(oversight_service::RESOLVE_ALERT, &request).await {
        Ok(reply) => Ok(reply.message.state()),
        Err(ClientError::Refused(status)) => Err((status.code(), reason(&status))),
        Err(other) => panic!("{other}"),
    }
}

/// Checks that an item is due after five school days, without weekends and closures of the provider, and then
/// raises one alert.
async fn an_overdue_item_raises_one_alert(world: &World, stage: &mut Fixtures) -> String {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let mut shut = stage.request(find_example("DeclareClosure").unwrap(), false);
    shut.clear_field_by_name("site");
    assert_eq!(stage.call("provider-a", "DeclareClosure", &shut).await.reason(), "OK");
    let (late, in_time) =
        (start_without_acknowledgement(stage).await, start_without_acknowledgement(stage).await);
    for client in [&la, &riverside] {
        let open = get_placement(client, &late).await.open_items.remove(0);
        // It starts on Friday 20 November; Monday is a closure.
        assert_eq!((&*open.item, &*open.due_date), ("SAFETY_NOT_ACKNOWLEDGED", "2026-11-30"));
    }
    let etag = put_passport(&la, &in_time, "").await.unwrap().etag;
    share_passport(&la, &in_time, &etag).await.unwrap();
    acknowledge(&riverside, &in_time, DeliveryStage::ActedOn).await;
    for day in ["2026-11-28T09:00:00Z", "2026-11-30T23:59:59Z"] {
        world.advance(day);
        assert_eq!(list_alerts(&la, &late).await, []);
    }
    world.advance("2026-12-01T06:00:00Z");
    let raised = wait_for_alert(&la, &late, AlertState::Open).await;
    wait_until_checked(world, &in_time).await;
    assert_eq!(list_alerts(&la, &in_time).await, [], "an item that was acknowledged in time raises no alert");
    assert_eq!((&*raised.item, &*raised.due_date), ("SAFETY_NOT_ACKNOWLEDGED", "2026-11-30"));
    assert_eq!((&*raised.commissioner, &*raised.provider), ("la/330", "provider/riverside"));
    // The time is that of the sandbox's clock: the alert is raised after the due date.
    assert_eq!(raised.raised_time.unwrap().seconds, 1_796_104_800);
    assert_eq!(list_alerts(&riverside, &late).await, std::slice::from_ref(&raised));
    for stranger in ["la-b", "school", "provider-b", "provider-c"] {
        let client = world.client(stranger).await;
        assert_eq!(list_alerts(&client, &late).await, [], "{stranger}");
        assert!(deliveries_of_kind(&client, DeliveryKind::Alert, &late).await.is_empty(), "{stranger}");
        assert_eq!(resolve_alert(&client, &raised, "mine").await.unwrap_err().1, "NOT_FOUND", "{stranger}");
    }
    late
}

/// Acknowledges a delivery as acted on by a named person.
pub async fn act_on(client: &Client, delivery: &Delivery) {
    let (cursor, content_sha256) = (delivery.cursor.clone(), delivery.content_sha256.clone());
    let request = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged { cursor, content_sha256 }],
        stage: DeliveryStage::ActedOn as i32,
        officer: Some(officer("Sam Example")),
        ..AcknowledgeDeliveryRequest::default()
    };
    client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.unwrap();
}

/// Checks that a named person of each party acts on the delivery, and that one of them resolves the alert with a
/// note.
async fn an_alert_is_acknowledged_and_resolved(world: &World, late: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let raised = wait_for_alert(&la, late, AlertState::Open).await;
    for client in [&la, &riverside] {
        let [delivery] = &deliveries_of_kind(client, DeliveryKind::Alert, late).await[..] else {
            panic!("not one")
        };
        assert!(delivery.needs_action && delivery.object_id == raised.alert_id);
        assert_eq!(delivery.content, Some(Content::Alert(raised.clone())));
        act_on(client, delivery).await;
    }
    let request = GetDeliveryStatusRequest { object_id: raised.alert_id.clone() };
    let status = la.call(delivery_service::GET_DELIVERY_STATUS, &request).await.unwrap().message;
    let stages: Vec<_> = status.deliveries.iter().map(DeliveryStatus::stage).collect();
    assert_eq!(stages, [DeliveryStage::ActedOn; 2]);
    assert_eq!(resolve_alert(&riverside, &raised, "").await.unwrap_err().1, "INVALID_REQUEST");
    assert_eq!(resolve_alert(&riverside, &raised, "read with the family").await, Ok(AlertState::Resolved));
    let again = resolve_alert(&la, &raised, "again").await;
    assert_eq!(again, Err((Code::FailedPrecondition, "STATE_INVALID".to_owned())));
    let resolved = wait_for_alert(&la, late, AlertState::Resolved).await;
    let ended = Alert {
        state: AlertState::Resolved as i32,
        ended_time: resolved.ended_time,
        resolved_by: "provider/riverside".to_owned(),
        officer: Some(officer("Jo Example")),
        note: "read with the family".to_owned(),
        ..raised
    };
    assert_eq!(resolved, ended);
    assert_eq!(
        deliveries_of_kind(&la, DeliveryKind::AlertEnded, late).await[0].content,
        Some(Content::Alert(ended))
    );
    assert!(deliveries_of_kind(&riverside, DeliveryKind::AlertEnded, late).await.is_empty());
    // An exchange by the gateway itself is an entry for the commissioner, without certificate.
    let raised_by_gateway = audit::list_all_exchanges(&la).await.unwrap().into_iter();
    let raised_by_gateway: Vec<_> =
        raised_by_gateway.filter(|exchange| exchange.method == oversight::ALERT_METHOD.path).collect();
    let raising =
        raised_by_gateway.iter().filter(|one| one.time == raised.raised_time && one.child_count == 1);
    assert!(raising.count() > 0, "the entry of the exchange that raised the alert");
    assert!(
        raised_by_gateway
            .iter()
            .all(|exchange| exchange.organisation == "la/330" && exchange.system == "gateway")
    );
}

/// Checks that an alert closes when its item is resolved later.
async fn an_alert_closes_when_its_cause_is_gone(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let of_old = world.placements("la-a", "provider-a").remove(1);
    let raised = wait_for_alert(&riverside, &of_old, AlertState::Open).await;
    let etag = put_passport(&la, &of_old, "").await.unwrap().etag;
    share_passport(&la, &of_old, &etag).await.unwrap();
    acknowledge(&riverside, &of_old, DeliveryStage::ActedOn).await;
    let closed = wait_for_alert(&riverside, &of_old, AlertState::Closed).await;
    assert_eq!(closed, Alert { state: closed.state, ended_time: closed.ended_time, ..raised.clone() });
    for client in [&la, &riverside] {
        let ended = deliveries_of_kind(client, DeliveryKind::AlertEnded, &of_old).await;
        assert_eq!((ended.len(), ended[0].needs_action), (1, false));
    }
    assert_eq!(resolve_alert(&la, &raised, "too late").await.unwrap_err().1, "STATE_INVALID");
}

/// Ends a placement of la-a, or changes its end.
async fn end_placement(world: &World, placement_id: &str, end: EndPlacementRequest) {
    let la = world.client("la-a").await;
    let etag = get_placement(&la, placement_id).await.placement.unwrap().etag;
    let end =
        EndPlacementRequest { request_id: new_id(), placement_id: placement_id.to_owned(), etag, ..end };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
}

/// Checks an alert that was resolved on Tuesday 1 December and was due for a check when the node was down.
async fn a_resolved_alert_whose_cause_holds_is_opened_again(world: &World, late: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let again = wait_for_alert(&la, late, AlertState::Open).await;
    assert_eq!((again.times_raised, again.level), (2, 0));
    assert_eq!((&*again.resolved_by, &again.officer, &*again.note), ("", &None, ""));
    // The check was due when Tuesday 8 December ended; ten school days after it is the 22nd.
    assert_eq!(again.act_by_time.unwrap().seconds, end_of("2026-12-22"));
    for client in [&la, &riverside] {
        let received = deliveries_of_kind(client, DeliveryKind::Alert, late).await;
        assert_eq!(received.len(), 2);
        assert_eq!(received[1].content, Some(Content::Alert(again.clone())));
    }
    assert_eq!(deliveries_of_kind(&la, DeliveryKind::AlertEnded, late).await.len(), 1);
}

/// Returns the end of a day of winter in England, in seconds since 1970 UTC.
fn end_of(day: &str) -> i64 {
    Date::parse(day).unwrap().end_of_day().micros() / 1_000_000
}

/// Waits until the placement's alert has a level.
async fn wait_for_level(client: &Client, placement: &str, level: i32) -> Alert {
    for _ in 0..MAX_POLLS {
        let found = list_alerts(client, placement).await.into_iter().find(|found| found.level == level);
        if let Some(found) = found {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no alert is of level {level}");
}

/// Checks two alerts that were raised on Wednesday 9 December with ten school days to act. Somebody acts on one; the other
/// is escalated at its own instants, the second time while the node is down.
async fn an_alert_on_which_nobody_acts_is_escalated_twice(
    world: World,
    (acted_on, ignored): (&str, &str),
) -> World {
    let (la, provider) = (world.client("la-a").await, world.client("provider-a").await);
    act_on(&provider, &deliveries_of_kind(&provider, DeliveryKind::Alert, acted_on).await[0]).await;
    let raised = wait_for_level(&la, ignored, 0).await;
    assert_eq!((&*raised.rule, raised.severity, raised.times_raised), ("OPEN_ITEM_OVERDUE", 3, 1));
    assert_eq!((raised.subject, raised.escalated_time), (format!("placement/{ignored}"), None));
    assert_eq!(raised.act_by_time.unwrap().seconds, end_of("2026-12-23"));
    let times = |alert: &Alert| (alert.escalated_time.unwrap().seconds, alert.act_by_time.unwrap().seconds);
    world.advance("2026-12-24T00:00:30Z");
    let once = wait_for_level(&la, ignored, 1).await;
    assert_eq!(times(&once), (end_of("2026-12-23"), end_of("2027-01-11")));
    drop((la, provider));
    let world = world.restart_at("2027-01-20T09:00:00Z").await;
    let (la, provider) = (world.client("la-a").await, world.client("provider-a").await);
    let twice = wait_for_level(&provider, ignored, 2).await;
    assert_eq!(times(&twice), (end_of("2027-01-11"), end_of("2027-01-25")));
    world.advance("2027-02-10T09:00:00Z");
    for client in [&la, &provider] {
        let received = deliveries_of_kind(client, DeliveryKind::AlertEscalated, ignored).await;
        let contents: Vec<_> = received.into_iter().map(|one| (one.needs_action, one.content)).collect();
        let expected = [&once, &twice].map(|alert| (true, Some(Content::Alert(alert.clone()))));
        assert_eq!(contents, expected);
        assert!(deliveries_of_kind(client, DeliveryKind::AlertEscalated, acted_on).await.is_empty());
    }
    assert_eq!(list_alerts(&la, acted_on).await[0].level, 0);
    for stranger in ["la-b", "school", "provider-c"] {
        let client = world.client(stranger).await;
        assert!(deliveries_of_kind(&client, DeliveryKind::AlertEscalated, ignored).await.is_empty());
    }
    world
}

/// Checks the order of urgency page by page, and the filters.
async fn alerts_are_listed_by_urgency(world: &World) {
    let la = world.client("la-a").await;
    let urgency = ListAlertsRequest { order: AlertOrder::Urgency as i32, ..ListAlertsRequest::default() };
    let all = la.call(oversight_service::LIST_ALERTS, &urgency).await.unwrap().message.alerts;
    let key = |alert: &Alert| {
        let time = |time: Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos));
        let id = alert.alert_id.clone();
        (alert.severity, -alert.level, time(alert.act_by_time), time(alert.raised_time), id)
    };
    assert!(all.len() > 5 && all.is_sorted_by_key(key), "{all:#?}");
    assert!(all.iter().any(|alert| alert.level == 0) && all[0].level == 2);
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    for _ in 0..=all.len() {
        let request = ListAlertsRequest { page_size: 2, page_token, ..urgency.clone() };
        let page = la.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message;
        paged.extend(page.alerts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    for (rule, severity) in
        [("OPEN_ITEM_OVERDUE", 0), ("", 3), ("", 2), ("OPEN_ITEM_OVERDUE", 3), ("OPEN_ITEM_OVERDUE", 2)]
    {
        let request = ListAlertsRequest { rule: rule.to_owned(), severity, ..ListAlertsRequest::default() };
        let found = la.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts;
        let mut expected = all.clone();
        expected.retain(|alert| {
            (rule.is_empty() || alert.rule == rule) && (severity == 0 || alert.severity == severity)
        });
        assert_eq!(found.len(), expected.len(), "{rule} {severity}");
        assert!(found.iter().all(|alert| expected.contains(alert)), "{rule} {severity}");
    }
    for (rule, severity) in [("PAST_LIFE", 0), ("", 4)] {
        let request = ListAlertsRequest { rule: rule.to_owned(), severity, ..ListAlertsRequest::default() };
        let refused = la.call(oversight_service::LIST_ALERTS, &request).await;
        let Err(ClientError::Refused(status)) = refused else { panic!("{rule} {severity}") };
        assert_eq!(reason(&status), "INVALID_REQUEST");
    }
}

/// Runs all checks, and restarts the node after a due date: it raises the alerts that are missing and none twice.
async fn all(world: World) -> TempDir {
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let late = an_overdue_item_raises_one_alert(&world, &mut stage).await;
    an_alert_is_acknowledged_and_resolved(&world, &late).await;
    an_alert_closes_when_its_cause_is_gone(&world).await;
    let later = start_without_acknowledgement(&mut stage).await;
    let acted_on = start_without_acknowledgement(&mut stage).await;
    let over = start_without_acknowledgement(&mut stage).await;
    drop(stage);
    let end = EndPlacementRequest { end_date: "2026-12-01".to_owned(), ..EndPlacementRequest::default() };
    end_placement(&world, &over, end).await;
    let world = world.restart_at("2026-12-09T08:00:00Z").await;
    let la = world.client("la-a").await;
    wait_until_checked(&world, &over).await;
    assert_eq!(list_alerts(&la, &over).await, [], "it had ended by the day");
    let correction_reason = "the family came back".to_owned();
    let end = EndPlacementRequest { withdrawn: true, correction_reason, ..EndPlacementRequest::default() };
    end_placement(&world, &over, end).await;
    world.advance("2026-12-10T08:00:00Z");
    assert_eq!(wait_for_alert(&la, &over, AlertState::Open).await.due_date, "2026-12-08");
    let end = EndPlacementRequest { end_date: "2026-12-10".to_owned(), ..EndPlacementRequest::default() };
    end_placement(&world, &over, end).await;
    wait_for_alert(&la, &over, AlertState::Closed).await;
    assert_eq!(wait_for_alert(&la, &later, AlertState::Open).await.due_date, "2026-12-08");
    assert_eq!(deliveries_of_kind(&la, DeliveryKind::Alert, &later).await.len(), 1);
    a_resolved_alert_whose_cause_holds_is_opened_again(&world, &late).await;
    let world = Box::pin(an_alert_on_which_nobody_acts_is_escalated_twice(world, (&acted_on, &later))).await;
    alerts_are_listed_by_urgency(&world).await;
    world.stop().await
}

/// Checks that `watch alerts` prints a line or protobuf JSON for each alert, and no other deliveries.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_watched() {
    let world = World::sqlite().await;
    let watch = |name: &str, json: &[&str]| {
        let profile = sandbox::profile_path(world.dir.path(), name);
        let mut verb = gateway();
        let verb = verb.args(["watch", "alerts", "--once", "--all", "--profile"]).arg(profile).args(json);
        let printed = run(verb);
        printed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (lines, json) = (watch("provider-c", &[]), watch("provider-c", &["--json"]));
    // Each alert, and its two escalations.
    assert_eq!((lines.len(), json.len()), (6, 6));
    for placement in world.placements("la-a", "provider-c") {
        let expected = format!("SAFETY_NOT_ACKNOWLEDGED of placement {placement}, due 2026-09-08: open");
        assert!(lines.iter().any(|line| line.contains("  ALERT ") && line.ends_with(&expected)), "{lines:?}");
        assert!(json.iter().any(|line| line.contains("DELIVERY_KIND_ALERT") && line.contains(&placement)));
    }
    assert_eq!(watch("la-b", &[]), [""; 0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_on_sqlite() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}
