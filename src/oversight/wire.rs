//! Checks of requests about alerts.

use uuid::Uuid;

use super::alert_list::AlertFilter;
use super::rule_id::RuleId;
use super::severity::Severity;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::proto::v1::{
    AlertOrder, GetOversightReportRequest, ListAlertsRequest, Officer, ResolveAlertRequest,
};
use crate::violation_reason::ViolationReason;

/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 2_000;

/// Checks a request to list: the filter and the page size.
pub fn check_list(m: &ListAlertsRequest) -> Result<(AlertFilter, u32), Refusal> {
    let mut check = Check::new();
    let size = check.page_size("page_size", m.page_size, 100, 1_000);
    let state = check.optional_enum("state", m.state);
    let placement = check.optional_uuid("placement_id", &m.placement_id);
    let rule = RuleId::parse(&m.rule);
    if rule.is_none() && !m.rule.is_empty() {
        check.add_violation("rule", ViolationReason::EnumUnknown);
    }
    let severity = Severity::from_number(m.severity.into());
    if severity.is_none() && m.severity != 0 {
        check.add_violation("severity", ViolationReason::EnumUnknown);
    }
    let order = check.optional_enum("order", m.order).unwrap_or(AlertOrder::Unspecified);
    check.finish()?;
    let wanted = AlertFilter { state, placement, rule, severity, order };
    Ok((wanted, size.ok_or(Reason::Malformed)?))
}

/// Largest page of a report: as many placements as facts are loaded for at once.
const MAX_REPORTED_PLACEMENTS: u32 = 200;

/// Checks a request for a report; returns the page size.
pub fn check_report(m: &GetOversightReportRequest) -> Result<usize, Refusal> {
    let mut check = Check::new();
    let most = MAX_REPORTED_PLACEMENTS;
    let size = check.page_size("page_size", m.page_size, most, most);
    check.finish()?;
    Ok(size.and_then(|size| usize::try_from(size).ok()).ok_or(Reason::Malformed)?)
}

/// Checks a request to resolve: the alert, the officer, and the note.
pub fn check_resolve(m: &ResolveAlertRequest) -> Result<(Uuid, Option<Officer>, String), Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let alert = check.uuid("alert_id", &m.alert_id);
    let officer = check.officer("officer", m.officer.as_ref());
    let note = check.text_or_empty("note", &m.note, TextRule::notes(MAX_NOTE_CHARS).required());
    check.finish()?;
    Ok((alert.ok_or(Reason::Malformed)?, officer, note))
}
