//! Roles of persons whom the policy refuses whatever they ask for.

use ap_gateway::client::{ClientError, reason};
use ap_gateway::proto::v1::{
    GetPlacementRequest, ListIssuersRequest, WatchDeliveriesRequest, delivery_service, placement_service,
    register_service,
};
use serde_json::json;

use super::exchange_semantics::new_id;
use super::support::World;
use super::tokens::TestIssuer;

#[tokio::test(flavor = "multi_thread")]
async fn a_clinical_officer_reads_no_child() {
    let world = World::sqlite().await;
    let placement_id = world.placements("la-a", "provider-a").remove(0);
    let dir = world.dir.path();
    let issuer = TestIssuer::load(dir, "provider-a");
    let token = issuer.token(dir, "provider-a", |claims| claims["role"] = json!("dco"));
    let officer = world.client("provider-a").await.with_token(&token).unwrap();
    let known = GetPlacementRequest { placement_id };
    let unknown = GetPlacementRequest { placement_id: new_id() };
    for request in [known, unknown] {
        let refused = officer.call(placement_service::GET_PLACEMENT, &request).await.unwrap_err();
        assert_refused(refused);
    }
    let watched = WatchDeliveriesRequest::default();
    let refused = officer.open_stream(delivery_service::WATCH_DELIVERIES, &watched).await.err().unwrap();
    assert_refused(refused);
    officer.call(register_service::LIST_ISSUERS, &ListIssuersRequest::default()).await.unwrap();
    world.stop().await;
}

fn assert_refused(error: ClientError) {
    let ClientError::Refused(status) = error else { panic!("{error}") };
    assert_eq!(reason(&status), "PERSON_REQUIRED");
}
