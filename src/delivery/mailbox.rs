//! `WatchDeliveries` and `ListDeliveries`. Each batch that either of them returns is one exchange.

use prost::Message;

use super::collected_digests;
use super::content::{self, PreparedDelivery};
use super::rows::{self, CollectionRow, MailboxPosition, MailboxRange};
use super::wire::{self, MailboxQuery, cursor_from_position};
use crate::exchange::{CallerRole, Change, Decided, FeedBatch, PolicyFacts, Refusal, RequestContext};
use crate::oversight;
use crate::placements::delivery_subject::DeliverySubject;
use crate::proto::v1::{
    Delivery, DeliveryKind, ListDeliveriesRequest, ListDeliveriesResponse, WatchDeliveriesRequest,
    WatchDeliveriesResponse, WatchPosition,
};

/// Maximum number of marks of one batch; a larger return is a batch of its own.
const MAX_BATCH_MARKS: usize = 1_000;
/// Maximum number of bytes of one batch; a larger delivery is a batch of its own.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Opens a stream: checks the request and returns the first response and the position to start from.
pub async fn open_stream(
    cx: RequestContext,
    m: WatchDeliveriesRequest,
) -> Result<(Decided<WatchDeliveriesResponse>, WatchPosition), Refusal> {
    let at = WatchPosition { cursor: m.cursor, kinds: m.kinds };
    wire::check_position(&cx, &at)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let reply = WatchDeliveriesResponse { next: at.cursor.clone(), ..WatchDeliveriesResponse::default() };
    Ok((cx.change(&permit).with_reply(&reply), at))
}

/// Returns the next batch after a position.
pub async fn next_batch(
    mut cx: RequestContext,
    at: WatchPosition,
) -> Result<FeedBatch<WatchDeliveriesResponse, WatchPosition>, Refusal> {
    let from = wire::check_position(&cx, &at)?;
    let batch = match read_batch(&mut cx, from).await? {
        MailboxRead::Batch(batch) => batch,
        MailboxRead::Nothing { read, more } => {
            let cursor = read.map(|read| cursor_from_position(&cx, read)).or(at.cursor);
            return Ok(FeedBatch::Nothing {
                position: WatchPosition { cursor, kinds: at.kinds },
                has_more: more,
            });
        }
    };
    let next = Some(cursor_from_position(&cx, batch.next));
    let reply = WatchDeliveriesResponse {
        deliveries: batch.deliveries,
        next: next.clone(),
        ..WatchDeliveriesResponse::default()
    };
    Ok(FeedBatch::Next(batch.change.with_reply(&reply), WatchPosition { cursor: next, kinds: at.kinds }))
}

/// Builds a heartbeat: the position of the stream, and the newest checkpoint.
pub fn heartbeat(at: WatchPosition, checkpoint: String) -> WatchDeliveriesResponse {
    WatchDeliveriesResponse { next: at.cursor, checkpoint, ..WatchDeliveriesResponse::default() }
}

/// Returns the position of a stream as metadata of the refusal that ends it.
pub fn resume_metadata(at: WatchPosition) -> Vec<(&'static str, String)> {
    at.cursor.map(wire::cursor_metadata).unwrap_or_default()
}

/// Returns one batch.
pub async fn list(
    mut cx: RequestContext,
    m: ListDeliveriesRequest,
) -> Result<Decided<ListDeliveriesResponse>, Refusal> {
    let from = wire::check_list(&cx, &m)?;
    match read_batch(&mut cx, from).await? {
        MailboxRead::Nothing { read, more } => {
            let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
            // A new cursor is returned only when there is more to read. At the end of the mailbox the caller keeps its
            // own.
            let next = read.filter(|_| more).map(|read| cursor_from_position(&cx, read)).or(m.cursor);
            let reply = ListDeliveriesResponse { next, more, ..ListDeliveriesResponse::default() };
            Ok(cx.change(&permit).with_reply(&reply))
        }
        MailboxRead::Batch(DeliveryBatch { change, deliveries, next, more }) => {
            let next = Some(cursor_from_position(&cx, next));
            Ok(change.with_reply(&ListDeliveriesResponse { deliveries, next, more, receipt: None }))
        }
    }
}

/// The result of reading a mailbox after a position.
enum MailboxRead {
    /// A batch of deliveries.
    Batch(DeliveryBatch),
    /// No delivery of the requested kinds up to `read`, which is `None` if no row was read; and whether there are more
    /// rows after it.
    Nothing { read: Option<MailboxPosition>, more: bool },
}

struct DeliveryBatch {
    change: Change,
    deliveries: Vec<Delivery>,
    next: MailboxPosition,
    more: bool,
}

/// Reads one batch after a position and records its collection.
async fn read_batch(cx: &mut RequestContext, from: MailboxQuery) -> Result<MailboxRead, Refusal> {
    let organisation = cx.caller.organisation.clone();
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let to = rows::scan_end(&mut cx.snapshot, &organisation, from.after).await?;
    let Some(to) = to else { return Ok(MailboxRead::Nothing { read: None, more: false }) };
    let range = MailboxRange { after: from.after, to: to.position, kind_bits: from.kind_bits };
    let headers = rows::list_headers(&mut cx.snapshot, &organisation, range, from.max_deliveries + 1).await?;
    let (mut sent, mut marks, mut bytes): (Vec<PreparedDelivery>, _, _) = (Vec::new(), 0, 0);
    let (mut next, budget) = (from.after, cx.snapshot.budget());
    let mut more = false;
    for header in &headers {
        let full = i64::try_from(sent.len()).unwrap_or(i64::MAX) >= from.max_deliveries;
        if full
            || marks >= MAX_BATCH_MARKS
            || bytes >= MAX_BATCH_BYTES
            || (!sent.is_empty() && budget.is_half_spent())
        {
            more = true;
            break;
        }
        let prepared = match content::prepare_delivery(cx, header).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let behind = || Ok(wire::resume_metadata(cx, header.position));
                refusal.end_list_before_damaged(&cx.snapshot, header.placement, sent.is_empty(), behind)?;
                more = true;
                break;
            }
        };
        let size = prepared.delivery.encoded_len();
        if !sent.is_empty() && (marks + prepared.marks > MAX_BATCH_MARKS || bytes + size > MAX_BATCH_BYTES) {
            more = true;
            break;
        }
        (marks, bytes, next) = (marks + prepared.marks, bytes + size, header.position);
        sent.push(prepared);
    }
    if sent.is_empty() {
        return Ok(MailboxRead::Nothing { read: Some(to.position), more: to.more });
    }
    let more = more || to.more;
    let digests = collected_digests::encode_digests(cx, &sent);
    let row = CollectionRow {
        organisation,
        from_idx: from.after.index,
        from_ordinal: from.after.ordinal,
        to_idx: next.index,
        to_ordinal: next.ordinal,
        kinds: from.kind_bits,
        time: cx.now.micros(),
        digests,
    };
    let change = content::add_leaves(cx.change(&permit).append(&row), &sent);
    let collected = headers.iter().take(sent.len()).filter_map(|header| {
        let kind = DeliveryKind::try_from(header.kind).ok().filter(|kind| DeliverySubject::is_kind(*kind))?;
        let (sender, recipient) = (header.sender.clone(), row.organisation.clone());
        let delivery = DeliverySubject { kind, placement: header.placement?, sender, recipient };
        Some((delivery, header.sent_us))
    });
    let change = oversight::evaluate_collected(cx, change, collected.collect::<Vec<_>>()).await?;
    let deliveries = sent.into_iter().map(|sent| sent.delivery).collect();
    Ok(MailboxRead::Batch(DeliveryBatch { change, deliveries, next, more }))
}
