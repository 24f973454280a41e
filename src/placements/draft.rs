//! The next version of a placement: what every verb on one has in common. The placement is loaded with the
//! caller's part, its detail is opened, changed and sealed again for the new version, and the change is
//! guarded by the version that was read.

use prost::Message;
use uuid::Uuid;

use super::children::{self, failed};
use super::parties::Access;
use super::rows::{self, Placement};
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Action, Change, Cx, Facts, Part, Permit, Reason, Refusal, policy};
use crate::proto::v1::{DataClass, DeliveryKind, PlacementDetail};
use crate::register::agreements;
use crate::seal::{ChildKey, Column};
use crate::store::StoreError;
use crate::store::key::Key;

/// A placement under change.
pub(super) struct Draft {
    /// The commissioner's key of the child.
    pub key: ChildKey,
    /// What was said so far; sealed again by [`Draft::seal`].
    pub detail: PlacementDetail,
    /// The version to come.
    pub next: Placement,
}

impl Draft {
    /// Opens the placement's detail for a new version.
    pub(super) async fn open(cx: &mut Cx, placement: &Placement) -> Result<Self, Refusal> {
        let key = children::required_key(cx, &placement.commissioner, placement.child).await?;
        let detail = detail(&key, placement)?;
        let next = Placement { version: placement.version + 1, ..placement.clone() };
        Ok(Self { key, detail, next })
    }

    /// Seals the detail for the new version and begins the change that writes it: guarded by the version
    /// that was read, and moving what others rest on. The row itself is written by the caller.
    pub(super) fn seal(&mut self, cx: &Cx, permit: &Permit) -> Result<Change, Refusal> {
        self.next.detail = seal_detail(cx, &self.key, &self.next, &self.detail)?;
        let change = cx.change(permit).guard(self.next.key(), self.next.version - 1);
        Ok(move_facts(change, &self.next))
    }
}

/// The placement and leave for the action on it. One in which the caller has no part may as well not exist.
pub(super) async fn permitted(cx: &mut Cx, action: Action, id: Uuid) -> Result<(Placement, Permit), Refusal> {
    let placement = rows::of_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = match &placement {
        Some(placement) => facts(cx, action, placement).await?,
        None => Facts::own(Part::None),
    };
    let permit = cx.permit(action, &facts)?;
    Ok((placement.ok_or(Reason::NotFound)?, permit))
}

/// The caller's part, and on what authority its two parties exchange what they do, where an agreement
/// between them is in force; one that has lapsed stops nothing here.
async fn facts(cx: &mut Cx, action: Action, placement: &Placement) -> Result<Facts, StoreError> {
    let caller = &cx.caller.organisation;
    let part = match action {
        Action::GetPlacement => placement.reader_of_any_day(caller),
        _ => placement.part_of(caller),
    };
    let class = if action == Action::PutPlan { DataClass::Plan } else { DataClass::Referral };
    let basis = match part {
        Part::Commissioner | Part::Provider => {
            let parties = [&placement.commissioner, &placement.provider];
            agreements::basis_or_lapsed(&mut cx.snapshot, placement.agreement, &parties, class, cx.today)
                .await?
        }
        _ => None,
    };
    Ok(Facts { part, standing: placement.standing(), basis, guards: Vec::new() })
}

/// Leave to read one placement of a list: what `GetPlacement` would give.
#[must_use]
pub fn readable(placement: &Placement, organisation: &OrganisationId) -> bool {
    let part = placement.reader(organisation);
    policy::verdict(Action::GetPlacement, part, placement.standing(), false).is_ok()
}

/// Reports whether an organisation may read what the placement holds of a day.
#[must_use]
pub fn readable_on(placement: &Placement, organisation: &OrganisationId, day: Date) -> bool {
    let part = placement.reader_on(organisation, day);
    policy::verdict(Action::GetPlacement, part, placement.standing(), false).is_ok()
}

/// Returns how much of a placement `GetPlacement` gives an organisation; none where it may read nothing.
#[must_use]
pub fn access(placement: &Placement, organisation: &OrganisationId) -> Option<Access> {
    let part = placement.reader_of_any_day(organisation);
    policy::verdict(Action::GetPlacement, part, placement.standing(), false).ok()?;
    placement.access(organisation)
}

/// The etag that was sent is that of the version that was read (AIP-154).
///
/// # Errors
/// [`Reason::RevisionMismatch`] where it is another.
pub fn same_version(etag: &str, version: i64) -> Result<(), Refusal> {
    if etag == version.to_string() { Ok(()) } else { Err(Reason::RevisionMismatch.into()) }
}

/// Moves on what is cached about everyone who has a part.
pub(super) fn move_facts(change: Change, placement: &Placement) -> Change {
    let parties = placement.parties();
    parties.iter().fold(change, |change, party| change.bump(Key::facts(party.as_str())))
}

/// Delivers something about the placement to each of `to`, but not to its sender.
pub(super) fn deliver(
    change: Change,
    cx: &Cx,
    placement: &Placement,
    kind: DeliveryKind,
    to: &[OrganisationId],
) -> Change {
    let others = to.iter().filter(|organisation| **organisation != cx.caller.organisation);
    others.fold(change, |change, organisation| {
        change.deliver(organisation, kind, placement.id, Some(placement.id))
    })
}

/// What was said about the placement, opened with the commissioner's key of the child.
pub(super) fn detail(key: &ChildKey, placement: &Placement) -> Result<PlacementDetail, Refusal> {
    let row = row_of(placement.id, placement.version);
    let plain = key.open(at(&row), &placement.detail).map_err(failed)?;
    PlacementDetail::decode(&plain[..]).map_err(|_| Reason::Failed.into())
}

/// Seals what is said about the version of the placement.
pub(super) fn seal_detail(
    cx: &Cx,
    key: &ChildKey,
    placement: &Placement,
    detail: &PlacementDetail,
) -> Result<Vec<u8>, Refusal> {
    let row = row_of(placement.id, placement.version);
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(at(&row), &detail.encode_to_vec(), &fill).map_err(failed)
}

/// The row of a version, as sealing names it before the row has a place in the log.
pub(super) fn row_of(placement: Uuid, version: i64) -> Vec<u8> {
    [&placement.as_bytes()[..], &version.to_be_bytes()].concat()
}

fn at(row: &[u8]) -> Column<'_> {
    Column { table: "placements", row, column: "detail" }
}
