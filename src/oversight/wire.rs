//! Checks of requests about alerts.

use uuid::Uuid;

use super::alerts::AlertFilter;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::proto::v1::{ListAlertsRequest, Officer, ResolveAlertRequest};

/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 2_000;

/// Checks a request to list: the filter and the page size.
pub fn check_list(m: &ListAlertsRequest) -> Result<(AlertFilter, u32), Refusal> {
    let mut check = Check::new();
    let size = check.page_size("page_size", m.page_size, 100, 1_000);
    let state = check.optional_enum("state", m.state);
    let placement = check.optional_uuid("placement_id", &m.placement_id);
    check.finish()?;
    Ok((AlertFilter { state, placement }, size.ok_or(Reason::Malformed)?))
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
