//! Authorisation: only an organisation itself changes the rights of others to act for it, and all sharing has a
//! legal basis.

use std::collections::BTreeMap;

use ap_gateway::cli::audit;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{Article6, ExchangeRecord, OrganisationState};
use ap_gateway::store::Value as Stored;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::ended_rights::set_riverside_state;
use super::exchange_semantics::{mark, submission};
use super::fixtures::{
    Fixtures, current_validity, find_example, issue_certificate, method_descriptor, method_path, text_field,
};
use super::support::{World, deliveries};
use super::wire::{Wire, frame};

/// Builds an example request with some fields replaced, from protobuf JSON.
fn example_with(stage: &Fixtures, method: &str, json: &str) -> DynamicMessage {
    let replaced: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&stage.substitute_names(json)).unwrap();
    let mut all = serde_json::to_value(stage.request(find_example(method).unwrap(), false)).unwrap();
    for (field, value) in replaced {
        all[field] = value;
    }
    let mut request = super::fixtures::parse_request(method, &all.to_string());
    stage.set_request_id(&mut request);
    request
}

/// Makes a call and returns the reply and the exchange record that its caller reads.
async fn call_with_entry(
    world: &World,
    stage: &mut Fixtures,
    caller: &str,
    method: &str,
    request: &DynamicMessage,
) -> (DynamicMessage, ExchangeRecord) {
    let answer = stage.call(caller, method, request).await;
    assert_eq!(answer.reason(), "OK", "{method}");
    let reply = DynamicMessage::decode(method_descriptor(method).output(), answer.message).unwrap();
    let receipt = reply.get_field_by_name("receipt").unwrap().as_message().unwrap().clone();
    let exchange = text_field(&receipt, "exchange_id");
    let mut exchanges = audit::list_all_exchanges(&world.client(caller).await).await.unwrap().into_iter();
    (reply, exchanges.find(|record| record.exchange_id == exchange).unwrap())
}

/// Returns the warnings of a reply.
fn reply_warnings(reply: &DynamicMessage) -> Vec<String> {
    let warnings = reply.get_field_by_name("warnings").unwrap();
    warnings.as_list().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_provider_is_given_no_passport() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let operator = world.client("operator").await;
    let share = stage.request(find_example("SharePassport").unwrap(), false);
    set_riverside_state(&operator, OrganisationState::Suspended).await;
    assert_eq!(stage.call("la-a", "SharePassport", &share).await.reason(), "RECIPIENT_SUSPENDED");
    set_riverside_state(&operator, OrganisationState::Active).await;
    assert_eq!(stage.call("la-a", "SharePassport", &share).await.reason(), "OK");
    drop(stage);
    world.stop().await;
}

/// Checks that exchanges which an active placement needs go on after the end of its agreement, are flagged, and are
/// logged with the agreement and its legal basis.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_without_an_agreement_is_entered_with_its_basis_and_flagged() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let absence = r#"{"sessions": [{"date": "2026-11-25", "session": "SESSION_AM"}]}"#;
    let again = r#"{"sessions": [{"date": "2026-11-26", "session": "SESSION_AM"}]}"#;
    let request = example_with(&stage, "NotifyExpectedAbsence", absence);
    let (reply, entry) = call_with_entry(&world, &mut stage, "la-a", "NotifyExpectedAbsence", &request).await;
    let [basis] = &entry.bases[..] else { panic!("bases: {}", entry.bases.len()) };
    assert_eq!((reply_warnings(&reply), basis.agreement_lapsed), (vec![], false));
    assert_eq!(basis.agreement_id, stage.names["agreement"]);
    let agreement = stage.names["agreement"].clone();
    stage.names.insert("ending".to_owned(), agreement.clone());
    stage.call_ok("EndAgreement").await;
    let acts = [
        ("PutPlan", stage.request(find_example("PutPlan").unwrap(), false)),
        ("NotifyExpectedAbsence", example_with(&stage, "NotifyExpectedAbsence", again)),
        ("ConfirmMarks", stage.request(find_example("ConfirmMarks").unwrap(), false)),
    ];
    for (method, request) in acts {
        let (reply, entry) = call_with_entry(&world, &mut stage, "la-a", method, &request).await;
        assert_eq!(reply_warnings(&reply), ["AGREEMENT_LAPSED"], "{method}");
        let [basis] = &entry.bases[..] else { panic!("bases of {method}: {}", entry.bases.len()) };
        assert!(basis.agreement_lapsed, "{method}");
        assert_eq!((&basis.agreement_id, basis.article_6()), (&agreement, Article6::PublicTask), "{method}");
    }
    let active = stage.names["active"].clone();
    let marks = submission(vec![mark(&active, "2026-11-16", "/")]).encode_to_vec();
    let marks = DynamicMessage::decode(method_descriptor("SubmitAttendance").input(), &marks[..]).unwrap();
    let (_, entry) = call_with_entry(&world, &mut stage, "provider-a", "SubmitAttendance", &marks).await;
    let [basis] = &entry.bases[..] else { panic!("bases: {}", entry.bases.len()) };
    assert!(basis.agreement_lapsed);
    assert_eq!(basis.agreement_id, agreement);
    // The call is refused for an ended placement.
    let over = example_with(&stage, "NotifyExpectedAbsence", r#"{"placementId": "$ended"}"#);
    assert_eq!(stage.call("la-a", "NotifyExpectedAbsence", &over).await.reason(), "AGREEMENT_NOT_IN_FORCE");
    drop(stage);
    world.stop().await;
}

/// Checks that no grant covers these methods, also if a grant from an earlier release names them.
#[tokio::test(flavor = "multi_thread")]
async fn no_grant_lets_a_processor_change_who_may_do_what_or_learn_who_acted() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let governing = [
        "RegisterCertificate",
        "RevokeCertificate",
        "AuthoriseProcessor",
        "AppointAuditor",
        "EndGrant",
        "ProposeAgreement",
        "CountersignAgreement",
        "EndAgreement",
        "RegisterIssuer",
        "EndIssuer",
        "EndPractitioner",
        "ListPractitioners",
    ];
    let named = serde_json::json!({ "methods": governing }).to_string();
    let reasons = stage
        .call("provider-a", "AuthoriseProcessor", &example_with(&stage, "AuthoriseProcessor", &named))
        .await
        .reason();
    for at in 0..governing.len() {
        assert!(reasons.contains(&format!("methods[{at}]: no grant covers this method")), "{reasons}");
    }
    stage.call_ok("AuthoriseProcessor").await;
    let database = world.database().await;
    let mut conn = database.writer().await.unwrap();
    let methods = Stored::from(governing.join(","));
    conn.execute("UPDATE grants SET methods = $1 WHERE kind = 1", vec![methods]).await.unwrap();
    drop(conn);
    database.close().await;
    let wire = Wire::connect(world.dir.path(), "processor").await;
    for method in governing {
        let request = stage.request(find_example(method).unwrap(), false).encode_to_vec();
        let metadata = [("ap-on-behalf-of", "provider/riverside")];
        let answer =
            wire.send(&method_path(&method_descriptor(method)), &metadata, frame(&request)).await.unwrap();
        assert_eq!(answer.reason(), "GRANT_REQUIRED", "{method}");
    }
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_names_the_gateway_s_own_system() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let reserved = "certificate: the certificate names the system gateway";
    for method in ["RegisterOrganisation", "RegisterCertificate"] {
        let request = example_with(&stage, method, r#"{"certificate": "$reserved"}"#);
        let reason = stage.call("operator", method, &request).await.reason();
        assert!(reason.contains(reserved), "{method}: {reason}");
    }
    issue_certificate(world.dir.path(), "gateway", "provider/riverside/gateway", 701, current_validity());
    let answered = match Wire::try_connect(world.dir.path(), "gateway").await {
        Ok(wire) => {
            wire.send(&method_path(&method_descriptor("ListPlacements")), &[], frame(&[])).await.is_ok()
        }
        Err(_) => false,
    };
    assert!(!answered, "the handshake is refused");
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_is_between_registered_organisations() {
    let world = World::sqlite().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let propose = |stage: &Fixtures, other: &str| {
        let mut request = stage.request(find_example("ProposeAgreement").unwrap(), false);
        let agreement = request.get_field_by_name_mut("agreement").unwrap().as_message_mut().unwrap();
        let parties = ["la/330", other].map(|party| Value::String(party.to_owned()));
        agreement.set_field_by_name("parties", Value::List(parties.to_vec()));
        stage.set_request_id(&mut request);
        request
    };
    let unknown = stage.call("la-a", "ProposeAgreement", &propose(&stage, "provider/nobody")).await;
    let unknown = unknown.reason();
    assert!(
        unknown.contains("agreement.parties[1]: no organisation is registered under this id"),
        "{unknown}"
    );
    assert_eq!(
        stage.call("la-a", "ProposeAgreement", &propose(&stage, "school/145678")).await.reason(),
        "OK"
    );
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_says_why_and_by_whom_to_the_organisation_and_the_operators() {
    let world = World::sqlite().await;
    let (operator, riverside) = (world.client("operator").await, world.client("provider-a").await);
    set_riverside_state(&operator, OrganisationState::Suspended).await;
    set_riverside_state(&operator, OrganisationState::Active).await;
    let state_changes = |sent: Vec<ap_gateway::proto::v1::Delivery>| {
        let changes = sent.into_iter().filter_map(|delivery| match delivery.content {
            Some(Content::Register(register)) => register.state_change,
            _ => None,
        });
        let state_changes = changes
            .map(|change| (change.organisation, change.state, change.reason, change.officer.unwrap().name));
        state_changes.collect::<Vec<_>>()
    };
    let expected = [OrganisationState::Suspended, OrganisationState::Active].map(|state| {
        let [organisation, reason, officer] =
            ["provider/riverside", "the inspection of October", "Kit Example"].map(str::to_owned);
        (organisation, state as i32, reason, officer)
    });
    assert_eq!(state_changes(deliveries(&riverside).await), expected);
    assert_eq!(state_changes(deliveries(&operator).await), expected);
    let database = world.database().await;
    let mut conn = database.reader().await.unwrap();
    let kept = conn
        .fetch("SELECT state_change FROM organisations WHERE state_change IS NOT NULL", vec![])
        .await
        .unwrap();
    assert_eq!(kept.len(), 2);
    assert!(
        kept.iter()
            .all(|row| !String::from_utf8_lossy(row.get_bytes("state_change").unwrap())
                .contains("Kit Example"))
    );
    drop(conn);
    database.close().await;
    world.stop().await;
}
