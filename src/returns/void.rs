//! `VoidReturn`: withdraws a return, or one part of it, for its provider. Nothing is removed. If a mark of the return
//! is still current, its session gets a new revision. The revision restores the mark before the return, or is empty if
//! there was none.

use std::collections::{BTreeSet, HashMap, HashSet};

use prost::Message;
use uuid::Uuid;

use super::flags::MarkFlags;
use super::mark_meaning::is_evaluated;
use super::parts;
use super::roster::{RosterEntry, load_entry};
use super::rows::{self, MarkRow, return_key, seal_note};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{
    CallerRole, Change, Decided, LeafInput, NextActor, Permit, PolicyFacts, Reason, RecordRef, Refusal,
    RequestContext, WrongState,
};
use crate::placements::{self, rows::by_ids};
use crate::proto::v1::{
    DeliveryKind, LeafRole, MarkOutcome, MarkResult, RecordKind, StoredMark, VoidReturnRequest,
    VoidReturnResponse,
};
use crate::record;
use crate::register::moments;
use crate::seal::{ColumnAddress, OrganisationKey};
use crate::store::version_key::VersionKey;
use crate::store::{EntryIndex, LogPosition, Revision, Snapshot, StoreError};
use crate::violation_reason::ViolationReason;

record! {
    /// A row of `voids`: the withdrawal of a return or of one of its parts.
    pub struct VoidRow in "voids" as w, 30, Committed, NoChild {
        return_id: Uuid,
        provider: OrganisationId,
        /// The reason, sealed for the provider.
        reason: Vec<u8>,
        /// Number of the part; 0 for a return that was sent in one request.
        part: i64,
    }
    versions = |row| vec![(return_key(row.return_id, row.part), Revision::FIRST)];
}

/// Returns the return, and the number of its part, that the exchange at an index withdrew; None if it withdrew none.
///
/// # Errors
/// Any [`StoreError`].
pub async fn voided_at(
    snapshot: &mut Snapshot,
    index: EntryIndex,
) -> Result<Option<(Uuid, i64)>, StoreError> {
    let sql = "SELECT return_id, part FROM voids WHERE idx = $1";
    let row = snapshot.fetch_one(sql, vec![index.into()]).await?;
    row.map(|row| Ok((row.get("return_id")?, row.get("part")?))).transpose()
}

/// Handles `VoidReturn`.
pub async fn void_return(
    mut cx: RequestContext,
    m: VoidReturnRequest,
) -> Result<Decided<VoidReturnResponse>, Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let return_id = check.uuid("return_id", &m.return_id);
    let reason = check.text("reason", &m.reason, TextRule::line(500).required());
    check.finish()?;
    let (Some(return_id), Some(reason)) = (return_id, reason) else {
        return Err(Reason::Malformed.into());
    };
    let part = i64::from(m.part);
    let index = find_return_entry(&mut cx, return_id, part).await?;
    if part == 0 && parts::is_in_parts(&mut cx.snapshot, &cx.caller.organisation, return_id).await? {
        let mut check = Check::new();
        check.add_violation("part", ViolationReason::FieldRequired);
        check.finish()?;
    }
    let sent: Vec<MarkRow> = cx.snapshot.written_at(index.unwrap_or(EntryIndex::BEFORE_FIRST)).await?;
    let known = load_entries(&mut cx, &sent).await?;
    let basis = known.first().and_then(|known| known.basis.clone());
    let role = if index.is_some() { CallerRole::Provider } else { CallerRole::NoRole };
    let permit = cx.permit(&PolicyFacts { basis, ..PolicyFacts::for_role(role) })?;
    let index = index.ok_or(Reason::NotFound)?;
    let key = return_key(return_id, part);
    if cx.snapshot.current_version(&key).await? != Revision::ABSENT {
        return Err(
            WrongState { current: "VOIDED", required: Vec::new(), next_actor: NextActor::Nobody }.into()
        );
    }
    let (results, change) =
        restore_marks(&mut cx, &permit, (return_id, index), &reason, &sent, &known).await?;
    let mut change = notify_parties(&mut cx, change, index, return_id, (&known, &sent)).await?;
    let provider = cx.caller.organisation.clone();
    for day in sent.iter().map(|mark| mark.date).collect::<BTreeSet<_>>() {
        change = moments::evaluate_provider_day(&mut cx, change, &provider, day).await?;
    }
    let voided = results.iter().filter(|result| result.outcome() == MarkOutcome::Voided).count();
    let row = VoidRow {
        return_id,
        part,
        provider: cx.caller.organisation.clone(),
        reason: seal_reason(&cx, return_id, &reason)?,
    };
    let reply = VoidReturnResponse {
        return_id: return_id.hyphenated().to_string(),
        voided: u32::try_from(voided).unwrap_or(u32::MAX),
        unchanged: u32::try_from(results.len() - voided).unwrap_or(u32::MAX),
        results,
        receipt: None,
    };
    Ok(change.guard(key, Revision::ABSENT).append(&row).with_reply(&reply))
}

/// Returns the index of the entry with the caller's return or part. If marks were stored, the entry is found by its
/// deliveries.
async fn find_return_entry(
    cx: &mut RequestContext,
    return_id: Uuid,
    part: i64,
) -> Result<Option<EntryIndex>, StoreError> {
    let arguments = [return_id.into(), cx.caller.organisation.as_str().into(), part.into()];
    let sql = "SELECT r.idx FROM parties p JOIN returns r ON r.idx = p.idx AND r.return_id = p.object \
               WHERE p.object = $1 AND p.sender = $2 AND r.part = $3 ORDER BY r.idx LIMIT 1";
    let mut row = cx.snapshot.fetch_one(sql, arguments.to_vec()).await?;
    if row.is_none() {
        let sql =
            "SELECT idx FROM returns WHERE return_id = $1 AND provider = $2 AND part = $3 AND stored = 0";
        row = cx.snapshot.fetch_one(sql, arguments.to_vec()).await?;
    }
    row.map(|row| row.get("idx")).transpose()
}

/// Loads the roster entries of the placements of a return's marks.
async fn load_entries(cx: &mut RequestContext, sent: &[MarkRow]) -> Result<Vec<RosterEntry>, Refusal> {
    let mut ids: Vec<Uuid> = sent.iter().map(|mark| mark.placement).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut known = Vec::with_capacity(ids.len());
    for placement in by_ids(&mut cx.snapshot, &ids).await? {
        known.push(load_entry(cx, placement).await?);
    }
    Ok(known)
}

/// Decides each mark of the return. Returns the results and the change that writes the restoring revisions.
async fn restore_marks(
    cx: &mut RequestContext,
    permit: &Permit,
    (return_id, index): (Uuid, EntryIndex),
    reason: &str,
    sent: &[MarkRow],
    known: &[RosterEntry],
) -> Result<(Vec<MarkResult>, Change), Refusal> {
    let keys: Vec<VersionKey> = sent.iter().map(MarkRow::key).collect();
    let mut standing = HashMap::new();
    for (position, mark) in rows::list_current(&mut cx.snapshot, &keys).await? {
        standing.insert((mark.placement, mark.date, mark.slot), (mark, position));
    }
    let restricted: HashSet<Uuid> = standing
        .values()
        .filter(|(mark, _)| mark.is_after_restricted())
        .map(|(mark, _)| mark.placement)
        .collect();
    let (mut change, mut results, mut evaluated) = (cx.change(permit), Vec::new(), Vec::new());
    for known in known {
        let reason = RestoreReason::new(reason, &restricted, known.placement.id);
        let (mut rows, mut reply) = (Vec::new(), Vec::new());
        for (at, mark) in sent.iter().enumerate().filter(|(_, mark)| mark.placement == known.placement.id) {
            let mut result = MarkResult {
                index: u32::try_from(at).unwrap_or(u32::MAX),
                placement_id: mark.placement.hyphenated().to_string(),
                revision: mark.revision.to_u32(),
                ..MarkResult::default()
            };
            result.set_outcome(MarkOutcome::Unchanged);
            // If a later return has corrected the mark, its correction remains current.
            if let Some((now, position)) = standing.get(&(mark.placement, mark.date, mark.slot))
                && sent_by_entry(cx, now, *position).await? == Some(index)
            {
                let before = find_earlier_revision(cx, now.prior(), index).await?;
                if let Some(EarlierRevision { withdrawal_key: key, .. }) = &before {
                    change = change.guard(key.clone(), Revision::ABSENT);
                }
                let before = before.map(|before| before.mark);
                change = change.guard(now.key(), now.revision);
                let row = restoring_revision(cx, known, now, *position, before, &reason)?;
                let (from, to, is_tuition) =
                    (now.statement()?, row.statement()?, known.arrangement.is_tuition);
                if known.is_active() && is_evaluated(Some(&from), &to, now.date, is_tuition) {
                    evaluated.push(known.placement.id);
                }
                result.set_outcome(MarkOutcome::Voided);
                result.revision = row.revision.to_u32();
                rows.push(row);
            }
            result.encode(&mut reply).map_err(|_| Reason::Failed)?;
            results.push(result);
        }
        let (placement, role, sender) = (known.placement.id, LeafRole::Submitted, &cx.caller.organisation);
        let record = RecordRef::unversioned(RecordKind::Attendance, return_id);
        let part = LeafInput { placement, role, record, sender, key: &known.key, reply: &reply };
        change = change.append_child_under(known.basis.as_ref(), &part, &rows);
    }
    results.sort_unstable_by_key(|result| result.index);
    evaluated.dedup();
    let change = placements::moments::evaluate_covered_now(cx, change, &evaluated).await?;
    Ok((results, change))
}

/// The reason of a withdrawal as it is stored in the revisions of one child.
struct RestoreReason<'a> {
    text: &'a str,
    flags: MarkFlags,
}

impl<'a> RestoreReason<'a> {
    /// Decides whether one child's revisions store the reason, which was given for a whole return. `restricted` holds
    /// the placements with a restricted code. The reason may mention that code. So the revisions of those placements
    /// store it for sender, commissioner and home school only, and the revisions of the others do not store it.
    fn new(reason: &'a str, restricted: &HashSet<Uuid>, placement: Uuid) -> Self {
        let is_restricted = restricted.contains(&placement);
        let text = if is_restricted || restricted.is_empty() { reason } else { "" };
        let flags = if is_restricted { MarkFlags::REASON_RESTRICTED } else { MarkFlags::empty() };
        Self { text, flags }
    }
}

/// An earlier revision that a provider sent with a return, or part of one, that has not been withdrawn.
struct EarlierRevision {
    mark: MarkRow,
    /// Index of the entry that stored it.
    index: EntryIndex,
    /// Key of its return or part, which has a version once that is withdrawn.
    withdrawal_key: VersionKey,
}

/// Returns the index of the entry that sent the current mark. If a withdrawal restored the mark, that is the entry of
/// the earlier revision.
async fn sent_by_entry(
    cx: &mut RequestContext,
    now: &MarkRow,
    position: LogPosition,
) -> Result<Option<EntryIndex>, Refusal> {
    if !now.flags.contains(MarkFlags::RESTORED) {
        return Ok(Some(position.index));
    }
    Ok(find_earlier_revision(cx, now.prior(), EntryIndex::BEFORE_FIRST).await?.map(|before| before.index))
}

/// Finds the newest revision, from a position backwards, that a provider sent and that has not been withdrawn. Skips
/// the revision of the entry `except`.
async fn find_earlier_revision(
    cx: &mut RequestContext,
    mut prior: Option<LogPosition>,
    except: EntryIndex,
) -> Result<Option<EarlierRevision>, Refusal> {
    // Each step goes to an earlier revision, so the loop ends.
    while let Some(position) = prior {
        let Some(mark) = rows::load_revision(&mut cx.snapshot, position).await? else {
            return Ok(None);
        };
        prior = mark.prior();
        let index = position.index;
        if mark.flags.contains(MarkFlags::RESTORED) || index == except {
            continue;
        }
        let key = withdrawal_key(&mut cx.snapshot, &mark, index).await?;
        if cx.snapshot.current_version(&key).await? == Revision::ABSENT {
            return Ok(Some(EarlierRevision { mark, index, withdrawal_key: key }));
        }
    }
    Ok(None)
}

/// Returns the key of the return or part that stored a mark at an index. The key has a version once that return or
/// part was withdrawn.
///
/// # Errors
/// Any [`StoreError`].
pub async fn withdrawal_key(
    snapshot: &mut Snapshot,
    mark: &MarkRow,
    index: EntryIndex,
) -> Result<VersionKey, StoreError> {
    let row = snapshot.fetch_one("SELECT part FROM returns WHERE idx = $1", vec![index.into()]).await?;
    Ok(return_key(mark.return_id, row.map_or(Ok(0), |row| row.get("part"))?))
}

/// Builds the revision that replaces the current mark: a copy of the earlier mark, or an empty one.
fn restoring_revision(
    cx: &RequestContext,
    known: &RosterEntry,
    now: &MarkRow,
    position: LogPosition,
    before: Option<MarkRow>,
    reason: &RestoreReason<'_>,
) -> Result<MarkRow, Refusal> {
    let revision = now.revision.next();
    let earlier = before.as_ref().map(|before| before.note(&known.key)).transpose()?.unwrap_or_default();
    let note = StoredMark { correction_reason: reason.text.to_owned(), ..earlier };
    let sealed_for = (now.placement, now.date, now.slot, revision);
    let note = seal_note(&known.key, sealed_for, &note, &|bytes: &mut [u8]| cx.random.fill(bytes))?;
    let empty = || MarkRow {
        code: None,
        seen: None,
        end_time: None,
        minutes_late: None,
        minutes_planned: None,
        minutes_attended: None,
        flags: MarkFlags::empty(),
        suggested: None,
        sender: now.sender.clone(),
        note: None,
        ..*now
    };
    let restored = before.unwrap_or_else(empty);
    let mut flags = restored.flags | (now.flags & MarkFlags::AFTER_RESTRICTED) | MarkFlags::RESTORED;
    flags.remove(MarkFlags::REASON_RESTRICTED);
    Ok(MarkRow {
        revision,
        flags: flags | reason.flags,
        received: cx.now.micros(),
        note,
        prior_idx: Some(position.index),
        prior_ordinal: Some(position.ordinal),
        ..restored
    })
}

/// Delivers the withdrawal to the return's recipients as of now, and to the other organisations that received it.
async fn notify_parties(
    cx: &mut RequestContext,
    mut change: Change,
    index: EntryIndex,
    return_id: Uuid,
    (known, sent): (&[RosterEntry], &[MarkRow]),
) -> Result<Change, Refusal> {
    let kind = DeliveryKind::Attendance;
    let mut current = HashSet::new();
    for RosterEntry { placement, .. } in known {
        let days = sent.iter().filter(|mark| mark.placement == placement.id).map(|mark| mark.date);
        for recipient in placement.recipients_on(days, &cx.caller.organisation) {
            change = change.deliver(&recipient, kind, return_id, Some(placement.id));
            current.insert(recipient);
        }
    }
    let sql =
        "SELECT organisation FROM parties WHERE object = $1 AND idx = $2 AND kind = $3 ORDER BY organisation";
    let arguments = vec![return_id.into(), index.into(), i64::from(kind as i32).into()];
    for row in cx.snapshot.fetch(sql, arguments).await? {
        let recipient: OrganisationId = row.get("organisation")?;
        if !current.contains(&recipient) {
            change = change.deliver(&recipient, kind, return_id, None);
        }
    }
    Ok(change)
}

/// Seals the reason for the provider. It is stored with the withdrawal too, because a return may have no marks.
fn seal_reason(cx: &RequestContext, return_id: Uuid, reason: &str) -> Result<Vec<u8>, Refusal> {
    let column = ColumnAddress { table: "voids", row: return_id.as_bytes(), column: "reason" };
    let key = OrganisationKey::derive(&cx.vault.ring(), cx.caller.organisation.as_str());
    let sealed = key.and_then(|key| key.seal(column, reason.as_bytes(), &|bytes| cx.random.fill(bytes)));
    sealed.map_err(placements::children::seal_refusal)
}
