//! Every fault of a token over the wire: one status, one text, one entry, and nothing is learnt from it.

use std::collections::BTreeSet;

use ap_gateway::client::Client;
use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::identity::MAX_TOKEN_BYTES;
use ap_gateway::proto::v1::{
    AuditEntry, GetExchangeRequest, ListPractitionersRequest, Outcome, audit_service, register_service,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use serde_json::{Value, json};
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
        ("typ", json!(null)),
        ("kid", json!(7)),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' OR '1'='1")),
        ("kid", json!("unknown")),
        ("jwk", serde_json::to_value(&issuer.jwk).unwrap()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("jwk", json!(null)),
    ] {
        add(format!("header {name} {value}"), issuer.sign(&with(header.clone(), name, value), &claims));
    }
    for (name, value) in [
        ("iss", json!("https://unknown.example")),
        ("iss", json!("https://la-a.sandbox.ap.example")),
        ("sub", json!("")),
        ("sub", json!("s".repeat(129))),
        ("sub", json!("two\nlines")),
        ("sub", json!("\u{1b}[2J")),
        ("sub", json!("ada\u{202e}nitram")),
        ("sub", json!("ada\u{200b}")),
        ("sub", json!(" ")),
        ("jti", json!("two\r\nlines")),
        ("jti", json!("\u{9b}31m")),
        ("jti", json!("\u{2066}j")),
        ("jti", json!("")),
        ("jti", json!("j".repeat(129))),
        ("organisation", json!("provider/brightwater")),
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://other.example"])),
        ("aud", json!([])),
        ("iat", json!(now + 120)),
        ("iat", json!(now - 1)),
        ("iat", json!(now.to_string())),
        ("nbf", json!(now + 120)),
        ("nbf", json!(now.to_string())),
        ("nbf", json!(1.5e9)),
        ("exp", json!(now - 60)),
        ("exp", json!(now + 1_000)),
        ("exp", json!((now + 900).to_string())),
        ("exp", json!(1.5e9)),
        ("cnf", json!({"x5t#S256": URL_SAFE_NO_PAD.encode([0; 32])})),
        ("cnf", tokens::claims(dir, "provider-a-old")["cnf"].clone()),
        ("cnf", json!({})),
        ("cnf", json!({"x5t#S256": ""})),
        ("cnf", json!({"jkt": claims["cnf"]["x5t#S256"]})),
        ("role", json!("DSL")),
        ("role", json!("teacher")),
        ("role", json!("unspecified")),
        ("purpose", json!("marketing")),
        ("purpose", json!("SAFEGUARDING")),
        ("name", json!("")),
        ("name", json!("n".repeat(201))),
        ("name", json!("Ada \u{202e}Bandicoot")),
        ("x", json!("x".repeat(8_192))),
        ("x", json!("x".repeat(16 << 10))),
    ] {
        let text = value.to_string();
        let shown: String = text.chars().take(40).collect();
        add(format!("claim {name} {shown}"), issuer.sign(&header, &with(claims.clone(), name, value)));
    }
    for (what, token) in missing_or_twice(&issuer, &header, &claims) {
        add(what, token);
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
    add("two spaces".to_owned(), format!(" {good}"));
    add("16 KiB".to_owned(), "t".repeat(16 << 10));
    add("16 KiB of dots".to_owned(), ".".repeat(16 << 10));
    add("something else".to_owned(), "a.b.c".to_owned());
    all.push(("two headers".to_owned(), vec![format!("Bearer {good}"), format!("Bearer {good}")]));
    all.push(("another scheme".to_owned(), vec![format!("Basic {good}")]));
    all
}

/// Returns tokens without one of their members, and with one of them twice.
fn missing_or_twice(issuer: &TestIssuer, header: &Value, claims: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in ["iss", "sub", "jti", "organisation", "aud", "iat", "exp", "cnf", "role", "purpose", "name"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(name);
        all.push((format!("no {name}"), issuer.sign(header, &without)));
    }
    for name in ["alg", "typ", "kid"] {
        let mut without = header.clone();
        without.as_object_mut().unwrap().remove(name);
        all.push((format!("no {name}"), issuer.sign(&without, claims)));
    }
    let twice = |json: &Value, member: &str| format!("{{{member},{}", &json.to_string()[1..]);
    let header_text = header.to_string();
    all.push((
        "two alg".to_owned(),
        issuer.sign_text(&twice(header, r#""alg":"none""#), &claims.to_string()),
    ));
    all.push((
        "two exp".to_owned(),
        issuer.sign_text(&header_text, &twice(claims, &format!(r#""exp":{}"#, claims["exp"]))),
    ));
    all.push(("claims that are no object".to_owned(), issuer.sign_text(&header_text, "[]")));
    all
}

/// Returns valid tokens at the limits of the rules, each with the rule.
fn valid_tokens(world: &World) -> Vec<(&'static str, String)> {
    let dir = world.dir.path();
    let issuer = TestIssuer::load(dir, "provider-a");
    let (header, claims) = (issuer.header(), tokens::claims(dir, "provider-a"));
    let now = SystemClock.now().seconds();
    let audience = claims["aud"].clone();
    let of_claims = [
        ("sub of 128 characters", "sub", json!("\u{e9}".repeat(128))),
        ("jti of 128 characters", "jti", json!("j".repeat(128))),
        ("name of 200 characters", "name", json!("\u{e9}".repeat(200))),
        ("a list of audiences", "aud", json!(["https://other.example", audience])),
        ("a list of one audience", "aud", json!([audience])),
        ("iat ahead by less than 30 seconds", "iat", json!(now + 20)),
        ("nbf ahead by less than 30 seconds", "nbf", json!(now + 20)),
        ("exp past by less than 30 seconds", "exp", json!(now - 20)),
        ("another claim", "scope", json!("anything")),
        ("another confirmation beside", "cnf", {
            let mut cnf = claims["cnf"].clone();
            cnf["jkt"] = json!("x");
            cnf
        }),
    ];
    let of_claims = of_claims.map(|(rule, name, value)| {
        // A token that is over lived before.
        let claims =
            if name == "exp" { with(claims.clone(), "iat", json!(now - 900)) } else { claims.clone() };
        (rule, issuer.sign(&header, &with(claims, name, value)))
    });
    let mut all = Vec::from(of_claims);
    for purpose in ["education_provision", "attendance", "safeguarding", "oversight"] {
        all.push((purpose, issuer.sign(&header, &with(claims.clone(), "purpose", json!(purpose)))));
    }
    all.push(("at+jwt", issuer.sign(&with(header.clone(), "typ", json!("at+jwt")), &claims)));
    all.push(("another header", issuer.sign(&with(header.clone(), "cty", json!("x")), &claims)));
    // 8 KiB to the byte: one more character of the claim adds one to two of the token.
    let long = |bytes: usize| issuer.sign(&header, &with(claims.clone(), "x", json!("x".repeat(bytes))));
    let most = (5_000..8_000).rev().find(|bytes| long(*bytes).len() <= MAX_TOKEN_BYTES).unwrap();
    assert!(long(most).len() > MAX_TOKEN_BYTES - 2);
    all.push(("8 KiB", long(most)));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_within_the_rules_is_taken_and_entered() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let wire = Wire::connect(dir, "provider-a").await;
    for (rule, token) in valid_tokens(&world) {
        let answer = tokens::get_with(&wire, dir, "provider-a", &token).await;
        assert_eq!(answer.reason(), "OK", "{rule}");
        let entry = tokens::entry_of(&answer);
        assert_eq!((entry.practitioner.len(), &*entry.role), (32, "dsl"), "{rule}");
    }
    world.stop().await;
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
