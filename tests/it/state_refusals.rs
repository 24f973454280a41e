//! Refusals because of the state of an object: they name the current state, the allowed states, and the next actor.

use std::collections::HashMap;

use ap_gateway::clock::Randomness;
use prost_reflect::{DynamicMessage, Value};
use tonic_types::StatusExt;

use super::documents::{acknowledge, get_placement, put_passport, share_passport};
use super::fixtures::{Fixtures, find_example};
use super::support::World;
use super::wire::Answer;
use ap_gateway::proto::v1::DeliveryStage;

fn error_metadata(answer: &Answer) -> HashMap<String, String> {
    answer.status().get_error_details().error_info().unwrap().metadata.clone()
}

/// Sends a method's example with some ids replaced.
async fn call_about(stage: &mut Fixtures, method: &str, fields: &[(&str, &str)]) -> Answer {
    let row = find_example(method).unwrap();
    let mut request: DynamicMessage = stage.request(row, true);
    for (field, value) in fields {
        request.set_field_by_name(field, Value::String(stage.names[*value].clone()));
    }
    stage.call(row.caller, method, &request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_names_those_that_would_do_and_who_acts_next() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let placed = |name: &'static str, etag: &'static str| vec![("placement_id", name), ("etag", etag)];
    for method in [
        "EndGrant",
        "VoidReturn",
        "RevokeCertificate",
        "CountersignAgreement",
        "EndAgreement",
        "ResolveAlert",
    ] {
        stage.call_ok(method).await;
    }
    for (method, fields, [state, needed, next]) in [
        (
            "StartPlacement",
            placed("referred", "referred.etag"),
            ["PLACEMENT_STATE_REFERRED", "PLACEMENT_STATE_ACCEPTED,PLACEMENT_STATE_APPROVED", "PROVIDER"],
        ),
        (
            "RespondToReferral",
            placed("approved", "approved.etag"),
            ["PLACEMENT_STATE_APPROVED", "PLACEMENT_STATE_REFERRED", "COMMISSIONER"],
        ),
        (
            "DecidePlacement",
            placed("ended", "ended.etag"),
            ["PLACEMENT_STATE_ENDED", "PLACEMENT_STATE_ACCEPTED,PLACEMENT_STATE_ACTIVE", "NOBODY"],
        ),
        (
            "EndPlacement",
            placed("ended", "ended.etag"),
            ["PLACEMENT_STATE_ENDED", "PLACEMENT_STATE_ACTIVE", "NOBODY"],
        ),
        (
            "SharePassport",
            vec![("placement_id", "ended")],
            [
                "PLACEMENT_STATE_ENDED",
                "PLACEMENT_STATE_REFERRED,PLACEMENT_STATE_ACCEPTED,PLACEMENT_STATE_APPROVED,PLACEMENT_STATE_ACTIVE",
                "NOBODY",
            ],
        ),
        ("EndGrant", vec![], ["ENDED", "", "NOBODY"]),
        ("VoidReturn", vec![], ["VOIDED", "", "NOBODY"]),
        (
            "RevokeCertificate",
            vec![],
            ["CERTIFICATE_STATE_REVOKED", "CERTIFICATE_STATE_REGISTERED", "NOBODY"],
        ),
        (
            "EndAgreement",
            vec![],
            ["AGREEMENT_STATE_ENDED", "AGREEMENT_STATE_PROPOSED,AGREEMENT_STATE_IN_FORCE", "NOBODY"],
        ),
        ("ResolveAlert", vec![], ["ALERT_STATE_RESOLVED", "ALERT_STATE_OPEN", "NOBODY"]),
    ] {
        let answer = call_about(&mut stage, method, &fields).await;
        assert_eq!(answer.reason(), "STATE_INVALID", "{method}");
        let facts = error_metadata(&answer);
        assert_eq!(
            [&*facts["state"], &*facts["needed"], &*facts["next_actor"]],
            [state, needed, next],
            "{method}"
        );
        let message = ap_gateway::client::explain(&answer.status());
        assert!(message.contains(&format!("now: {state}")) && message.contains(next), "{message}");
    }
    drop(stage);
    world.stop().await;
}

/// Checks that a placement lists what its start will require, and that the refusal of a start names the versions of
/// the passport.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_will_refuse_is_listed_before_it() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    stage.create_placement(2).await;
    let id_of = stage.names["approved"].clone();
    let items = async |client: &ap_gateway::client::Client| {
        let read = get_placement(client, &id_of).await;
        assert!(read.open_items.iter().all(|item| item.due_date.is_empty()));
        let item =
            |item: ap_gateway::proto::v1::OpenItem| (item.item, item.acknowledged_etag, item.needed_etag);
        read.open_items.into_iter().map(item).collect::<Vec<_>>()
    };
    let item = |name: &str, acknowledged: &str, needed: &str| {
        (name.to_owned(), acknowledged.to_owned(), needed.to_owned())
    };
    assert_eq!(items(&la).await, [item("PLAN_MISSING", "", ""), item("SAFETY_NOT_ACKNOWLEDGED", "", "")]);
    put_passport(&la, &id_of, "").await.unwrap();
    share_passport(&la, &id_of, "1").await.unwrap();
    acknowledge(&riverside, &id_of, DeliveryStage::ActedOn).await;
    assert_eq!(items(&la).await, [item("PLAN_MISSING", "", "")]);
    put_passport(&la, &id_of, "1").await.unwrap();
    let safety = |acknowledged, needed| item("SAFETY_NOT_ACKNOWLEDGED", acknowledged, needed);
    assert_eq!(items(&la).await[1], safety("1", "2"));
    // The provider does not see versions that were not shared with it.
    assert_eq!(items(&riverside).await[1], safety("", ""));
    let row = find_example("StartPlacement").unwrap();
    let mut request = stage.request(row, true);
    request.clear_field_by_name("missing_items");
    let answer = stage.call(row.caller, "StartPlacement", &request).await;
    assert!(answer.reason().starts_with("INVALID_REQUEST missing_items"), "{}", answer.reason());
    let facts = error_metadata(&answer);
    assert_eq!((&*facts["passport_acknowledged"], &*facts["passport_needed"]), ("1", "2"));
    drop(stage);
    world.stop().await;
}
