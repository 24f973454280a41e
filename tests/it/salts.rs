//! The salts of an exchange go to who made it. With those of another's exchange one could compare guesses with what a
//! person read or sent, offline and as often as one likes.

use ap_gateway::client::{Client, Reply};
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    AuditEntry, AuthoriseProcessorRequest, DataClass, GetExchangeRequest, GetPassportRequest, Outcome,
    Purpose, Receipt, audit_service, passport_service, register_service,
};
use ap_gateway::tlog::commitment;
use prost::Message;
use serde_json::json;

use super::exchange_semantics::new_id;
use super::passport_fixtures::{
    agree, block, emergency, meta, person_named, put_blocks, safeguarding, share_under,
};
use super::support::World;
use super::tokens::{GET_ORGANISATION, TestIssuer, entry_of, get_with, own_registration};
use super::wire::{Wire, frame};

/// Reads the receipt of an exchange as it is in the log.
async fn receipt_of(client: &Client, exchange: &str) -> Receipt {
    let request = GetExchangeRequest { exchange_id: exchange.to_owned() };
    let reply = client.call(audit_service::GET_EXCHANGE, &request).await.unwrap().message;
    reply.exchange_receipt.unwrap()
}

/// Returns whether a reader is given the salts of an exchange; never one of them alone.
async fn gets_salts(client: &Client, exchange: &str) -> bool {
    let receipt = receipt_of(client, exchange).await;
    assert_eq!(receipt.request_salt.is_empty(), receipt.reply_salt.is_empty());
    !receipt.reply_salt.is_empty()
}

fn exchange_of<R>(reply: &Reply<R>) -> String {
    reply.receipt.exchange_id.clone()
}

async fn read_passport(client: &Client, placement: &str) -> (String, Vec<u8>, Vec<u8>) {
    let request = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    let reply = client.call(passport_service::GET_PASSPORT, &request).await.unwrap();
    (exchange_of(&reply), request.encode_to_vec(), reply.message.encode_to_vec())
}

async fn salts_go_to_who_made_the_exchange(world: &World) {
    let (la, system) = (world.client("la-a").await, world.client("provider-a").await);
    let placement = world.placements("la-a", "provider-a").remove(1);
    let classes = [DataClass::Passport, DataClass::Restricted];
    let agreement = agree(&la, &system, &classes, "10", &[Purpose::Safeguarding]).await;
    let blocks = vec![meta(), emergency(), block(Block::Safeguarding(safeguarding()))];
    let etag = put_blocks(&la, &placement, "", blocks).await.etag;
    share_under(&la, &placement, &etag, &agreement).await;
    let request = AuthoriseProcessorRequest {
        request_id: new_id(),
        processor: "processor/registerworks".to_owned(),
        methods: vec!["GetExchange".to_owned(), "GetPassport".to_owned()],
        from_date: "2026-08-01".to_owned(),
        ..AuthoriseProcessorRequest::default()
    };
    system.call(register_service::AUTHORISE_PROCESSOR, &request).await.unwrap();
    let processor = world.client("processor").await;
    let person = async |subject: &str, role: &str| {
        person_named(world, "provider-a", subject, role, "safeguarding").await
    };
    let (dsl, again) = (person("lead", "dsl").await, person("lead", "head").await);
    let (tutor, other) = (person("tutor", "tutor").await, person("another", "dsl").await);
    let readers = [&system, &processor, &dsl, &again, &tutor, &other];
    let allowed = [
        (&dsl, [false, false, true, true, false, false]),
        (&tutor, [false, false, false, false, true, false]),
        (&system, [true, false, false, false, false, false]),
        (&processor, [true, true, false, false, false, false]),
    ];
    for (at, (maker, expected)) in allowed.into_iter().enumerate() {
        let (exchange, sent, received) = read_passport(maker, &placement).await;
        for (reader, expected) in readers.into_iter().zip(expected) {
            assert_eq!(gets_salts(reader, &exchange).await, expected, "exchange {at}");
        }
        // Who is given them compares them with what was sent and received.
        let receipt = receipt_of(maker, &exchange).await;
        let entry = AuditEntry::decode(receipt.entry).unwrap();
        let commit = |salt: &[u8], bytes: &[u8]| commitment(salt.try_into().unwrap(), bytes);
        assert_eq!(entry.request_commitment[..], commit(&receipt.request_salt, &sent).as_bytes()[..]);
        assert_eq!(entry.reply_commitment[..], commit(&receipt.reply_salt, &received).as_bytes()[..]);
    }
}

/// What a person sends with a token that has expired is as personal as what is sent with a new one.
async fn nobody_gets_the_salts_of_a_refusal_without_a_person(world: &World) {
    let dir = world.dir.path();
    let (wire, system) = (Wire::connect(dir, "provider-a").await, world.client("provider-a").await);
    let issuer = TestIssuer::load(dir, "provider-a");
    let over = issuer.token(dir, "provider-a", |claims| {
        let now = claims["iat"].as_i64().unwrap();
        (claims["iat"], claims["nbf"], claims["exp"]) = (json!(now - 900), json!(now - 900), json!(now - 60));
    });
    let refused = get_with(&wire, dir, "provider-a", &over).await;
    assert_eq!(refused.reason(), "TOKEN_INVALID");
    let dsl = person_named(world, "provider-a", "lead", "dsl", "safeguarding").await;
    for reader in [&system, &dsl] {
        assert!(!gets_salts(reader, &refused.exchange()).await);
    }
    // The system's own call, which is carried out, has them.
    let body = frame(&own_registration(dir, "provider-a"));
    let entry = entry_of(&wire.send(GET_ORGANISATION, &[], body).await.unwrap());
    assert_eq!((entry.outcome(), entry.practitioner.len()), (Outcome::Ok, 0));
    let exchange = uuid::Uuid::from_slice(&entry.exchange_id).unwrap().to_string();
    assert!(gets_salts(&system, &exchange).await && !gets_salts(&dsl, &exchange).await);
}

async fn all(world: World) {
    salts_go_to_who_made_the_exchange(&world).await;
    nobody_gets_the_salts_of_a_refusal_without_a_person(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_to_who_made_the_exchange_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_to_who_made_the_exchange_on_postgresql() {
    all(World::postgres().await).await;
}
