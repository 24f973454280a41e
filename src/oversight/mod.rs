//! Oversight: alerts, which the gateway raises by itself when a rule finds something due, and delivers to those whom
//! the rule book names.
//!
//! Owns when an alert is raised, escalated, closed and opened again, and who reads it. Each rule is a file of `rules/` and
//! a row of `rules.toml`. Invariants: an alert is raised exactly once, also with several nodes and after a restart, and so
//! is each of its moments evaluated; it contains no more about a child than its rule's facts; and it never keeps a child
//! from provision, because nothing is refused on account of an alert. It addresses the finding that information is shared
//! too late (domain PC4).

mod act_by;
mod agreement_changes;
mod alert_changes;
mod alert_list;
mod alert_message;
mod alert_scheduler;
pub mod alerts;
pub mod attendance_facts;
mod attendance_loading;
mod attendance_totals;
mod bundle_facts;
mod bundles;
mod cause;
mod check_context;
mod collected_deliveries;
mod delivery_changes;
pub mod delivery_facts;
mod due_moments;
mod due_subjects;
mod failures;
pub mod findings;
#[cfg(test)]
mod fixtures;
mod life;
mod missing_moments;
mod moment_changes;
#[cfg(test)]
mod national_fixture;
mod open_alert_counts;
mod open_alerts;
mod organisation_alerts;
mod other_places;
mod parameter_names;
mod placement_changes;
pub mod placement_facts;
pub mod placement_rule;
pub mod plan_facts;
mod provider_changes;
mod provider_facts;
pub mod provider_rule;
mod recipients;
mod report;
pub mod rule;
pub mod rule_book;
pub mod rule_id;
pub mod rules;
mod service;
pub mod severity;
pub mod subject;
mod tuition_facts;
mod wire;

pub use alert_message::alert_content;
pub use alert_scheduler::AlertScheduler;
pub use alerts::act_by_written_at;
pub use check_context::ALERT_METHOD;
pub use collected_deliveries::evaluate_collected;
pub use open_alert_counts::count_open_alerts;
pub use rule_book::RuleBook;

use crate::exchange::method::methods;
use crate::store::{Record, Table};

/// The tables of oversight.
pub const TABLES: &[&Table] = &[alerts::AlertRow::TABLE];

methods! {
    oversight_service::LIST_ALERTS => unary(service::list_alerts) {
        Reads, callers: PLACEMENT_PARTIES, access: [Owner: Always]
    }
    oversight_service::GET_OVERSIGHT_REPORT => unary(report::get_oversight_report) {
        Reads, callers: COMMISSIONERS, access: [Owner: Always]
    }
    // The organisations that can remove the cause of the alert; the owner of one that is about no placement.
    oversight_service::RESOLVE_ALERT => unary(service::resolve_alert) {
        Changes, callers: PLACEMENT_PARTIES, access: [Owner: Always, Commissioner: Always, Provider: WhileLive]
    }
}
