//! Plans, passports and progress as documents, on both databases.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    Delivery, DeliveryKind, GetPlacementRequest, GetPlacementResponse, ListDeliveriesRequest, PutPlanRequest,
    delivery_service, placement_service,
};

use super::story::id;
use super::support::World;

async fn placement(client: &Client, placement: &str) -> GetPlacementResponse {
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    client.call(placement_service::GET_PLACEMENT, &request).await.unwrap().message
}

/// What of one kind lies in a mailbox about a placement, the oldest first.
async fn delivered(client: &Client, kind: DeliveryKind, placement: &str) -> Vec<Delivery> {
    let (mut cursor, mut found) = (None, Vec::new());
    for _ in 0..100 {
        let request =
            ListDeliveriesRequest { cursor, kinds: vec![kind as i32], ..ListDeliveriesRequest::default() };
        let page = client.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        found.extend(page.deliveries.into_iter().filter(|delivery| delivery.placement_id == placement));
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    found
}

/// A plan that lacks things is stored and delivered, but is not active; what it lacks is told with its day.
async fn a_plan_that_lacks_things_is_not_active(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let id_of = world.placements("la-a", "provider-a").remove(0);
    let before = placement(&la, &id_of).await;
    assert!(before.plan_active);
    let mut plan = before.plan.unwrap();
    plan.duties[0].accountable = None;
    plan.exit_route.clear();
    let request = PutPlanRequest {
        request_id: id(),
        placement_id: id_of.clone(),
        etag: before.placement.unwrap().plan_etag,
        plan: Some(plan),
        ..PutPlanRequest::default()
    };
    let put = la.call(placement_service::PUT_PLAN, &request).await.unwrap().message;
    let lacks = ["NO_EXIT_ROUTE", "DUTY_WITHOUT_OWNER"].map(str::to_owned);
    assert_eq!((put.active, &put.open_items[..]), (false, &lacks[..]));
    let read = placement(&riverside, &id_of).await;
    assert!(!read.plan_active);
    let due = read.open_items.iter().filter(|open| lacks.contains(&open.item));
    // The world's placements start on a bank holiday's morrow, a day before term.
    assert_eq!(due.map(|open| open.due_date.as_str()).collect::<Vec<_>>(), ["2026-09-08"; 2]);
    let newest = delivered(&riverside, DeliveryKind::Plan, &id_of).await.pop().unwrap();
    let Some(Content::Placement(content)) = newest.content else { panic!("no plan") };
    assert_eq!((content.plan_active, &content.plan_open_items[..]), (false, &lacks[..]));
}

async fn all(world: World) {
    a_plan_that_lacks_things_is_not_active(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_hold_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_hold_on_postgresql() {
    all(World::postgres().await).await;
}
