//! A person passport: written in the local authority's system, read by the provider's, acted on by a named
//! person.

use std::path::Path;

use super::super::{Failure, deliveries, say};
use super::document::Document;
use super::mailbox::collected;
use super::{Clients, ensure};
use crate::client::{Client, ClientError, reason};
use crate::clock::Randomness;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    Delivery, DeliveryKind, DeliveryStage, GetDeliveryStatusRequest, GetPassportRequest, Officer,
    PassportContent, PutPassportResponse, SharePassportRequest, delivery_service as delivery,
    passport_service as passports,
};

/// The request as the local authority's system has it, but for placement and version.
const PASSPORT: Document = Document { method: "PutPassport", text: include_str!("passport.json") };

/// Pushes a passport, shares it, and has the provider act on it.
pub async fn show(dir: &Path, clients: &Clients, placement: &str) -> Result<(), Failure> {
    say("6. Local authority A pushes the person passport of one of Riverside's children");
    let etag = push(dir, &clients.la, placement).await?;
    let share = SharePassportRequest {
        request_id: Randomness::system().uuid_v4().hyphenated().to_string(),
        placement_id: placement.to_owned(),
        etag,
        ..SharePassportRequest::default()
    };
    clients.la.call(passports::SHARE_PASSPORT, &share).await?;
    let (found, content) = received(&clients.riverside, placement).await?;
    say(&format!(
        "   Riverside's system has {} parts: the child's own words, what calms, whom to call, medicine, risk",
        content.blocks.len()
    ));
    say(&format!(
        "   {} parts, on health and safeguarding, no system reads: it is not even told whether there are any",
        content.notices.len()
    ));
    ensure(content.blocks.len() == 9 && content.notices.len() == 2, "the passport is another one")?;
    let lead = Officer { name: "Jo Example".to_owned(), role: "Designated safeguarding lead".to_owned() };
    say("   Jo Example, Riverside's designated safeguarding lead, has read it and acts on it");
    deliveries::acknowledge(&clients.riverside, std::slice::from_ref(&found), Some(lead)).await?;
    let request = GetDeliveryStatusRequest { object_id: placement.to_owned() };
    let status = clients.la.call(delivery::GET_DELIVERY_STATUS, &request).await?.message;
    let acted_on = status.deliveries.iter().any(|one| {
        one.cursor == found.cursor
            && one.recipient == "provider/riverside"
            && one.stage == DeliveryStage::ActedOn as i32
    });
    ensure(acted_on, "the local authority does not see that the passport was acted on")?;
    say("   Local authority A sees: acted on by provider/riverside");
    Ok(())
}

/// Pushes the file that the system wrote, on top of the version that there may be; the new version.
async fn push(dir: &Path, la: &Client, placement: &str) -> Result<String, Failure> {
    let before = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    let etag = match la.call(passports::GET_PASSPORT, &before).await {
        Ok(reply) => reply.message.etag,
        Err(ClientError::Refused(status)) if reason(&status) == "NOT_FOUND" => String::new(),
        Err(error) => return Err(error.into()),
    };
    let known = [("/placement_id", placement), ("/etag", etag.as_str())];
    Ok(PASSPORT.send::<PutPassportResponse>(dir, la, &known).await?.etag)
}

/// The newest passport in a mailbox.
async fn received(provider: &Client, placement: &str) -> Result<(Delivery, PassportContent), Failure> {
    let of_placement =
        |one: &Delivery| one.kind == DeliveryKind::Passport as i32 && one.placement_id == placement;
    let found = collected(provider).await?.0.into_iter().rfind(of_placement);
    let content = found.as_ref().and_then(|found| found.content.clone());
    match (found, content) {
        (Some(found), Some(Content::Passport(content))) => Ok((found, content)),
        _ => Err(Failure::refused("the passport did not arrive")),
    }
}
