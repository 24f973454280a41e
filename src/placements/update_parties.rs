//! `UpdateParties`: the commissioner records that the child is on another roll, or lives in another area, from a day
//! on. Who leaves keeps its own days and gets nothing after them; who comes gets the placement as it stands.

use prost::Message;

use super::draft::{self, Draft};
use super::rows::{PartyRow, Placement};
use super::rules::{self, Verb};
use super::wire;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row;
use crate::exchange::check::Check;
use crate::exchange::{Action, ChildPart, Cx, Decided, LeafRole, Refusal};
use crate::proto::v1::{DeliveryKind, UpdatePartiesRequest, UpdatePartiesResponse};
use crate::store::StoreError;

/// Most periods of a placement: each change adds at most six.
const MAX_PERIODS: usize = 200;

/// Changes schools on roll and LA of residence from a day on.
pub(super) async fn update_parties(
    mut cx: Cx,
    m: UpdatePartiesRequest,
) -> Result<Decided<UpdatePartiesResponse>, Refusal> {
    let update = wire::update_parties(&m, cx.today)?;
    let id = update.target.placement;
    let (placement, permit) = draft::permitted(&mut cx, Action::UpdateParties, id).await?;
    draft::same_version(&update.target.etag, placement.version)?;
    let mut draft = Draft::open(&mut cx, &placement).await?;
    draft.next.state = rules::next(placement.state, Verb::UpdateParties)?;
    draft.next.change_parties(update.schools, update.residence, update.from);
    fits(&draft.next, update.from)?;
    draft.detail.parties_reason = update.reason;
    let parties = draft.next.parties();
    let mut change = draft.seal(&cx, &permit)?;
    // Rosters and permits that rest on who had a part are stale, those of the leaving parties too.
    for party in placement.parties().iter().filter(|party| !parties.contains(party)) {
        change = change.bump(crate::store::key::Key::facts(party.as_str()));
    }
    // A provider whose placement has ended may not read it any more, nor who comes after.
    let readers: Vec<_> =
        parties.iter().filter(|party| draft::access(&draft.next, party).is_some()).cloned().collect();
    change = draft::deliver(change, &cx, &draft.next, DeliveryKind::Parties, &readers);
    let response = UpdatePartiesResponse { etag: draft.next.version.to_string(), receipt: None };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: id, role: LeafRole::Submitted, key: &draft.key, reply: &reply };
    let mut rows = vec![row(&draft.next)];
    for organisation in newcomers(&mut cx, &placement, parties).await? {
        rows.push(row(&PartyRow { organisation, placement: id }));
    }
    Ok(change.child_rows(&part, rows).reply(&response))
}

/// Checks that the change begins before the placement is over, and that its history has room for it.
fn fits(next: &Placement, from: Date) -> Result<(), Refusal> {
    let mut check = Check::new();
    if next.end.is_some_and(|end| end < from) {
        check.fault("from_date", "PLACEMENT_NOT_ACTIVE");
    }
    check.list_len("schools_on_roll", next.periods.len(), MAX_PERIODS);
    Ok(check.finish()?)
}

/// Returns the parties that never had a part in the placement before.
async fn newcomers(
    cx: &mut Cx,
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
