//! Mailboxes: reading an organisation's deliveries, acknowledging them, and showing their status to the sender.
//!
//! The content of a delivery is read, and reduced to the recipient's own children, when the delivery is sent.
//! Invariant: a mailbox never sends content in which the recipient no longer has a part, and never skips content in
//! which it has.

mod acknowledge;
mod backlog;
mod collected_digests;
mod content;
mod kinds;
mod mailbox;
mod rows;
mod status;
mod wire;

pub use backlog::Backlog;
pub use kinds::{kind_name, kind_names};

use crate::exchange::method::methods;
use crate::store::{Record as _, Table};

/// The tables of collections and acknowledgements.
pub const TABLES: &[&Table] = &[rows::CollectionRow::TABLE, rows::AcknowledgementRow::TABLE];

methods! {
    delivery_service::WATCH_DELIVERIES => watch(
        mailbox::open_stream,
        mailbox::next_batch,
        mailbox::heartbeat,
        mailbox::resume_metadata,
    ) {
        Reads, callers: ANYONE, access: [Owner: Always]
    }
    delivery_service::LIST_DELIVERIES => unary(mailbox::list) {
        Reads, callers: ANYONE, access: [Owner: Always]
    }
    delivery_service::ACKNOWLEDGE_DELIVERY => unary(acknowledge::acknowledge) {
        Changes, callers: ANYONE, access: [Owner: Always]
    }
    delivery_service::GET_DELIVERY_STATUS => unary(status::status) {
        Reads, callers: ANYONE, access: [Owner: Always]
    }
}
