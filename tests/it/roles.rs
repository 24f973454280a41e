//! Roles: a processor under its grant, an auditor and the operator. Auditor and operator see no child's record.

use std::collections::BTreeSet;

use ap_gateway::cli::audit;
use ap_gateway::client::reason;
use ap_gateway::clock::Randomness;
use ap_gateway::codes::organisation::OrganisationKind;
use ap_gateway::proto::v1::{
    AuthoriseProcessorRequest, EndGrantRequest, ExchangeRecord, GetPlacementRequest, ListExchangesRequest,
    ListPlacementsRequest, Outcome, WatchDeliveriesRequest, audit_service, placement_service,
    register_service,
};
use http_body_util::BodyExt;
use prost::Message;
use prost::bytes::Bytes;
use serde::Deserialize;
use tonic::Status;
use tonic::body::Body;

use super::exchange_semantics::{mark, new_id, refusal_status, submission, submit};
use super::fixtures::{Fixtures, UPN, find_example, method_descriptor, method_path, sorted_methods};
use super::support::World;
use super::wire::{Answer, Wire, frame};

const FOR_RIVERSIDE: (&str, &str) = ("ap-on-behalf-of", "provider/riverside");

/// Calls a method on behalf of Riverside.
async fn call_for_riverside(wire: &Wire, method: &str, message: &[u8]) -> Answer {
    wire.send(&method_path(&method_descriptor(method)), &[FOR_RIVERSIDE], frame(message)).await.unwrap()
}

/// Grants the processor methods on behalf of Riverside for a period; returns the grant's id.
async fn authorise_processor(world: &World, methods: &[&str], from: &str, to: &str) -> String {
    let request = AuthoriseProcessorRequest {
        request_id: new_id(),
        processor: "processor/registerworks".to_owned(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        from_date: from.to_owned(),
        to_date: to.to_owned(),
        ..AuthoriseProcessorRequest::default()
    };
    let riverside = world.client("provider-a").await;
    riverside.call(register_service::AUTHORISE_PROCESSOR, &request).await.unwrap().message.grant_id
}

async fn end_grant(world: &World, grant_id: String) {
    let request = EndGrantRequest { request_id: new_id(), grant_id, ..EndGrantRequest::default() };
    world.client("provider-a").await.call(register_service::END_GRANT, &request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_acts_only_under_a_current_grant() {
    let world = World::sqlite().await;
    let (processor, wire) =
        (world.client("processor").await, Wire::connect(world.dir.path(), "processor").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let sent = submit(&processor, &submission(vec![mark(&placement, "2026-11-02", "/")])).await.unwrap();
    // With the next call the client has the growth of the log proved, which no grant covers.
    submit(&processor, &submission(vec![mark(&placement, "2026-11-03", "/")])).await.unwrap();
    assert_eq!(sent.message.stored, 1);
    let exchanges = audit::list_all_exchanges(&world.client("provider-a").await).await.unwrap();
    let entry = exchanges.iter().find(|exchange| exchange.exchange_id == sent.receipt.exchange_id).unwrap();
    assert_eq!((&*entry.organisation, &*entry.processor), ("provider/riverside", "processor/registerworks"));
    assert_eq!((&*entry.system, entry.outcome()), ("cloud-mis", Outcome::Ok));
    // Other methods are refused, and so are calls without a principal.
    let get = GetPlacementRequest { placement_id: placement.clone() }.encode_to_vec();
    assert_eq!(call_for_riverside(&wire, "GetPlacement", &get).await.reason(), "GRANT_REQUIRED");
    assert_eq!(
        wire.call(&method_path(&method_descriptor("SubmitAttendance")), &[]).await.reason(),
        "METHOD_NOT_ALLOWED"
    );
    for (from, to, expected) in [
        ("2026-11-21", "", "GRANT_REQUIRED"),
        ("2026-11-01", "2026-11-19", "GRANT_REQUIRED"),
        ("2026-11-20", "2026-11-20", "OK"),
    ] {
        let granted = authorise_processor(&world, &["GetPlacement"], from, to).await;
        assert_eq!(
            call_for_riverside(&wire, "GetPlacement", &get).await.reason(),
            expected,
            "{from} to {to}"
        );
        end_grant(&world, granted).await;
        assert_eq!(call_for_riverside(&wire, "GetPlacement", &get).await.reason(), "GRANT_REQUIRED", "ended");
    }
    // A caller that is not Riverside's processor is refused.
    for other in ["la-a", "provider-c", "operator", "auditor"] {
        let wire = Wire::connect(world.dir.path(), other).await;
        assert_eq!(
            call_for_riverside(&wire, "ListPlacements", &[]).await.reason(),
            "GRANT_REQUIRED",
            "{other}"
        );
    }
    world.stop().await;
}

/// Checks that a processor's stream gets deliveries and ends with the grant.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_s_stream_ends_with_its_grant() {
    let world = World::sqlite().await;
    let granted = authorise_processor(&world, &["WatchDeliveries"], "2026-11-01", "").await;
    let wire = Wire::connect(world.dir.path(), "processor").await;
    // The filter is on plans, of which there are none yet.
    let request = WatchDeliveriesRequest { kinds: vec![10], ..WatchDeliveriesRequest::default() };
    let body = Body::new(http_body_util::Full::new(frame(&request.encode_to_vec())));
    let (parts, mut body) = wire
        .begin(&method_path(&method_descriptor("WatchDeliveries")), &[FOR_RIVERSIDE], body)
        .await
        .unwrap();
    assert_eq!(parts.headers.get("grpc-status"), None);
    // The opening message comes first, then the agreements that it has signed, then nothing.
    let mut messages = 0;
    while messages < 2 {
        messages += usize::from(body.frame().await.unwrap().unwrap().is_data());
    }
    end_grant(&world, granted).await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let agreement = stage.names["agreement"].clone();
    stage.names.insert("ending".to_owned(), agreement);
    stage.call_ok("EndAgreement").await;
    let ended = loop {
        match body.frame().await.unwrap().unwrap().into_data() {
            Ok(more) => assert_eq!(more, Bytes::new(), "nothing is sent after the grant's end"),
            Err(rest) => break Status::from_header_map(&rest.into_trailers().unwrap()).unwrap(),
        }
    };
    assert_eq!(reason(&ended), "GRANT_REQUIRED");
    world.stop().await;
}

/// Returns the identifiers of the sandbox's children.
fn child_identifiers() -> Vec<String> {
    #[derive(Deserialize)]
    struct Child {
        upn: String,
        surname: String,
        date_of_birth: String,
    }
    let children = include_str!("../../src/cli/sandbox/children.json");
    let children: Vec<Child> = serde_json::from_str(children).unwrap();
    let all = children.into_iter().flat_map(|child| [child.upn, child.surname, child.date_of_birth]);
    // Short names also occur in random bytes such as signatures.
    all.filter(|name| name.len() > 6).collect()
}

/// Checks that no response of any method to an auditor or the operator names a child, and that the commissioner's
/// does.
#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_and_the_operator_see_no_child() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let names = [child_identifiers(), vec![UPN.to_owned(), "Kestrel".to_owned()]].concat();
    let shows = |answer: &Answer| {
        let text = String::from_utf8_lossy(&answer.message).into_owned();
        names.iter().any(|name| text.contains(name))
    };
    for (kind, caller) in [(OrganisationKind::Auditor, "auditor"), (OrganisationKind::Operator, "operator")] {
        for method in sorted_methods() {
            if method.callers.contains(&kind) {
                let row = find_example(method.name()).unwrap();
                let request = stage.request(row, true);
                let answer = stage.call(caller, row.method, &request).await;
                assert!(!shows(&answer), "{caller} {}", method.path);
            }
        }
    }
    let deliveries = stage
        .call("la-a", "ListDeliveries", &stage.request(find_example("ListDeliveries").unwrap(), true))
        .await;
    assert!(shows(&deliveries));
    drop(stage);
    world.stop().await;
}

/// Checks that an auditor reads the exchanges of its appointers and of itself, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_only_its_appointers() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let auditor = world.client("auditor").await;
    let seen = audit::list_all_exchanges(&auditor).await.unwrap();
    // It misses none of its appointer's. This call of the appointer itself came later.
    let of_la = audit::list_all_exchanges(&world.client("la-a").await).await.unwrap();
    let newest = seen.iter().map(|exchange| exchange.index).max().unwrap();
    let request = ListExchangesRequest {
        organisation: "auditor/northgate".to_owned(),
        page_size: 1_000,
        ..ListExchangesRequest::default()
    };
    let of_auditor = auditor.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message.exchanges;
    let indexes = |exchanges: &[ExchangeRecord]| -> BTreeSet<u64> {
        exchanges.iter().map(|exchange| exchange.index).filter(|index| *index <= newest).collect()
    };
    let appointer_or_own = &indexes(&of_la) | &indexes(&of_auditor);
    assert_eq!(indexes(&seen), appointer_or_own);
    assert!(of_la.len() > of_auditor.len());
    // The operator reads its own exchanges, not those of the organisations that it registered.
    let of_operator = audit::list_all_exchanges(&world.client("operator").await).await.unwrap();
    let is_own_part = |exchange: &ExchangeRecord| {
        exchange.organisation == "operator/gateway"
            || exchange.counterparts.is_empty() && exchange.child_count == 0
    };
    assert!(of_operator.iter().all(is_own_part));
    let request = stage.request(find_example("GetExchange").unwrap(), true);
    // It is shown any by its id, without what it was about; see breach.rs.
    assert_eq!(stage.call("operator", "GetExchange", &request).await.reason(), "OK");
    assert_eq!(stage.call("provider-b", "GetExchange", &request).await.reason(), "NOT_FOUND");
    let listed = world.client("la-a").await;
    let page = listed.call(placement_service::LIST_PLACEMENTS, &ListPlacementsRequest::default()).await;
    assert!(!page.unwrap().message.placements.is_empty());
    let refusal = refusal_status(
        auditor.call(placement_service::LIST_PLACEMENTS, &ListPlacementsRequest::default()).await,
    );
    assert_eq!(reason(&refusal), "METHOD_NOT_ALLOWED");
    drop(stage);
    world.stop().await;
}
