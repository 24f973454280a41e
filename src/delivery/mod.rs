//! Mailboxes: what is stored for an organisation stays until it is acknowledged, and its sender can see how
//! far it has come.
//!
//! Content is read, and cut to the recipient's own children, at the moment when it is sent. It must never
//! send what the recipient has no part in any more, nor skip what it has.

mod acknowledge;
mod collected;
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
    let watcher = Watcher::new(mailbox::open, mailbox::feed, mailbox::beat);
    routes
        .watch(rpc::WATCH_DELIVERIES.path(), Action::WatchDeliveries, watcher)
        .unary(rpc::LIST_DELIVERIES, Action::ListDeliveries, mailbox::list)
        .unary(rpc::ACKNOWLEDGE_DELIVERY, Action::AcknowledgeDelivery, acknowledge::acknowledge)
        .unary(rpc::GET_DELIVERY_STATUS, Action::GetDeliveryStatus, status::status)
}
