//! `GetDeliveryStatus`: the stage of each delivery of an object that the caller sent.

use super::kinds;
use super::rows::{MailboxPosition, acknowledgement_key};
use super::wire::{self, cursor_from_position};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, Decided, PolicyFacts, Refusal, RequestContext};
use crate::passports;
use crate::proto::v1::{
    DeliveryKind, DeliveryStage, DeliveryStatus, GetDeliveryStatusRequest, GetDeliveryStatusResponse,
};
use crate::store::StoreError;

/// Time in microseconds, after a delivery is stored, by which a system should have collected and acknowledged it: a
/// day.
const SYSTEM_DEADLINE_US: i64 = 86_400_000_000;
/// Time in microseconds, after a delivery is stored, by which a person should have acted on it: five days.
const PERSON_DEADLINE_US: i64 = 5 * SYSTEM_DEADLINE_US;
/// Maximum number of deliveries of one object in a response.
const MAX_DELIVERIES: i64 = 1_000;

/// Returns the status of each delivery of an object, the oldest first.
pub async fn status(
    mut cx: RequestContext,
    m: GetDeliveryStatusRequest,
) -> Result<Decided<GetDeliveryStatusResponse>, Refusal> {
    let object = wire::check_status(&m)?;
    let sql = "SELECT p.organisation, p.idx, p.ordinal, p.kind, e.time FROM parties p \
               JOIN entries e ON e.idx = p.idx \
               WHERE p.object = $1 AND p.sender = $2 AND p.kind > 0 ORDER BY p.idx, p.ordinal LIMIT $3";
    let sender = cx.caller.organisation.as_str();
    let rows = cx.snapshot.fetch(sql, vec![object.into(), sender.into(), MAX_DELIVERIES.into()]).await?;
    let part = if rows.is_empty() { CallerRole::NoRole } else { CallerRole::Owner };
    let permit = cx.permit(&PolicyFacts::for_role(part))?;
    let (mut change, mut deliveries) = (cx.change(&permit), Vec::new());
    for row in &rows {
        let recipient = row.get("organisation")?;
        let (at, kind, accepted) = (MailboxPosition::read(row)?, row.get("kind")?, row.get("time")?);
        deliveries.push(delivery_status(&mut cx, &recipient, at, kind, accepted).await?);
        change = change.add_counterpart(&recipient);
    }
    Ok(change.with_reply(&GetDeliveryStatusResponse { deliveries, receipt: None }))
}

async fn delivery_status(
    cx: &mut RequestContext,
    recipient: &OrganisationId,
    at: MailboxPosition,
    kind: i32,
    accepted: i64,
) -> Result<DeliveryStatus, Refusal> {
    let collected = collected_time(cx, recipient, at, kind).await?;
    let acknowledged = acknowledged_time(cx, recipient, at, DeliveryStage::Acknowledged).await?;
    let acted_on = acknowledged_time(cx, recipient, at, DeliveryStage::ActedOn).await?;
    let (stage, due) = match (collected, acknowledged, acted_on) {
        (_, _, Some(_)) => (DeliveryStage::ActedOn, None),
        (_, Some(_), None) => {
            (DeliveryStage::Acknowledged, person_deadline(cx, recipient, at, (kind, accepted)).await?)
        }
        (Some(_), None, None) => (DeliveryStage::Collected, Some(accepted + SYSTEM_DEADLINE_US)),
        (None, None, None) => (DeliveryStage::Accepted, Some(accepted + SYSTEM_DEADLINE_US)),
    };
    let time =
        |micros: Option<i64>| micros.and_then(|at| Instant::from_micros(at).ok()).map(Instant::to_proto);
    Ok(DeliveryStatus {
        recipient: recipient.to_string(),
        cursor: Some(cursor_from_position(cx, at)),
        kind,
        stage: stage as i32,
        accepted_time: time(Some(accepted)),
        collected_time: time(collected),
        acknowledged_time: time(acknowledged),
        acted_on_time: time(acted_on),
        due_time: time(due),
    })
}

/// Returns the time by which a person should have acted on a delivery, in microseconds since 1970 UTC: the end of the next
/// school day for a break-glass, otherwise [`PERSON_DEADLINE_US`] after it was stored. `None` if nobody must act.
async fn person_deadline(
    cx: &mut RequestContext,
    recipient: &OrganisationId,
    at: MailboxPosition,
    (kind, accepted): (i32, i64),
) -> Result<Option<i64>, Refusal> {
    if kind == DeliveryKind::BreakGlass as i32 {
        let due = passports::break_glass_due_date(cx, at.index, recipient).await?;
        return Ok(due.map(|due| due.end_of_day().micros()));
    }
    let needs_action = kinds::by_number(kind).is_some_and(|known| known.needs_action);
    Ok(needs_action.then_some(accepted + PERSON_DEADLINE_US))
}

/// Returns the time at which the delivery was first sent, in microseconds since 1970 UTC.
async fn collected_time(
    cx: &mut RequestContext,
    recipient: &OrganisationId,
    at: MailboxPosition,
    kind: i32,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT time FROM collections WHERE organisation = $1 AND (to_idx, to_ordinal) >= ($2, $3) \
               AND (from_idx, from_ordinal) < ($2, $3) AND (kinds >> CAST($4 AS INTEGER)) & 1 = 1 \
               ORDER BY to_idx, to_ordinal LIMIT 1";
    let arguments = vec![recipient.as_str().into(), at.index.into(), at.ordinal.into(), kind.into()];
    cx.snapshot.fetch_one(sql, arguments).await?.map(|row| row.get("time")).transpose()
}

/// Returns the time at which the recipient acknowledged a stage, in microseconds since 1970 UTC.
async fn acknowledged_time(
    cx: &mut RequestContext,
    recipient: &OrganisationId,
    at: MailboxPosition,
    stage: DeliveryStage,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT a.time FROM current_versions v JOIN acknowledgements a ON a.idx = v.idx AND a.ordinal = v.ordinal \
               WHERE v.key = $1";
    let key = acknowledgement_key(recipient, at, stage);
    let row = cx.snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    row.map(|row| row.get("time")).transpose()
}
