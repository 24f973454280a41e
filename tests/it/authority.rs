//! Who gives which right: what changes who may do what is the organisation's own act, and what is shared has a basis.

use std::collections::BTreeMap;

use ap_gateway::cli::audit;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{Article6, ExchangeRecord, OrganisationState};
use ap_gateway::store::Value as Stored;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::safety::set;
use super::stage::{Stage, descriptor, issue, lately, path, row, text};
use super::story::{mark, submission};
use super::support::{World, deliveries};
use super::wire::{Wire, frame};

/// A row's request with fields of its own, from protobuf JSON.
fn with(stage: &Stage, method: &str, json: &str) -> DynamicMessage {
    let own: BTreeMap<String, serde_json::Value> = serde_json::from_str(&stage.named(json)).unwrap();
    let mut all = serde_json::to_value(stage.request(row(method).unwrap(), false)).unwrap();
    for (field, value) in own {
        all[field] = value;
    }
    let mut request = super::stage::read(method, &all.to_string());
    stage.renew(&mut request);
    request
}

/// Plays an act, and gives its entry as its caller's audit shows it.
async fn entered(
    world: &World,
    stage: &mut Stage,
    caller: &str,
    method: &str,
    request: &DynamicMessage,
) -> (DynamicMessage, ExchangeRecord) {
    let answer = stage.call(caller, method, request).await;
    assert_eq!(answer.told(), "OK", "{method}");
    let reply = DynamicMessage::decode(descriptor(method).output(), answer.message).unwrap();
    let receipt = reply.get_field_by_name("receipt").unwrap().as_message().unwrap().clone();
    let exchange = text(&receipt, "exchange_id");
    let mut exchanges = audit::exchanges(&world.client(caller).await).await.unwrap().into_iter();
    (reply, exchanges.find(|record| record.exchange_id == exchange).unwrap())
}

/// The warnings of a reply.
fn warnings(reply: &DynamicMessage) -> Vec<String> {
    let warnings = reply.get_field_by_name("warnings").unwrap();
    warnings.as_list().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_provider_is_given_no_passport() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let operator = world.client("operator").await;
    let share = stage.request(row("SharePassport").unwrap(), false);
    set(&operator, OrganisationState::Suspended).await;
    assert_eq!(stage.call("la-a", "SharePassport", &share).await.told(), "RECIPIENT_SUSPENDED");
    set(&operator, OrganisationState::Active).await;
    assert_eq!(stage.call("la-a", "SharePassport", &share).await.told(), "OK");
    drop(stage);
    world.stop().await;
}

/// With its agreement ended what a live placement cannot wait for goes on, is flagged, and its entry has the basis.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_without_an_agreement_is_entered_with_its_basis_and_flagged() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let absence = r#"{"sessions": [{"date": "2026-11-25", "session": "SESSION_AM"}]}"#;
    let again = r#"{"sessions": [{"date": "2026-11-26", "session": "SESSION_AM"}]}"#;
    let request = with(&stage, "NotifyExpectedAbsence", absence);
    let (reply, entry) = entered(&world, &mut stage, "la-a", "NotifyExpectedAbsence", &request).await;
    assert_eq!((warnings(&reply), entry.agreement_lapsed), (vec![], false));
    assert_eq!(entry.agreement_id, stage.names["agreement"]);
    let agreement = stage.names["agreement"].clone();
    stage.names.insert("ending".to_owned(), agreement.clone());
    stage.play("EndAgreement").await;
    let acts = [
        ("PutPlan", stage.request(row("PutPlan").unwrap(), false)),
        ("NotifyExpectedAbsence", with(&stage, "NotifyExpectedAbsence", again)),
        ("ConfirmMarks", stage.request(row("ConfirmMarks").unwrap(), false)),
    ];
    for (method, request) in acts {
        let (reply, entry) = entered(&world, &mut stage, "la-a", method, &request).await;
        assert_eq!(warnings(&reply), ["AGREEMENT_LAPSED"], "{method}");
        assert!(entry.agreement_lapsed, "{method}");
        assert_eq!((&entry.agreement_id, entry.article_6()), (&agreement, Article6::PublicTask), "{method}");
    }
    let active = stage.names["active"].clone();
    let marks = submission(vec![mark(&active, "2026-11-16", "/")]).encode_to_vec();
    let marks = DynamicMessage::decode(descriptor("SubmitAttendance").input(), &marks[..]).unwrap();
    let (_, entry) = entered(&world, &mut stage, "provider-a", "SubmitAttendance", &marks).await;
    assert!(entry.agreement_lapsed);
    assert_eq!(entry.agreement_id, agreement);
    // What is over has nothing that could not wait.
    let over = with(&stage, "NotifyExpectedAbsence", r#"{"placementId": "$ended"}"#);
    assert_eq!(stage.call("la-a", "NotifyExpectedAbsence", &over).await.told(), "AGREEMENT_NOT_IN_FORCE");
    drop(stage);
    world.stop().await;
}

/// Also where a grant names the method, as one that an earlier release took could.
#[tokio::test(flavor = "multi_thread")]
async fn no_grant_lets_a_processor_change_who_may_do_what() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let governing = [
        "RegisterCertificate",
        "RevokeCertificate",
        "AuthoriseProcessor",
        "AppointAuditor",
        "EndGrant",
        "ProposeAgreement",
        "CountersignAgreement",
        "EndAgreement",
    ];
    let named = serde_json::json!({ "methods": governing }).to_string();
    let told = stage
        .call("provider-a", "AuthoriseProcessor", &with(&stage, "AuthoriseProcessor", &named))
        .await
        .told();
    for at in 0..governing.len() {
        assert!(told.contains(&format!("methods[{at}]: no grant covers this method")), "{told}");
    }
    stage.play("AuthoriseProcessor").await;
    let database = world.database().await;
    let mut conn = database.writer().await.unwrap();
    let methods = Stored::from(governing.join(","));
    conn.execute("UPDATE grants SET methods = $1 WHERE kind = 1", vec![methods]).await.unwrap();
    drop(conn);
    database.close().await;
    let wire = Wire::of(world.dir.path(), "processor").await;
    for method in governing {
        let request = stage.request(row(method).unwrap(), false).encode_to_vec();
        let metadata = [("ap-on-behalf-of", "provider/riverside")];
        let answer = wire.send(&path(&descriptor(method)), &metadata, frame(&request)).await.unwrap();
        assert_eq!(answer.told(), "GRANT_REQUIRED", "{method}");
    }
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_names_the_gateway_s_own_system() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let reserved = "certificate: the certificate names the system gateway";
    for method in ["RegisterOrganisation", "RegisterCertificate"] {
        let request = with(&stage, method, r#"{"certificate": "$reserved"}"#);
        let told = stage.call("operator", method, &request).await.told();
        assert!(told.contains(reserved), "{method}: {told}");
    }
    issue(world.dir.path(), "gateway", "provider/riverside/gateway", 701, lately());
    let answered = match Wire::with(world.dir.path(), "gateway").await {
        Ok(wire) => wire.send(&path(&descriptor("ListPlacements")), &[], frame(&[])).await.is_ok(),
        Err(_) => false,
    };
    assert!(!answered, "the handshake is refused");
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_is_between_registered_organisations() {
    let world = World::sqlite().await;
    let mut stage = Stage::set(world.dir.path(), Randomness::system()).await;
    let propose = |stage: &Stage, other: &str| {
        let mut request = stage.request(row("ProposeAgreement").unwrap(), false);
        let agreement = request.get_field_by_name_mut("agreement").unwrap().as_message_mut().unwrap();
        let parties = ["la/330", other].map(|party| Value::String(party.to_owned()));
        agreement.set_field_by_name("parties", Value::List(parties.to_vec()));
        stage.renew(&mut request);
        request
    };
    let unknown = stage.call("la-a", "ProposeAgreement", &propose(&stage, "provider/nobody")).await;
    // As any thing that is not there or is another's.
    let others = with(&stage, "EndAgreement", r#"{"agreementId": "019a7e52-93c1-4b0f-8d21-6f0e4d3c2b1a"}"#);
    let missing = stage.call("la-a", "EndAgreement", &others).await;
    assert_eq!(unknown.told(), "NOT_FOUND");
    assert_eq!(unknown.masked(), missing.masked());
    assert_eq!(stage.call("la-a", "ProposeAgreement", &propose(&stage, "school/145678")).await.told(), "OK");
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_says_why_and_by_whom_to_the_organisation_and_the_operators() {
    let world = World::sqlite().await;
    let (operator, riverside) = (world.client("operator").await, world.client("provider-a").await);
    set(&operator, OrganisationState::Suspended).await;
    set(&operator, OrganisationState::Active).await;
    let told = |sent: Vec<ap_gateway::proto::v1::Delivery>| {
        let changes = sent.into_iter().filter_map(|delivery| match delivery.content {
            Some(Content::Register(register)) => register.state_change,
            _ => None,
        });
        let told = changes
            .map(|change| (change.organisation, change.state, change.reason, change.officer.unwrap().name));
        told.collect::<Vec<_>>()
    };
    let expected = [OrganisationState::Suspended, OrganisationState::Active].map(|state| {
        let [organisation, reason, officer] =
            ["provider/riverside", "the inspection of October", "Kit Example"].map(str::to_owned);
        (organisation, state as i32, reason, officer)
    });
    assert_eq!(told(deliveries(&riverside).await), expected);
    assert_eq!(told(deliveries(&operator).await), expected);
    let database = world.database().await;
    let mut conn = database.reader().await.unwrap();
    let kept = conn
        .fetch("SELECT state_change FROM organisations WHERE state_change IS NOT NULL", vec![])
        .await
        .unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|row| !String::from_utf8_lossy(row.blob(0).unwrap()).contains("Kit Example")));
    drop(conn);
    database.close().await;
    world.stop().await;
}
