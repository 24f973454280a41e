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

use crate::exchange::{Action, Routes};
use crate::proto::v1::oversight_service as rpc;

/// Adds the methods of `OversightService`.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes.unary(rpc::LIST_ALERTS, Action::ListAlerts, service::list_alerts).unary(
        rpc::RESOLVE_ALERT,
        Action::ResolveAlert,
        service::resolve_alert,
    )
}
