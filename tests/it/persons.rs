//! Persons over the wire: who acted is in the entry, a token is bound to its certificate, and what ends an issuer, a
//! person or a key ends its tokens with the next exchange.

use std::collections::BTreeMap;
use std::time::Duration;

use ap_gateway::cli::{audit, sandbox};
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::clock::{Clock, Instant, SystemClock};
use ap_gateway::identity::pki::SandboxAuthority;
use ap_gateway::proto::v1::{
    AuditEntry, EndIssuerRequest, EndPractitionerRequest, GetPlacementRequest, IssuerKey,
    ListExchangesRequest, ListIssuersRequest, ListPractitionersRequest, OrganisationState, Purpose,
    RegisterIssuerRequest, RoleCode, TokenAlgorithm, WatchDeliveriesRequest, delivery_service,
    placement_service, register_service,
};
use ap_gateway::store::LogIndexer;
use prost::Message;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::ended_rights::{assert_revoked, get_riverside, revocation_request, set_riverside_state};
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::support::World;
use super::tokens::{self, NAME, SUBJECT, TestIssuer, entry_of, get_with};
use super::wire::Wire;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_in_the_entry_by_a_pseudonym_that_only_the_organisation_can_resolve() {
    for world in [World::sqlite().await, World::postgres().await] {
        let dir = world.dir.path();
        let (wire, client) = (Wire::connect(dir, "provider-a").await, world.client("provider-a").await);
        let issuer = TestIssuer::load(dir, "provider-a");
        let first =
            entry_of(&get_with(&wire, dir, "provider-a", &issuer.token(dir, "provider-a", |_| {})).await);
        assert_eq!((&*first.role, first.purpose()), ("dsl", Purpose::Safeguarding));
        assert_eq!(first.practitioner.len(), 32);
        let as_senco = issuer.token(dir, "provider-a", |claims| {
            claims["role"] = json!("senco");
            claims["name"] = json!("Ada Numbat");
        });
        let second = entry_of(&get_with(&wire, dir, "provider-a", &as_senco).await);
        assert_eq!((&second.practitioner, &*second.role), (&first.practitioner, "senco"));
        // The same person in the same words is another to another organisation.
        let other = tokens::sign_in(dir, "school", |_| {}).await;
        let pseudonym: String = tokens::pseudonym(&first);
        assert_ne!(other, pseudonym);
        let request = ListPractitionersRequest::default();
        let known = client.call(register_service::LIST_PRACTITIONERS, &request).await.unwrap().message;
        let known: Vec<_> =
            known.practitioners.iter().map(|it| (&*it.practitioner, &*it.subject, &*it.name)).collect();
        assert_eq!(known, [(&*pseudonym, SUBJECT, "Ada Numbat")]);
        let auditor = world.client("auditor").await;
        let refused = auditor.call(register_service::LIST_PRACTITIONERS, &request).await.unwrap_err();
        assert_eq!(refusal(&refused), "METHOD_NOT_ALLOWED");
        // The auditor, whom the authority appointed, sees role and pseudonym of the authority's person alone.
        let of_la = tokens::sign_in(dir, "la-a", |_| {}).await;
        let by_role = ListExchangesRequest { role: RoleCode::Dsl.into(), ..Default::default() };
        let seen = list(&auditor, by_role).await;
        assert_eq!(seen, [("la/330".to_owned(), of_la.clone(), RoleCode::Dsl as i32)]);
        let by_person = ListExchangesRequest { practitioner: pseudonym.clone(), ..Default::default() };
        assert_eq!(list(&auditor, by_person.clone()).await, []);
        assert_eq!(list(&client, by_person).await.len(), 2);
        let senco = ListExchangesRequest { role: RoleCode::Senco.into(), ..Default::default() };
        assert_eq!(list(&client, senco).await.len(), 1);
        world.stop().await;
    }
}

/// Returns the claims with another value of one of them.
pub fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

async fn list(client: &Client, request: ListExchangesRequest) -> Vec<(String, String, i32)> {
    let request = ListExchangesRequest { page_size: 1_000, ..request };
    let reply = client.call(ap_gateway::proto::v1::audit_service::LIST_EXCHANGES, &request).await.unwrap();
    let found = reply.message.exchanges.into_iter();
    found.map(|exchange| (exchange.organisation, exchange.practitioner, exchange.role)).collect()
}

fn refusal(error: &ClientError) -> String {
    match error {
        ClientError::Refused(status) => reason(status),
        other => panic!("{other}"),
    }
}

async fn token_client(world: &World, caller: &str, token: &str) -> Client {
    world.client(caller).await.with_token(token).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_an_issuer_a_person_or_a_certificate_ends_its_tokens() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let issuer = TestIssuer::load(dir, "provider-a");
    let system = world.client("provider-a").await;
    let good = issuer.token(dir, "provider-a", |_| {});
    let client = token_client(&world, "provider-a", &good).await;
    get_riverside(&client).await.unwrap();
    // A mutating exchange takes the person from the cache, and the guards find what ended.
    let placement = world.placements("la-a", "provider-a").remove(0);
    submit(&client, &submission(vec![mark(&placement, "2026-11-02", "I")])).await.unwrap();
    submit(&client, &submission(vec![mark(&placement, "2026-11-03", "I")])).await.unwrap();
    // A stolen token, sent with another certificate of the same organisation.
    let thief = token_client(&world, "provider-a-old", &good).await;
    assert_eq!(refusal(&get_riverside(&thief).await.unwrap_err()), "TOKEN_INVALID");
    // A suspended organisation has no persons either.
    let operator = world.client("operator").await;
    set_riverside_state(&operator, OrganisationState::Suspended).await;
    let suspended = token_client(&world, "provider-a", &good).await;
    assert_eq!(refusal(&get_riverside(&suspended).await.unwrap_err()), "ORG_SUSPENDED");
    set_riverside_state(&operator, OrganisationState::Active).await;
    let client = token_client(&world, "provider-a", &good).await;
    let system = {
        drop(system);
        world.client("provider-a").await
    };
    submit(&client, &submission(vec![mark(&placement, "2026-11-04", "I")])).await.unwrap();
    // The issuer is ended, and registered again.
    let name = "https://provider-a.sandbox.ap.example".to_owned();
    let end = EndIssuerRequest { request_id: new_id(), issuer: name.clone(), ..Default::default() };
    system.call(register_service::END_ISSUER, &end).await.unwrap();
    let late = submit(&client, &submission(vec![mark(&placement, "2026-11-05", "I")])).await;
    assert_eq!(refusal(&late.unwrap_err()), "TOKEN_INVALID");
    assert_eq!(refusal(&get_riverside(&client).await.unwrap_err()), "TOKEN_INVALID");
    let key = IssuerKey {
        key_id: issuer.key_id.clone(),
        algorithm: TokenAlgorithm::Es256.into(),
        jwk: serde_json::to_string(&issuer.jwk.algorithm).unwrap(),
        ..IssuerKey::default()
    };
    let register = RegisterIssuerRequest {
        request_id: new_id(),
        issuer: name.clone(),
        keys: vec![key],
        ..RegisterIssuerRequest::default()
    };
    system.call(register_service::REGISTER_ISSUER, &register).await.unwrap();
    submit(&client, &submission(vec![mark(&placement, "2026-11-05", "I")])).await.unwrap();
    let again = RegisterIssuerRequest { request_id: new_id(), ..register.clone() };
    let refused = system.call(register_service::REGISTER_ISSUER, &again).await.unwrap_err();
    assert_eq!(refusal(&refused), "ALREADY_EXISTS");
    let stale = RegisterIssuerRequest { request_id: new_id(), etag: "1".to_owned(), ..register };
    let refused = system.call(register_service::REGISTER_ISSUER, &stale).await.unwrap_err();
    assert_eq!(refusal(&refused), "REVISION_MISMATCH");
    let issuers = system.call(register_service::LIST_ISSUERS, &ListIssuersRequest {}).await.unwrap().message;
    let issuers: Vec<_> = issuers.issuers.iter().map(|it| (&*it.issuer, &*it.etag, it.ended)).collect();
    assert_eq!(issuers, [(&*name, "3", false)]);
    // One person is ended; another of the same issuer is not.
    let request = ListPractitionersRequest::default();
    let known = system.call(register_service::LIST_PRACTITIONERS, &request).await.unwrap().message;
    let practitioner = known.practitioners[0].practitioner.clone();
    let end = EndPractitionerRequest { request_id: new_id(), practitioner, ..Default::default() };
    system.call(register_service::END_PRACTITIONER, &end).await.unwrap();
    let late = submit(&client, &submission(vec![mark(&placement, "2026-11-06", "I")])).await;
    assert_eq!(refusal(&late.unwrap_err()), "TOKEN_INVALID");
    let fresh = token_client(&world, "provider-a", &issuer.token(dir, "provider-a", |_| {})).await;
    assert_eq!(refusal(&get_riverside(&fresh).await.unwrap_err()), "TOKEN_INVALID");
    let other = issuer.token(dir, "provider-a", |claims| claims["sub"] = json!("another"));
    get_riverside(&token_client(&world, "provider-a", &other).await).await.unwrap();
    // A good token with a certificate that was revoked.
    let of_old =
        issuer.sign(&issuer.header(), &with(tokens::claims(dir, "provider-a-old"), "sub", json!("old")));
    let old = token_client(&world, "provider-a-old", &of_old).await;
    get_riverside(&old).await.unwrap();
    let request = revocation_request(dir, "provider-a-old");
    system.call(register_service::REVOKE_CERTIFICATE, &request).await.unwrap();
    assert_revoked(&get_riverside(&old).await.unwrap_err());
    // The organisation and the operator received each change of the issuer.
    for client in [&system, &operator] {
        let received = super::support::deliveries(client).await;
        let received = received.iter().filter_map(|delivery| match &delivery.content {
            Some(ap_gateway::proto::v1::delivery::Content::Register(content)) if content.issuer == name => {
                Some(content.method.clone())
            }
            _ => None,
        });
        assert_eq!(received.collect::<Vec<_>>(), ["RegisterIssuer", "EndIssuer", "RegisterIssuer"]);
    }
    world.stop().await;
}

/// A person may end itself, also with the first token that gives it another name.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_ends_itself_under_a_new_name_is_ended() {
    for world in [World::sqlite().await, World::postgres().await] {
        let dir = world.dir.path();
        let issuer = TestIssuer::load(dir, "provider-a");
        let practitioner = tokens::sign_in(dir, "provider-a", |_| {}).await;
        let renamed = issuer.token(dir, "provider-a", |claims| claims["name"] = json!("Ada Numbat"));
        let client = token_client(&world, "provider-a", &renamed).await;
        let end = EndPractitionerRequest { request_id: new_id(), practitioner, ..Default::default() };
        client.call(register_service::END_PRACTITIONER, &end).await.unwrap();
        for token in [renamed, issuer.token(dir, "provider-a", |_| {})] {
            let client = token_client(&world, "provider-a", &token).await;
            assert_eq!(refusal(&get_riverside(&client).await.unwrap_err()), "TOKEN_INVALID");
        }
        let system = world.client("provider-a").await;
        let request = ListPractitionersRequest::default();
        let known = system.call(register_service::LIST_PRACTITIONERS, &request);
        let known: Vec<_> = known
            .await
            .unwrap()
            .message
            .practitioners
            .iter()
            .map(|it| (it.subject.clone(), it.ended))
            .collect();
        assert_eq!(known, [(SUBJECT.to_owned(), true)]);
        world.stop().await;
    }
}

/// A key whose end passes in the middle of a stream ends it before its next message.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_key_of_its_token_does() {
    for world in [World::sqlite().await, World::postgres().await] {
        watch_beyond_the_end_of_a_key(&world).await;
        world.stop().await;
    }
}

async fn watch_beyond_the_end_of_a_key(world: &World) {
    let dir = world.dir.path();
    let system = world.client("la-a").await;
    let der = PrivateKeyDer::from_pem_slice(SandboxAuthority::new_key().unwrap().as_bytes()).unwrap();
    let issuer = TestIssuer::new(der.secret_der());
    let to = SystemClock.now().plus(Duration::from_secs(3));
    let register = RegisterIssuerRequest {
        request_id: new_id(),
        issuer: "https://short.example".to_owned(),
        keys: vec![IssuerKey {
            key_id: issuer.key_id.clone(),
            algorithm: TokenAlgorithm::Es256.into(),
            jwk: serde_json::to_string(&issuer.jwk.algorithm).unwrap(),
            to_time: Some(to.to_proto()),
            ..IssuerKey::default()
        }],
        ..RegisterIssuerRequest::default()
    };
    system.call(register_service::REGISTER_ISSUER, &register).await.unwrap();
    let token = issuer.token(dir, "la-a", |claims| claims["iss"] = json!("https://short.example"));
    let client = token_client(world, "la-a", &token).await;
    let watch = WatchDeliveriesRequest::default();
    let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    // A delivery that arrives after the end of the key is not sent.
    let riverside = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    let late = submit(&riverside, &submission(vec![mark(&placement, "2026-11-02", "I")])).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        for _ in 0..1_000 {
            match stream.next(|_| prost::bytes::Bytes::new()).await {
                Ok(None) => return "closed".to_owned(),
                Ok(Some(reply)) => {
                    let reply: &ap_gateway::proto::v1::WatchDeliveriesResponse = &reply.0;
                    let known = |it: &ap_gateway::proto::v1::Delivery| it.object_id == late.message.return_id;
                    assert!(!reply.deliveries.iter().any(known));
                }
                Err(error) => return refusal(&error),
            }
        }
        "never".to_owned()
    });
    assert_eq!(ended.await.unwrap(), "TOKEN_INVALID");
}

/// A request id is bound to the person: another person's repetition is another request.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_bound_to_its_person() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let issuer = TestIssuer::load(dir, "provider-a");
    let placement = world.placements("la-a", "provider-a").remove(0);
    let request = submission(vec![mark(&placement, "2026-11-02", "I")]);
    let first = token_client(&world, "provider-a", &issuer.token(dir, "provider-a", |_| {})).await;
    let stored = submit(&first, &request).await.unwrap();
    let again = token_client(&world, "provider-a", &issuer.token(dir, "provider-a", |_| {})).await;
    assert_eq!(submit(&again, &request).await.unwrap().receipt, stored.receipt);
    let other = issuer.token(dir, "provider-a", |claims| claims["sub"] = json!("another"));
    let other = token_client(&world, "provider-a", &other).await;
    for client in [other, world.client("provider-a").await] {
        assert_eq!(refusal(&submit(&client, &request).await.unwrap_err()), "IDEMPOTENCY_KEY_REUSED");
    }
    world.stop().await;
}

/// A processor's token: its own certificate, the organisation's issuer, and a grant that names the method.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_s_token_is_of_the_organisation_and_of_its_own_certificate() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let issuer = TestIssuer::load(dir, "provider-a");
    let placement = world.placements("la-a", "provider-a").remove(0);
    let bound = tokens::claims(dir, "processor")["cnf"].clone();
    let token = issuer.token(dir, "provider-a", |claims| claims["cnf"] = bound);
    let client = token_client(&world, "processor", &token).await;
    let stored = submit(&client, &submission(vec![mark(&placement, "2026-11-02", "I")])).await.unwrap();
    let entry = AuditEntry::decode(stored.receipt.entry).unwrap();
    assert_eq!((&*entry.processor, &*entry.organisation), ("processor/registerworks", "provider/riverside"));
    assert_eq!((entry.practitioner.len(), &*entry.role), (32, "dsl"));
    let unbound = token_client(&world, "processor", &issuer.token(dir, "provider-a", |_| {})).await;
    let refused = submit(&unbound, &submission(vec![mark(&placement, "2026-11-03", "I")])).await;
    assert_eq!(refusal(&refused.unwrap_err()), "TOKEN_INVALID");
    // The organisation reads of it in its own log.
    let known = audit::list_all_exchanges(&world.client("provider-a").await).await.unwrap();
    let known: Vec<_> = known.iter().filter(|exchange| exchange.reason == "TOKEN_INVALID").collect();
    assert_eq!(known.len(), 1);
    assert_eq!(
        (&*known[0].organisation, &*known[0].processor),
        ("provider/riverside", "processor/registerworks")
    );
    assert_eq!((&*known[0].practitioner, known[0].role), ("", 0));
    world.stop().await;
}

/// Who was refused, and when each person was last seen, is told to the organisation.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_person_is_known_and_each_was_last_seen_with_its_newest_exchange() {
    for world in [World::sqlite().await, World::postgres().await] {
        let dir = world.dir.path();
        let (issuer, system) = (TestIssuer::load(dir, "provider-a"), world.client("provider-a").await);
        let placement = world.placements("la-a", "provider-c").remove(0);
        let (database, mut pseudonyms) = (world.database().await, Vec::new());
        for (subject, instants) in [
            ("first", &["2026-11-20T16:05:00Z"][..]),
            ("second", &["2026-11-20T16:10:00Z", "2026-11-21T09:00:00Z"]),
        ] {
            for instant in instants {
                if instant.starts_with("2026-11-21") {
                    // What was before is found in the index, and what follows in the log itself.
                    let indexer = LogIndexer::new(database.clone(), world.committer().clone());
                    while indexer.step(1).await.unwrap() {}
                }
                world.advance(instant);
                let token = issuer.token(dir, "provider-a", |claims| claims["sub"] = json!(subject));
                let person = token_client(&world, "provider-a", &token).await;
                // Another provider's placement.
                let request = GetPlacementRequest { placement_id: placement.clone() };
                let refused = person.call(placement_service::GET_PLACEMENT, &request).await.unwrap_err();
                assert_eq!(refusal(&refused), "NOT_FOUND");
            }
        }
        world.advance("2026-11-22T09:00:00Z");
        get_riverside(&system).await.unwrap();
        for exchange in audit::list_all_exchanges(&system).await.unwrap() {
            if exchange.reason == "NOT_FOUND" && !pseudonyms.contains(&exchange.practitioner) {
                pseudonyms.push(exchange.practitioner);
            }
        }
        let request = ListPractitionersRequest::default();
        let known = system.call(register_service::LIST_PRACTITIONERS, &request);
        let known = known.await.unwrap().message.practitioners;
        assert!(known.iter().all(|it| pseudonyms.contains(&it.practitioner)));
        let seen = known.iter().map(|it| {
            let time = it.last_seen_time.as_ref().map(|time| Instant::from_proto(time).unwrap().to_string());
            (it.subject.clone(), time.unwrap_or_default())
        });
        let seen: BTreeMap<_, _> = seen.collect();
        assert_eq!(pseudonyms.len(), 2);
        assert!(seen["first"].starts_with("2026-11-20T16:05:00"), "{seen:?}");
        assert!(seen["second"].starts_with("2026-11-21T09:00:00"), "{seen:?}");
        database.close().await;
        world.stop().await;
    }
}

/// The names of this test's person are in no stored byte and in no answer but the list of practitioners.
#[tokio::test(flavor = "multi_thread")]
async fn names_and_subjects_are_sealed() {
    let world = World::sqlite().await;
    let pseudonym = tokens::sign_in(world.dir.path(), "provider-a", |_| {}).await;
    assert_eq!(pseudonym.len(), 64);
    let exchanges = audit::list_all_exchanges(&world.client("provider-a").await).await.unwrap();
    assert!(exchanges.iter().any(|exchange| exchange.practitioner == pseudonym));
    assert!(!format!("{exchanges:?}").contains(NAME) && !format!("{exchanges:?}").contains(SUBJECT));
    let world_file = sandbox::world::load(world.dir.path()).unwrap();
    assert_eq!(
        world_file.issuers.iter().map(|it| &*it.name).collect::<Vec<_>>(),
        ["la-a", "school", "provider-a"]
    );
    let dir = world.stop().await;
    let mut bytes = Vec::new();
    for file in ["gateway.sqlite", "gateway.sqlite-wal", "anchor"] {
        bytes.extend(std::fs::read(dir.path().join(file)).unwrap_or_default());
    }
    let bytes = String::from_utf8_lossy(&bytes);
    assert!(bytes.contains("https://provider-a.sandbox.ap.example"), "the search finds what is there");
    for secret in [NAME, SUBJECT, "Bandicoot"] {
        assert!(!bytes.contains(secret), "{secret}");
    }
}
