//! `PutPassport`: the sender's own record of its child, a version at a time. It tells nobody: sharing is an
//! act of its own.

use std::collections::BTreeSet;

use prost::Message;
use uuid::Uuid;

use super::rows::{self, BlockRow, seal_block};
use super::rules::Shown;
use super::wire::Put;
use super::{rules, sender, wire};
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Refusal};
use crate::placements::{self, children, safety};
use crate::proto::v1::{PassportBlock, PassportBlockKind as Kind, PutPassportRequest, PutPassportResponse};
use crate::seal::ChildKey;

/// Puts a version.
pub async fn put_passport(
    mut cx: Cx,
    m: PutPassportRequest,
) -> Result<Decided<PutPassportResponse>, Refusal> {
    let put = wire::put(&m)?;
    let (placement, permit) = sender::of_sender(&mut cx, Action::PutPassport, put.placement, None).await?;
    let (sender, child) = (cx.caller.organisation.clone(), placement.child);
    let head = safety::passport_key(&sender, child);
    let previous = cx.snapshot.version(&head).await?;
    if previous > 0 || !put.etag.is_empty() {
        placements::same_version(&put.etag, previous)?;
    }
    let version = previous + 1;
    let change = cx.change(&permit).guard(head, previous);
    let (key, change) = children::own_key(&mut cx, change, &sender, child).await?;
    let open_items = rules::open_items(&put.blocks, &put.keep).into_iter().map(str::to_owned).collect();
    let kept = kept(&mut cx, &key, (&sender, child, previous), &put).await?;
    let mut rows = Vec::with_capacity(put.blocks.len() + kept.len());
    for block in put.blocks.into_iter().chain(kept) {
        let Some(content) = &block.content else { continue };
        let (kind, sensitivity) = (rules::kind_of(content), block.sensitivity());
        let sealed = seal_block(&cx, &key, (child, version, kind), &block)?;
        rows.push(BlockRow { sender: sender.clone(), child, version, kind, sensitivity, block: sealed });
    }
    let response = PutPassportResponse { etag: version.to_string(), open_items, receipt: None };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &key, reply: &reply };
    Ok(change.child(&part, &rows).reply(&response))
}

/// Returns the blocks of the version before that stay: those whose kind is named in `keep`, and those that the caller's
/// system may not read and has neither sent nor removed.
async fn kept(
    cx: &mut Cx,
    key: &ChildKey,
    (sender, child, version): (&OrganisationId, Uuid, i64),
    put: &Put,
) -> Result<Vec<PassportBlock>, Refusal> {
    let sent: BTreeSet<Kind> =
        put.blocks.iter().filter_map(|block| block.content.as_ref().map(rules::kind_of)).collect();
    let mut kept = Vec::new();
    for row in rows::blocks(&mut cx.snapshot, sender, child, version).await? {
        let unread = rules::shown(row.sensitivity, false) != Shown::Content;
        let unsaid = !sent.contains(&row.kind) && !put.remove.contains(&row.kind);
        if put.keep.contains(&row.kind) || (unread && unsaid) {
            kept.push(rows::open_block(key, &row)?);
        }
    }
    Ok(kept)
}
