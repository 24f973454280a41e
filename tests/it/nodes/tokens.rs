//! What ends a token on one node ends it on the other, with its next exchange and before the next message of a stream.

use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::{
    EndIssuerRequest, EndPractitionerRequest, IssuerKey, OrganisationState, RegisterIssuerRequest,
    TokenAlgorithm, WatchDeliveriesRequest, WatchDeliveriesResponse, delivery_service, register_service,
};
use prost::bytes::Bytes;
use serde_json::json;

use super::super::ended_rights::{assert_revoked, get_riverside, revocation_request, set_riverside_state};
use super::super::exchange_semantics::{new_id, submit};
use super::super::support::Postgres;
use super::super::tokens::{self, TestIssuer};
use super::{NODE_NAMES, Nodes};

const ONE: &str = NODE_NAMES[0];
const TWO: &str = NODE_NAMES[1];

/// Returns the reason of a refusal.
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    match answer.unwrap_err() {
        ClientError::Refused(status) => reason(&status),
        other => panic!("{other}"),
    }
}

/// A person of Riverside, with connections to both nodes.
struct TwoNodes<'a> {
    nodes: &'a Nodes,
    issuer: TestIssuer,
}

impl TwoNodes<'_> {
    /// Returns a client of a node for a person.
    async fn person(&self, node: &str, certificate: &str, subject: &str) -> Client {
        let cnf = tokens::claims(&self.nodes.dir(node), certificate)["cnf"].clone();
        let token = self.issuer.token(&self.nodes.dir(node), "provider-a", |claims| {
            claims["sub"] = json!(subject);
            claims["cnf"] = cnf;
        });
        self.nodes.client(node, certificate).await.with_token(&token).unwrap()
    }

    /// Submits a mark, which takes the person from the node's cache if it is there.
    async fn submit(&self, client: &Client) -> Result<(), ClientError> {
        submit(client, &self.nodes.next_mark()).await.map(drop)
    }

    /// Asserts that neither an exchange from the cache nor one that reads takes the token.
    async fn assert_refused(&self, client: &Client, what: &str) {
        assert_eq!(refused(self.submit(client).await), "TOKEN_INVALID", "{what}");
        assert_eq!(refused(get_riverside(client).await), "TOKEN_INVALID", "{what}");
    }
}

fn issuer_name(nodes: &Nodes) -> String {
    let issuers = sandbox::world::load(&nodes.dir(ONE)).unwrap().issuers;
    issuers.into_iter().find(|issuer| issuer.name == "provider-a").unwrap().issuer
}

/// Ends a person while a stream of it is open on the other node.
async fn end_person(two_nodes: &TwoNodes<'_>, system: &Client) {
    let client = two_nodes.person(TWO, "provider-a", "ended").await;
    two_nodes.submit(&client).await.unwrap();
    two_nodes.submit(&client).await.unwrap();
    let watch = WatchDeliveriesRequest::default();
    let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    let dir = two_nodes.nodes.dir(ONE);
    let practitioner = tokens::sign_in(&dir, "provider-a", |claims| claims["sub"] = json!("ended")).await;
    let end = EndPractitionerRequest { request_id: new_id(), practitioner, ..Default::default() };
    system.call(register_service::END_PRACTITIONER, &end).await.unwrap();
    two_nodes.assert_refused(&client, "an ended person").await;
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        for _ in 0..1_000 {
            if let Err(error) = stream.next(|_: &WatchDeliveriesResponse| Bytes::new()).await {
                return refused(Err::<(), _>(error));
            }
        }
        "never".to_owned()
    });
    assert_eq!(ended.await.unwrap(), "TOKEN_INVALID");
}

/// Ends an issuer, and registers it again.
async fn end_issuer(two_nodes: &TwoNodes<'_>, system: &Client) {
    let client = two_nodes.person(TWO, "provider-a", "another").await;
    two_nodes.submit(&client).await.unwrap();
    two_nodes.submit(&client).await.unwrap();
    let issuer = issuer_name(two_nodes.nodes);
    let end = EndIssuerRequest { request_id: new_id(), issuer: issuer.clone(), ..Default::default() };
    system.call(register_service::END_ISSUER, &end).await.unwrap();
    two_nodes.assert_refused(&client, "an ended issuer").await;
    let key = IssuerKey {
        key_id: two_nodes.issuer.key_id.clone(),
        algorithm: TokenAlgorithm::Es256.into(),
        jwk: serde_json::to_string(&two_nodes.issuer.jwk.algorithm).unwrap(),
        ..IssuerKey::default()
    };
    let register =
        RegisterIssuerRequest { request_id: new_id(), issuer, keys: vec![key], ..Default::default() };
    system.call(register_service::REGISTER_ISSUER, &register).await.unwrap();
    two_nodes.submit(&client).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_token_on_one_node_ends_it_on_the_other() {
    let nodes = Nodes::new(Postgres::start());
    let _served = nodes.serve();
    let two_nodes = TwoNodes { nodes: &nodes, issuer: TestIssuer::load(&nodes.dir(ONE), "provider-a") };
    let system = nodes.client(ONE, "provider-a").await;
    end_person(&two_nodes, &system).await;
    end_issuer(&two_nodes, &system).await;
    // A good token, stolen and sent with another certificate of the same organisation.
    let token = two_nodes.issuer.token(&nodes.dir(ONE), "provider-a", |_| {});
    let own = nodes.client(ONE, "provider-a").await.with_token(&token).unwrap();
    two_nodes.submit(&own).await.unwrap();
    let thief = nodes.client(TWO, "provider-a-old").await.with_token(&token).unwrap();
    two_nodes.assert_refused(&thief, "a stolen token").await;
    // A good token whose certificate was revoked on the other node.
    let old = two_nodes.person(TWO, "provider-a-old", "old").await;
    two_nodes.submit(&old).await.unwrap();
    two_nodes.submit(&old).await.unwrap();
    let revoke = revocation_request(&nodes.dir(ONE), "provider-a-old");
    system.call(register_service::REVOKE_CERTIFICATE, &revoke).await.unwrap();
    assert_revoked(&two_nodes.submit(&old).await.unwrap_err());
    // A good token of an organisation that was suspended on the other node.
    let suspended = two_nodes.person(TWO, "provider-a", "another").await;
    two_nodes.submit(&suspended).await.unwrap();
    let operator = nodes.client(ONE, "operator").await;
    set_riverside_state(&operator, OrganisationState::Suspended).await;
    match two_nodes.submit(&suspended).await.unwrap_err() {
        ClientError::Refused(status) if status.code() != tonic::Code::Unavailable => {
            assert_eq!(reason(&status), "ORG_SUSPENDED");
        }
        // The connection was closed first.
        closed => assert!(!matches!(closed, ClientError::Profile(_)), "{closed}"),
    }
    let again = two_nodes.person(TWO, "provider-a", "another").await;
    assert_eq!(refused(get_riverside(&again).await), "ORG_SUSPENDED");
    set_riverside_state(&operator, OrganisationState::Active).await;
    let restored = two_nodes.person(TWO, "provider-a", "another").await;
    two_nodes.submit(&restored).await.unwrap();
}
