//! `ListOrganisationStatus` and `status`: figures by organisation, for operators only.

use ap_gateway::cli::sandbox;
use ap_gateway::client::reason;
use ap_gateway::clock::Instant;
use ap_gateway::proto::v1::{
    ListDeliveriesRequest, ListOrganisationStatusRequest, OrganisationState, OrganisationStatus,
    audit_service, delivery_service,
};

use super::exchange_semantics::{mark, submission, submit};
use super::support::{World, gateway};

const COMMISSIONER: &str = "la/330";

async fn status(world: &World, page_size: i32) -> Vec<OrganisationStatus> {
    let operator = world.client("operator").await;
    let (mut all, mut page_token) = (Vec::new(), String::new());
    for _ in 0..50 {
        let request = ListOrganisationStatusRequest { page_size, page_token };
        let reply = operator.call(audit_service::LIST_ORGANISATION_STATUS, &request).await.unwrap().message;
        all.extend(reply.organisations);
        page_token = reply.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
    panic!("the list does not end");
}

fn of_organisation(all: &[OrganisationStatus], organisation: &str) -> OrganisationStatus {
    all.iter().find(|one| one.organisation == organisation).unwrap().clone()
}

async fn check(world: World) {
    let before = status(&world, 0).await;
    let pages = status(&world, 2).await;
    let ids = |all: &[OrganisationStatus]| all.iter().map(|one| one.organisation.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&pages), "pages hold what one page holds");
    assert!(before.len() > 5 && before.is_sorted_by_key(|one| one.organisation.clone()));
    let at = of_organisation(&before, COMMISSIONER);
    assert_eq!(at.state, OrganisationState::Active as i32);
    assert!(before.iter().any(|one| one.open_alerts > 0), "the sandbox has an open alert");
    let provider = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    submit(&provider, &submission(vec![mark(&placement, "2026-11-02", "I")])).await.unwrap();
    let waiting = of_organisation(&status(&world, 0).await, COMMISSIONER);
    assert_eq!(waiting.waiting_deliveries, at.waiting_deliveries + 1);
    assert!(waiting.waiting_since_time.is_some());
    let la = world.client("la-a").await;
    let mut cursor = None;
    for _ in 0..100 {
        let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
        let reply = la.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        cursor = reply.next;
        if !reply.more {
            break;
        }
    }
    let collected = of_organisation(&status(&world, 0).await, COMMISSIONER);
    assert_eq!((collected.waiting_deliveries, collected.waiting_since_time), (0, None));
    // The last call is not in the index by caller yet.
    for time in [collected.last_collection_time, collected.last_call_time] {
        let last = Instant::from_proto(&time.unwrap()).unwrap();
        assert_eq!(last.to_string(), "2026-11-20T16:00:00Z");
    }
    for name in ["la-a", "provider-a", "auditor", "processor"] {
        let client = world.client(name).await;
        let request = ListOrganisationStatusRequest::default();
        let refused = client.call(audit_service::LIST_ORGANISATION_STATUS, &request).await.unwrap_err();
        let ap_gateway::client::ClientError::Refused(refused) = refused else { panic!("{refused}") };
        let expected = if name == "processor" { "GRANT_REQUIRED" } else { "METHOD_NOT_ALLOWED" };
        assert!([expected, "METHOD_NOT_ALLOWED"].contains(&reason(&refused).as_str()), "{name}: {refused:?}");
    }
    let mut verb = gateway();
    verb.args(["status", "--profile"]).arg(sandbox::profile_path(world.dir.path(), "operator"));
    let output = tokio::task::spawn_blocking(move || verb.output().unwrap()).await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let line = printed.lines().find(|line| line.starts_with(COMMISSIONER)).unwrap_or_default();
    let columns: Vec<_> = line.split_whitespace().collect();
    assert!(output.status.success() && printed.starts_with("ORGANISATION"), "{printed}");
    assert_eq!(columns[..2], [COMMISSIONER, "ACTIVE"], "{printed}");
    assert_eq!(columns[4], "0", "{printed}");
    drop((provider, la));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_organisation_has_its_figures_on_sqlite() {
    check(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_organisation_has_its_figures_on_postgresql() {
    check(World::postgres().await).await;
}
