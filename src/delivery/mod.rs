//! Mailboxes: reading an organisation's deliveries, acknowledging them, and showing their status to the sender.
//!
//! The content of a delivery is read, and reduced to the recipient's own children, when the delivery is sent.
//! Invariant: a mailbox never sends content in which the recipient no longer has a part, and never skips content in
//! which it has.

mod acknowledge;
mod collected_digests;
mod content;
mod mailbox;
mod rows;
mod status;
mod wire;

use crate::exchange::{Action, Routes, Watcher};
use crate::proto::v1::delivery_service as rpc;

/// Adds the methods of `DeliveryService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    let watcher = Watcher::new(mailbox::open_stream, mailbox::next_batch, mailbox::heartbeat);
    routes
        .watch(rpc::WATCH_DELIVERIES.path(), Action::WatchDeliveries, watcher)
        .unary(rpc::LIST_DELIVERIES, Action::ListDeliveries, mailbox::list)
        .unary(rpc::ACKNOWLEDGE_DELIVERY, Action::AcknowledgeDelivery, acknowledge::acknowledge)
        .unary(rpc::GET_DELIVERY_STATUS, Action::GetDeliveryStatus, status::status)
}
