//! `GetDeliveryStatus`: how far the things that an organisation sent have come.

use super::content;
use super::rows::{Place, acknowledgement};
use super::wire::{self, cursor_of};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Action, Cx, Decided, Facts, Part, Refusal};
use crate::proto::v1::{DeliveryStage, DeliveryStatus, GetDeliveryStatusRequest, GetDeliveryStatusResponse};
use crate::store::StoreError;

/// When a delivery should have been collected, acknowledged, acted on: microseconds after it was stored.
/// A day for systems, five days for people.
const SYSTEMS: i64 = 86_400_000_000;
const PEOPLE: i64 = 5 * SYSTEMS;
/// Deliveries of one thing that are shown.
const SHOWN: i64 = 1_000;

/// Status by recipient, the oldest first.
pub async fn status(
    mut cx: Cx,
    m: GetDeliveryStatusRequest,
) -> Result<Decided<GetDeliveryStatusResponse>, Refusal> {
    let object = wire::status(&m)?;
    let sql = "SELECT p.organisation, p.idx, p.ordinal, p.kind, e.time FROM parties p \
               JOIN entries e ON e.idx = p.idx \
               WHERE p.object = $1 AND p.sender = $2 AND p.kind > 0 ORDER BY p.idx, p.ordinal LIMIT $3";
    let sender = cx.caller.organisation.as_str();
    let rows = cx.snapshot.fetch(sql, vec![object.into(), sender.into(), SHOWN.into()]).await?;
    let part = if rows.is_empty() { Part::None } else { Part::Own };
    let permit = cx.permit(Action::GetDeliveryStatus, &Facts::own(part))?;
    let (mut change, mut deliveries) = (cx.change(&permit), Vec::new());
    for row in &rows {
        let corrupt = StoreError::Corrupt { table: "parties", column: 0 };
        let recipient = OrganisationId::parse(row.text(0)?).map_err(|_| corrupt)?;
        let at = Place { index: row.int(1)?, ordinal: row.int(2)? };
        deliveries.push(of(&mut cx, &recipient, at, row.int(3)?, row.int(4)?).await?);
        change = change.counterpart(&recipient);
    }
    Ok(change.reply(&GetDeliveryStatusResponse { deliveries, receipt: None }))
}

async fn of(
    cx: &mut Cx,
    recipient: &OrganisationId,
    at: Place,
    kind: i64,
    accepted: i64,
) -> Result<DeliveryStatus, StoreError> {
    let collected = collected(cx, recipient, at, kind).await?;
    let acknowledged = reached(cx, recipient, at, DeliveryStage::Acknowledged).await?;
    let acted_on = reached(cx, recipient, at, DeliveryStage::ActedOn).await?;
    let kind = i32::try_from(kind).map_err(|_| StoreError::Corrupt { table: "parties", column: 3 })?;
    let (stage, due) = match (collected, acknowledged, acted_on) {
        (_, _, Some(_)) => (DeliveryStage::ActedOn, None),
        (_, Some(_), None) => {
            (DeliveryStage::Acknowledged, content::needs_action(kind).then_some(accepted + PEOPLE))
        }
        (Some(_), None, None) => (DeliveryStage::Collected, Some(accepted + SYSTEMS)),
        (None, None, None) => (DeliveryStage::Accepted, Some(accepted + SYSTEMS)),
    };
    let time =
        |micros: Option<i64>| micros.and_then(|at| Instant::from_micros(at).ok()).map(Instant::to_proto);
    Ok(DeliveryStatus {
        recipient: recipient.to_string(),
        cursor: Some(cursor_of(cx, at)),
        kind,
        stage: stage as i32,
        accepted_time: time(Some(accepted)),
        collected_time: time(collected),
        acknowledged_time: time(acknowledged),
        acted_on_time: time(acted_on),
        due_time: time(due),
    })
}

/// When a batch that holds the place was first sent.
async fn collected(
    cx: &mut Cx,
    recipient: &OrganisationId,
    at: Place,
    kind: i64,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT time FROM collections WHERE organisation = $1 AND (to_idx, to_ordinal) >= ($2, $3) \
               AND (from_idx, from_ordinal) < ($2, $3) AND (kinds >> CAST($4 AS INTEGER)) & 1 = 1 \
               ORDER BY to_idx, to_ordinal LIMIT 1";
    let arguments = vec![recipient.as_str().into(), at.index.into(), at.ordinal.into(), kind.into()];
    cx.snapshot.fetch_one(sql, arguments).await?.map(|row| row.int(0)).transpose()
}

async fn reached(
    cx: &mut Cx,
    recipient: &OrganisationId,
    at: Place,
    stage: DeliveryStage,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT a.time FROM heads h JOIN acknowledgements a ON a.idx = h.idx AND a.ordinal = h.ordinal \
               WHERE h.key = $1";
    let key = acknowledgement(recipient, at, stage as i32);
    let row = cx.snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    row.map(|row| row.int(0)).transpose()
}
