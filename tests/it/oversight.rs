//! Alerts, on both databases: what a start left open and nobody made good in time is told once, to those who can
//! see to it, and ends by somebody's word or by itself.

use ap_gateway::cli::{audit, sandbox};
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::oversight;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, Alert, AlertState, DeliveryKind, DeliveryStage, DeliveryStatus,
    EndPlacementRequest, GetDeliveryStatusRequest, ListAlertsRequest, Officer, ResolveAlertRequest,
    delivery_service, oversight_service, placement_service,
};
use ap_gateway::store::Value;
use tempfile::TempDir;
use tonic::Code;
use uuid::Uuid;

use super::documents::{acknowledge, delivered, placement, put, share};
use super::kept::{counted, found};
use super::stage::{Stage, row};
use super::story::id;
use super::support::{World, gateway, run};

/// Rounds in which the gateway has noticed, 50 ms each.
const ROUNDS: usize = 400;

/// A child's placement that starts without what keeps it safe having been acknowledged.
pub async fn start(stage: &mut Stage) -> String {
    stage.place(2).await;
    stage.play("PutPlan").await;
    stage.play("StartPlacement").await;
    stage.names["approved"].clone()
}

async fn alerts(client: &Client, placement: &str) -> Vec<Alert> {
    let placement_id = placement.to_owned();
    let request = ListAlertsRequest { placement_id, page_size: 1, ..ListAlertsRequest::default() };
    let reply = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message;
    assert_eq!(reply.next_page_token, "", "a placement of these has one at most");
    reply.alerts
}

/// Waits until the placement's one alert stands so.
async fn alert(client: &Client, placement: &str, state: AlertState) -> Alert {
    for _ in 0..ROUNDS {
        if let Some(found) = alerts(client, placement).await.into_iter().find(|found| found.state() == state)
        {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no alert is {state:?}");
}

/// Waits until the gateway has looked at what a placement's start left open.
async fn looked_at(world: &World, placement: &str) {
    let database = world.database().await;
    let sql = "SELECT COUNT(*) FROM open_items WHERE placement = $1 AND looked_at = 1";
    let id = || vec![Value::from(Uuid::parse_str(placement).unwrap())];
    for round in 0.. {
        let row = database.reader().await.unwrap().fetch_one(sql, id()).await.unwrap().unwrap();
        if row.int(0).unwrap() == 1 {
            break;
        }
        assert!(round < ROUNDS, "nobody has looked");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    database.close().await;
}

fn named(name: &str) -> Officer {
    Officer { name: name.to_owned(), role: "safeguarding lead".to_owned() }
}

async fn resolve(client: &Client, alert: &Alert, note: &str) -> Result<AlertState, (Code, String)> {
    let request = ResolveAlertRequest {
        request_id: id(),
        alert_id: alert.alert_id.clone(),
        officer: Some(named("Jo Example")),
        note: note.to_owned(),
        ..ResolveAlertRequest::default()
    };
    match client.call(oversight_service::RESOLVE_ALERT, &request).await {
        Ok(reply) => Ok(reply.message.state()),
        Err(ClientError::Refused(status)) => Err((status.code(), reason(&status))),
        Err(other) => panic!("{other}"),
    }
}

/// Five school days are given: no weekend counts, and no day on which the provider is shut.
async fn what_is_not_made_good_is_told_once(world: &World, stage: &mut Stage) -> String {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let mut shut = stage.request(row("DeclareClosure").unwrap(), false);
    shut.clear_field_by_name("site");
    assert_eq!(stage.call("provider-a", "DeclareClosure", &shut).await.told(), "OK");
    let (late, in_time) = (start(stage).await, start(stage).await);
    for client in [&la, &riverside] {
        let open = placement(client, &late).await.open_items.remove(0);
        // Friday 20 November; Monday is shut.
        assert_eq!((&*open.item, &*open.due_date), ("SAFETY_NOT_ACKNOWLEDGED", "2026-11-30"));
    }
    let etag = put(&la, &in_time, "").await.unwrap().etag;
    share(&la, &in_time, &etag).await.unwrap();
    acknowledge(&riverside, &in_time, DeliveryStage::ActedOn).await;
    for day in ["2026-11-28T09:00:00Z", "2026-11-30T23:59:59Z"] {
        world.advance(day);
        assert_eq!(alerts(&la, &late).await, []);
    }
    world.advance("2026-12-01T06:00:00Z");
    let told = alert(&la, &late, AlertState::Open).await;
    looked_at(world, &in_time).await;
    assert_eq!(alerts(&la, &in_time).await, [], "what was acknowledged in time is nobody's alert");
    assert_eq!((&*told.item, &*told.due_date), ("SAFETY_NOT_ACKNOWLEDGED", "2026-11-30"));
    assert_eq!((&*told.commissioner, &*told.provider), ("la/330", "provider/riverside"));
    // By the clock of the domain, so not a moment before the day had passed.
    assert_eq!(told.raised_time.unwrap().seconds, 1_796_104_800);
    assert_eq!(alerts(&riverside, &late).await, std::slice::from_ref(&told));
    for stranger in ["la-b", "school", "provider-b", "provider-c"] {
        let client = world.client(stranger).await;
        assert_eq!(alerts(&client, &late).await, [], "{stranger}");
        assert!(delivered(&client, DeliveryKind::Alert, &late).await.is_empty(), "{stranger}");
        assert_eq!(resolve(&client, &told, "mine").await.unwrap_err().1, "NOT_FOUND", "{stranger}");
    }
    late
}

/// A named person of either party acts on the delivery, and somebody says what was done.
async fn somebody_sees_to_it(world: &World, late: &str) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let told = alert(&la, late, AlertState::Open).await;
    for client in [&la, &riverside] {
        let [delivery] = &delivered(client, DeliveryKind::Alert, late).await[..] else { panic!("not one") };
        assert!(delivery.needs_action && delivery.object_id == told.alert_id);
        assert_eq!(delivery.content, Some(Content::Alert(told.clone())));
        let (cursor, content_sha256) = (delivery.cursor.clone(), delivery.content_sha256.clone());
        let request = AcknowledgeDeliveryRequest {
            request_id: id(),
            deliveries: vec![Acknowledged { cursor, content_sha256 }],
            stage: DeliveryStage::ActedOn as i32,
            officer: Some(named("Sam Example")),
            ..AcknowledgeDeliveryRequest::default()
        };
        client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.unwrap();
    }
    let request = GetDeliveryStatusRequest { object_id: told.alert_id.clone() };
    let status = la.call(delivery_service::GET_DELIVERY_STATUS, &request).await.unwrap().message;
    let stages: Vec<_> = status.deliveries.iter().map(DeliveryStatus::stage).collect();
    assert_eq!(stages, [DeliveryStage::ActedOn; 2]);
    assert_eq!(resolve(&riverside, &told, "").await.unwrap_err().1, "INVALID_REQUEST");
    assert_eq!(resolve(&riverside, &told, "read with the family").await, Ok(AlertState::Resolved));
    let again = resolve(&la, &told, "again").await;
    assert_eq!(again, Err((Code::FailedPrecondition, "STATE_INVALID".to_owned())));
    let resolved = alert(&la, late, AlertState::Resolved).await;
    let ended = Alert {
        state: AlertState::Resolved as i32,
        ended_time: resolved.ended_time,
        resolved_by: "provider/riverside".to_owned(),
        officer: Some(named("Jo Example")),
        note: "read with the family".to_owned(),
        ..told
    };
    assert_eq!(resolved, ended);
    assert_eq!(delivered(&la, DeliveryKind::AlertEnded, late).await[0].content, Some(Content::Alert(ended)));
    assert!(delivered(&riverside, DeliveryKind::AlertEnded, late).await.is_empty());
    // What the gateway did by itself is an entry, for the commissioner and with no certificate.
    let own = audit::exchanges(&la).await.unwrap().into_iter();
    let own: Vec<_> = own.filter(|exchange| exchange.method == oversight::ALERT).collect();
    // The stage has started two more.
    let (of_world, of_stage, of_these) = (5, 2, 2);
    assert_eq!(own.len(), of_world + of_stage + of_these);
    assert!(own.iter().all(|exchange| exchange.organisation == "la/330" && exchange.system == "gateway"));
}

/// What is made good later closes its alert by itself.
async fn what_is_made_good_closes_by_itself(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let of_old = world.placements("la-a", "provider-a").remove(1);
    let told = alert(&riverside, &of_old, AlertState::Open).await;
    let etag = put(&la, &of_old, "").await.unwrap().etag;
    share(&la, &of_old, &etag).await.unwrap();
    acknowledge(&riverside, &of_old, DeliveryStage::ActedOn).await;
    let closed = alert(&riverside, &of_old, AlertState::Closed).await;
    assert_eq!(closed, Alert { state: closed.state, ended_time: closed.ended_time, ..told.clone() });
    for client in [&la, &riverside] {
        let ended = delivered(client, DeliveryKind::AlertEnded, &of_old).await;
        assert_eq!((ended.len(), ended[0].needs_action), (1, false));
    }
    assert_eq!(resolve(&la, &told, "too late").await.unwrap_err().1, "STATE_INVALID");
}

/// Ends a placement of la-a, or changes its end.
async fn ended(world: &World, placement_id: &str, end: EndPlacementRequest) {
    let la = world.client("la-a").await;
    let etag = placement(&la, placement_id).await.placement.unwrap().etag;
    let end = EndPlacementRequest { request_id: id(), placement_id: placement_id.to_owned(), etag, ..end };
    la.call(placement_service::END_PLACEMENT, &end).await.unwrap();
}

/// A node that starts after the day has passed finds what its forerunner left; and raises nothing twice.
async fn all(world: World) -> TempDir {
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let late = what_is_not_made_good_is_told_once(&world, &mut stage).await;
    somebody_sees_to_it(&world, &late).await;
    what_is_made_good_closes_by_itself(&world).await;
    let later = start(&mut stage).await;
    let over = start(&mut stage).await;
    drop(stage);
    let end = EndPlacementRequest { end_date: "2026-12-01".to_owned(), ..EndPlacementRequest::default() };
    ended(&world, &over, end).await;
    let world = world.restart_at("2026-12-09T08:00:00Z").await;
    let la = world.client("la-a").await;
    looked_at(&world, &over).await;
    assert_eq!(alerts(&la, &over).await, [], "it had ended by the day");
    let correction_reason = "the family came back".to_owned();
    let end = EndPlacementRequest { withdrawn: true, correction_reason, ..EndPlacementRequest::default() };
    ended(&world, &over, end).await;
    world.advance("2026-12-10T08:00:00Z");
    assert_eq!(alert(&la, &over, AlertState::Open).await.due_date, "2026-12-08");
    assert_eq!(alert(&la, &later, AlertState::Open).await.due_date, "2026-12-08");
    assert_eq!(alerts(&la, &late).await[0].state(), AlertState::Resolved);
    for placement in [&late, &later] {
        assert_eq!(delivered(&la, DeliveryKind::Alert, placement).await.len(), 1);
    }
    world.stop().await
}

/// People get a line each, programs protobuf JSON, and nothing else of the mailbox comes.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_watched() {
    let world = World::sqlite().await;
    let watch = |name: &str, json: &[&str]| {
        let profile = sandbox::profile(world.dir.path(), name);
        let mut verb = gateway();
        let verb = verb.args(["watch", "alerts", "--once", "--all", "--profile"]).arg(profile).args(json);
        let told = run(verb);
        told.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (lines, json) = (watch("provider-c", &[]), watch("provider-c", &["--json"]));
    assert_eq!((lines.len(), json.len()), (2, 2));
    for placement in world.placements("la-a", "provider-c") {
        let told = format!("SAFETY_NOT_ACKNOWLEDGED of placement {placement}, due 2026-09-08: open");
        assert!(lines.iter().any(|line| line.contains("  ALERT ") && line.ends_with(&told)), "{lines:?}");
        assert!(json.iter().any(|line| line.contains("DELIVERY_KIND_ALERT") && line.contains(&placement)));
    }
    assert_eq!(watch("la-b", &[]), [""; 0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_on_sqlite() {
    let dir = all(World::sqlite().await).await;
    let (sessions, documents) = counted(dir.path()).await;
    assert_eq!(found(dir.path(), dir.path()).await, (sessions + documents, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_told_on_postgresql() {
    all(World::postgres().await).await;
}
