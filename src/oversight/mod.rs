//! Oversight: alerts, which the gateway raises by itself when a rule finds something due, and delivers to those whom
//! the rule names. The only rule so far is about overdue open items; commissioner and provider receive its alerts.
//!
//! Owns when an alert is raised, how it ends and who reads it. Invariants: an alert is raised exactly once, also with
//! several nodes and after a restart; it contains no more about a child than that an item is overdue; and it never
//! keeps a child from provision, because nothing is refused on account of an alert. It addresses the finding that
//! information is shared too late (domain PC4); an item is overdue after five school days.

mod alert_changes;
mod alert_message;
mod alert_scheduler;
pub mod alerts;
mod check_context;
mod failures;
mod open_alerts;
pub mod rule;
pub mod rules;
mod service;
pub mod subject;
mod wire;

pub use alert_message::alert_content;
pub use alert_scheduler::AlertScheduler;
pub use check_context::ALERT_METHOD;

use crate::exchange::method::methods;
use crate::store::{Record, Table};

/// The tables of oversight.
pub const TABLES: &[&Table] = &[alerts::AlertRow::TABLE];

methods! {
    oversight_service::LIST_ALERTS => unary(service::list_alerts) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always]
    }
    // The organisations that can remove the cause of the alert.
    oversight_service::RESOLVE_ALERT => unary(service::resolve_alert) {
        Changes, callers: PLACEMENT_PARTIES, access: [Commissioner: Always, Provider: WhileLive]
    }
}
