//! Returns that are missing at a cut-off, on both databases: the provider is told at once, commissioner and LA of
//! residence half an hour later, each by an alert of its own with the figures of its own children.

use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    Alert, AlertFigures, AlertKind, AlertState, Delivery, DeliveryKind, ListAlertsRequest,
    ListExpectedReturnsRequest, Officer, PutPlanRequest, ResolveAlertRequest, ReturnState, Session,
    StartPlacementRequest, TimetableSlot, Weekday, oversight_service, placement_service, returns_service,
};
use prost::Message;
use prost_reflect::Value;
use tempfile::TempDir;

use super::attendance::void_part;
use super::closures::{closure_request, declare_closure};
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::fixtures::{Fixtures, find_example, text_field};
use super::log_verification::assert_verifies;
use super::statements::notify_absence;
use super::support::{World, deliveries};

const RULE: &str = "RETURN_MISSING";
/// Maximum number of polls, 50 ms apart.
const MAX_POLLS: usize = 400;
/// The cut-off of the plan on Monday 23 November, and that of the session without one.
pub const MORNING: &str = "provider/provider/riverside/2026-11-23T10:00:00Z";
pub const AFTERNOON: &str = "provider/provider/riverside/2026-11-23T16:00:00Z";

/// Starts a placement on Friday 20 November with sessions on Mondays: a morning until 10:00 and an afternoon without a
/// cut-off; and with Wednesday 25 November, a day without sessions. The child lives in this area.
pub async fn start_placement(stage: &mut Fixtures, la: &Client, residence: &str) -> String {
    // The children are two.
    let upn = if residence == "la/330" { "H873100124999" } else { "Z303400126001" };
    stage.names.insert("upn".to_owned(), upn.to_owned());
    let mut referral = stage.request(find_example("CreateReferral").unwrap(), false);
    referral.set_field_by_name("la_of_residence", Value::String(residence.to_owned()));
    let answer = stage.call("la-a", "CreateReferral", &referral).await;
    let made = ap_gateway::proto::v1::CreateReferralResponse::decode(answer.message).unwrap();
    let (id, mut etag) = (made.placement_id, made.etag);
    stage.names.insert("reference".to_owned(), format!("WREN-{}", &id[..8]));
    for (state, method) in
        [("referred", "RespondToReferral"), ("accepted", "DecidePlacement"), ("approved", "PutPlan")]
    {
        stage.names.insert(state.to_owned(), id.clone());
        stage.names.insert(format!("{state}.etag"), etag.clone());
        if method != "PutPlan" {
            etag = text_field(&stage.call_ok(method).await, "etag");
        }
    }
    let put = stage.request(find_example("PutPlan").unwrap(), false);
    let mut put = put.transcode_to::<PutPlanRequest>().unwrap();
    let plan = put.plan.as_mut().unwrap();
    "2026-11-20".clone_into(&mut plan.start_date);
    plan.extra_dates = vec!["2026-11-25".to_owned()];
    plan.timetable.push(TimetableSlot {
        weekday: Weekday::Monday as i32,
        session: Session::Pm as i32,
        minutes_planned: 150,
        ..TimetableSlot::default()
    });
    (put.request_id, put.placement_id) = (new_id(), id.clone());
    la.call(placement_service::PUT_PLAN, &put).await.unwrap();
    let start = stage.request(find_example("StartPlacement").unwrap(), false);
    let mut start = start.transcode_to::<StartPlacementRequest>().unwrap();
    (start.request_id, start.placement_id) = (new_id(), id.clone());
    "2026-11-20".clone_into(&mut start.start_date);
    la.call(placement_service::START_PLACEMENT, &start).await.unwrap();
    id
}

pub async fn list_alerts(client: &Client, subject: &str) -> Vec<Alert> {
    let request = ListAlertsRequest { rule: RULE.to_owned(), ..ListAlertsRequest::default() };
    let alerts = client.call(oversight_service::LIST_ALERTS, &request).await.unwrap().message.alerts;
    alerts.into_iter().filter(|alert| alert.subject == subject).collect()
}

/// Waits until the organisation's alert about a subject is in this state.
pub async fn wait_for_alert(
    client: &Client,
    subject: &str,
    (state, times_raised): (AlertState, i32),
) -> Alert {
    for _ in 0..MAX_POLLS {
        let mut found = list_alerts(client, subject).await;
        assert!(found.len() < 2, "an organisation has one alert about a subject: {found:#?}");
        let is_wanted = |alert: &Alert| alert.state() == state && alert.times_raised == times_raised;
        if let Some(alert) = found.pop().filter(is_wanted) {
            return alert;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no alert is {state:?}, raised {times_raised} times: {:#?}", list_alerts(client, subject).await);
}

/// Gives the scheduler, which runs each second, the time for two ticks.
pub async fn wait_for_ticks() {
    tokio::time::sleep(std::time::Duration::from_millis(2_200)).await;
}

async fn delivered(client: &Client, kind: DeliveryKind) -> Vec<(Delivery, Alert)> {
    let all = deliveries(client).await.into_iter().filter(|delivery| delivery.kind() == kind);
    let alerts = all.filter_map(|delivery| match delivery.content.clone() {
        Some(Content::Alert(alert)) => Some((delivery, alert)),
        _ => None,
    });
    alerts.filter(|(_, alert)| alert.rule == RULE).collect()
}

async fn resolve(client: &Client, alert: &Alert) -> Result<AlertState, String> {
    let officer = Officer { name: "Jo Example".to_owned(), role: "head".to_owned(), ..Officer::default() };
    let request = ResolveAlertRequest {
        request_id: new_id(),
        alert_id: alert.alert_id.clone(),
        officer: Some(officer),
        note: "the register is on paper".to_owned(),
        ..ResolveAlertRequest::default()
    };
    match client.call(oversight_service::RESOLVE_ALERT, &request).await {
        Ok(reply) => Ok(reply.message.state()),
        Err(ClientError::Refused(status)) => Err(reason(&status)),
        Err(other) => panic!("{other}"),
    }
}

/// Returns the figures of an alert about so many sessions and children.
pub const fn figures(sessions: u32, children: u32) -> AlertFigures {
    AlertFigures { sessions, children, placement_ids: Vec::new() }
}

/// Checks who is told at the cut-off, and who half an hour later.
async fn each_is_told_at_its_time(world: &World, placements: &[&str]) {
    let [provider, la, residence] =
        [world.client("provider-a").await, world.client("la-a").await, world.client("la-b").await];
    world.advance("2026-11-23T09:59:59Z");
    wait_for_ticks().await;
    assert_eq!(list_alerts(&provider, MORNING).await, []);
    world.advance("2026-11-23T10:00:01Z");
    let raised = wait_for_alert(&provider, MORNING, (AlertState::Open, 1)).await;
    assert_eq!((raised.kind(), raised.severity, &*raised.due_date), (AlertKind::Rule, 2, "2026-11-23"));
    assert_eq!((&*raised.placement_id, &*raised.commissioner), ("", ""));
    assert_eq!((&*raised.provider, raised.figures.clone()), ("provider/riverside", Some(figures(2, 2))));
    world.advance("2026-11-23T10:29:59Z");
    wait_for_ticks().await;
    for client in [&la, &residence] {
        assert_eq!(list_alerts(client, MORNING).await, []);
        assert_eq!(resolve(client, &raised).await.unwrap_err(), "NOT_FOUND");
    }
    world.advance("2026-11-23T10:30:01Z");
    for (client, expected) in [(&la, Some(figures(2, 2))), (&residence, Some(figures(1, 1)))] {
        let own = wait_for_alert(client, MORNING, (AlertState::Open, 1)).await;
        assert_ne!(own.alert_id, raised.alert_id, "each has an alert of its own");
        assert_eq!(own.figures, expected);
        let [(delivery, content)] = &delivered(client, DeliveryKind::Alert).await[..] else {
            panic!("not one")
        };
        assert_eq!((content, &*delivery.placement_id, delivery.needs_action), (&own, "", true));
    }
    assert_eq!(delivered(&provider, DeliveryKind::Alert).await.len(), 1);
    for stranger in ["school", "provider-b", "provider-c"] {
        let client = world.client(stranger).await;
        assert!(delivered(&client, DeliveryKind::Alert).await.is_empty(), "{stranger}");
        assert_eq!(resolve(&client, &raised).await.unwrap_err(), "NOT_FOUND", "{stranger}");
    }
    // The LA of residence sees which session it is.
    let request = ListExpectedReturnsRequest {
        from_date: "2026-11-23".to_owned(),
        to_date: "2026-11-23".to_owned(),
        states: vec![ReturnState::Missing as i32],
        ..ListExpectedReturnsRequest::default()
    };
    for (client, expected) in [(&residence, 1), (&la, 2)] {
        let missing = client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await.unwrap().message;
        let of_these = missing.returns.iter().filter(|one| placements.contains(&&*one.placement_id));
        let mornings = of_these.filter(|one| one.session() == Session::Am);
        assert_eq!(mornings.count(), expected);
    }
}

/// Checks that a late return and a notice close the alerts whose cause they end, and that a withdrawn return opens them
/// again.
async fn facts_close_and_open_it(world: &World, (own, elsewhere): (&str, &str)) {
    let [provider, la, residence] =
        [world.client("provider-a").await, world.client("la-a").await, world.client("la-b").await];
    let sent = submission(vec![mark(elsewhere, "2026-11-23", "/")]);
    let sent = submit(&provider, &sent).await.unwrap().message;
    wait_for_alert(&residence, MORNING, (AlertState::Closed, 1)).await;
    for client in [&provider, &la] {
        wait_for_alert(client, MORNING, (AlertState::Open, 1)).await;
    }
    notify_absence(&la, own, "2026-11-23", "M").await.unwrap();
    world.advance("2026-11-23T10:31:00Z");
    for client in [&provider, &la] {
        wait_for_alert(client, MORNING, (AlertState::Closed, 1)).await;
    }
    void_part(&provider, &sent.return_id, 0).await.unwrap();
    world.advance("2026-11-23T10:32:00Z");
    for client in [&provider, &la, &residence] {
        let again = wait_for_alert(client, MORNING, (AlertState::Open, 2)).await;
        assert_eq!(again.figures, Some(figures(1, 1)));
        assert_eq!(delivered(client, DeliveryKind::Alert).await.len(), 2);
        assert_eq!(delivered(client, DeliveryKind::AlertEnded).await.len(), 1);
    }
}

/// Checks that a resolution is the organisation's own, and that a closure and its withdrawal close and open the others.
async fn each_resolves_its_own(world: &World) {
    let [provider, la, residence] =
        [world.client("provider-a").await, world.client("la-a").await, world.client("la-b").await];
    let own = wait_for_alert(&residence, MORNING, (AlertState::Open, 2)).await;
    assert_eq!(resolve(&residence, &own).await, Ok(AlertState::Resolved));
    assert_eq!(resolve(&residence, &own).await.unwrap_err(), "STATE_INVALID");
    let resolved = wait_for_alert(&residence, MORNING, (AlertState::Resolved, 2)).await;
    assert_eq!((&*resolved.resolved_by, &*resolved.note), ("la/331", "the register is on paper"));
    assert_eq!(resolved.officer.unwrap().name, "Jo Example");
    world.advance("2026-11-23T15:59:59Z");
    wait_for_ticks().await;
    assert_eq!(list_alerts(&provider, AFTERNOON).await, []);
    world.advance("2026-11-23T16:30:01Z");
    for client in [&provider, &la] {
        assert_eq!(wait_for_alert(client, MORNING, (AlertState::Open, 2)).await.resolved_by, "");
        assert_eq!(
            wait_for_alert(client, AFTERNOON, (AlertState::Open, 1)).await.figures,
            Some(figures(2, 2))
        );
    }
    let mut closure = closure_request("2026-11-23", "Y4");
    let declared = declare_closure(&provider, &closure).await.unwrap();
    world.advance("2026-11-23T16:31:00Z");
    for client in [&provider, &la] {
        wait_for_alert(client, MORNING, (AlertState::Closed, 2)).await;
        wait_for_alert(client, AFTERNOON, (AlertState::Closed, 1)).await;
    }
    wait_for_alert(&residence, MORNING, (AlertState::Resolved, 2)).await;
    wait_for_alert(&residence, AFTERNOON, (AlertState::Closed, 1)).await;
    (closure.closure_id, closure.etag, closure.withdrawn) = (declared.closure_id, declared.etag, true);
    closure.request_id = new_id();
    declare_closure(&provider, &closure).await.unwrap();
    world.advance("2026-11-23T16:32:00Z");
    for client in [&provider, &la] {
        wait_for_alert(client, AFTERNOON, (AlertState::Open, 2)).await;
    }
}

/// Checks that a node that was down at the cut-off and half an hour later tells all, with the time to act of the cut-off.
async fn a_node_that_was_down_tells_later(world: World) -> World {
    let world = world.restart_at("2026-11-30T10:31:00Z").await;
    let subject = "provider/provider/riverside/2026-11-30T10:00:00Z";
    for (name, expected) in
        [("provider-a", Some(figures(2, 2))), ("la-a", Some(figures(2, 2))), ("la-b", Some(figures(1, 1)))]
    {
        let alert = wait_for_alert(&world.client(name).await, subject, (AlertState::Open, 1)).await;
        assert_eq!(alert.figures, expected, "{name}");
        // Two school days after Monday 30 November.
        assert_eq!(alert.act_by_time.unwrap().seconds, 1_796_256_000, "{name}");
    }
    world
}

async fn all(world: World) -> TempDir {
    let la = world.client("la-a").await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let own = start_placement(&mut stage, &la, "la/330").await;
    let elsewhere = start_placement(&mut stage, &la, "la/331").await;
    drop((stage, la));
    each_is_told_at_its_time(&world, &[&own, &elsewhere]).await;
    facts_close_and_open_it(&world, (&own, &elsewhere)).await;
    each_resolves_its_own(&world).await;
    let world = Box::pin(a_node_that_was_down_tells_later(world)).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_returns_are_told_on_sqlite() {
    let dir = Box::pin(all(World::sqlite().await)).await;
    assert_verifies(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_returns_are_told_on_postgresql() {
    Box::pin(all(World::postgres().await)).await;
}

/// What the LA of residence is told of its child is the same, whether or not another child's return is missing.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_depends_on_the_organisation_s_own_children_only() {
    let mut alerts = Vec::new();
    for with_another in [false, true] {
        let world = World::sqlite().await;
        let (la, residence) = (world.client("la-a").await, world.client("la-b").await);
        let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
        start_placement(&mut stage, &la, "la/331").await;
        if with_another {
            start_placement(&mut stage, &la, "la/330").await;
        }
        world.advance("2026-11-23T10:30:01Z");
        let alert = wait_for_alert(&residence, MORNING, (AlertState::Open, 1)).await;
        alerts.push(Alert { alert_id: String::new(), ..alert }.encode_to_vec());
        drop((la, residence, stage));
        world.stop().await;
    }
    assert_eq!(alerts[0], alerts[1]);
}
