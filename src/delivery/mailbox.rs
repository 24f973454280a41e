//! `WatchDeliveries` and `ListDeliveries`: one batch of a mailbox is one exchange, whichever asks for it.

use prost::Message;

use super::collected;
use super::content::{self, Sent};
use super::rows::{self, Among, CollectionRow, Place};
use super::wire::{self, From, cursor_of};
use crate::exchange::{Action, Batch, Change, Cx, Decided, Facts, Part, Refusal};
use crate::proto::v1::{
    Delivery, ListDeliveriesRequest, ListDeliveriesResponse, WatchDeliveriesRequest, WatchDeliveriesResponse,
    WatchPosition,
};

/// Marks of one batch; a larger return is a batch alone.
const MARKS: usize = 1_000;
/// Bytes of one batch; a larger delivery is a batch alone.
const BYTES: usize = 1 << 20;

/// Answers the opening of a stream.
pub async fn open(
    cx: Cx,
    m: WatchDeliveriesRequest,
) -> Result<(Decided<WatchDeliveriesResponse>, WatchPosition), Refusal> {
    let at = WatchPosition { cursor: m.cursor, kinds: m.kinds };
    wire::position(&cx, &at)?;
    let permit = cx.permit(Action::WatchDeliveries, &Facts::own(Part::Own))?;
    let reply = WatchDeliveriesResponse { next: at.cursor.clone(), ..WatchDeliveriesResponse::default() };
    Ok((cx.change(&permit).reply(&reply), at))
}

/// The batch behind a position.
pub async fn feed(
    mut cx: Cx,
    at: WatchPosition,
) -> Result<Batch<WatchDeliveriesResponse, WatchPosition>, Refusal> {
    let from = wire::position(&cx, &at)?;
    let batch = match batch(&mut cx, Action::WatchDeliveries, from).await? {
        Found::Batch(batch) => batch,
        Found::Nothing { read, more } => {
            let cursor = read.map(|read| cursor_of(&cx, read)).or(at.cursor);
            return Ok(Batch::Nothing { at: WatchPosition { cursor, kinds: at.kinds }, more });
        }
    };
    let next = Some(cursor_of(&cx, batch.next));
    let reply = WatchDeliveriesResponse {
        deliveries: batch.deliveries,
        next: next.clone(),
        ..WatchDeliveriesResponse::default()
    };
    Ok(Batch::Next(batch.change.reply(&reply), WatchPosition { cursor: next, kinds: at.kinds }))
}

/// A heartbeat: where the stream stands, and the newest checkpoint.
pub fn beat(at: WatchPosition, checkpoint: String) -> WatchDeliveriesResponse {
    WatchDeliveriesResponse { next: at.cursor, checkpoint, ..WatchDeliveriesResponse::default() }
}

/// One batch, asked for.
pub async fn list(mut cx: Cx, m: ListDeliveriesRequest) -> Result<Decided<ListDeliveriesResponse>, Refusal> {
    let from = wire::list(&cx, &m)?;
    match batch(&mut cx, Action::ListDeliveries, from).await? {
        Found::Nothing { read, more } => {
            let permit = cx.permit(Action::ListDeliveries, &Facts::own(Part::Own))?;
            // Only where it goes on at once: behind the mailbox's end the caller keeps the cursor that it knows.
            let next = read.filter(|_| more).map(|read| cursor_of(&cx, read)).or(m.cursor);
            let reply = ListDeliveriesResponse { next, more, ..ListDeliveriesResponse::default() };
            Ok(cx.change(&permit).reply(&reply))
        }
        Found::Batch(Collected { change, deliveries, next, more }) => {
            let next = Some(cursor_of(&cx, next));
            Ok(change.reply(&ListDeliveriesResponse { deliveries, next, more, receipt: None }))
        }
    }
}

/// What a reader finds behind a place.
enum Found {
    /// Deliveries.
    Batch(Collected),
    /// None of these kinds up to a place, if anything was read at all; and whether there is more behind it.
    Nothing { read: Option<Place>, more: bool },
}

struct Collected {
    change: Change,
    deliveries: Vec<Delivery>,
    next: Place,
    more: bool,
}

/// What lies behind a place, as far as one batch holds it; and that it was collected.
async fn batch(cx: &mut Cx, action: Action, from: From) -> Result<Found, Refusal> {
    let organisation = cx.caller.organisation.clone();
    let permit = cx.permit(action, &Facts::own(Part::Own))?;
    let to = rows::read_to(&mut cx.snapshot, &organisation, from.after).await?;
    let Some(to) = to else { return Ok(Found::Nothing { read: None, more: false }) };
    let among = Among { after: from.after, to: to.at, kinds: from.kinds };
    let parcels = rows::behind(&mut cx.snapshot, &organisation, among, from.size + 1).await?;
    let (mut sent, mut marks, mut bytes): (Vec<Sent>, _, _) = (Vec::new(), 0, 0);
    let (mut next, budget) = (from.after, cx.snapshot.budget());
    let mut more = false;
    for parcel in &parcels {
        let full = i64::try_from(sent.len()).unwrap_or(i64::MAX) >= from.size;
        if full || marks >= MARKS || bytes >= BYTES || (!sent.is_empty() && budget.is_half_spent()) {
            more = true;
            break;
        }
        let one = match content::delivery(cx, parcel).await {
            Ok(one) => one,
            Err(refusal) => {
                let behind = || Ok(wire::behind(cx, parcel.at));
                refusal.of_record(cx, parcel.placement, sent.is_empty(), behind)?;
                more = true;
                break;
            }
        };
        let size = one.delivery.encoded_len();
        if !sent.is_empty() && (marks + one.marks > MARKS || bytes + size > BYTES) {
            more = true;
            break;
        }
        (marks, bytes, next) = (marks + one.marks, bytes + size, parcel.at);
        sent.push(one);
    }
    if sent.is_empty() {
        return Ok(Found::Nothing { read: Some(to.at), more: to.more });
    }
    let more = more || to.more;
    let batch = sent.iter().map(|sent| (sent.at, sent.content_sha256));
    let digests = collected::to_bytes(&cx.vault.ring(), &organisation, batch);
    let (kinds, time) = (from.kinds, cx.now.micros());
    let row = CollectionRow { organisation, from: from.after, to: next, kinds, time, digests };
    let change = content::commit_to(cx.change(&permit).write(&row), &sent);
    let deliveries = sent.into_iter().map(|sent| sent.delivery).collect();
    Ok(Found::Batch(Collected { change, deliveries, next, more }))
}
