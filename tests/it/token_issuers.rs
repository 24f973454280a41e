//! Issuers of tokens that are not ours: a JOSE library of `PyPI`, an identity provider of npm that binds its tokens to the
//! client's certificate, and keys that openssl made. Each of the three algorithms is verified from end to end.

use std::path::Path;
use std::process::Command;

use ap_gateway::cli::token::{TokenContent, TokenSigner};
use ap_gateway::client::{Client, reason};
use ap_gateway::clock::{Clock, Randomness, SystemClock};
use ap_gateway::proto::v1::{
    IssuerKey, ListPractitionersRequest, RegisterIssuerRequest, TokenAlgorithm, register_service,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;

use super::clients::clients_folder;
use super::exchange_semantics::{new_id, refusal_status};
use super::support::{World, installed_tool, run};
use super::tokens::{self, NAME, SUBJECT, entry_of, get_with};
use super::wire::Wire;

const AUDIENCE: &str = "https://sandbox.ap.example";

/// What a script prints: an issuer, its public keys, and a token of each.
#[derive(Deserialize)]
struct Issued {
    issuer: String,
    keys: Vec<Value>,
    tokens: Vec<String>,
}

fn algorithm(jwk: &Value) -> TokenAlgorithm {
    match jwk["alg"].as_str().unwrap() {
        "ES256" => TokenAlgorithm::Es256,
        "EdDSA" => TokenAlgorithm::Eddsa,
        "PS256" => TokenAlgorithm::Ps256,
        other => panic!("{other}"),
    }
}

async fn register(client: &Client, issuer: &str, keys: Vec<IssuerKey>) {
    let request = RegisterIssuerRequest {
        request_id: new_id(),
        issuer: issuer.to_owned(),
        keys,
        ..RegisterIssuerRequest::default()
    };
    client.call(register_service::REGISTER_ISSUER, &request).await.unwrap();
}

/// Registers the issuer with the keys as it published them, and uses each of its tokens: with the certificate that it is
/// bound to, and stolen.
async fn use_tokens(world: &World, issued: &Issued) {
    let dir = world.dir.path();
    let client = world.client("provider-a").await;
    let key = |jwk: &Value| IssuerKey {
        key_id: jwk["kid"].as_str().unwrap().to_owned(),
        algorithm: algorithm(jwk).into(),
        jwk: jwk.to_string(),
        ..IssuerKey::default()
    };
    register(&client, &issued.issuer, issued.keys.iter().map(key).collect()).await;
    let (own, thief) = (Wire::connect(dir, "provider-a").await, Wire::connect(dir, "provider-a-old").await);
    assert_eq!(issued.tokens.len(), 3);
    for (token, jwk) in issued.tokens.iter().zip(&issued.keys) {
        let taken = get_with(&own, dir, "provider-a", token).await;
        assert_eq!(taken.reason(), "OK", "{jwk}");
        let entry = entry_of(&taken);
        assert_eq!((entry.practitioner.len(), &*entry.role), (32, "dsl"));
        assert_eq!(get_with(&thief, dir, "provider-a", token).await.reason(), "TOKEN_INVALID", "{jwk}");
        // Another signature of the same length, in which the algorithm's own check fails.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let changed = if signature.starts_with('B') { "A" } else { "B" };
        let forged = format!("{signed}.{changed}{}", &signature[1..]);
        assert_eq!(get_with(&own, dir, "provider-a", &forged).await.reason(), "TOKEN_INVALID", "{jwk}");
    }
    let known = client.call(register_service::LIST_PRACTITIONERS, &ListPractitionersRequest::default()).await;
    let known = known.unwrap().message.practitioners;
    let known: Vec<_> = known.iter().map(|it| (&*it.issuer, &*it.subject, &*it.name)).collect();
    assert_eq!(known, [(&*issued.issuer, SUBJECT, NAME)]);
}

fn last_line(printed: &str) -> Issued {
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_joserfc_are_taken() {
    let world = World::sqlite().await;
    let mut python = Command::new(installed_tool("python/bin/python"));
    let printed =
        run(python.arg(clients_folder().join("sign_tokens.py")).arg(world.dir.path()).arg(AUDIENCE));
    use_tokens(&world, &last_line(&printed)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_bound_tokens_of_oidc_provider_are_taken() {
    let world = World::sqlite().await;
    let mut node = Command::new("node");
    node.env("NODE_PATH", installed_tool("node_modules"));
    let printed =
        run(node.arg(clients_folder().join("oidc_provider.js")).arg(world.dir.path()).arg(AUDIENCE));
    use_tokens(&world, &last_line(&printed)).await;
    world.stop().await;
}

/// Makes a private key with openssl.
fn generate_key(dir: &Path, name: &str, arguments: &[&str]) -> TokenSigner {
    let file = dir.join(format!("{name}.key"));
    run(Command::new("openssl").args(arguments).arg("-out").arg(&file));
    TokenSigner::load(&file).unwrap()
}

/// The keys of `openssl genpkey` sign tokens of the command `token`, and a key is good for its own algorithm alone.
#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_is_verified_with_the_key_of_its_own() {
    let world = World::sqlite().await;
    let dir = world.dir.path();
    let (wire, client) = (Wire::connect(dir, "provider-a").await, world.client("provider-a").await);
    let rsa = dir.join("rsa.key");
    run(Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(&rsa).arg("3072"));
    let signers = [
        (
            "ec",
            generate_key(dir, "ec", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ),
        ("ed25519", generate_key(dir, "ed", &["genpkey", "-algorithm", "ED25519"])),
        ("rsa", TokenSigner::load(&rsa).unwrap()),
    ];
    let certificate = CertificateDer::from_pem_file(dir.join("certs/provider-a.pem")).unwrap();
    for (name, signer) in &signers {
        let issuer = format!("https://{name}.example");
        let content = TokenContent {
            issuer: &issuer,
            subject: SUBJECT,
            name: NAME,
            role: "dsl",
            purpose: "safeguarding",
            organisation: "provider/riverside",
            audience: AUDIENCE,
            certificate: &certificate,
            now: SystemClock.now(),
            minutes: 15,
        };
        let token = signer.sign(&content, &Randomness::system()).unwrap();
        assert_eq!(get_with(&wire, dir, "provider-a", &token).await.reason(), "TOKEN_INVALID", "{name}");
        let key = IssuerKey {
            key_id: signer.key_id().to_owned(),
            algorithm: signer.algorithm().into(),
            jwk: signer.public_jwk().unwrap(),
            ..IssuerKey::default()
        };
        // A key for an algorithm that it is not of is refused.
        for other in [TokenAlgorithm::Es256, TokenAlgorithm::Eddsa, TokenAlgorithm::Ps256] {
            let request = RegisterIssuerRequest {
                request_id: new_id(),
                issuer: issuer.clone(),
                keys: vec![IssuerKey { algorithm: other.into(), ..key.clone() }],
                validate_only: true,
                ..RegisterIssuerRequest::default()
            };
            let answer = client.call(register_service::REGISTER_ISSUER, &request).await;
            if other == signer.algorithm() {
                answer.unwrap();
            } else {
                assert_eq!(reason(&refusal_status(answer)), "INVALID_REQUEST", "{name}");
            }
        }
        register(&client, &issuer, vec![key]).await;
        let accepted = get_with(&wire, dir, "provider-a", &token).await;
        assert_eq!(accepted.reason(), "OK", "{name}");
        assert_eq!(tokens::entry_of(&accepted).practitioner.len(), 32);
    }
    world.stop().await;
}
