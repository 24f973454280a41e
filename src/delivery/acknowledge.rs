//! `AcknowledgeDelivery`: records the deliveries that a recipient has received or acted on. It is idempotent.

use std::collections::BTreeSet;

use prost::Message;
use uuid::Uuid;

use super::collected_digests::CollectedDigests;
use super::rows::{self, AcknowledgementRow, MailboxPosition, StoredDelivery, acknowledgement_key};
use super::wire;
use crate::exchange::change::row_write;
use crate::exchange::{
    CallerRole, Change, Decided, LeafInput, LeafRole, PolicyFacts, Reason, Refusal, RequestContext,
};
use crate::placements::{children, rows as placed};
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, AcknowledgeDeliveryResponse, DeliveryKind, DeliveryStage, Officer,
};
use crate::seal::{ChildKey, ColumnAddress, OrganisationKey};
use crate::store::Revision;
use crate::store::proposal::RowWrite;
use crate::{passports, returns};

/// Records the stage for each delivery that has not reached it yet.
pub async fn acknowledge(
    mut cx: RequestContext,
    m: AcknowledgeDeliveryRequest,
) -> Result<Decided<AcknowledgeDeliveryResponse>, Refusal> {
    let request = wire::check_acknowledgement(&cx, &m)?;
    let organisation = cx.caller.organisation.clone();
    let stage = request.stage;
    let mut headers = Vec::new();
    for (position, digest) in &request.deliveries {
        let header = rows::find_header(&mut cx.snapshot, &organisation, *position).await?;
        headers.push((header, digest));
    }
    let part = if headers.iter().all(|(header, _)| header.is_some()) {
        CallerRole::Owner
    } else {
        CallerRole::NoRole
    };
    let permit = cx.permit(&PolicyFacts::for_role(part))?;
    let mut change = cx.change(&permit);
    let mut collected = CollectedDigests::default();
    let mut done: Vec<MailboxPosition> = Vec::new();
    let mut rows: Vec<RowWrite> = Vec::new();
    let mut placements = BTreeSet::new();
    for (header, digest) in headers {
        let header = header.ok_or(Reason::NotFound)?;
        if let Some(digest) = digest
            && !collected.contains(&mut cx, &header, digest).await?
        {
            return Err(Reason::DigestMismatch.into());
        }
        change = change.add_counterpart(&header.sender);
        placements.extend(placements_in(&mut cx, &header).await?);
        let key = acknowledgement_key(&organisation, header.position, stage);
        if done.contains(&header.position) || cx.snapshot.current_version(&key).await? != Revision::ABSENT {
            continue;
        }
        done.push(header.position);
        let officer = request
            .officer
            .as_ref()
            .map(|officer| seal_officer(&cx, header.position, officer))
            .transpose()?;
        let row = AcknowledgementRow {
            organisation: organisation.clone(),
            delivery_idx: header.position.index,
            delivery_ordinal: header.position.ordinal,
            stage,
            time: cx.now.micros(),
            officer,
        };
        change = change.guard(key, Revision::ABSENT);
        rows.push(row_write(&row));
        if stage == DeliveryStage::ActedOn && header.kind == DeliveryKind::Passport as i32 {
            change = record_passport_acted_on(&mut cx, change, &mut rows, header.position).await?;
        }
    }
    let acknowledged = u32::try_from(request.deliveries.len()).unwrap_or(u32::MAX);
    let response = AcknowledgeDeliveryResponse { acknowledged, receipt: None };
    let reply = response.encode_to_vec();
    let (change, concerned) = recipient_children(&mut cx, change, &placements).await?;
    let part = |(placement, key)| LeafInput { placement, role: LeafRole::Submitted, key, reply: &reply };
    let parts: Vec<_> = concerned.iter().map(|(placement, key)| part((*placement, key))).collect();
    Ok(change.append_children_rows(&parts, rows).with_reply(&response))
}

/// Returns the placements that a delivery is about. A delivery about several children has them in the rows that its
/// sender's exchange wrote.
async fn placements_in(cx: &mut RequestContext, header: &StoredDelivery) -> Result<Vec<Uuid>, Refusal> {
    match header.placement {
        Some(placement) => Ok(vec![placement]),
        None => Ok(returns::placements_at(&mut cx.snapshot, header.position.index).await?),
    }
}

/// Returns those of the placements in which the recipient has or had a part, each with the recipient's key of the
/// child, because an acknowledgement is the recipient's record. A child whose key the recipient destroyed is left out.
async fn recipient_children(
    cx: &mut RequestContext,
    mut change: Change,
    placements: &BTreeSet<Uuid>,
) -> Result<(Change, Vec<(Uuid, ChildKey)>), Refusal> {
    let recipient = cx.caller.organisation.clone();
    let ids: Vec<Uuid> = placements.iter().copied().collect();
    let (mut found, mut made) = (Vec::new(), Vec::<(Uuid, ChildKey)>::new());
    for placement in placed::by_ids(&mut cx.snapshot, &ids).await? {
        if !placement.parties().contains(&recipient) && !placement.was_party(&recipient) {
            continue;
        }
        let child = placement.child;
        let key = match made.iter().find(|(keyed, _)| *keyed == child) {
            Some((_, key)) => key.clone(),
            None => match children::load_key(cx, &recipient, child).await? {
                Some(key) => key,
                None if cx
                    .snapshot
                    .current_version(&children::child_key_row_key(&recipient, child))
                    .await?
                    != Revision::ABSENT =>
                {
                    continue;
                }
                None => {
                    let (key, with_key) =
                        children::load_or_generate_key(cx, change, &recipient, child).await?;
                    change = with_key;
                    made.push((child, key.clone()));
                    key
                }
            },
        };
        found.push((placement.id, key));
    }
    Ok((change, found))
}

/// Records on the last row that the provider has acknowledged the passport version that a start needs. If an earlier
/// row of the request already sets the same key, the newest version moves to the last row, because a change writes a
/// key once.
async fn record_passport_acted_on(
    cx: &mut RequestContext,
    change: Change,
    rows: &mut [RowWrite],
    at: MailboxPosition,
) -> Result<Change, Refusal> {
    let Some((key, before, version)) = passports::acknowledgement_update(cx, at.index).await? else {
        return Ok(change);
    };
    let mut newest = version;
    for row in rows.iter_mut() {
        newest = row
            .versioned_keys
            .extract_if(.., |(other, _)| *other == key)
            .fold(newest, |newest, (_, other)| newest.max(other));
    }
    if let Some(last) = rows.last_mut() {
        last.versioned_keys.push((key.clone(), newest));
    }
    Ok(change.guard(key, before))
}

/// Seals the officer under the recipient's organisation key, because the officer's name is not about a child.
fn seal_officer(cx: &RequestContext, at: MailboxPosition, officer: &Officer) -> Result<Vec<u8>, Refusal> {
    let organisation = cx.caller.organisation.as_str();
    let row = [at.index.to_be_bytes(), at.ordinal.to_be_bytes()].concat();
    let column = ColumnAddress { table: "acknowledgements", row: &row, column: "officer" };
    let key = OrganisationKey::derive(&cx.vault.ring(), organisation).map_err(|_| Reason::Failed)?;
    let sealed = key.seal(column, &officer.encode_to_vec(), &|bytes| cx.random.fill(bytes));
    sealed.map_err(|_| Reason::Failed.into())
}
