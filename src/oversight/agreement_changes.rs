//! The change of a system exchange that evaluates the moment of an agreement: it has a page of the placements of the
//! agreement's parties evaluated, and sets the moment of the next page. So an agreement of any number of placements is
//! bounded work in each exchange, and each page is done once, on whatever node.

use uuid::Uuid;

use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Permit, Refusal, RequestContext, RoleStatus};
use crate::placements::{self, moments};
use crate::register::agreements::{self, AgreementPage};
use crate::store::moment::MomentRow;
use crate::store::{Snapshot, StoreError};

/// Placements of a page.
const PLACEMENTS_PER_PAGE: i64 = 200;

/// Returns the party whose placements a page lists, on whose behalf the exchange is committed; `None` behind the last.
pub(super) async fn party_of(
    snapshot: &mut Snapshot,
    page: AgreementPage,
) -> Result<Option<OrganisationId>, StoreError> {
    let agreement = agreements::by_id(snapshot, page.agreement).await?;
    Ok(agreement.and_then(|agreement| agreement.parties.get(page.party).cloned()))
}

/// Evaluates the moment of an agreement's page. `None`: the moment is no longer due, because another node evaluated it.
pub(super) async fn evaluate_agreement(
    mut cx: RequestContext,
    permit: Permit,
    (page, subject, now): (AgreementPage, &str, Instant),
) -> Result<Option<Change>, Refusal> {
    let due = MomentRow::read_due(&mut cx.snapshot, subject, now).await?;
    let Some((moment, _)) = due else { return Ok(None) };
    let (guard, done) = moment.followed_by(None);
    let change = cx.change(&permit).guard(guard.key, guard.version).append(&done);
    let Some(agreement) = agreements::by_id(&mut cx.snapshot, page.agreement).await? else {
        return Ok(Some(change));
    };
    let Some(provider) = agreement.parties.get(page.party) else { return Ok(Some(change)) };
    let snapshot = &mut cx.snapshot;
    let ids =
        placements::rows::list_ids_by_provider(snapshot, provider, page.after, PLACEMENTS_PER_PAGE).await?;
    let found = placements::rows::by_ids(snapshot, &ids).await?;
    let concerned = found.iter().filter(|placement| {
        placement.role_status() == RoleStatus::Live && agreement.parties.contains(&placement.commissioner)
    });
    let concerned: Vec<Uuid> = concerned.map(|placement| placement.id).collect();
    let mut change = moments::evaluate_now(&mut cx, change, &concerned).await?;
    let is_full = i64::try_from(ids.len()).unwrap_or(i64::MAX) == PLACEMENTS_PER_PAGE;
    let next = match ids.last() {
        Some(last) if is_full => Some(AgreementPage { after: *last, ..page }),
        _ => page.of_next_party(&agreement),
    };
    if let Some(next) = next {
        let due = Some(cx.now);
        let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, next.to_string(), due).await?;
        change = change.guard(guard.key, guard.version).append(&moment);
    }
    Ok(Some(change))
}
