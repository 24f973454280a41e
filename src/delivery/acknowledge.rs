//! `AcknowledgeDelivery`: records the deliveries that a recipient has received or acted on. It is idempotent.

use std::collections::BTreeSet;

use prost::Message;
use uuid::Uuid;

use super::collected_digests::CollectedDigests;
use super::rows::{self, AcknowledgementRow, MailboxPosition, StoredDelivery, acknowledgement_key};
use super::wire;
use crate::codes::organisation::OrganisationKind;
use crate::exchange::change::row_write;
use crate::exchange::{
    CallerRole, Change, Decided, LeafInput, Permit, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
};
use crate::passports::{self, SafetyUpdate};
use crate::placements::{children, rows as placed, safety_acknowledgement};
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, AcknowledgeDeliveryResponse, DeliveryKind, DeliveryStage, LeafRole, Officer,
    RecordKind, RoleCode,
};
use crate::returns;
use crate::seal::{ChildKey, ColumnAddress, OrganisationKey};
use crate::store::Revision;

/// Records the stage for each delivery that has not reached it yet.
pub async fn acknowledge(
    mut cx: RequestContext,
    m: AcknowledgeDeliveryRequest,
) -> Result<Decided<AcknowledgeDeliveryResponse>, Refusal> {
    let mut request = wire::check_acknowledgement(&cx, &m)?;
    request.officer = cx.attest(request.officer.take());
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
    let mut rows: Vec<AcknowledgementRow> = Vec::new();
    let mut placements = BTreeSet::new();
    for (header, digest) in headers {
        let header = header.ok_or(Reason::NotFound)?;
        if stage == DeliveryStage::ActedOn && header.kind == DeliveryKind::BreakGlass as i32 {
            require_safeguarding_lead(&cx, &permit, request.officer.as_ref())?;
        }
        if let Some(digest) = digest
            && !collected.contains(&mut cx, &header, digest).await?
        {
            return Err(Reason::DigestMismatch.into());
        }
        change = change.add_counterpart(&header.sender);
        for placement in placements_in(&mut cx, &header).await? {
            change = change.share_child(&header.sender, placement);
            placements.insert(placement);
        }
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
            passport_sender: None,
            passport_placement: None,
            passport_version: None,
        };
        change = change.guard(key, Revision::ABSENT);
        rows.push(row);
        if stage == DeliveryStage::ActedOn && header.kind == DeliveryKind::Passport as i32 {
            change = record_passport_acted_on(&mut cx, change, &mut rows, header.position).await?;
        }
    }
    let acknowledged = u32::try_from(request.deliveries.len()).unwrap_or(u32::MAX);
    let response = AcknowledgeDeliveryResponse { acknowledged, receipt: None };
    let reply = response.encode_to_vec();
    let (change, concerned) = recipient_children(&mut cx, change, &placements).await?;
    let record = RecordRef::unversioned(RecordKind::Acknowledgement, cx.exchange_id);
    let (role, sender) = (LeafRole::Submitted, &organisation);
    let part = |(placement, key)| LeafInput { placement, role, record, sender, key, reply: &reply };
    let parts: Vec<_> = concerned.iter().map(|(placement, key)| part((*placement, key))).collect();
    let rows = rows.iter().map(row_write).collect();
    Ok(change.append_children_rows(&parts, rows).with_reply(&response))
}

/// Requires the officer who acts on a break-glass to be a designated safeguarding lead, whom the call's token names. The
/// gateway's operators have no persons.
fn require_safeguarding_lead(
    cx: &RequestContext,
    permit: &Permit,
    officer: Option<&Officer>,
) -> Result<(), Refusal> {
    if cx.caller.kind() == OrganisationKind::Operator {
        return Ok(());
    }
    let person = cx.require_person(permit)?;
    let attested = officer.is_some_and(|officer| officer.attested);
    if attested && person.role == RoleCode::Dsl { Ok(()) } else { Err(Reason::PersonRequired.into()) }
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
/// row of the request records the same passport, the newest version moves to the last row, because a change writes a
/// key once.
async fn record_passport_acted_on(
    cx: &mut RequestContext,
    change: Change,
    rows: &mut [AcknowledgementRow],
    at: MailboxPosition,
) -> Result<Change, Refusal> {
    let Some(update) = passports::acknowledgement_update(cx, at.index).await? else {
        return Ok(change);
    };
    let SafetyUpdate { sender, placement, before, mut version } = update;
    let change = change.guard(safety_acknowledgement::acknowledged_key(&sender, placement), before);
    for row in rows.iter_mut() {
        if row.passport_sender.as_ref() == Some(&sender) && row.passport_placement == Some(placement) {
            version = version.max(row.passport_version.take().unwrap_or(Revision::ABSENT));
            (row.passport_sender, row.passport_placement) = (None, None);
        }
    }
    if let Some(last) = rows.last_mut() {
        last.passport_sender = Some(sender);
        last.passport_placement = Some(placement);
        last.passport_version = Some(version);
    }
    Ok(change)
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
