//! State changes of organisations: the reason and the officer behind a suspension or restoration. They are stored
//! sealed and delivered to the organisation and to the operators.

use prost::Message;
use uuid::Uuid;

use super::organisations::OrganisationRow;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Reason, Refusal, RequestContext};
use crate::proto::v1::{StateChange, UpdateOrganisationRequest};
use crate::seal::{ColumnAddress, OrganisationKey};
use crate::store::EntryIndex;
use crate::violation_reason::ViolationReason;

/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 2_000;

/// Checks the reason and the officer of a request that sets the state. A request without a state must have neither.
pub(super) fn check_state_change(check: &mut Check, m: &UpdateOrganisationRequest) -> Option<StateChange> {
    if m.state == 0 {
        if !m.reason.is_empty() || m.officer.is_some() {
            check.add_violation("state", ViolationReason::FieldRequired);
        }
        return None;
    }
    let reason = check.text_or_empty("reason", &m.reason, TextRule::notes(MAX_REASON_CHARS).required());
    let officer = check.officer("officer", m.officer.as_ref());
    Some(StateChange { organisation: m.organisation.clone(), state: m.state, reason, officer })
}

/// Seals a state change for the row that this exchange writes.
pub(super) fn seal(
    cx: &RequestContext,
    organisation: &OrganisationId,
    change: &StateChange,
) -> Result<Vec<u8>, Refusal> {
    let key = OrganisationKey::derive(&cx.vault.ring(), organisation.as_str())?;
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    Ok(key.seal(column(cx.exchange_id.as_bytes()), &change.encode_to_vec(), &fill)?)
}

/// Returns the state change that the exchange at a log index wrote, if it wrote one.
///
/// # Errors
/// [`Reason::Failed`] when the stored value cannot be opened.
pub async fn written_at(
    cx: &mut RequestContext,
    index: EntryIndex,
    exchange: Uuid,
) -> Result<Option<StateChange>, Refusal> {
    let rows: Vec<OrganisationRow> = cx.snapshot.written_at(index).await?;
    let sealed = |row: &OrganisationRow| Some((row.organisation.clone(), row.state_change.clone()?));
    let Some((organisation, sealed)) = rows.iter().find_map(sealed) else {
        return Ok(None);
    };
    let ring = cx.vault.ring();
    let plain = OrganisationKey::open(&ring, organisation.as_str(), column(exchange.as_bytes()), &sealed)?;
    let change = StateChange::decode(&plain[..]).map_err(|_| Reason::Failed)?;
    Ok(Some(change))
}

fn column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "organisations", row, column: "state_change" }
}
