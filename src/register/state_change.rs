//! Why an operator suspended or restored an organisation, and who decided it: kept sealed, delivered to the organisation
//! and to the operators.

use prost::Message;
use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Cx, Reason, Refusal};
use crate::proto::v1::{StateChange, UpdateOrganisationRequest};
use crate::seal::{Column, OrganisationKey};

/// Most characters of a reason.
const MAX_REASON: usize = 2_000;

/// Reads the reason and the officer of a request that sets the state; without a state there must be none.
pub(super) fn read(check: &mut Check, m: &UpdateOrganisationRequest) -> Option<StateChange> {
    if m.state == 0 {
        if !m.reason.is_empty() || m.officer.is_some() {
            check.fault("state", "FIELD_REQUIRED");
        }
        return None;
    }
    let reason = check.words("reason", &m.reason, TextRule::notes(MAX_REASON).required());
    let officer = check.person("officer", m.officer.as_ref());
    Some(StateChange { organisation: m.organisation.clone(), state: m.state, reason, officer })
}

/// Seals a state change for the row that this exchange writes.
pub(super) fn seal(cx: &Cx, organisation: &OrganisationId, change: &StateChange) -> Result<Vec<u8>, Refusal> {
    let key = OrganisationKey::derive(&cx.vault.ring(), organisation.as_str())?;
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    Ok(key.seal(at(cx.exchange.as_bytes()), &change.encode_to_vec(), &fill)?)
}

/// Reads the state change that an exchange wrote at an index of the log; `None` where it wrote none.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub async fn written_at(cx: &mut Cx, index: i64, exchange: Uuid) -> Result<Option<StateChange>, Refusal> {
    let sql = "SELECT organisation, state_change FROM organisations \
               WHERE idx = $1 AND state_change IS NOT NULL";
    let Some(row) = cx.snapshot.fetch_one(sql, vec![index.into()]).await? else {
        return Ok(None);
    };
    let ring = cx.vault.ring();
    let plain = OrganisationKey::open(&ring, row.text(0)?, at(exchange.as_bytes()), row.blob(1)?)?;
    let change = StateChange::decode(&plain[..]).map_err(|_| Reason::Failed)?;
    Ok(Some(change))
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "organisations", row, column: "state_change" }
}
