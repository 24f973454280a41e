//! `UpdateParties`: the commissioner records that the child is on another roll, or lives in another area, from a day
//! on. A former party keeps access to its own days and receives nothing after them; a new party receives the placement
//! in its present version.

use prost::Message;

use super::draft::{self, Draft};
use super::rows::{PartyRow, Placement};
use super::rules::{self, Transition};
use super::wire;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row_write;
use crate::exchange::check::Check;
use crate::exchange::{Decided, LeafInput, RecordRef, Refusal, RequestContext};
use crate::proto::v1::{DeliveryKind, LeafRole, RecordKind, UpdatePartiesRequest, UpdatePartiesResponse};
use crate::register::moments;
use crate::store::StoreError;
use crate::violation_reason::ViolationReason;

/// Maximum number of periods of a placement; each change adds at most six.
const MAX_PERIODS: usize = 200;

/// Changes schools on roll and LA of residence from a day on.
pub(super) async fn update_parties(
    mut cx: RequestContext,
    m: UpdatePartiesRequest,
) -> Result<Decided<UpdatePartiesResponse>, Refusal> {
    let update = wire::update_parties(&m, cx.today)?;
    let id = update.target.placement;
    let (placement, permit) = draft::load_permitted(&mut cx, id).await?;
    draft::check_etag(&update.target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    draft.next.state = rules::next_state(placement.state, Transition::UpdateParties)?;
    draft.next.change_parties(update.schools, update.residence, update.from);
    check_change(&draft.next, update.from)?;
    draft.detail.parties_reason = update.reason;
    let parties = draft.next.parties();
    let mut change = draft.seal(&cx, &permit)?;
    // Rosters and permits of the former parties are stale too.
    for party in placement.parties().iter().filter(|party| !parties.contains(party)) {
        change = change.bump(crate::store::version_key::VersionKey::facts(party.as_str()));
    }
    // Who is told of returns that are missing on the days of the change is decided again.
    let days = (update.from, cx.today);
    change = moments::evaluate_provider_days(&mut cx, change, &placement.provider, days).await?;
    // A provider may not read an ended placement, so it receives no notice of new parties.
    let readers: Vec<_> =
        parties.iter().filter(|party| draft::granted_access(&draft.next, party).is_some()).cloned().collect();
    change = draft::deliver(change, &cx, &draft.next, DeliveryKind::Parties, &readers);
    let response = UpdatePartiesResponse { etag: draft.next.version.to_string(), receipt: None };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Placement, id, draft.next.version);
    let (role, sender) = (LeafRole::Submitted, &placement.commissioner);
    let part = LeafInput { placement: id, role, record, sender, key: &draft.key, reply: &reply };
    let mut rows = vec![row_write(&draft.next)];
    for organisation in new_parties(&mut cx, &placement, parties).await? {
        rows.push(row_write(&PartyRow { organisation, placement: id }));
    }
    Ok(change.append_child_rows(&part, rows).with_reply(&response))
}

/// Checks that the change begins before the placement's end, and that the placement has room for its periods.
fn check_change(next: &Placement, from: Date) -> Result<(), Refusal> {
    let mut check = Check::new();
    if next.end_date.is_some_and(|end| end < from) {
        check.add_violation("from_date", ViolationReason::PlacementNotActive);
    }
    check.list_len("schools_on_roll", next.party_periods.len(), MAX_PERIODS);
    Ok(check.finish()?)
}

/// Returns the parties that were never party to the placement before.
async fn new_parties(
    cx: &mut RequestContext,
    before: &Placement,
    parties: Vec<OrganisationId>,
) -> Result<Vec<OrganisationId>, StoreError> {
    let sql = "SELECT 1 FROM placement_parties WHERE organisation = $1 AND placement = $2";
    let (known, mut new) = (before.parties(), Vec::new());
    for party in parties.into_iter().filter(|party| !known.contains(party)) {
        if cx.snapshot.fetch_one(sql, vec![party.as_str().into(), before.id.into()]).await?.is_none() {
            new.push(party);
        }
    }
    Ok(new)
}
