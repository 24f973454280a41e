//! Step of the person passport: the local authority's system writes it, the provider's system reads it, and a named
//! person acts on it.

use std::path::Path;

use super::super::sent_requests::new_request_id;
use super::super::{Failure, print_line};
use super::document::Document;
use super::mailbox::{acknowledge, collect_deliveries};
use super::{Clients, ensure};
use crate::client::{Client, ClientError, reason};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    Delivery, DeliveryKind, DeliveryStage, GetDeliveryStatusRequest, GetPassportRequest, Officer,
    PassportContent, PutPassportResponse, SharePassportRequest, delivery_service as delivery,
    passport_service as passports,
};

/// Request as written by the local authority's system, without placement and version.
const PASSPORT_REQUEST: Document = Document { method: "PutPassport", text: include_str!("passport.json") };

/// Puts a passport, shares it, and has the provider act on it.
pub async fn show(dir: &Path, clients: &Clients, placement: &str) -> Result<(), Failure> {
    print_line("6. Local authority A sends the person passport of one of Riverside's children");
    let etag = put_passport(dir, &clients.la, placement).await?;
    let share = SharePassportRequest {
        request_id: new_request_id(),
        placement_id: placement.to_owned(),
        etag,
        ..SharePassportRequest::default()
    };
    clients.la.call(passports::SHARE_PASSPORT, &share).await?;
    let (found, content) = find_passport(&clients.riverside, placement).await?;
    print_line(&format!(
        "   Riverside's system reads {} blocks: the child's voice, what calms, emergency contacts, medicine, risk",
        content.blocks.len()
    ));
    print_line(&format!(
        "   No system reads the {} blocks on health and safeguarding: it does not even learn whether they exist",
        content.notices.len()
    ));
    ensure(content.blocks.len() == 9 && content.notices.len() == 2, "the passport has other blocks")?;
    let lead = Officer {
        name: "Jo Example".to_owned(),
        role: "Designated safeguarding lead".to_owned(),
        ..Officer::default()
    };
    print_line("   Jo Example, Riverside's designated safeguarding lead, has read it and acts on it");
    acknowledge(&clients.riverside, std::slice::from_ref(&found), Some(lead)).await?;
    let request = GetDeliveryStatusRequest { object_id: placement.to_owned() };
    let status = clients.la.call(delivery::GET_DELIVERY_STATUS, &request).await?.message;
    let acted_on = status.deliveries.iter().any(|one| {
        one.cursor == found.cursor
            && one.recipient == "provider/riverside"
            && one.stage == DeliveryStage::ActedOn as i32
    });
    ensure(acted_on, "the status of the passport is not acted on")?;
    print_line("   Local authority A sees: acted on by provider/riverside");
    Ok(())
}

/// Puts the passport from the file, as a new version of an existing one, and returns the new version.
async fn put_passport(dir: &Path, la: &Client, placement: &str) -> Result<String, Failure> {
    let before = GetPassportRequest { placement_id: placement.to_owned(), ..GetPassportRequest::default() };
    let etag = match la.call(passports::GET_PASSPORT, &before).await {
        Ok(reply) => reply.message.etag,
        Err(ClientError::Refused(status)) if reason(&status) == "NOT_FOUND" => String::new(),
        Err(error) => return Err(error.into()),
    };
    let values = [("/placement_id", placement), ("/etag", etag.as_str())];
    Ok(PASSPORT_REQUEST.send::<PutPassportResponse>(dir, la, &values).await?.etag)
}

/// Returns the newest passport in a mailbox.
async fn find_passport(provider: &Client, placement: &str) -> Result<(Delivery, PassportContent), Failure> {
    let of_placement =
        |one: &Delivery| one.kind == DeliveryKind::Passport as i32 && one.placement_id == placement;
    let found = collect_deliveries(provider).await?.0.into_iter().rfind(of_placement);
    let content = found.as_ref().and_then(|found| found.content.clone());
    match (found, content) {
        (Some(found), Some(Content::Passport(content))) => Ok((found, content)),
        _ => Err(Failure::refused("the passport did not arrive")),
    }
}
