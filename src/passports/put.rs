//! `PutPassport`: stores a new version of the sender's passport of a child. It delivers nothing, because sharing is a
//! separate call.

use std::collections::BTreeSet;

use prost::Message;

use super::need_to_know::{Reader, ReadingRight};
use super::rows::{self, BlockRow, seal_block};
use super::rules::BlockKinds;
use super::wire::CheckedPut;
use super::{reader, rules, sender, wire};
use crate::exchange::{Decided, LeafInput, RecordRef, Refusal, RequestContext};
use crate::placements::{self, children, moments, safety_acknowledgement};
use crate::proto::v1::passport_block::Content;
use crate::proto::v1::{
    LeafRole, PassportBlock, PassportBlockKind as Kind, PutPassportRequest, PutPassportResponse, RecordKind,
};
use crate::seal::ChildKey;
use crate::store::Revision;

/// Stores a new version of a passport.
pub async fn put_passport(
    mut cx: RequestContext,
    m: PutPassportRequest,
) -> Result<Decided<PutPassportResponse>, Refusal> {
    let writer = reader::of_call(&cx, ReadingRight::Sender);
    let mut put = wire::check_put(&m, &writer)?;
    let (placement, permit) = sender::authorise_sender(&mut cx, put.placement, None).await?;
    let (sender, child) = (cx.caller.organisation.clone(), placement.child);
    let head = safety_acknowledgement::passport_key(&sender, child);
    let previous = cx.snapshot.current_version(&head).await?;
    if previous != Revision::ABSENT || !put.etag.is_empty() {
        placements::check_etag(&put.etag, previous)?;
    }
    let version = previous.next();
    let change = cx.change(&permit).guard(head, previous);
    let (key, change) = children::load_or_generate_key(&mut cx, change, &sender, child).await?;
    let change = moments::evaluate_active_today(&mut cx, change, &placement).await?;
    let open_items = rules::open_items(&put.blocks, &put.keep).into_iter().map(str::to_owned).collect();
    let kinds = readable_kinds(&put.blocks);
    let before = rows::list_blocks(&mut cx.snapshot, &sender, child, previous).await?;
    keep_unwritten_parts(&writer, &key, &before, &mut put.blocks)?;
    let kept = retained_blocks(&key, &before, &put)?;
    let mut rows = Vec::with_capacity(put.blocks.len() + kept.len());
    for block in put.blocks.into_iter().chain(kept) {
        let Some(content) = &block.content else { continue };
        let (kind, sensitivity) = (rules::kind_of(content), block.sensitivity());
        let sealed = seal_block(&cx, &key, (child, version, kind), &block)?;
        rows.push(BlockRow { sender: sender.clone(), child, version, kind, sensitivity, block: sealed });
    }
    let response = PutPassportResponse { etag: version.to_string(), open_items, receipt: None };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Passport, placement.id, version).with_blocks(kinds.bits().into());
    let (placement, role) = (placement.id, LeafRole::Submitted);
    let part = LeafInput { placement, role, record, sender: &sender, key: &key, reply: &reply };
    Ok(change.append_child(&part, &rows).with_reply(&response))
}

/// Returns the kinds of the blocks that a system may read. The log names no others, because it is shown to systems and
/// auditors that must not learn whether there is such a block.
fn readable_kinds(blocks: &[PassportBlock]) -> BlockKinds {
    blocks.iter().filter_map(rules::readable_kind).collect()
}

/// Completes the SAFEGUARDING block that a person sends by the parts of the previous one that the person does not write. A
/// system replaces the block as a whole.
fn keep_unwritten_parts(
    writer: &Reader,
    key: &ChildKey,
    before: &[BlockRow],
    sent: &mut [PassportBlock],
) -> Result<(), Refusal> {
    let sent = sent.iter_mut().find_map(|block| match &mut block.content {
        Some(Content::Safeguarding(sent)) => Some(sent),
        _ => None,
    });
    let before = before.iter().find(|row| row.kind == Kind::Safeguarding);
    if let Some((sent, before)) = sent.zip(before)
        && writer.person.is_some()
        && let Some(Content::Safeguarding(before)) = rows::open_block(key, before)?.content
    {
        writer.keep_unwritten_parts(sent, &before);
    }
    Ok(())
}

/// Returns the blocks of the previous version that the new version keeps: those whose kind is in `keep`, and those that
/// the caller's system may not read and neither sent nor removed.
fn retained_blocks(
    key: &ChildKey,
    before: &[BlockRow],
    put: &CheckedPut,
) -> Result<Vec<PassportBlock>, Refusal> {
    let sent: BTreeSet<Kind> =
        put.blocks.iter().filter_map(|block| block.content.as_ref().map(rules::kind_of)).collect();
    let mut kept = Vec::new();
    for row in before {
        let unreadable = !rules::is_read_by_systems(row.kind, row.sensitivity);
        let not_named = !sent.contains(&row.kind) && !put.remove.contains(&row.kind);
        if put.keep.contains(&row.kind) || (unreadable && not_named) {
            kept.push(rows::open_block(key, row)?);
        }
    }
    Ok(kept)
}
