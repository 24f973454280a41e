//! `watch deliveries` and `watch alerts`: writes what is new in the mailbox, acknowledges it if asked, and keeps
//! where it stands. A connection that is lost is made again.

use std::time::Duration;

use tokio::time::Instant;

use super::args::WatchDeliveries;
use super::cursor::KeptCursor;
use super::{Failure, deliveries, output, profile, say};
use crate::client::{Client, Limits};
use crate::proto::v1::delivery_service as rpc;
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, Cursor, Delivery, DeliveryKind, ListDeliveriesRequest, WatchDeliveriesRequest,
};

/// Batches of one `--once`: ten million deliveries.
const BATCHES: usize = 100_000;

/// What is watched: the name of its cursor, and the kinds of delivery; all where none is named.
pub struct Subject {
    name: &'static str,
    kinds: &'static [DeliveryKind],
}

/// The whole mailbox.
pub const DELIVERIES: Subject = Subject { name: "deliveries", kinds: &[] };
/// Alerts, and what became of them.
pub const ALERTS: Subject =
    Subject { name: "alerts", kinds: &[DeliveryKind::Alert, DeliveryKind::AlertEnded] };

/// Follows the mailbox from the kept cursor on; with `--all` from its beginning.
///
/// # Errors
/// Exit code 78 for a damaged cursor, 69 when standard output fails or the outage was too long; or the client's.
pub async fn watch(args: &WatchDeliveries, subject: &Subject) -> Result<(), Failure> {
    output::heard()?;
    let stage = if args.acknowledge { "acknowledged" } else { "shown" };
    let kept = KeptCursor::open(&args.of.profile, &format!("{}-{stage}", subject.name))?;
    let cursor = if args.all { None } else { kept.get() };
    let client = profile::open(&args.of).await?;
    let kinds = subject.kinds.iter().map(|kind| *kind as i32).collect();
    let mut watcher = Watcher { args, client, kinds, kept, cursor, unacknowledged: None, heard: false };
    if args.once { watcher.collect().await } else { watcher.follow().await }
}

struct Watcher<'a> {
    args: &'a WatchDeliveries,
    client: Client,
    kinds: Vec<i32>,
    kept: KeptCursor,
    /// Behind what was written last.
    cursor: Option<Cursor>,
    /// The acknowledgement of what was written last, until the gateway has taken it.
    unacknowledged: Option<AcknowledgeDeliveryRequest>,
    /// Whether the gateway has sent anything since the last attempt to connect.
    heard: bool,
}

impl Watcher<'_> {
    /// Takes what is there, and ends.
    async fn collect(&mut self) -> Result<(), Failure> {
        for _ in 0..BATCHES {
            let cursor = self.cursor.clone();
            let request = ListDeliveriesRequest {
                cursor,
                kinds: self.kinds.clone(),
                ..ListDeliveriesRequest::default()
            };
            let reply = self.client.call(rpc::LIST_DELIVERIES, &request).await?.message;
            self.take(&reply.deliveries, reply.next).await?;
            if !reply.more {
                break;
            }
        }
        Ok(())
    }

    /// Streams, and connects again after each loss, from the cursor behind what was written last. An outage has a
    /// bound; a refusal that stays ends it at once.
    async fn follow(&mut self) -> Result<(), Failure> {
        let (limits, bound) = (Limits::default(), Duration::from_secs(self.args.give_up_after));
        let (mut attempt, mut since) = (0, Instant::now());
        loop {
            self.heard = false;
            let ended = self.stream().await;
            if self.heard {
                (attempt, since) = (0, Instant::now());
            }
            attempt += 1;
            let mut pause = limits.backoff(attempt);
            if let Err(failure) = ended {
                let Some(asked) = failure.retry_after() else {
                    return Err(failure);
                };
                pause = pause.max(asked);
                if since.elapsed() + pause > bound {
                    let end =
                        format!("given up after {} seconds; the next run goes on from here", bound.as_secs());
                    return Err(failure.and(&end));
                }
                if attempt == 1 {
                    let up_to = bound.as_secs();
                    output::note(&format!(
                        "the connection was lost; connecting again, for up to {up_to} seconds"
                    ));
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One stream to its end: in order once it has lived its time.
    async fn stream(&mut self) -> Result<(), Failure> {
        self.settle().await?;
        let request = WatchDeliveriesRequest { cursor: self.cursor.clone(), kinds: self.kinds.clone() };
        let mut stream = self.client.watch(rpc::WATCH_DELIVERIES, &request).await?;
        loop {
            let (before, kinds) = (self.cursor.clone(), self.kinds.clone());
            let next = stream.next(|message| deliveries::position(message, before.as_ref(), &kinds));
            let Some((message, _)) = next.await? else {
                return Ok(());
            };
            self.heard = true;
            self.take(&message.deliveries, message.next).await?;
        }
    }

    /// Writes a batch, then acknowledges it, then keeps the cursor behind it: what fails on the way is not lost.
    async fn take(&mut self, batch: &[Delivery], next: Option<Cursor>) -> Result<(), Failure> {
        for delivery in batch {
            if self.args.of.json {
                output::json("Delivery", delivery)?;
            } else {
                say(&deliveries::line(delivery));
            }
        }
        if !batch.is_empty() {
            output::stored()?;
        }
        self.cursor = next.or(self.cursor.take());
        if batch.is_empty() {
            return Ok(());
        }
        if self.args.acknowledge {
            self.unacknowledged = Some(deliveries::acknowledgement(batch, None));
            return self.settle().await;
        }
        self.keep()
    }

    /// Sends the acknowledgement that is still to be taken, always under the same request id.
    async fn settle(&mut self) -> Result<(), Failure> {
        if let Some(request) = &self.unacknowledged {
            self.client.call(rpc::ACKNOWLEDGE_DELIVERY, request).await?;
            self.unacknowledged = None;
            self.keep()?;
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<(), Failure> {
        self.cursor.as_ref().map_or(Ok(()), |cursor| self.kept.advance(cursor))
    }
}
