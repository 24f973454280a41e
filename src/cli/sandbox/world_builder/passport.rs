//! Passport of the script: the commissioner puts and shares it, and the provider acts on it before the start.

use super::WorldBuilder;
use super::documents::officer;
use crate::cli::Failure;
use crate::client::Client;
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, Contact, DeliveryKind, DeliveryStage, ListDeliveriesRequest,
    PassportBlock, PassportEmergency, PassportIdentity, PassportMedical, PassportMeta, PassportNeeds,
    PassportRegulation, PassportSafeguarding, PassportSafety, PassportVoice, PutPassportRequest,
    SharePassportRequest, SpecialNeed, delivery_service as delivery, passport_service as passport,
};

impl WorldBuilder<'_> {
    /// Puts and shares a passport, and acknowledges it as acted on by a named person of the provider.
    pub(super) async fn put_and_share_passport(
        &self,
        arranging: &Client,
        teaching: &Client,
        placement_id: &str,
    ) -> Result<(), Failure> {
        let put = PutPassportRequest {
            request_id: self.new_request_id(),
            placement_id: placement_id.to_owned(),
            blocks: passport_blocks(),
            ..PutPassportRequest::default()
        };
        let put = arranging.call(passport::PUT_PASSPORT, &put).await?.message;
        let share = SharePassportRequest {
            request_id: self.new_request_id(),
            placement_id: placement_id.to_owned(),
            etag: put.etag,
            ..SharePassportRequest::default()
        };
        arranging.call(passport::SHARE_PASSPORT, &share).await?;
        let list = ListDeliveriesRequest {
            kinds: vec![DeliveryKind::Passport as i32],
            ..ListDeliveriesRequest::default()
        };
        let listed = teaching.call(delivery::LIST_DELIVERIES, &list).await?.message;
        let acknowledged = |sent: crate::proto::v1::Delivery| Acknowledged {
            cursor: sent.cursor,
            content_sha256: sent.content_sha256,
        };
        let acknowledge = AcknowledgeDeliveryRequest {
            request_id: self.new_request_id(),
            deliveries: listed.deliveries.into_iter().map(acknowledged).collect(),
            stage: DeliveryStage::ActedOn as i32,
            officer: Some(officer("Jo Example", "Designated safeguarding lead")),
            ..AcknowledgeDeliveryRequest::default()
        };
        teaching.call(delivery::ACKNOWLEDGE_DELIVERY, &acknowledge).await?;
        Ok(())
    }
}

fn passport_blocks() -> Vec<PassportBlock> {
    let contact = |name: &str, role: &str, telephone: &str| Contact {
        name: name.to_owned(),
        role: role.to_owned(),
        telephone: telephone.to_owned(),
        ..Contact::default()
    };
    let need = SpecialNeed { r#type: "SEMH".to_owned(), rank: 1 };
    let contents = [
        Content::Meta(PassportMeta {
            authors: vec![officer("Sam Example", "AP commissioner")],
            child_agreed: true,
            parent_agreed: true,
            agreed_on: "2026-08-28".to_owned(),
            valid_from: "2026-09-01".to_owned(),
            review_by: "2026-12-18".to_owned(),
        }),
        Content::Identity(PassportIdentity { pronouns: "they".to_owned(), ..PassportIdentity::default() }),
        Content::Voice(PassportVoice {
            important_to_me: "my dog".to_owned(),
            support_me_by: "tell me what comes next".to_owned(),
            ..PassportVoice::default()
        }),
        Content::Needs(PassportNeeds {
            provision: "K".to_owned(),
            types: vec![need],
            ..PassportNeeds::default()
        }),
        Content::Regulation(PassportRegulation {
            triggers: "loud corridors".to_owned(),
            calming: "five minutes outside".to_owned(),
            ..PassportRegulation::default()
        }),
        Content::Emergency(PassportEmergency {
            contacts: vec![
                contact("Robin Example", "parent", "01632 960001"),
                contact("Kim Example", "grandparent", "01632 960002"),
            ],
        }),
        Content::Medical(PassportMedical {
            allergies: "none known".to_owned(),
            medication: "an inhaler, kept in the office".to_owned(),
            ..PassportMedical::default()
        }),
        Content::Safety(PassportSafety {
            risk_summary: "may leave the site when upset".to_owned(),
            ..PassportSafety::default()
        }),
        Content::Safeguarding(PassportSafeguarding { looked_after: true, ..PassportSafeguarding::default() }),
    ];
    contents.map(|content| PassportBlock { content: Some(content), ..PassportBlock::default() }).to_vec()
}
