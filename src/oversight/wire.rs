//! The shape of requests about alerts.

use uuid::Uuid;

use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::placements::alerts::Wanted;
use crate::proto::v1::{ListAlertsRequest, Officer, ResolveAlertRequest};

/// Longest note.
const NOTE: usize = 2_000;

/// Which alerts, and how many.
pub fn list(m: &ListAlertsRequest) -> Result<(Wanted, u32), Refusal> {
    let mut check = Check::new();
    let size = check.page_size("page_size", m.page_size, 100, 1_000);
    let state = check.optional_enum("state", m.state);
    let placement = check.optional_uuid("placement_id", &m.placement_id);
    check.finish()?;
    Ok((Wanted { state, placement }, size.ok_or(Reason::Malformed)?))
}

/// An alert, who resolves it, and how.
pub fn resolve(m: &ResolveAlertRequest) -> Result<(Uuid, Option<Officer>, String), Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let alert = check.uuid("alert_id", &m.alert_id);
    let officer = check.person("officer", m.officer.as_ref());
    let note = check.words("note", &m.note, TextRule::notes(NOTE).required());
    check.finish()?;
    Ok((alert.ok_or(Reason::Malformed)?, officer, note))
}
