//! The content of deliveries. It is read when a delivery is sent, from the rows that the sender's exchange wrote, and
//! reduced to what the recipient may still read.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use super::kinds;
use super::rows::{MailboxPosition, StoredDelivery};
use super::wire::cursor_from_position;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    Change, ChildContent, DeliveredContent, DeliverySource, Reason, Refusal, RequestContext,
};
use crate::placements::Placement;
use crate::proto::v1::Delivery;
use crate::store::{StoreError, evidence};

/// A delivery that is ready to send, with its children.
pub struct PreparedDelivery {
    /// The message.
    pub delivery: Delivery,
    /// Position in the mailbox.
    pub position: MailboxPosition,
    /// SHA-256 of the content.
    pub content_sha256: [u8; 32],
    /// The organisation whose exchange wrote it.
    pub sender: OrganisationId,
    /// The children that it is about.
    pub children: Vec<ChildContent>,
    /// Number of marks or sessions in it.
    pub marks: usize,
}

/// Prepares a delivery: its content, and the inclusion proof of the sender's entry.
pub async fn prepare_delivery(
    cx: &mut RequestContext,
    header: &StoredDelivery,
) -> Result<PreparedDelivery, Refusal> {
    let kind = kinds::by_number(header.kind).ok_or(StoreError::corrupt("parties", "kind"))?;
    let source = DeliverySource {
        index: header.position.index,
        kind: kind.number,
        sender: &header.sender,
        object: header.object,
        placement: header.placement,
        sent_us: header.sent_us,
        method: &header.method,
    };
    let DeliveredContent { content, encoded, children, marks } = (kind.read)(cx, source).await?;
    let index = u64::try_from(header.position.index.get()).map_err(|_| Reason::Failed)?;
    let evidence = evidence::load_evidence(&mut cx.snapshot, index).await?.ok_or(Reason::Failed)?;
    let mut content_sha256 = [0; 32];
    content_sha256.copy_from_slice(digest(&SHA256, &encoded).as_ref());
    let delivery = Delivery {
        cursor: Some(cursor_from_position(cx, header.position)),
        kind: header.kind,
        sender: header.sender.to_string(),
        sent_time: Instant::from_micros(header.sent_us).ok().map(Instant::to_proto),
        object_id: header.object.hyphenated().to_string(),
        placement_id: header.placement.map(|id| id.hyphenated().to_string()).unwrap_or_default(),
        needs_action: kind.needs_action,
        content_sha256: Bytes::copy_from_slice(&content_sha256),
        content,
        sender_leaf_hash: Bytes::copy_from_slice(evidence.leaf().as_bytes()),
        sender_tree_size: evidence.tree_size,
        sender_inclusion_proof: evidence
            .proof
            .iter()
            .map(|hash| Bytes::copy_from_slice(hash.as_bytes()))
            .collect(),
        sender_checkpoint: evidence.checkpoint,
    };
    Ok(PreparedDelivery {
        delivery,
        position: header.position,
        content_sha256,
        sender: header.sender.clone(),
        children,
        marks,
    })
}

/// Adds a leaf for each child's part of the batch, and the senders as counterparts.
pub fn add_leaves(mut change: Change, sent: &[PreparedDelivery]) -> Change {
    for PreparedDelivery { sender, children, .. } in sent {
        for part in children.iter().map(ChildContent::leaf_input) {
            change = change.append_child::<Placement>(&part, &[]);
        }
        change = change.add_counterpart(sender);
    }
    change
}
