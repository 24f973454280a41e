//! Oversight: alerts about overdue open items, which the gateway raises by itself and delivers to the commissioner and
//! the provider.
//!
//! Owns when an alert is raised, how it ends and who reads it. Invariants: an alert is raised exactly once, also with
//! several nodes and after a restart; it contains no more about a child than that an item is overdue; and it never
//! keeps a child from provision, because nothing is refused on account of an alert. It addresses the finding that
//! information is shared too late (domain PC4); an item is overdue after five school days.

mod alert_scheduler;
mod service;
mod wire;

pub use alert_scheduler::{ALERT_METHOD, AlertScheduler};

use crate::exchange::method::methods;

methods! {
    oversight_service::LIST_ALERTS => unary(service::list_alerts) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always]
    }
    // The organisations that can remove the cause of the alert.
    oversight_service::RESOLVE_ALERT => unary(service::resolve_alert) {
        Changes, callers: PLACEMENT_PARTIES, access: [Commissioner: Always, Provider: WhileLive],
        record: "what was done about an alert"
    }
}
