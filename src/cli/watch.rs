//! `watch deliveries` and `watch alerts`: prints new deliveries of the mailbox, acknowledges them on request, and
//! stores a cursor between runs. It reconnects when the connection is lost.

use std::time::Duration;

use tokio::time::Instant;

use super::args::WatchDeliveriesArgs;
use super::cursor::StoredCursor;
use super::{Failure, deliveries, output, print_line, profile};
use crate::client::{Client, ClientLimits};
use crate::proto::v1::delivery_service as rpc;
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, Cursor, Delivery, DeliveryKind, ListDeliveriesRequest, WatchDeliveriesRequest,
};

/// Maximum number of batches of one run with `--once`: ten million deliveries.
const MAX_BATCHES: usize = 100_000;

/// Kinds of delivery to watch, and the name of their cursor. An empty list means all kinds.
pub struct WatchedKinds {
    name: &'static str,
    kinds: &'static [DeliveryKind],
}

/// The whole mailbox.
pub const DELIVERIES: WatchedKinds = WatchedKinds { name: "deliveries", kinds: &[] };
/// Alerts and their ends.
pub const ALERTS: WatchedKinds = WatchedKinds {
    name: "alerts",
    kinds: &[DeliveryKind::Alert, DeliveryKind::AlertEscalated, DeliveryKind::AlertEnded],
};

/// Prints deliveries from the stored cursor on; with `--all` from the first delivery.
///
/// # Errors
/// Exit code 78 for a damaged cursor, 69 if standard output fails or an outage is too long; or the client's.
pub async fn run(args: &WatchDeliveriesArgs, subject: &WatchedKinds) -> Result<(), Failure> {
    output::check_stdout_is_read()?;
    let stage = if args.acknowledge { "acknowledged" } else { "shown" };
    let kept = StoredCursor::load(&args.connection.profile, &format!("{}-{stage}", subject.name))?;
    let cursor = if args.all { None } else { kept.get() };
    let client = profile::connect_from_args(&args.connection).await?;
    let kinds = subject.kinds.iter().map(|kind| *kind as i32).collect();
    let mut watcher = Watcher {
        args,
        client,
        kinds,
        stored_cursor: kept,
        cursor,
        pending_acknowledgement: None,
        has_received: false,
    };
    if args.once { watcher.read_all_once().await } else { watcher.stream_with_reconnect().await }
}

struct Watcher<'a> {
    args: &'a WatchDeliveriesArgs,
    client: Client,
    kinds: Vec<i32>,
    stored_cursor: StoredCursor,
    /// Cursor after the last delivery that was printed.
    cursor: Option<Cursor>,
    /// Acknowledgement of the last batch, until the gateway has accepted it.
    pending_acknowledgement: Option<AcknowledgeDeliveryRequest>,
    /// Whether the gateway has sent a message since the last attempt to connect.
    has_received: bool,
}

impl Watcher<'_> {
    /// Lists and processes the available deliveries.
    async fn read_all_once(&mut self) -> Result<(), Failure> {
        for _ in 0..MAX_BATCHES {
            let cursor = self.cursor.clone();
            let request = ListDeliveriesRequest {
                cursor,
                kinds: self.kinds.clone(),
                ..ListDeliveriesRequest::default()
            };
            let reply = self.client.call(rpc::LIST_DELIVERIES, &request).await?.message;
            self.process_batch(&reply.deliveries, reply.next).await?;
            if !reply.more {
                break;
            }
        }
        Ok(())
    }

    /// Streams deliveries, and reconnects at the cursor after each loss. Fails if an outage exceeds `--give-up-after`,
    /// and at once on an error that a retry cannot fix.
    async fn stream_with_reconnect(&mut self) -> Result<(), Failure> {
        let (limits, max_outage) = (ClientLimits::default(), Duration::from_secs(self.args.give_up_after));
        let (mut attempt, mut outage_start) = (0, Instant::now());
        loop {
            self.has_received = false;
            let ended = self.run_stream().await;
            if self.has_received {
                (attempt, outage_start) = (0, Instant::now());
            }
            attempt += 1;
            let mut pause = limits.backoff(attempt);
            if let Err(failure) = ended {
                let Some(retry_after) = failure.retry_after() else {
                    return Err(failure);
                };
                pause = pause.max(retry_after);
                if outage_start.elapsed() + pause > max_outage {
                    let end = format!(
                        "given up after {} seconds; the next run continues from here",
                        max_outage.as_secs()
                    );
                    return Err(failure.with_advice(&end));
                }
                if attempt == 1 {
                    let up_to = max_outage.as_secs();
                    output::print_note(&format!(
                        "the connection was lost; reconnecting for up to {up_to} seconds"
                    ));
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Runs one stream to its end. The gateway ends a stream regularly when it reaches its maximum age.
    async fn run_stream(&mut self) -> Result<(), Failure> {
        self.send_pending_acknowledgement().await?;
        let request = WatchDeliveriesRequest { cursor: self.cursor.clone(), kinds: self.kinds.clone() };
        let mut stream = self.client.open_stream(rpc::WATCH_DELIVERIES, &request).await?;
        loop {
            let (before, kinds) = (self.cursor.clone(), self.kinds.clone());
            let next = stream.next(|message| deliveries::next_position(message, before.as_ref(), &kinds));
            let Some((message, _)) = next.await? else {
                return Ok(());
            };
            self.has_received = true;
            self.process_batch(&message.deliveries, message.next).await?;
        }
    }

    /// Verifies the proofs of a batch, prints it, then acknowledges it, then stores the cursor after it. A failure in
    /// between loses no delivery.
    async fn process_batch(&mut self, batch: &[Delivery], next: Option<Cursor>) -> Result<(), Failure> {
        self.client.check_deliveries(batch).await?;
        for delivery in batch {
            if self.args.connection.json {
                output::print_json("Delivery", delivery)?;
            } else {
                print_line(&deliveries::summary_line(delivery));
            }
        }
        if !batch.is_empty() {
            output::sync_stdout()?;
        }
        self.cursor = next.or(self.cursor.take());
        if batch.is_empty() {
            return Ok(());
        }
        if self.args.acknowledge {
            self.pending_acknowledgement = Some(deliveries::acknowledge_request(batch, None));
            return self.send_pending_acknowledgement().await;
        }
        self.save_cursor()
    }

    /// Sends the pending acknowledgement, if any; retries use the same request id.
    async fn send_pending_acknowledgement(&mut self) -> Result<(), Failure> {
        if let Some(request) = &self.pending_acknowledgement {
            self.client.call(rpc::ACKNOWLEDGE_DELIVERY, request).await?;
            self.pending_acknowledgement = None;
            self.save_cursor()?;
        }
        Ok(())
    }

    fn save_cursor(&mut self) -> Result<(), Failure> {
        self.cursor.as_ref().map_or(Ok(()), |cursor| self.stored_cursor.advance(cursor))
    }
}
