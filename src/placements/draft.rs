//! The next version of a placement, and the steps that all methods on a placement share. A method loads the placement
//! with the caller's role, opens its detail, changes it and seals it again for the new version. The change is guarded
//! by the version that was read.

use prost::Message;
use uuid::Uuid;

use super::children::{self, seal_refusal};
use super::parties::Access;
use super::rows::{self, Placement};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, Change, Permit, PolicyFacts, Reason, Refusal, RequestContext};
use crate::proto::v1::{DataClass, DeliveryKind, PlacementDetail};
use crate::register::agreements;
use crate::seal::{ChildKey, ColumnAddress};
use crate::store::version_key::VersionKey;
use crate::store::{Revision, StoreError};

/// The next version of a placement, under construction.
pub(super) struct Draft {
    /// The commissioner's key of the child.
    pub key: ChildKey,
    /// The opened detail; sealed again by [`Draft::seal`].
    pub detail: PlacementDetail,
    /// The new version.
    pub next: Placement,
}

impl Draft {
    /// Opens the placement's detail for a new version.
    pub(super) async fn open(cx: &mut RequestContext, placement: &Placement) -> Result<Self, Refusal> {
        let key = children::load_required_key(cx, &placement.commissioner, placement.child).await?;
        let detail = open_detail(&key, placement)?;
        let next = Placement { version: placement.version.next(), ..placement.clone() };
        Ok(Self { key, detail, next })
    }

    /// Seals the detail for the new version and begins the change that writes it. The change is guarded by the version
    /// that was read, and bumps the facts of all parties. The caller writes the row.
    pub(super) fn seal(&mut self, cx: &RequestContext, permit: &Permit) -> Result<Change, Refusal> {
        self.next.detail = seal_detail(cx, &self.key, &self.next, &self.detail)?;
        let change = cx.change(permit).guard(self.next.key(), self.next.version.previous());
        Ok(bump_facts(change, &self.next))
    }
}

/// Loads a placement and the permit for the method that was called. If the caller has no role in it, the answer is
/// `NOT_FOUND`, so that existence is not revealed.
pub(super) async fn load_permitted(
    cx: &mut RequestContext,
    id: Uuid,
) -> Result<(Placement, Permit), Refusal> {
    let placement = rows::by_id_for_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = match &placement {
        Some(placement) => policy_facts(cx, placement).await?,
        None => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts)?;
    Ok((placement.ok_or(Reason::NotFound)?, permit))
}

/// Reads what the policy needs: the caller's role, and the agreement between commissioner and provider. An agreement
/// that has lapsed prevents nothing here.
async fn policy_facts(cx: &mut RequestContext, placement: &Placement) -> Result<PolicyFacts, StoreError> {
    let caller = &cx.caller.organisation;
    let part = if cx.method == super::GET_PLACEMENT {
        placement.reading_role_on_any_day(caller)
    } else {
        placement.role_of(caller)
    };
    let class = if cx.method == super::PUT_PLAN { DataClass::Plan } else { DataClass::Referral };
    let basis = match part {
        CallerRole::Commissioner | CallerRole::Provider => {
            let parties = [&placement.commissioner, &placement.provider];
            agreements::basis_or_lapsed(&mut cx.snapshot, placement.agreement, &parties, class, cx.today)
                .await?
        }
        _ => None,
    };
    Ok(PolicyFacts { role: part, status: placement.role_status(), basis, guards: Vec::new() })
}

/// Reports whether an organisation may read a placement as a present party: whether the policy permits `GetPlacement`.
#[must_use]
pub fn can_read(placement: &Placement, organisation: &OrganisationId) -> bool {
    let part = placement.reading_role(organisation);
    super::GET_PLACEMENT.verdict(part, placement.role_status(), false).is_ok()
}

/// Reports whether an organisation may read what the placement holds of a day.
#[must_use]
pub fn can_read_on(placement: &Placement, organisation: &OrganisationId, day: Date) -> bool {
    let part = placement.reading_role_on(organisation, day);
    super::GET_PLACEMENT.verdict(part, placement.role_status(), false).is_ok()
}

/// Returns the extent to which `GetPlacement` returns a placement to an organisation; `None` if it may read nothing.
#[must_use]
pub fn granted_access(placement: &Placement, organisation: &OrganisationId) -> Option<Access> {
    let part = placement.reading_role_on_any_day(organisation);
    super::GET_PLACEMENT.verdict(part, placement.role_status(), false).ok()?;
    placement.access_by_role(organisation)
}

/// Checks that the etag in the request is that of the version that was read (AIP-154).
///
/// # Errors
/// [`Reason::RevisionMismatch`] if it is not.
pub fn check_etag(etag: &str, version: Revision) -> Result<(), Refusal> {
    if etag == version.to_string() { Ok(()) } else { Err(Reason::RevisionMismatch.into()) }
}

/// Bumps the facts version of all present parties, so that cached rosters are read again.
pub(super) fn bump_facts(change: Change, placement: &Placement) -> Change {
    let parties = placement.parties();
    parties.iter().fold(change, |change, party| change.bump(VersionKey::facts(party.as_str())))
}

/// Delivers a notice of a kind about the placement to each of `to`, except the caller.
pub(super) fn deliver(
    change: Change,
    cx: &RequestContext,
    placement: &Placement,
    kind: DeliveryKind,
    to: &[OrganisationId],
) -> Change {
    let others = to.iter().filter(|organisation| **organisation != cx.caller.organisation);
    others.fold(change, |change, organisation| {
        change.deliver(organisation, kind, placement.id, Some(placement.id))
    })
}

/// Opens the detail of a placement with the commissioner's key of the child.
pub(super) fn open_detail(key: &ChildKey, placement: &Placement) -> Result<PlacementDetail, Refusal> {
    let row = sealed_row_id(placement.id, placement.version);
    let plain = key.open(sealed_column(&row), &placement.detail).map_err(seal_refusal)?;
    PlacementDetail::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

/// Seals the detail for its version of the placement.
pub(super) fn seal_detail(
    cx: &RequestContext,
    key: &ChildKey,
    placement: &Placement,
    detail: &PlacementDetail,
) -> Result<Vec<u8>, Refusal> {
    let row = sealed_row_id(placement.id, placement.version);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(sealed_column(&row), &detail.encode_to_vec(), &fill).map_err(seal_refusal)
}

/// Returns the bytes that identify a row to the sealing functions: id and version. The row has no log index yet.
pub(super) fn sealed_row_id(placement: Uuid, version: Revision) -> Vec<u8> {
    [&placement.as_bytes()[..], &version.to_be_bytes()].concat()
}

fn sealed_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "placements", row, column: "detail" }
}
