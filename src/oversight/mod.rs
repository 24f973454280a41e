//! Oversight: what nobody did in time, found by the gateway itself and told to those who can see to it.
//!
//! Owns when an alert is raised, how it ends and who reads it. It must raise an alert exactly once, also with
//! several nodes and after a restart, never say more of a child than that something is overdue, and never keep
//! a child from provision: an alert is told, nothing is refused by it. Serves the finding that information is
//! shared too late (domain PC4); the clock is five school days.

mod service;
mod watchman;
mod wire;

pub use watchman::{ALERT, Watchman};

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
