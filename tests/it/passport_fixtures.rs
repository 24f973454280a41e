//! Passports and agreements for tests of who reads what.

use ap_gateway::client::Client;
use ap_gateway::proto::v1::passport_block::Content as Block;
use ap_gateway::proto::v1::{
    Agreement, Article6, Article9, Contact, CountersignAgreementRequest, DataClass, GetPassportRequest,
    GetPassportResponse, Officer, PassportBlock, PassportBlockKind as Kind, PassportEmergency,
    PassportHealth, PassportMeta, PassportSafeguarding, ProposeAgreementRequest, Purpose, PutPassportRequest,
    PutPassportResponse, RoleCode, Sensitivity, SharePassportRequest, passport_service, register_service,
};
use serde_json::json;

use super::documents::refusal_reason;
use super::exchange_semantics::new_id;
use super::support::World;
use super::tokens::{SUBJECT, TestIssuer};

pub fn block(content: Block) -> PassportBlock {
    PassportBlock { content: Some(content), ..PassportBlock::default() }
}

/// A block that its sender raised to RESTRICTED.
pub fn raised(content: Block, share_with: &[RoleCode]) -> PassportBlock {
    PassportBlock {
        sensitivity: Sensitivity::Restricted as i32,
        share_with: share_with.iter().map(|role| *role as i32).collect(),
        content: Some(content),
    }
}

pub fn meta() -> PassportBlock {
    let author = Officer { name: "Ada Officer".to_owned(), ..Officer::default() };
    block(Block::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() }))
}

pub fn emergency() -> PassportBlock {
    let contact = Contact { name: "Robin Example".to_owned(), ..Contact::default() };
    block(Block::Emergency(PassportEmergency { contacts: vec![contact] }))
}

pub fn health() -> PassportBlock {
    block(Block::Health(PassportHealth { conditions: "asthma".to_owned(), ..Default::default() }))
}

/// A SAFEGUARDING block with all its parts.
pub fn safeguarding() -> PassportSafeguarding {
    PassportSafeguarding {
        looked_after: true,
        detail: "seen weekly".to_owned(),
        no_contact: vec!["Kit Example".to_owned()],
        address: "1 Example Street".to_owned(),
        youth_justice: "a referral order".to_owned(),
        ..PassportSafeguarding::default()
    }
}

/// Puts a version. Kinds that no system may read and that are not sent are removed.
pub async fn put_blocks(
    client: &Client,
    placement: &str,
    etag: &str,
    blocks: Vec<PassportBlock>,
) -> PutPassportResponse {
    let sent = |kind| match kind {
        Kind::Health => blocks.iter().any(|block| matches!(block.content, Some(Block::Health(_)))),
        _ => blocks.iter().any(|block| matches!(block.content, Some(Block::Safeguarding(_)))),
    };
    let unsent =
        [Kind::Health, Kind::Safeguarding].into_iter().filter(|kind| !etag.is_empty() && !sent(*kind));
    let remove = unsent.map(|kind| kind as i32).collect();
    let request = PutPassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        blocks,
        remove,
        ..PutPassportRequest::default()
    };
    client.call(passport_service::PUT_PASSPORT, &request).await.unwrap().message
}

/// Puts an agreement in force between la-a and provider-a, and returns its id.
pub async fn agree(
    la: &Client,
    riverside: &Client,
    classes: &[DataClass],
    article_10: &str,
    purposes: &[Purpose],
) -> String {
    let agreement = Agreement {
        parties: vec!["la/330".to_owned(), "provider/riverside".to_owned()],
        data_classes: classes.iter().map(|class| *class as i32).collect(),
        purposes: purposes.iter().map(|purpose| *purpose as i32).collect(),
        article_6: Article6::PublicTask as i32,
        article_9: Article9::SubstantialPublicInterest as i32,
        schedule_1: "18".to_owned(),
        schedule_1_article_10: article_10.to_owned(),
        from_date: "2026-08-01".to_owned(),
        to_date: "2027-08-31".to_owned(),
        review_by: "2027-07-01".to_owned(),
        ..Agreement::default()
    };
    let request =
        ProposeAgreementRequest { request_id: new_id(), agreement: Some(agreement), ..Default::default() };
    let proposed = la.call(register_service::PROPOSE_AGREEMENT, &request).await.unwrap().message;
    let request = CountersignAgreementRequest {
        request_id: new_id(),
        agreement_id: proposed.agreement_id.clone(),
        etag: proposed.etag,
        terms_sha256: proposed.terms_sha256,
        ..CountersignAgreementRequest::default()
    };
    riverside.call(register_service::COUNTERSIGN_AGREEMENT, &request).await.unwrap();
    proposed.agreement_id
}

pub async fn share_under(la: &Client, placement: &str, etag: &str, agreement: &str) {
    let request = SharePassportRequest {
        request_id: new_id(),
        placement_id: placement.to_owned(),
        etag: etag.to_owned(),
        agreement_id: agreement.to_owned(),
        ..SharePassportRequest::default()
    };
    la.call(passport_service::SHARE_PASSPORT, &request).await.unwrap();
}

pub async fn get_passport(client: &Client, placement: &str) -> Result<GetPassportResponse, String> {
    let request = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    let answer = client.call(passport_service::GET_PASSPORT, &request).await;
    answer.map(|reply| reply.message).map_err(refusal_reason)
}

/// A client whose calls have a token, of the same person whatever the role.
pub async fn person(world: &World, caller: &str, role: &str, purpose: &str) -> Client {
    person_named(world, caller, SUBJECT, role, purpose).await
}

/// A client whose calls have a token of the person with this subject.
pub async fn person_named(world: &World, caller: &str, subject: &str, role: &str, purpose: &str) -> Client {
    let dir = world.dir.path();
    let token = TestIssuer::load(dir, caller).token(dir, caller, |claims| {
        claims["sub"] = json!(subject);
        claims["role"] = json!(role);
        claims["purpose"] = json!(purpose);
    });
    world.client(caller).await.with_token(&token).unwrap()
}
