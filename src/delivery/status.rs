//! `GetDeliveryStatus`: the stage of each delivery of an object that the caller sent.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::kinds;
use super::rows::{MailboxPosition, acknowledgement_key};
use super::wire::{self, cursor_from_position};
use crate::calendar::{Date, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, Decided, PolicyFacts, Refusal, RequestContext};
use crate::oversight::delivery_facts::{collected_time, is_answered};
use crate::placements::delivery_subject::DeliverySubject;
use crate::proto::v1::{
    DeliveryKind, DeliveryStage, DeliveryStatus, GetDeliveryStatusRequest, GetDeliveryStatusResponse,
};
use crate::register::terms;
use crate::store::StoreError;
use crate::{oversight, passports, placements};

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
    let placement = placements::by_id(&mut cx.snapshot, object).await?;
    let mut calendars: HashMap<OrganisationId, SchoolCalendar> = HashMap::new();
    let no_terms = SchoolCalendar::default();
    let mut newest: HashMap<(OrganisationId, i32), MailboxPosition> = HashMap::new();
    for row in &rows {
        newest.insert((row.get("organisation")?, row.get("kind")?), MailboxPosition::read(row)?);
    }
    for row in &rows {
        let recipient: OrganisationId = row.get("organisation")?;
        if !calendars.contains_key(&recipient) {
            let calendar = terms::load_calendar(&mut cx.snapshot, &recipient).await?;
            calendars.insert(recipient.clone(), calendar);
        }
        let kind: i32 = row.get("kind")?;
        let known = DeliveryKind::try_from(kind).ok().filter(|kind| DeliverySubject::is_kind(*kind));
        let is_answered =
            known.zip(placement.as_ref()).is_some_and(|(kind, placement)| is_answered(kind, placement));
        let at = MailboxPosition::read(row)?;
        // Of a passport that was shared again, only the newest must be acted on.
        let is_replaced = known.is_some() && newest.get(&(recipient.clone(), kind)) != Some(&at);
        let sent = SentDelivery {
            at,
            recipient_days: calendars.get(&recipient).unwrap_or(&no_terms),
            kind,
            object,
            accepted: row.get("time")?,
            is_answered: is_answered || is_replaced,
            recipient: recipient.clone(),
        };
        deliveries.push(delivery_status(&mut cx, &sent).await?);
        change = change.add_counterpart(&recipient);
    }
    Ok(change.with_reply(&GetDeliveryStatusResponse { deliveries, receipt: None }))
}

/// A delivery that the caller sent.
struct SentDelivery<'a> {
    recipient: OrganisationId,
    recipient_days: &'a SchoolCalendar,
    at: MailboxPosition,
    kind: i32,
    object: Uuid,
    /// When it was stored.
    accepted: Instant,
    /// Whether it needs no action any more, because a referral was answered, a passport was shared again, or the placement is
    /// over.
    is_answered: bool,
}

async fn delivery_status(
    cx: &mut RequestContext,
    sent: &SentDelivery<'_>,
) -> Result<DeliveryStatus, Refusal> {
    let (recipient, at) = (&sent.recipient, sent.at);
    let collected = collected_time(&mut cx.snapshot, recipient, at.to_log_position(), sent.kind).await?;
    let acknowledged = acknowledged_time(cx, recipient, at, DeliveryStage::Acknowledged).await?;
    let acted_on = acknowledged_time(cx, recipient, at, DeliveryStage::ActedOn).await?;
    let stage = match (collected, acknowledged, acted_on) {
        (_, _, Some(_)) => DeliveryStage::ActedOn,
        (_, Some(_), None) => DeliveryStage::Acknowledged,
        (Some(_), None, None) => DeliveryStage::Collected,
        (None, None, None) => DeliveryStage::Accepted,
    };
    let due = due_time(cx, sent, stage).await?;
    let time =
        |micros: Option<i64>| micros.and_then(|at| Instant::from_micros(at).ok()).map(Instant::to_proto);
    Ok(DeliveryStatus {
        recipient: recipient.to_string(),
        cursor: Some(cursor_from_position(cx, at)),
        kind: sent.kind,
        stage: stage as i32,
        accepted_time: Some(sent.accepted.to_proto()),
        collected_time: time(collected),
        acknowledged_time: time(acknowledged),
        acted_on_time: time(acted_on),
        due_time: due.map(Instant::to_proto),
    })
}

/// Returns the instant by which the next stage is due: until a delivery is collected the deadline of that, then the one by
/// which a person must act on it, or by which a system acknowledges it if nobody must act. `None` if nothing is due.
async fn due_time(
    cx: &mut RequestContext,
    sent: &SentDelivery<'_>,
    stage: DeliveryStage,
) -> Result<Option<Instant>, Refusal> {
    let needs_action = kinds::by_number(sent.kind).is_some_and(|known| known.needs_action);
    let is_acknowledged = stage == DeliveryStage::Acknowledged;
    if stage == DeliveryStage::ActedOn || sent.is_answered || (is_acknowledged && !needs_action) {
        return Ok(None);
    }
    let deadlines = Arc::clone(&cx.delivery_deadlines);
    if stage == DeliveryStage::Accepted || !needs_action {
        return Ok(deadlines.collect_by(sent.accepted, sent.recipient_days));
    }
    match DeliveryKind::try_from(sent.kind) {
        Ok(DeliveryKind::BreakGlass) => {
            let due = passports::break_glass_due_date(cx, sent.at.index, &sent.recipient).await?;
            Ok(due.map(Date::end_of_day))
        }
        Ok(DeliveryKind::Alert | DeliveryKind::AlertEscalated) => {
            Ok(oversight::act_by_written_at(&mut cx.snapshot, sent.at.index, sent.object).await?)
        }
        _ => Ok(deadlines.act_by(sent.accepted, sent.recipient_days)),
    }
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
