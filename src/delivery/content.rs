//! What a delivery brings its recipient: read at the moment of sending, from what the sender's exchange
//! wrote, and only as far as the recipient still has a part in it.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::rows::{Parcel, Place};
use super::wire::cursor_of;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, ChildPart, Cx, LeafRole, Part, Reason, Refusal};
use crate::passports;
use crate::placements::parties::Access;
use crate::placements::{self, Placement, alerts, children, plan, read};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    AttendanceContent, ConfirmationContent, Delivery, DeliveryKind, PlacementContent, RegisterContent,
};
use crate::register::{closures, state_change};
use crate::returns::{self, StatedChild};
use crate::seal::ChildKey;
use crate::store::{StoreError, evidence};

/// What is delivered of one child: it becomes one leaf.
pub struct OfChild {
    placement: Uuid,
    key: ChildKey,
    reply: Vec<u8>,
}

/// A delivery as it is sent, with its children.
pub struct Sent {
    /// The message.
    pub delivery: Delivery,
    /// Its place in the mailbox.
    pub at: Place,
    /// The digest of its content.
    pub content_sha256: [u8; 32],
    /// The organisation whose exchange it is from.
    pub sender: OrganisationId,
    /// The children in it.
    pub children: Vec<OfChild>,
    /// Marks in it.
    pub marks: usize,
}

/// The content of a delivery; none where the recipient has no part in it any more, or the child's record
/// is gone.
async fn read(cx: &mut Cx, parcel: &Parcel) -> Result<(Option<Content>, Vec<OfChild>, usize), Refusal> {
    match DeliveryKind::try_from(parcel.kind) {
        Ok(DeliveryKind::Attendance) => attendance(cx, parcel).await,
        Ok(DeliveryKind::Confirmation) => confirmation(cx, parcel).await,
        Ok(DeliveryKind::ExpectedAbsence) => expected_absence(cx, parcel).await,
        Ok(
            DeliveryKind::Registration
            | DeliveryKind::Grant
            | DeliveryKind::Agreement
            | DeliveryKind::Closure,
        ) => {
            let closure = closures::written_at(&mut cx.snapshot, parcel.at.index).await?;
            let state_change = state_change::written_at(cx, parcel.at.index, parcel.object).await?;
            let organisation = parcel.sender.to_string();
            let method = parcel.method.rsplit('/').next().unwrap_or_default().to_owned();
            Ok((
                Some(Content::Register(RegisterContent {
                    organisation,
                    method,
                    closure: closure.map(|closure| closure.message()),
                    state_change,
                })),
                Vec::new(),
                0,
            ))
        }
        Ok(DeliveryKind::Passport) => passport(cx, parcel).await,
        Ok(DeliveryKind::Progress) => {
            let brought = returns::progress::content(cx, parcel.at.index).await?;
            Ok(brought.map_or((None, Vec::new(), 0), |(placement, key, record)| {
                let child = OfChild { placement, key, reply: record.encode_to_vec() };
                (Some(Content::Progress(record)), vec![child], 0)
            }))
        }
        Ok(DeliveryKind::Alert | DeliveryKind::AlertEnded) => {
            let brought = alerts::content(cx, parcel.at.index, parcel.object).await?.zip(parcel.placement);
            Ok(brought.map_or((None, Vec::new(), 0), |((key, alert), placement)| {
                let child = OfChild { placement, key, reply: alert.encode_to_vec() };
                (Some(Content::Alert(alert)), vec![child], 0)
            }))
        }
        Ok(DeliveryKind::Unspecified) | Err(_) => {
            Err(StoreError::Corrupt { table: "parties", column: 2 }.into())
        }
        Ok(kind) => about_placement(cx, parcel, kind).await,
    }
}

async fn attendance(cx: &mut Cx, parcel: &Parcel) -> Result<(Option<Content>, Vec<OfChild>, usize), Refusal> {
    let recipient = cx.caller.organisation.clone();
    let returned = returns::content(cx, parcel.at.index, &recipient).await?;
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
        let key = children::required_key(cx, &child.sender, child.child).await?;
        let reply = child.attendance.encode_to_vec();
        children.push(OfChild { placement: child.placement, key, reply });
        content.children.push(child.attendance);
    }
    Ok((Some(Content::Attendance(content)), children, marks))
}

async fn confirmation(
    cx: &mut Cx,
    parcel: &Parcel,
) -> Result<(Option<Content>, Vec<OfChild>, usize), Refusal> {
    let (mut children, mut content) = (Vec::new(), ConfirmationContent::default());
    for stated in returns::confirmed_at(cx, parcel.at.index).await? {
        children.push(of_child(cx, &stated).await?);
        content.children.push(stated.content);
    }
    let sessions = content.children.iter().map(|child| child.confirmations.len()).sum();
    Ok((Some(Content::Confirmation(content)), children, sessions))
}

async fn expected_absence(
    cx: &mut Cx,
    parcel: &Parcel,
) -> Result<(Option<Content>, Vec<OfChild>, usize), Refusal> {
    let Some(stated) = returns::absences_at(cx, parcel.at.index).await? else {
        return Ok((None, Vec::new(), 0));
    };
    let child = of_child(cx, &stated).await?;
    let sessions = stated.content.absences.len();
    Ok((Some(Content::ExpectedAbsence(stated.content)), vec![child], sessions))
}

async fn of_child<M: Message>(cx: &mut Cx, stated: &StatedChild<M>) -> Result<OfChild, Refusal> {
    let key = children::required_key(cx, &stated.sender, stated.child).await?;
    Ok(OfChild { placement: stated.placement, key, reply: stated.content.encode_to_vec() })
}

async fn passport(cx: &mut Cx, parcel: &Parcel) -> Result<(Option<Content>, Vec<OfChild>, usize), Refusal> {
    let shared = passports::content(cx, parcel.at.index).await?;
    let Some(((key, content), placement)) = shared.zip(parcel.placement) else {
        return Ok((None, Vec::new(), 0));
    };
    let child = OfChild { placement, key, reply: content.encode_to_vec() };
    Ok((Some(Content::Passport(content)), vec![child], 0))
}

/// The version that the sender's exchange wrote, so that the digest of a delivery does not move with later
/// versions. A recipient that may not read the placement any more is given what became of it, without the child; one
/// that was no party on the day of the delivery is given nothing. The LA of residence is given the outline of each
/// version that was written before the start, also after it.
async fn about_placement(
    cx: &mut Cx,
    parcel: &Parcel,
    kind: DeliveryKind,
) -> Result<(Option<Content>, Vec<OfChild>, usize), Refusal> {
    let nothing = (None, Vec::new(), 0);
    let (Some(id), reader) = (parcel.placement, cx.caller.organisation.clone()) else {
        return Ok(nothing);
    };
    let sent_on = Date::in_london(Instant::from_micros(parcel.sent).map_err(|_| Reason::Failed)?);
    let newest = placements::by_id(&mut cx.snapshot, id).await?;
    let Some(newest) = newest.filter(|newest| newest.part_on(&reader, sent_on) != Part::None) else {
        return Ok(nothing);
    };
    let Some(key) = children::key(cx, &newest.commissioner, newest.child).await? else {
        return Ok(nothing);
    };
    let mut content = PlacementContent::default();
    let readable = placements::readable(&newest, &reader);
    let mut access = Access::Whole;
    if kind != DeliveryKind::Plan
        && let Some(written) = placements::rows::written_at(&mut cx.snapshot, id, parcel.at.index).await?
    {
        access = written.access(&reader).unwrap_or(Access::Outline);
        let mut message = read::message(cx, &written, (access, readable), parcel.at.index).await?;
        // The plan has deliveries of its own; its etag moves without this placement's version.
        message.plan_etag.clear();
        content.placement = Some(message);
    }
    if readable && access == Access::Whole && matches!(kind, DeliveryKind::Plan | DeliveryKind::Parties) {
        content.plan = match kind {
            DeliveryKind::Plan => plan::written_at(cx, &newest, parcel.at.index).await?,
            _ => plan::newest_at(cx, &newest, parcel.at.index).await?,
        };
        if let Some(plan) = &content.plan {
            content.plan_open_items = plan::open_items(plan).into_iter().map(str::to_owned).collect();
            content.plan_active = content.plan_open_items.is_empty();
        }
    }
    let reply = content.encode_to_vec();
    let child = OfChild { placement: id, key, reply };
    Ok((Some(Content::Placement(content)), vec![child], 0))
}

/// SHA-256 over the content as it is encoded in the delivery.
fn content_sha256(content: Option<&Content>) -> [u8; 32] {
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

/// A delivery with its content and the proof of its sender's entry.
pub async fn delivery(cx: &mut Cx, parcel: &Parcel) -> Result<Sent, Refusal> {
    let (content, children, marks) = read(cx, parcel).await?;
    let index = u64::try_from(parcel.at.index).map_err(|_| Reason::Failed)?;
    let evidence = evidence::evidence(&mut cx.snapshot, index).await?.ok_or(Reason::Failed)?;
    let content_sha256 = content_sha256(content.as_ref());
    let delivery = Delivery {
        cursor: Some(cursor_of(cx, parcel.at)),
        kind: parcel.kind,
        sender: parcel.sender.to_string(),
        sent_time: Instant::from_micros(parcel.sent).ok().map(Instant::to_proto),
        object_id: parcel.object.hyphenated().to_string(),
        placement_id: parcel.placement.map(|id| id.hyphenated().to_string()).unwrap_or_default(),
        needs_action: needs_action(parcel.kind),
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
    Ok(Sent { delivery, at: parcel.at, content_sha256, sender: parcel.sender.clone(), children, marks })
}

/// A referral waits for a named person's answer, a passport for one who has read it, an alert for one who sees to it.
pub fn needs_action(kind: i32) -> bool {
    [DeliveryKind::Referral, DeliveryKind::Passport, DeliveryKind::Alert]
        .iter()
        .any(|waits| *waits as i32 == kind)
}

/// Commits to what each child's part of the batch was, and names the senders.
pub fn commit_to(mut change: Change, sent: &[Sent]) -> Change {
    for Sent { sender, children, .. } in sent {
        for OfChild { placement, key, reply } in children {
            let part = ChildPart { placement: *placement, role: LeafRole::Delivered, key, reply };
            change = change.child::<Placement>(&part, &[]);
        }
        change = change.counterpart(sender);
    }
    change
}
