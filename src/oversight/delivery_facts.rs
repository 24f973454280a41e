//! What the rule about deliveries needs to know of one, and what is recorded of a delivery's collection and its stages.

use crate::calendar::SchoolCalendar;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext, RoleStatus};
use crate::placements::delivery_subject::DeliverySubject;
use crate::placements::{self, Placement, children};
use crate::proto::v1::{DeliveryKind, DeliveryStage, PlacementState};
use crate::register::terms;
use crate::store::version_key::VersionKey;
use crate::store::{EntryIndex, LogPosition, Ordinal, Revision, Snapshot, StoreError};

use super::rule::{ChildRecord, Grounds};

/// Facts of a delivery.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFacts {
    /// When it was stored; `None` if there is none.
    pub stored: Option<Instant>,
    /// Whether nobody needs to act on it any more: a person of the recipient acted on it, the referral was answered, or the
    /// placement is over.
    pub is_settled: bool,
    /// Whether the recipient has collected it.
    pub is_collected: bool,
    /// The recipient's school days.
    pub recipient_days: SchoolCalendar,
}

/// Facts of a delivery with what they were read from.
pub(super) struct LoadedDelivery {
    pub(super) facts: DeliveryFacts,
    pub(super) grounds: Grounds,
}

/// Returns whether a referral or a passport of a placement needs no action any more, whatever was acknowledged.
#[must_use]
pub fn is_answered(kind: DeliveryKind, placement: &Placement) -> bool {
    match kind {
        DeliveryKind::Referral => placement.state != PlacementState::Referred,
        _ => placement.role_status() == RoleStatus::Ended,
    }
}

/// Loads the facts of the newest delivery of a subject. `None`: the placement does not exist, or the sender's record of the
/// child was erased.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open; otherwise see [`StoreError`].
pub(super) async fn load(
    cx: &mut RequestContext,
    subject: &DeliverySubject,
) -> Result<Option<LoadedDelivery>, Refusal> {
    let DeliverySubject { kind, sender, recipient, .. } = subject;
    let Some(placement) = placements::by_id(&mut cx.snapshot, subject.placement).await? else {
        return Ok(None);
    };
    let Some(key) = children::load_key(cx, sender, placement.child).await? else { return Ok(None) };
    let mut versions_read = vec![(placement.key(), placement.version)];
    let mut facts = DeliveryFacts {
        is_settled: is_answered(*kind, &placement),
        recipient_days: terms::load_calendar(&mut cx.snapshot, recipient).await?,
        ..DeliveryFacts::default()
    };
    if let Some((at, stored)) = find_newest(&mut cx.snapshot, subject).await? {
        facts.stored = Some(stored);
        let acted_on = VersionKey::acknowledgement(
            recipient.as_str(),
            (at.index, at.ordinal),
            DeliveryStage::ActedOn as i32,
        );
        let version = cx.snapshot.current_version(&acted_on).await?;
        facts.is_settled |= version != Revision::ABSENT;
        facts.is_collected = collected_time(&mut cx.snapshot, recipient, at, *kind as i32).await?.is_some();
        versions_read.push((acted_on, version));
    }
    let child = ChildRecord { placement: placement.id, child: placement.child, sender: sender.clone(), key };
    let grounds = Grounds { versions_read, child: Some(child), placement: Some(placement) };
    Ok(Some(LoadedDelivery { facts, grounds }))
}

/// Finds the newest delivery of a subject: its position and when it was stored.
async fn find_newest(
    snapshot: &mut Snapshot,
    DeliverySubject { kind, placement, sender, recipient }: &DeliverySubject,
) -> Result<Option<(LogPosition, Instant)>, StoreError> {
    let sql = "SELECT p.idx, p.ordinal, e.time FROM parties p JOIN entries e ON e.idx = p.idx \
               WHERE p.object = $1 AND p.kind = $2 AND p.sender = $3 AND p.organisation = $4 \
               ORDER BY p.idx DESC, p.ordinal DESC LIMIT 1";
    let kind = *kind as i32;
    let arguments = vec![(*placement).into(), kind.into(), sender.as_str().into(), recipient.as_str().into()];
    let row = snapshot.fetch_one(sql, arguments).await?;
    row.map(|row| {
        let (index, ordinal): (EntryIndex, Ordinal) = (row.get("idx")?, row.get("ordinal")?);
        Ok((LogPosition { index, ordinal }, row.get("time")?))
    })
    .transpose()
}

/// Returns the time at which a delivery was first sent to its recipient, in microseconds since 1970 UTC.
///
/// # Errors
/// See [`StoreError`].
pub async fn collected_time(
    snapshot: &mut Snapshot,
    recipient: &OrganisationId,
    at: LogPosition,
    kind: i32,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT time FROM collections WHERE organisation = $1 AND (to_idx, to_ordinal) >= ($2, $3) \
               AND (from_idx, from_ordinal) < ($2, $3) AND (kinds >> CAST($4 AS INTEGER)) & 1 = 1 \
               ORDER BY to_idx, to_ordinal LIMIT 1";
    let arguments = vec![recipient.as_str().into(), at.index.into(), at.ordinal.into(), kind.into()];
    snapshot.fetch_one(sql, arguments).await?.map(|row| row.get("time")).transpose()
}
