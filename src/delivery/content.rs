//! The content of deliveries. It is read when a delivery is sent, from the rows that the sender's exchange wrote, and
//! reduced to what the recipient may still read.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::rows::{MailboxPosition, StoredDelivery};
use super::wire::cursor_from_position;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, Change, LeafInput, LeafRole, Reason, Refusal, RequestContext};
use crate::passports;
use crate::placements::parties::Access;
use crate::placements::{self, Placement, alerts, children, plan, read};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    AttendanceContent, ConfirmationContent, Delivery, DeliveryKind, PlacementContent, RegisterContent,
};
use crate::register::{closures, state_change};
use crate::returns::{self, DeliveredStatements};
use crate::seal::ChildKey;
use crate::store::{StoreError, evidence};

/// The part of a delivery that is about one child. It becomes one leaf of the entry.
pub struct ChildContent {
    placement: Uuid,
    key: ChildKey,
    reply: Vec<u8>,
}

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

/// Reads the content of a delivery, its children, and its number of marks or sessions. The content is `None` when the
/// recipient no longer has a part in it, or the child's record is erased.
async fn read_content(
    cx: &mut RequestContext,
    header: &StoredDelivery,
) -> Result<(Option<Content>, Vec<ChildContent>, usize), Refusal> {
    match DeliveryKind::try_from(header.kind) {
        Ok(DeliveryKind::Attendance) => attendance_content(cx, header).await,
        Ok(DeliveryKind::Confirmation) => confirmation_content(cx, header).await,
        Ok(DeliveryKind::ExpectedAbsence) => expected_absence_content(cx, header).await,
        Ok(
            DeliveryKind::Registration
            | DeliveryKind::Grant
            | DeliveryKind::Agreement
            | DeliveryKind::Closure,
        ) => {
            let closure = closures::written_at(&mut cx.snapshot, header.position.index).await?;
            let state_change = state_change::written_at(cx, header.position.index, header.object).await?;
            let organisation = header.sender.to_string();
            let method = header.method.rsplit('/').next().unwrap_or_default().to_owned();
            Ok((
                Some(Content::Register(RegisterContent {
                    organisation,
                    method,
                    closure: closure.map(|closure| closure.to_proto()),
                    state_change,
                })),
                Vec::new(),
                0,
            ))
        }
        Ok(DeliveryKind::Passport) => passport_content(cx, header).await,
        Ok(DeliveryKind::Progress) => {
            let found = returns::progress::load_progress_content(cx, header.position.index).await?;
            Ok(found.map_or((None, Vec::new(), 0), |(placement, key, record)| {
                let child = ChildContent { placement, key, reply: record.encode_to_vec() };
                (Some(Content::Progress(record)), vec![child], 0)
            }))
        }
        Ok(DeliveryKind::Alert | DeliveryKind::AlertEnded) => {
            let found = alerts::delivery_content(cx, header.position.index, header.object)
                .await?
                .zip(header.placement);
            Ok(found.map_or((None, Vec::new(), 0), |((key, alert), placement)| {
                let child = ChildContent { placement, key, reply: alert.encode_to_vec() };
                (Some(Content::Alert(alert)), vec![child], 0)
            }))
        }
        Ok(DeliveryKind::Unspecified) | Err(_) => Err(StoreError::corrupt("parties", 2).into()),
        Ok(kind) => placement_content(cx, header, kind).await,
    }
}

async fn attendance_content(
    cx: &mut RequestContext,
    header: &StoredDelivery,
) -> Result<(Option<Content>, Vec<ChildContent>, usize), Refusal> {
    let recipient = cx.caller.organisation.clone();
    let returned = returns::load_return_content(cx, header.position.index, &recipient).await?;
    let mut content = AttendanceContent {
        children: Vec::new(),
        nil_return: returned.nil,
        voided_return_id: returned.voided.map(|id| id.hyphenated().to_string()).unwrap_or_default(),
        part: u32::try_from(returned.part).unwrap_or(u32::MAX),
        incomplete: returned.incomplete,
    };
    let mut children = Vec::new();
    let mut marks = 0;
    for child in returned.children {
        marks += child.attendance.marks.len();
        let key = children::load_required_key(cx, &child.sender, child.child).await?;
        let reply = child.attendance.encode_to_vec();
        children.push(ChildContent { placement: child.placement, key, reply });
        content.children.push(child.attendance);
    }
    Ok((Some(Content::Attendance(content)), children, marks))
}

async fn confirmation_content(
    cx: &mut RequestContext,
    header: &StoredDelivery,
) -> Result<(Option<Content>, Vec<ChildContent>, usize), Refusal> {
    let (mut children, mut content) = (Vec::new(), ConfirmationContent::default());
    for stated in returns::confirmations_at(cx, header.position.index).await? {
        children.push(child_content(cx, &stated).await?);
        content.children.push(stated.content);
    }
    let sessions = content.children.iter().map(|child| child.confirmations.len()).sum();
    Ok((Some(Content::Confirmation(content)), children, sessions))
}

async fn expected_absence_content(
    cx: &mut RequestContext,
    header: &StoredDelivery,
) -> Result<(Option<Content>, Vec<ChildContent>, usize), Refusal> {
    let Some(stated) = returns::absences_at(cx, header.position.index).await? else {
        return Ok((None, Vec::new(), 0));
    };
    let child = child_content(cx, &stated).await?;
    let sessions = stated.content.absences.len();
    Ok((Some(Content::ExpectedAbsence(stated.content)), vec![child], sessions))
}

async fn child_content<M: Message>(
    cx: &mut RequestContext,
    stated: &DeliveredStatements<M>,
) -> Result<ChildContent, Refusal> {
    let key = children::load_required_key(cx, &stated.sender, stated.child).await?;
    Ok(ChildContent { placement: stated.placement, key, reply: stated.content.encode_to_vec() })
}

async fn passport_content(
    cx: &mut RequestContext,
    header: &StoredDelivery,
) -> Result<(Option<Content>, Vec<ChildContent>, usize), Refusal> {
    let shared = passports::shared_content(cx, header.position.index).await?;
    let Some(((key, content), placement)) = shared.zip(header.placement) else {
        return Ok((None, Vec::new(), 0));
    };
    let child = ChildContent { placement, key, reply: content.encode_to_vec() };
    Ok((Some(Content::Passport(content)), vec![child], 0))
}

/// Reads the version of the placement or plan that the sender's exchange wrote, so that later versions do not change
/// the digest of the delivery. A recipient that may no longer read the placement receives its outcome without the
/// child; an organisation that was no party on the day of the delivery receives nothing. The LA of residence receives
/// the outline of each version that was written before the start, also when it reads after the start.
async fn placement_content(
    cx: &mut RequestContext,
    header: &StoredDelivery,
    kind: DeliveryKind,
) -> Result<(Option<Content>, Vec<ChildContent>, usize), Refusal> {
    let nothing = (None, Vec::new(), 0);
    let (Some(id), reader) = (header.placement, cx.caller.organisation.clone()) else {
        return Ok(nothing);
    };
    let sent_on = Date::in_london(Instant::from_micros(header.sent_us).map_err(|_| Reason::Failed)?);
    let newest = placements::by_id(&mut cx.snapshot, id).await?;
    let Some(newest) = newest.filter(|newest| newest.role_on(&reader, sent_on) != CallerRole::NoRole) else {
        return Ok(nothing);
    };
    let Some(key) = children::load_key(cx, &newest.commissioner, newest.child).await? else {
        return Ok(nothing);
    };
    let mut content = PlacementContent::default();
    let readable = placements::can_read(&newest, &reader);
    let mut access = Access::Full;
    if kind != DeliveryKind::Plan
        && let Some(written) =
            placements::rows::version_written_at(&mut cx.snapshot, id, header.position.index).await?
    {
        access = written.access_by_role(&reader).unwrap_or(Access::Outline);
        let mut message =
            read::placement_message(cx, &written, (access, readable), header.position.index).await?;
        // The plan has separate deliveries, and its etag changes without a new version of the placement.
        message.plan_etag.clear();
        content.placement = Some(message);
    }
    if readable && access == Access::Full && matches!(kind, DeliveryKind::Plan | DeliveryKind::Parties) {
        content.plan = match kind {
            DeliveryKind::Plan => plan::load_written_at(cx, &newest, header.position.index).await?,
            _ => plan::load_as_of(cx, &newest, header.position.index).await?,
        };
        if let Some(plan) = &content.plan {
            content.plan_open_items = plan::plan_open_items(plan).into_iter().map(str::to_owned).collect();
            content.plan_active = content.plan_open_items.is_empty();
        }
    }
    let reply = content.encode_to_vec();
    let child = ChildContent { placement: id, key, reply };
    Ok((Some(Content::Placement(content)), vec![child], 0))
}

/// Returns the SHA-256 of the content as it is encoded in the delivery.
fn digest_content(content: Option<&Content>) -> [u8; 32] {
    let encoded = match content {
        None => Vec::new(),
        Some(Content::Attendance(content)) => content.encode_to_vec(),
        Some(Content::Placement(content)) => content.encode_to_vec(),
        Some(Content::Register(content)) => content.encode_to_vec(),
        Some(Content::Confirmation(content)) => content.encode_to_vec(),
        Some(Content::ExpectedAbsence(content)) => content.encode_to_vec(),
        Some(Content::Passport(content)) => content.encode_to_vec(),
        Some(Content::Progress(content)) => content.encode_to_vec(),
        Some(Content::Alert(content)) => content.encode_to_vec(),
    };
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &encoded).as_ref());
    hash
}

/// Prepares a delivery: its content, and the inclusion proof of the sender's entry.
pub async fn prepare_delivery(
    cx: &mut RequestContext,
    header: &StoredDelivery,
) -> Result<PreparedDelivery, Refusal> {
    let (content, children, marks) = read_content(cx, header).await?;
    let index = u64::try_from(header.position.index).map_err(|_| Reason::Failed)?;
    let evidence = evidence::load_evidence(&mut cx.snapshot, index).await?.ok_or(Reason::Failed)?;
    let content_sha256 = digest_content(content.as_ref());
    let delivery = Delivery {
        cursor: Some(cursor_from_position(cx, header.position)),
        kind: header.kind,
        sender: header.sender.to_string(),
        sent_time: Instant::from_micros(header.sent_us).ok().map(Instant::to_proto),
        object_id: header.object.hyphenated().to_string(),
        placement_id: header.placement.map(|id| id.hyphenated().to_string()).unwrap_or_default(),
        needs_action: needs_action(header.kind),
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

/// Returns whether a kind of delivery needs an action of a named person: an answer to a referral, an acknowledgement of
/// a passport, or the resolution of an alert.
pub fn needs_action(kind: i32) -> bool {
    [DeliveryKind::Referral, DeliveryKind::Passport, DeliveryKind::Alert]
        .iter()
        .any(|needing| *needing as i32 == kind)
}

/// Adds a leaf for each child's part of the batch, and the senders as counterparts.
pub fn add_leaves(mut change: Change, sent: &[PreparedDelivery]) -> Change {
    for PreparedDelivery { sender, children, .. } in sent {
        for ChildContent { placement, key, reply } in children {
            let part = LeafInput { placement: *placement, role: LeafRole::Delivered, key, reply };
            change = change.append_child::<Placement>(&part, &[]);
        }
        change = change.add_counterpart(sender);
    }
    change
}
