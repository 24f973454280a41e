//! A mailbox, collected and followed.

use super::super::{Failure, deliveries};
use crate::client::{Client, Replies};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::delivery_service as delivery;
use crate::proto::v1::{
    AttendanceContent, Cursor, Delivery, ListDeliveriesRequest, WatchDeliveriesRequest,
    WatchDeliveriesResponse,
};

/// Messages that are waited for at one step.
const MESSAGES: usize = 100;

/// Everything that lies in a mailbox, and where it ends.
pub async fn collected(client: &Client) -> Result<(Vec<Delivery>, Option<Cursor>), Failure> {
    let (mut cursor, mut deliveries) = (None, Vec::new());
    for _ in 0..MESSAGES {
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

/// The register in a delivery.
pub fn attendance(delivery: &Delivery) -> Result<&AttendanceContent, Failure> {
    match &delivery.content {
        Some(Content::Attendance(content)) => Ok(content),
        _ => Err(Failure::refused("another thing was delivered than the register")),
    }
}

/// A mailbox that is followed on its stream.
pub struct Mailbox {
    pub client: Client,
    stream: Replies<WatchDeliveriesResponse>,
    cursor: Option<Cursor>,
    /// What was there before.
    pub before: usize,
}

impl Mailbox {
    /// Collects what is there, and opens the stream behind it.
    pub async fn open(client: &Client) -> Result<Self, Failure> {
        let (deliveries, cursor) = collected(client).await?;
        let before = deliveries.len();
        let request = WatchDeliveriesRequest { cursor: cursor.clone(), kinds: Vec::new() };
        let stream = client.watch(delivery::WATCH_DELIVERIES, &request).await?;
        Ok(Self { client: client.clone(), stream, cursor, before })
    }

    /// The next delivery on the stream.
    pub async fn next(&mut self) -> Result<Delivery, Failure> {
        for _ in 0..MESSAGES {
            let before = self.cursor.clone();
            let message =
                self.stream.next(|message| deliveries::position(message, before.as_ref(), &[])).await?;
            let Some((message, _)) = message else { break };
            self.cursor = message.next.or(before);
            if let Some(delivery) = message.deliveries.into_iter().next() {
                return Ok(delivery);
            }
        }
        Err(Failure::refused("the stream brought nothing"))
    }
}
