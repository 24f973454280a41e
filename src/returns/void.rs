//! `VoidReturn`: a whole return, or a part of one, is withdrawn by its provider. Nothing is removed:
//! each session that the return still stands for gets a revision that restores what stood before it, or that nothing
//! stands.

use std::collections::{HashMap, HashSet};

use prost::Message;
use uuid::Uuid;

use super::parts;
use super::roll::{Known, know};
use super::rows::{self, AFTER_RESTRICTED, MarkRow, REASON_RESTRICTED, RESTORED, return_key, seal_note};
use super::rules::Statement;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{
    Action, Change, ChildPart, Cx, Decided, Facts, LeafRole, NextActor, Part, Permit, Reason, Record,
    Refusal, WrongState,
};
use crate::placements::{self, rows::by_ids};
use crate::proto::v1::{
    DeliveryKind, MarkOutcome, MarkResult, StoredMark, VoidReturnRequest, VoidReturnResponse,
};
use crate::seal::{Column, OrganisationKey};
use crate::store::Kind::{Blob, Int, Text};
use crate::store::key::Key;
use crate::store::{Snapshot, StoreError, Table, Value};

/// That a return or a part of one was withdrawn.
struct VoidRow {
    return_id: Uuid,
    /// 0 for a return that was sent at once.
    part: i64,
    provider: OrganisationId,
    reason: Vec<u8>,
}

impl Record for VoidRow {
    const TABLE: &'static Table = &Table {
        name: "voids",
        columns: &[
            ("idx", Int),
            ("ordinal", Int),
            ("return_id", Blob),
            ("provider", Text),
            ("reason", Blob),
            ("part", Int),
        ],
        replace_by: &[],
    };

    fn values(&self) -> Vec<Value> {
        let (provider, reason) = (self.provider.as_str(), self.reason.clone());
        vec![self.return_id.into(), provider.into(), reason.into(), self.part.into()]
    }

    fn heads(&self) -> Vec<(Key, i64)> {
        vec![(return_key(self.return_id, self.part), 1)]
    }
}

/// The return that the exchange at an index withdrew, if it withdrew one, and which part of it.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn voided_at(snapshot: &mut Snapshot, index: i64) -> Result<Option<(Uuid, i64)>, StoreError> {
    let sql = "SELECT return_id, part FROM voids WHERE idx = $1";
    let row = snapshot.fetch_one(sql, vec![index.into()]).await?;
    row.map(|row| Ok((row.id(0)?, row.int(1)?))).transpose()
}

/// Withdraws a return.
pub async fn void_return(mut cx: Cx, m: VoidReturnRequest) -> Result<Decided<VoidReturnResponse>, Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let return_id = check.uuid("return_id", &m.return_id);
    let reason = check.text("reason", &m.reason, TextRule::line(500).required());
    check.finish()?;
    let (Some(return_id), Some(reason)) = (return_id, reason) else {
        return Err(Reason::Malformed.into());
    };
    let part = i64::from(m.part);
    let index = sent_at(&mut cx, return_id, part).await?;
    if part == 0 && parts::is_in_parts(&mut cx.snapshot, &cx.caller.organisation, return_id).await? {
        let mut check = Check::new();
        check.fault("part", "FIELD_REQUIRED");
        check.finish()?;
    }
    let sent = marks_at(&mut cx, index.unwrap_or(-1)).await?;
    let known = known(&mut cx, &sent).await?;
    let basis = known.first().and_then(|known| known.basis.clone());
    let own = if index.is_some() { Part::Provider } else { Part::None };
    let permit = cx.permit(Action::VoidReturn, &Facts { basis, ..Facts::own(own) })?;
    let index = index.ok_or(Reason::NotFound)?;
    let key = return_key(return_id, part);
    if cx.snapshot.version(&key).await? != 0 {
        return Err(
            WrongState { present: "VOIDED", needed: Vec::new(), next_actor: NextActor::Nobody }.into()
        );
    }
    let (results, change) = restored(&mut cx, &permit, index, &reason, &sent, &known).await?;
    let change = told(&mut cx, change, index, return_id, (&known, &sent)).await?;
    let voided = results.iter().filter(|result| result.outcome() == MarkOutcome::Voided).count();
    let row = VoidRow {
        return_id,
        part,
        provider: cx.caller.organisation.clone(),
        reason: seal(&cx, return_id, &reason)?,
    };
    let reply = VoidReturnResponse {
        return_id: return_id.hyphenated().to_string(),
        voided: u32::try_from(voided).unwrap_or(u32::MAX),
        unchanged: u32::try_from(results.len() - voided).unwrap_or(u32::MAX),
        results,
        receipt: None,
    };
    Ok(change.guard(key, 0).write(&row).reply(&reply))
}

/// The entry of the caller's own return or part. One that brought something is found by its deliveries.
async fn sent_at(cx: &mut Cx, return_id: Uuid, part: i64) -> Result<Option<i64>, StoreError> {
    let own = [return_id.into(), cx.caller.organisation.as_str().into(), part.into()];
    let sql = "SELECT r.idx FROM parties p JOIN returns r ON r.idx = p.idx AND r.return_id = p.object \
               WHERE p.object = $1 AND p.sender = $2 AND r.part = $3 ORDER BY r.idx LIMIT 1";
    let mut row = cx.snapshot.fetch_one(sql, own.to_vec()).await?;
    if row.is_none() {
        let sql =
            "SELECT idx FROM returns WHERE return_id = $1 AND provider = $2 AND part = $3 AND stored = 0";
        row = cx.snapshot.fetch_one(sql, own.to_vec()).await?;
    }
    row.map(|row| row.int(0)).transpose()
}

async fn marks_at(cx: &mut Cx, index: i64) -> Result<Vec<MarkRow>, StoreError> {
    let rows = cx.snapshot.fetch(rows::select!("WHERE m.idx = $1 ORDER BY m.ordinal"), vec![index.into()]);
    rows.await?.iter().map(|row| rows::read(row).map(|(mark, ..)| mark)).collect()
}

/// The placements of a return's marks.
async fn known(cx: &mut Cx, sent: &[MarkRow]) -> Result<Vec<Known>, Refusal> {
    let mut ids: Vec<Uuid> = sent.iter().map(|mark| mark.placement).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut known = Vec::with_capacity(ids.len());
    for placement in by_ids(&mut cx.snapshot, &ids).await? {
        known.push(know(cx, placement).await?);
    }
    Ok(known)
}

/// A result for each mark of the return, and the change that writes what stands from now on.
async fn restored(
    cx: &mut Cx,
    permit: &Permit,
    index: i64,
    reason: &str,
    sent: &[MarkRow],
    known: &[Known],
) -> Result<(Vec<MarkResult>, Change), Refusal> {
    let keys: Vec<Key> = sent.iter().map(MarkRow::key).collect();
    let sql = rows::select!("JOIN heads h ON m.idx = h.idx AND m.ordinal = h.ordinal WHERE h.key");
    let mut standing = HashMap::new();
    for row in cx.snapshot.fetch_among(sql, &keys).await? {
        let (mark, idx, ordinal) = rows::read(&row)?;
        standing.insert((mark.placement, mark.date, mark.slot), (mark, (idx, ordinal)));
    }
    let restricted: HashSet<Uuid> = standing
        .values()
        .filter(|(mark, _)| mark.is_after_restricted())
        .map(|(mark, _)| mark.placement)
        .collect();
    let (mut change, mut results) = (cx.change(permit), Vec::new());
    for known in known {
        let reason = Why::new(reason, &restricted, known.placement.id);
        let (mut rows, mut reply) = (Vec::new(), Vec::new());
        for (at, mark) in sent.iter().enumerate().filter(|(_, mark)| mark.placement == known.placement.id) {
            let mut result = MarkResult {
                index: u32::try_from(at).unwrap_or(u32::MAX),
                placement_id: mark.placement.hyphenated().to_string(),
                revision: u32::try_from(mark.revision).unwrap_or(u32::MAX),
                ..MarkResult::default()
            };
            result.set_outcome(MarkOutcome::Unchanged);
            // A later return may have corrected it: then that one stands.
            if let Some((now, place)) = standing.get(&(mark.placement, mark.date, mark.slot))
                && stands_for(cx, now, *place).await? == Some(index)
            {
                let before = before(cx, now.prior, index).await?;
                if let Some(Before { of, .. }) = &before {
                    change = change.guard(of.clone(), 0);
                }
                let before = before.map(|before| before.mark);
                change = change.guard(now.key(), now.revision);
                let row = revision(cx, known, now, *place, before, &reason)?;
                result.set_outcome(MarkOutcome::Voided);
                result.revision = u32::try_from(row.revision).unwrap_or(u32::MAX);
                rows.push(row);
            }
            result.encode(&mut reply).map_err(|_| Reason::Failed)?;
            results.push(result);
        }
        let (placement, role) = (known.placement.id, LeafRole::Submitted);
        change = change.child(&ChildPart { placement, role, key: &known.key, reply: &reply }, &rows);
    }
    results.sort_unstable_by_key(|result| result.index);
    Ok((results, change))
}

/// The reason of a withdrawal as the revisions of one child keep it.
struct Why<'a> {
    text: &'a str,
    flags: i64,
}

impl<'a> Why<'a> {
    /// Decides what one child's revisions keep of a reason that was given for a whole return. Where a restricted code
    /// stands for some of its children (`restricted`), the reason may say so: revisions of those children keep it for
    /// the closest readers, and revisions of the others do not keep it.
    fn new(reason: &'a str, restricted: &HashSet<Uuid>, placement: Uuid) -> Self {
        let own = restricted.contains(&placement);
        let text = if own || restricted.is_empty() { reason } else { "" };
        Self { text, flags: if own { REASON_RESTRICTED } else { 0 } }
    }
}

/// A revision that somebody sent with a return, or a part of one, that still stands.
struct Before {
    mark: MarkRow,
    /// The entry that sent it.
    index: i64,
    /// The key of its return or part.
    of: Key,
}

/// The entry that sent what stands: a revision that a withdrawal restored stands for the one before it.
async fn stands_for(cx: &mut Cx, now: &MarkRow, place: (i64, i64)) -> Result<Option<i64>, Refusal> {
    if now.flags & RESTORED == 0 {
        return Ok(Some(place.0));
    }
    Ok(before(cx, now.prior, -1).await?.map(|before| before.index))
}

/// What stood before: from a place back, the newest revision that somebody sent, besides that of an entry, with
/// what still stands.
async fn before(cx: &mut Cx, mut prior: Option<(i64, i64)>, besides: i64) -> Result<Option<Before>, Refusal> {
    // Revisions count down to the first, so this ends.
    while let Some((index, ordinal)) = prior {
        let sql = rows::select!("WHERE m.idx = $1 AND m.ordinal = $2");
        let Some(row) = cx.snapshot.fetch_one(sql, vec![index.into(), ordinal.into()]).await? else {
            return Ok(None);
        };
        let (mark, ..) = rows::read(&row)?;
        prior = mark.prior;
        if mark.flags & RESTORED != 0 || index == besides {
            continue;
        }
        let of = withdrawal(&mut cx.snapshot, &mark, index).await?;
        if cx.snapshot.version(&of).await? == 0 {
            return Ok(Some(Before { mark, index, of }));
        }
    }
    Ok(None)
}

/// Returns the key that exists once the return, or the part of one, that sent a mark at an index was withdrawn.
///
/// # Errors
/// As [`StoreError`] says.
pub async fn withdrawal(snapshot: &mut Snapshot, mark: &MarkRow, index: i64) -> Result<Key, StoreError> {
    let row = snapshot.fetch_one("SELECT part FROM returns WHERE idx = $1", vec![index.into()]).await?;
    Ok(return_key(mark.return_id, row.map_or(Ok(0), |row| row.int(0))?))
}

/// The revision that stands from now on.
fn revision(
    cx: &Cx,
    known: &Known,
    now: &MarkRow,
    place: (i64, i64),
    before: Option<MarkRow>,
    reason: &Why<'_>,
) -> Result<MarkRow, Refusal> {
    let revision = now.revision + 1;
    let said = before.as_ref().map(|before| before.note(&known.key)).transpose()?.unwrap_or_default();
    let note = StoredMark { correction_reason: reason.text.to_owned(), ..said };
    let of = (now.placement, now.date, now.slot, revision);
    let note = seal_note(&known.key, of, &note, &|bytes: &mut [u8]| cx.random.fill(bytes))?;
    let nothing = || MarkRow {
        statement: Statement::Withdrawn,
        end: None,
        minutes_late: None,
        minutes_planned: None,
        minutes_attended: None,
        flags: 0,
        suggested: None,
        sender: now.sender.clone(),
        note: None,
        ..*now
    };
    let stands = before.unwrap_or_else(nothing);
    Ok(MarkRow {
        revision,
        flags: stands.flags & !REASON_RESTRICTED | (now.flags & AFTER_RESTRICTED) | reason.flags | RESTORED,
        received: cx.now.micros(),
        note,
        prior: Some(place),
        ..stands
    })
}

/// Tells whoever got the return, and whoever would get it now.
async fn told(
    cx: &mut Cx,
    mut change: Change,
    index: i64,
    return_id: Uuid,
    (known, sent): (&[Known], &[MarkRow]),
) -> Result<Change, Refusal> {
    let kind = DeliveryKind::Attendance;
    let only = match known {
        [one] => Some(one.placement.id),
        _ => None,
    };
    let sql =
        "SELECT organisation FROM parties WHERE object = $1 AND idx = $2 AND kind = $3 ORDER BY ordinal";
    let arguments = vec![return_id.into(), index.into(), i64::from(kind as i32).into()];
    for row in cx.snapshot.fetch(sql, arguments).await? {
        let corrupt = StoreError::Corrupt { table: "parties", column: 0 };
        let recipient = OrganisationId::parse(row.text(0)?).map_err(|_| corrupt)?;
        change = change.deliver(&recipient, kind, return_id, only);
    }
    for Known { placement, .. } in known {
        let days = sent.iter().filter(|mark| mark.placement == placement.id).map(|mark| mark.date);
        for recipient in placement.recipients_on(days, &cx.caller.organisation) {
            change = change.deliver(&recipient, kind, return_id, only);
        }
    }
    Ok(change)
}

/// The reason, sealed for the provider: a return without marks keeps it too.
fn seal(cx: &Cx, return_id: Uuid, reason: &str) -> Result<Vec<u8>, Refusal> {
    let column = Column { table: "voids", row: return_id.as_bytes(), column: "reason" };
    let key = OrganisationKey::derive(&cx.vault.ring(), cx.caller.organisation.as_str());
    let sealed = key.and_then(|key| key.seal(column, reason.as_bytes(), &|bytes| cx.random.fill(bytes)));
    sealed.map_err(placements::children::failed)
}
