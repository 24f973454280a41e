//! Those who act for others, look after others, or look at what others did: a processor under its grant, an
//! auditor, the operator. Of a child's record an auditor and the operator see nothing.

use ap_gateway::cli::audit;
use ap_gateway::client::reason;
use ap_gateway::clock::Randomness;
use ap_gateway::codes::organisation::OrganisationKind;
use ap_gateway::gateway;
use ap_gateway::proto::v1::{
    AuthoriseProcessorRequest, EndGrantRequest, GetPlacementRequest, ListPlacementsRequest, Outcome,
    WatchDeliveriesRequest, placement_service, register_service,
};
use http_body_util::BodyExt;
use prost::Message;
use prost::bytes::Bytes;
use serde::Deserialize;
use tonic::Status;
use tonic::body::Body;

use super::stage::{Stage, UPN, descriptor, path, row};
use super::story::{id, mark, refused, submission, submit};
use super::support::World;
use super::wire::{Answer, Wire, frame};

const FOR_RIVERSIDE: (&str, &str) = ("ap-on-behalf-of", "provider/riverside");

/// What a processor is told by a method, acting for Riverside.
async fn for_riverside(wire: &Wire, method: &str, message: &[u8]) -> Answer {
    wire.send(&path(&descriptor(method)), &[FOR_RIVERSIDE], frame(message)).await.unwrap()
}

/// Lets the processor act for Riverside with methods, from one day on to another; the grant's id.
async fn grant(world: &World, methods: &[&str], from: &str, to: &str) -> String {
    let request = AuthoriseProcessorRequest {
        request_id: id(),
        processor: "processor/registerworks".to_owned(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        from_date: from.to_owned(),
        to_date: to.to_owned(),
        ..AuthoriseProcessorRequest::default()
    };
    let riverside = world.client("provider-a").await;
    riverside.call(register_service::AUTHORISE_PROCESSOR, &request).await.unwrap().message.grant_id
}

async fn end(world: &World, grant_id: String) {
    let request = EndGrantRequest { request_id: id(), grant_id, ..EndGrantRequest::default() };
    world.client("provider-a").await.call(register_service::END_GRANT, &request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_acts_for_whoever_lets_it_and_as_long() {
    let world = World::sqlite().await;
    let (processor, wire) = (world.client("processor").await, Wire::of(world.dir.path(), "processor").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let sent = submit(&processor, &submission(vec![mark(&placement, "2026-11-02", "/")])).await.unwrap();
    assert_eq!(sent.message.stored, 1);
    let exchanges = audit::exchanges(&world.client("provider-a").await).await.unwrap();
    let entry = exchanges.iter().find(|exchange| exchange.exchange_id == sent.receipt.exchange_id).unwrap();
    assert_eq!((&*entry.organisation, &*entry.processor), ("provider/riverside", "processor/registerworks"));
    assert_eq!((&*entry.system, entry.outcome()), ("cloud-mis", Outcome::Ok));
    // Nothing beyond the methods that were named, and nothing of its own.
    let get = GetPlacementRequest { placement_id: placement.clone() }.encode_to_vec();
    assert_eq!(for_riverside(&wire, "GetPlacement", &get).await.told(), "GRANT_REQUIRED");
    assert_eq!(wire.call(&path(&descriptor("SubmitAttendance")), &[]).await.told(), "METHOD_NOT_ALLOWED");
    for (from, to, told) in [
        ("2026-11-21", "", "GRANT_REQUIRED"),
        ("2026-11-01", "2026-11-19", "GRANT_REQUIRED"),
        ("2026-11-20", "2026-11-20", "OK"),
    ] {
        let granted = grant(&world, &["GetPlacement"], from, to).await;
        assert_eq!(for_riverside(&wire, "GetPlacement", &get).await.told(), told, "{from} to {to}");
        end(&world, granted).await;
        assert_eq!(for_riverside(&wire, "GetPlacement", &get).await.told(), "GRANT_REQUIRED", "ended");
    }
    // One that is none of Riverside's may name it in vain.
    for other in ["la-a", "provider-c", "operator", "auditor"] {
        let wire = Wire::of(world.dir.path(), other).await;
        assert_eq!(for_riverside(&wire, "ListPlacements", &[]).await.told(), "GRANT_REQUIRED", "{other}");
    }
    world.stop().await;
}

/// A stream that a processor holds for another has its mail at once, and ends with the grant.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_s_stream_ends_with_its_grant() {
    let world = World::sqlite().await;
    let granted = grant(&world, &["WatchDeliveries"], "2026-11-01", "").await;
    let wire = Wire::of(world.dir.path(), "processor").await;
    // Plans alone: none is there yet.
    let request = WatchDeliveriesRequest { kinds: vec![10], ..WatchDeliveriesRequest::default() };
    let body = Body::new(http_body_util::Full::new(frame(&request.encode_to_vec())));
    let (parts, mut body) =
        wire.begin(&path(&descriptor("WatchDeliveries")), &[FOR_RIVERSIDE], body).await.unwrap();
    assert_eq!(parts.headers.get("grpc-status"), None);
    // Its opening, then the agreements that it has signed, then nothing.
    let mut messages = 0;
    while messages < 2 {
        messages += usize::from(body.frame().await.unwrap().unwrap().is_data());
    }
    end(&world, granted).await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let agreement = stage.names["agreement"].clone();
    stage.names.insert("ending".to_owned(), agreement);
    stage.play("EndAgreement").await;
    let ended = loop {
        match body.frame().await.unwrap().unwrap().into_data() {
            Ok(more) => assert_eq!(more, Bytes::new(), "nothing is sent after the grant's end"),
            Err(rest) => break Status::from_header_map(&rest.into_trailers().unwrap()).unwrap(),
        }
    };
    assert_eq!(reason(&ended), "GRANT_REQUIRED");
    world.stop().await;
}

/// The sandbox's invented children, by all that names them.
fn names() -> Vec<String> {
    #[derive(Deserialize)]
    struct Child {
        upn: String,
        surname: String,
        date_of_birth: String,
    }
    let children = include_str!("../../src/cli/sandbox/children.json");
    let children: Vec<Child> = serde_json::from_str(children).unwrap();
    let all = children.into_iter().flat_map(|child| [child.upn, child.surname, child.date_of_birth]);
    // A short name is in many a signature.
    all.filter(|name| name.len() > 6).collect()
}

/// Whatever an auditor or the operator may call at all, no answer names a child; the commissioner's does.
#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_and_the_operator_see_no_child() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let names = [names(), vec![UPN.to_owned(), "Kestrel".to_owned()]].concat();
    let shows = |answer: &Answer| {
        let text = String::from_utf8_lossy(&answer.message).into_owned();
        names.iter().any(|name| text.contains(name))
    };
    let mut asked = 0;
    for (kind, caller) in [(OrganisationKind::Auditor, "auditor"), (OrganisationKind::Operator, "operator")] {
        for (path, action) in gateway::routes().actions() {
            if action.kinds().contains(&kind) {
                let row = row(path.rsplit('/').next().unwrap()).unwrap();
                let request = stage.request(row, true);
                let answer = stage.call(caller, row.method, &request).await;
                assert!(!shows(&answer), "{caller} {path}");
                asked += 1;
            }
        }
    }
    assert!(asked > 15, "{asked}");
    let deliveries =
        stage.call("la-a", "ListDeliveries", &stage.request(row("ListDeliveries").unwrap(), true)).await;
    assert!(shows(&deliveries));
    drop(stage);
    world.stop().await;
}

/// An auditor reads the exchanges of whoever appointed it, no other's, and none once that has ended.
#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_whose_auditor_it_is() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let auditor = world.client("auditor").await;
    let mine = |exchange: &ap_gateway::proto::v1::ExchangeRecord, of: &str| {
        exchange.organisation == of || exchange.counterparts.iter().any(|other| other == of)
    };
    let seen = audit::exchanges(&auditor).await.unwrap();
    assert!(seen.iter().filter(|exchange| mine(exchange, "la/330")).count() > 20);
    for exchange in &seen {
        assert!(mine(exchange, "la/330") || mine(exchange, "auditor/northgate"), "{}", exchange.method);
    }
    // The operator reads its own exchanges, not those of whom it registered.
    let own = audit::exchanges(&world.client("operator").await).await.unwrap();
    assert!(own.iter().all(|exchange| mine(exchange, "operator/gateway")));
    let request = stage.request(row("GetExchange").unwrap(), true);
    assert_eq!(stage.call("operator", "GetExchange", &request).await.told(), "NOT_FOUND");
    let listed = world.client("la-a").await;
    let page = listed.call(placement_service::LIST_PLACEMENTS, &ListPlacementsRequest::default()).await;
    assert!(!page.unwrap().message.placements.is_empty());
    let refusal =
        refused(auditor.call(placement_service::LIST_PLACEMENTS, &ListPlacementsRequest::default()).await);
    assert_eq!(reason(&refusal), "METHOD_NOT_ALLOWED");
    drop(stage);
    world.stop().await;
}
