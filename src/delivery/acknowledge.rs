//! `AcknowledgeDelivery`: the recipient says what it has, and who acted on it. Again is no fault.

use std::collections::BTreeSet;

use prost::Message;
use uuid::Uuid;

use super::collected::Collected;
use super::rows::{self, AcknowledgementRow, Parcel, Place, acknowledgement};
use super::wire;
use crate::exchange::change::row;
use crate::exchange::{Action, Change, ChildPart, Cx, Decided, Facts, LeafRole, Part, Reason, Refusal};
use crate::placements::{children, rows as placed};
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, AcknowledgeDeliveryResponse, DeliveryKind, DeliveryStage, Officer,
};
use crate::seal::{ChildKey, Column, OrganisationKey};
use crate::{passports, returns};

/// Stores the stage of every delivery that has not reached it.
pub async fn acknowledge(
    mut cx: Cx,
    m: AcknowledgeDeliveryRequest,
) -> Result<Decided<AcknowledgeDeliveryResponse>, Refusal> {
    let asked = wire::acknowledgement(&cx, &m)?;
    let organisation = cx.caller.organisation.clone();
    let stage = asked.stage as i32;
    let mut parcels = Vec::new();
    for (place, digest) in &asked.deliveries {
        let parcel = rows::at(&mut cx.snapshot, &organisation, *place).await?;
        parcels.push((parcel, digest));
    }
    let part = if parcels.iter().all(|(parcel, _)| parcel.is_some()) { Part::Own } else { Part::None };
    let permit = cx.permit(Action::AcknowledgeDelivery, &Facts::own(part))?;
    let mut change = cx.change(&permit);
    let mut collected = Collected::default();
    let mut done: Vec<Place> = Vec::new();
    let mut rows: Vec<AcknowledgementRow> = Vec::new();
    let mut placements = BTreeSet::new();
    for (parcel, digest) in parcels {
        let parcel = parcel.ok_or(Reason::NotFound)?;
        if let Some(digest) = digest
            && !collected.holds(&mut cx, &parcel, digest).await?
        {
            return Err(Reason::DigestMismatch.into());
        }
        change = change.counterpart(&parcel.sender);
        placements.extend(brought(&mut cx, &parcel).await?);
        let key = acknowledgement(&organisation, parcel.at, stage);
        if done.contains(&parcel.at) || cx.snapshot.version(&key).await? != 0 {
            continue;
        }
        done.push(parcel.at);
        let officer = asked.officer.as_ref().map(|officer| seal(&cx, parcel.at, officer)).transpose()?;
        let row = AcknowledgementRow {
            organisation: organisation.clone(),
            of: parcel.at,
            stage,
            time: cx.now.micros(),
            officer,
            also: None,
        };
        change = change.guard(key, 0);
        rows.push(row);
        if stage == DeliveryStage::ActedOn as i32 && parcel.kind == DeliveryKind::Passport as i32 {
            change = act_on_passport(&mut cx, change, &mut rows, parcel.at).await?;
        }
    }
    let acknowledged = u32::try_from(asked.deliveries.len()).unwrap_or(u32::MAX);
    let response = AcknowledgeDeliveryResponse { acknowledged, receipt: None };
    let reply = response.encode_to_vec();
    let (change, concerned) = concerned(&mut cx, change, &placements).await?;
    let part = |(placement, key)| ChildPart { placement, role: LeafRole::Submitted, key, reply: &reply };
    let parts: Vec<_> = concerned.iter().map(|(placement, key)| part((*placement, key))).collect();
    Ok(change.children_rows(&parts, rows.iter().map(row).collect()).reply(&response))
}

/// The placements whose children a delivery brings; one that brings several has them in what its sender wrote.
async fn brought(cx: &mut Cx, parcel: &Parcel) -> Result<Vec<Uuid>, Refusal> {
    match parcel.placement {
        Some(placement) => Ok(vec![placement]),
        None => Ok(returns::placements_at(&mut cx.snapshot, parcel.at.index).await?),
    }
}

/// Of these placements the recipient's own, each with its key of the child: an acknowledgement is the
/// recipient's record. A child whose key it destroyed is passed over.
async fn concerned(
    cx: &mut Cx,
    mut change: Change,
    placements: &BTreeSet<Uuid>,
) -> Result<(Change, Vec<(Uuid, ChildKey)>), Refusal> {
    let recipient = cx.caller.organisation.clone();
    let ids: Vec<Uuid> = placements.iter().copied().collect();
    let (mut found, mut made) = (Vec::new(), Vec::<(Uuid, ChildKey)>::new());
    for placement in placed::by_ids(&mut cx.snapshot, &ids).await? {
        if !placement.parties().contains(&recipient) && !placement.had_part(&recipient) {
            continue;
        }
        let child = placement.child;
        let key = match made.iter().find(|(of, _)| *of == child) {
            Some((_, key)) => key.clone(),
            None => match children::key(cx, &recipient, child).await? {
                Some(key) => key,
                None if cx.snapshot.version(&children::key_of(&recipient, child)).await? != 0 => continue,
                None => {
                    let (key, with_key) = children::own_key(cx, change, &recipient, child).await?;
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

/// The last row says that the provider has all that a start needs, unless an earlier one says it of a newer
/// version: a key is written once.
async fn act_on_passport(
    cx: &mut Cx,
    change: Change,
    rows: &mut [AcknowledgementRow],
    at: Place,
) -> Result<Change, Refusal> {
    let Some((key, before, version)) = passports::acknowledged(cx, at.index).await? else {
        return Ok(change);
    };
    let known = rows.iter_mut().find(|row| row.also.as_ref().is_some_and(|(other, _)| *other == key));
    let newest = known.and_then(|row| row.also.take()).map_or(version, |(_, other)| other.max(version));
    if let Some(last) = rows.last_mut() {
        last.also = Some((key.clone(), newest));
    }
    Ok(change.guard(key, before))
}

/// Who acted, sealed for the recipient: it is about no child.
fn seal(cx: &Cx, at: Place, officer: &Officer) -> Result<Vec<u8>, Refusal> {
    let organisation = cx.caller.organisation.as_str();
    let row = [at.index.to_be_bytes(), at.ordinal.to_be_bytes()].concat();
    let column = Column { table: "acknowledgements", row: &row, column: "officer" };
    let key = OrganisationKey::derive(&cx.vault.ring(), organisation).map_err(|_| Reason::Failed)?;
    let sealed = key.seal(column, &officer.encode_to_vec(), &|bytes| cx.random.fill(bytes));
    sealed.map_err(|_| Reason::Failed.into())
}
