//! Every fault of a token over the wire: one status, one text, one entry, and nothing is learnt from it.

use std::collections::BTreeSet;

use ap_gateway::client::Client;
use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::proto::v1::{
    AuditEntry, GetExchangeRequest, ListPractitionersRequest, Outcome, audit_service, register_service,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use serde_json::json;
use tonic::Code;

use super::persons::with;
use super::support::World;
use super::tokens::{self, GET_ORGANISATION, TestIssuer, own_registration};
use super::wire::{Answer, Wire, frame};

const TEXT: &str = "the token in the authorization header is not valid for this call";

/// Returns the faulty `authorization` headers, each with what is wrong.
fn faulty_headers(world: &World) -> Vec<(String, Vec<String>)> {
    let dir = world.dir.path();
    let issuer = TestIssuer::load(dir, "provider-a");
    let (header, claims) = (issuer.header(), tokens::claims(dir, "provider-a"));
    let now = SystemClock.now().seconds();
    let good = issuer.sign(&header, &claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |what: String, token: String| all.push((what, vec![format!("Bearer {token}")]));
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("ES384")),
        ("alg", json!("RS256")),
        ("alg", json!("EdDSA")),
        ("alg", json!("PS256")),
        ("typ", json!("JOSE")),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' OR '1'='1")),
        ("kid", json!("unknown")),
        ("jwk", serde_json::to_value(&issuer.jwk).unwrap()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
    ] {
        add(format!("header {name} {value}"), issuer.sign(&with(header.clone(), name, value), &claims));
    }
    for (name, value) in [
        ("iss", json!("https://unknown.example")),
        ("iss", json!("https://la-a.sandbox.ap.example")),
        ("sub", json!("")),
        ("sub", json!("s".repeat(129))),
        ("jti", json!("j".repeat(129))),
        ("organisation", json!("provider/brightwater")),
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://other.example"])),
        ("iat", json!(now + 120)),
        ("nbf", json!(now + 120)),
        ("nbf", json!(now.to_string())),
        ("exp", json!(now - 60)),
        ("exp", json!(now + 1_000)),
        ("exp", json!((now + 900).to_string())),
        ("exp", json!(1.5e9)),
        ("cnf", json!({"x5t#S256": URL_SAFE_NO_PAD.encode([0; 32])})),
        ("cnf", tokens::claims(dir, "provider-a-old")["cnf"].clone()),
        ("cnf", json!({})),
        ("role", json!("DSL")),
        ("role", json!("teacher")),
        ("role", json!("unspecified")),
        ("purpose", json!("marketing")),
        ("purpose", json!("SAFEGUARDING")),
        ("name", json!("")),
        ("name", json!("n".repeat(201))),
        ("name", json!("Ada \u{202e}Bandicoot")),
        ("x", json!("x".repeat(8_192))),
        ("x", json!("x".repeat(10_500))),
    ] {
        let text = value.to_string();
        let shown: String = text.chars().take(40).collect();
        add(format!("claim {name} {shown}"), issuer.sign(&header, &with(claims.clone(), name, value)));
    }
    for name in ["iss", "sub", "jti", "organisation", "aud", "iat", "exp", "cnf", "role", "purpose", "name"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(name);
        add(format!("no {name}"), issuer.sign(&header, &without));
    }
    let public = issuer.jwk.clone();
    let hmac = jsonwebtoken::EncodingKey::from_secret(serde_json::to_string(&public).unwrap().as_bytes());
    let hs256 = jsonwebtoken::Header { kid: Some(issuer.key_id.clone()), ..Default::default() };
    add("HS256 with the public key".to_owned(), jsonwebtoken::encode(&hs256, &claims, &hmac).unwrap());
    let stranger = TestIssuer::load(dir, "la-a");
    add("a signature by another key".to_owned(), stranger.sign(&header, &claims));
    add("an unsigned token".to_owned(), format!("{signed}."));
    add("a padded signature".to_owned(), format!("{signed}.{signature}="));
    add("no token".to_owned(), String::new());
    add("something else".to_owned(), "a.b.c".to_owned());
    all.push(("two headers".to_owned(), vec![format!("Bearer {good}"), format!("Bearer {good}")]));
    all.push(("another scheme".to_owned(), vec![format!("Basic {good}")]));
    all
}

/// Reads the entry of a refusal from the log.
async fn entry_of_refusal(client: &Client, answer: &Answer) -> AuditEntry {
    let request = GetExchangeRequest { exchange_id: answer.exchange() };
    let reply = client.call(audit_service::GET_EXCHANGE, &request).await.unwrap().message;
    AuditEntry::decode(reply.exchange_receipt.unwrap().entry).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_token_is_one_refusal_with_one_entry() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let (wire, client) = (Wire::connect(dir, "provider-a").await, world.client("provider-a").await);
    let mut answers = BTreeSet::new();
    let faults = faulty_headers(&world);
    let before = world.committer().head().borrow().size;
    let mut refused = Vec::new();
    for (what, headers) in &faults {
        let metadata: Vec<_> = headers.iter().map(|value| ("authorization", value.as_str())).collect();
        let body = frame(&own_registration(dir, "provider-a"));
        let answer = wire.send(GET_ORGANISATION, &metadata, body).await.unwrap();
        assert_eq!(
            (answer.status().code(), &*answer.reason()),
            (Code::Unauthenticated, "TOKEN_INVALID"),
            "{what}"
        );
        assert_eq!(answer.status().message(), TEXT, "{what}");
        answers.insert(answer.masked());
        refused.push((what, answer));
    }
    assert_eq!(answers.len(), 1, "every refusal has the same bytes");
    assert_eq!(world.committer().head().borrow().size - before, faults.len() as u64, "an entry each");
    for (what, answer) in refused {
        let entry = entry_of_refusal(&client, &answer).await;
        assert_eq!((entry.outcome(), &*entry.reason), (Outcome::Refused, "TOKEN_INVALID"), "{what}");
        assert_eq!((&*entry.organisation, &*entry.system), ("provider/riverside", "register"), "{what}");
        assert!(entry.practitioner.is_empty() && entry.role.is_empty() && entry.purpose == 0, "{what}");
    }
    // Nobody is kept of whom only faults were sent.
    let request = ListPractitionersRequest::default();
    let known = client.call(register_service::LIST_PRACTITIONERS, &request).await.unwrap().message;
    assert!(known.practitioners.is_empty());
    world.stop().await;
}
