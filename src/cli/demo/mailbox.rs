//! Mailbox of an organisation: lists its deliveries and follows its stream.

use std::collections::VecDeque;

use super::super::{Failure, deliveries};
use crate::client::{Client, ReplyStream};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::delivery_service as delivery;
use crate::proto::v1::{
    AttendanceContent, Cursor, Delivery, DeliveryKind, ListDeliveriesRequest, Officer,
    WatchDeliveriesRequest, WatchDeliveriesResponse,
};

/// Maximum number of messages that one step waits for.
const MAX_MESSAGES_PER_STEP: usize = 100;

/// Returns all deliveries in a mailbox, and the cursor of its end.
pub async fn collect_deliveries(client: &Client) -> Result<(Vec<Delivery>, Option<Cursor>), Failure> {
    let (mut cursor, mut deliveries) = (None, Vec::new());
    for _ in 0..MAX_MESSAGES_PER_STEP {
        let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
        let reply = client.call(delivery::LIST_DELIVERIES, &request).await?.message;
        deliveries.extend(reply.deliveries);
        cursor = reply.next;
        if !reply.more {
            break;
        }
    }
    Ok((deliveries, cursor))
}

/// Acknowledges deliveries by the digests of their content; with an officer, as acted on. Returns the number
/// acknowledged.
///
/// # Errors
/// As the client's.
pub async fn acknowledge(
    client: &Client,
    batch: &[Delivery],
    officer: Option<Officer>,
) -> Result<u32, Failure> {
    let request = deliveries::acknowledge_request(batch, officer);
    Ok(client.call(delivery::ACKNOWLEDGE_DELIVERY, &request).await?.message.acknowledged)
}

/// Returns the attendance content of a delivery.
pub fn attendance_content(delivery: &Delivery) -> Result<&AttendanceContent, Failure> {
    match &delivery.content {
        Some(Content::Attendance(content)) => Ok(content),
        _ => Err(Failure::refused("the delivery is not the register")),
    }
}

/// Mailbox that is followed on its stream.
pub struct Mailbox {
    pub client: Client,
    stream: ReplyStream<WatchDeliveriesResponse>,
    kinds: Vec<i32>,
    cursor: Option<Cursor>,
    /// Deliveries that came together and are not returned yet.
    pending: VecDeque<Delivery>,
    /// Number of earlier deliveries.
    pub earlier_deliveries: usize,
}

impl Mailbox {
    /// Collects the earlier deliveries, and opens the stream after them.
    pub async fn open(client: &Client) -> Result<Self, Failure> {
        Self::of_kinds(client, &[]).await
    }

    /// Opens the mailbox as [`Self::open`] does, for deliveries of some kinds; of all without any.
    pub async fn of_kinds(client: &Client, kinds: &[DeliveryKind]) -> Result<Self, Failure> {
        let (deliveries, cursor) = collect_deliveries(client).await?;
        let before = deliveries.len();
        let kinds: Vec<i32> = kinds.iter().map(|kind| *kind as i32).collect();
        let request = WatchDeliveriesRequest { cursor: cursor.clone(), kinds: kinds.clone() };
        let stream = client.open_stream(delivery::WATCH_DELIVERIES, &request).await?;
        let (client, pending) = (client.clone(), VecDeque::new());
        Ok(Self { client, stream, kinds, cursor, pending, earlier_deliveries: before })
    }

    /// Returns the next delivery on the stream.
    pub async fn next(&mut self) -> Result<Delivery, Failure> {
        for _ in 0..MAX_MESSAGES_PER_STEP {
            if let Some(delivery) = self.pending.pop_front() {
                return Ok(delivery);
            }
            let (before, kinds) = (self.cursor.clone(), &self.kinds);
            let message = self
                .stream
                .next(|message| deliveries::next_position(message, before.as_ref(), kinds))
                .await?;
            let Some((message, _)) = message else { break };
            self.cursor = message.next.or(before);
            self.pending.extend(message.deliveries);
        }
        Err(Failure::refused("the stream sent no delivery"))
    }
}
