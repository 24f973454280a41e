//! Content digests: a delivery can be acknowledged by the digest with which it was collected, even if its content
//! has been reduced since.

use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, ChildIdentity, CreateReferralRequest, DataClass, Delivery,
    DeliveryKind, DeliveryStage, Purpose, delivery_service, placement_service,
};

use super::documents::{deliveries_of_kind, put_passport, refusal_reason, share_passport, withhold};
use super::exchange_semantics::new_id;
use super::fixtures::{Fixtures, find_example};
use super::passport_fixtures::{
    agree, block, emergency, meta, person_named, put_blocks, safeguarding, share_under,
};
use super::support::{World, deliveries};
use ap_gateway::proto::v1::PassportBlockKind as Kind;
use prost::Message;

async fn acknowledge(client: &Client, delivery: &Delivery, digest: &[u8]) -> Result<u32, String> {
    let request = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged {
            cursor: delivery.cursor.clone(),
            content_sha256: digest.to_vec().into(),
        }],
        stage: DeliveryStage::Acknowledged as i32,
        ..AcknowledgeDeliveryRequest::default()
    };
    let reply =
        client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.map_err(refusal_reason)?;
    Ok(reply.message.acknowledged)
}

fn child_in(delivery: &Delivery) -> Option<&ChildIdentity> {
    match delivery.content.as_ref()? {
        Content::Placement(content) => content.placement.as_ref()?.child.as_ref(),
        Content::Attendance(content) => content.children.first()?.child.as_ref(),
        _ => None,
    }
}

/// Checks that a change of the commissioner's record of the child does not change the content of earlier
/// deliveries.
async fn a_record_that_grows_moves_no_digest(world: &World, stage: &Fixtures) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let referral = stage.request(find_example("CreateReferral").unwrap(), false).encode_to_vec();
    let mut request = CreateReferralRequest::decode(&referral[..]).unwrap();
    let before = [deliveries(&la).await, deliveries(&riverside).await];
    assert!(before.iter().all(|mail| mail.iter().any(|delivery| child_in(delivery).is_some())));
    let child = request.child.as_mut().unwrap();
    "Later".clone_into(&mut child.preferred_forename);
    let named = child.upn.clone();
    la.call(placement_service::CREATE_REFERRAL, &request).await.unwrap();
    for (client, before) in [&la, &riverside].into_iter().zip(before) {
        let after = deliveries(client).await;
        for (earlier, later) in before.iter().zip(&after) {
            assert_eq!(later.content_sha256, earlier.content_sha256, "{:?}", earlier.kind());
            assert_eq!(acknowledge(client, later, &earlier.content_sha256).await, Ok(1));
        }
    }
    let newest = newest_delivery(&riverside, DeliveryKind::Referral).await;
    let read = child_in(&newest).unwrap();
    assert_eq!((&*read.preferred_forename, &read.upn), ("Later", &named));
}

async fn newest_delivery(client: &Client, kind: DeliveryKind) -> Delivery {
    let mut mail = deliveries(client).await.into_iter();
    mail.rfind(|delivery| delivery.kind() == kind).unwrap()
}

/// Checks that after a block was withheld both digests that were sent are accepted, and no other.
async fn a_content_that_is_cut_is_acknowledged_by_either_digest(world: &World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let placement = world.placements("la-a", "provider-a").remove(1);
    let etag = put_passport(&la, &placement, "").await.unwrap().etag;
    share_passport(&la, &placement, &etag).await.unwrap();
    let newest =
        async || deliveries_of_kind(&riverside, DeliveryKind::Passport, &placement).await.pop().unwrap();
    let whole = newest().await;
    withhold(&la, &placement, &[Kind::Medical]).await.unwrap();
    // It has not been collected since, so only the digest of the whole content has been sent.
    let mut other = whole.content_sha256.to_vec();
    other[0] ^= 1;
    assert_eq!(acknowledge(&riverside, &whole, &other).await, Err("DIGEST_MISMATCH".to_owned()));
    assert_eq!(acknowledge(&riverside, &whole, &whole.content_sha256).await, Ok(1));
    let cut = newest().await;
    let Some(Content::Passport(content)) = &cut.content else { panic!("no passport") };
    assert!(!content.blocks.iter().any(|block| matches!(block.content, Some(Block::Medical(_)))));
    assert_ne!(cut.content_sha256, whole.content_sha256);
    for digest in [&whole.content_sha256, &cut.content_sha256] {
        assert_eq!(acknowledge(&riverside, &cut, digest).await, Ok(1));
    }
    // A digest that was sent to one organisation is not accepted from another.
    let ours = deliveries(&la).await.pop().unwrap();
    assert_eq!(acknowledge(&la, &ours, &whole.content_sha256).await, Err("DIGEST_MISMATCH".to_owned()));
}

/// Checks that a digest is accepted from the reader to whom it was sent, and tells nobody else that it was sent: who sends
/// a guess at what another reads gets the answer to a wrong one.
async fn a_passport_is_acknowledged_by_its_reader_s_digest_alone(world: &World) {
    let (la, system) = (world.client("la-a").await, world.client("provider-a").await);
    let placement = world.placements("la-a", "provider-a").remove(2);
    let classes = [DataClass::Passport, DataClass::Restricted];
    let agreement = agree(&la, &system, &classes, "10", &[Purpose::Safeguarding]).await;
    let blocks = vec![meta(), emergency(), block(Block::Safeguarding(safeguarding()))];
    let etag = put_blocks(&la, &placement, "", blocks).await.etag;
    share_under(&la, &placement, &etag, &agreement).await;
    let person = async |subject: &str, role: &str| {
        person_named(world, "provider-a", subject, role, "safeguarding").await
    };
    let (dsl, tutor) = (person("lead", "dsl").await, person("tutor", "tutor").await);
    let quality = person("officer", "quality_officer").await;
    let same_person = person("lead", "tutor").await;
    let mut sent = Vec::new();
    for reader in [&system, &dsl, &tutor, &quality] {
        let newest = deliveries_of_kind(reader, DeliveryKind::Passport, &placement).await.pop().unwrap();
        sent.push((reader, newest));
    }
    // The lead reads more than the system, the officer less, and the tutor the same.
    let digest = |at: usize| &sent[at].1.content_sha256;
    assert!(digest(0) != digest(1) && digest(0) == digest(2) && digest(0) != digest(3));
    for (at, (reader, own)) in sent.iter().enumerate() {
        for (other, (_, delivery)) in sent.iter().enumerate() {
            let known = own.content_sha256 == delivery.content_sha256;
            let expected = if known { Ok(1) } else { Err("DIGEST_MISMATCH".to_owned()) };
            let answer = acknowledge(reader, own, &delivery.content_sha256).await;
            assert_eq!(answer, expected, "reader {at}, digest of {other}");
        }
    }
    assert_eq!(acknowledge(&same_person, &sent[1].1, digest(1)).await, Ok(1));
    // A person to whom nothing was sent has no digest, not even one that the person would be sent.
    let late = person("another", "dsl").await;
    for (_, delivery) in &sent {
        let answer = acknowledge(&late, delivery, &delivery.content_sha256).await;
        assert_eq!(answer, Err("DIGEST_MISMATCH".to_owned()));
    }
    // What is the same for every reader is acknowledged by a person as the system collected it.
    let plan = deliveries_of_kind(&system, DeliveryKind::Plan, &placement).await.pop().unwrap();
    assert_eq!(acknowledge(&late, &plan, &plan.content_sha256).await, Ok(1));
}

async fn all(world: World) {
    let stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    a_record_that_grows_moves_no_digest(&world, &stage).await;
    a_content_that_is_cut_is_acknowledged_by_either_digest(&world).await;
    a_passport_is_acknowledged_by_its_reader_s_digest_alone(&world).await;
    drop(stage);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_acknowledged_by_the_digest_it_was_collected_with_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_acknowledged_by_the_digest_it_was_collected_with_on_postgresql() {
    all(World::postgres().await).await;
}
