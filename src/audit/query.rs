//! Which entries a caller may read: those that concern its own organisation, or, for an auditor, one that
//! appointed it and still does.

use std::collections::BTreeMap;

use prost::Message;
use uuid::Uuid;

use super::wire::Filter;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{Cx, Part};
use crate::placements;
use crate::proto::v1::AuditEntry;
use crate::register::grants;
use crate::store::{Row, Snapshot, StoreError, Value};

/// Rows of either table that are looked at for one page and organisation, beside the newest entries: a filter that
/// matches little gives a short page and a token, and no page takes long, however long the log is.
const LOOKED_AT: i64 = 10_000;

/// The organisations whose exchanges the caller may read.
pub async fn scope(cx: &mut Cx) -> Result<Vec<OrganisationId>, StoreError> {
    if cx.caller.kind() == OrganisationKind::Auditor {
        let mut scope = grants::appointed(&mut cx.snapshot, &cx.caller.organisation, cx.today).await?;
        scope.push(cx.caller.organisation.clone());
        return Ok(scope);
    }
    Ok(vec![cx.caller.organisation.clone()])
}

/// An entry that the caller may read.
pub struct Found {
    pub index: u64,
    pub entry: AuditEntry,
}

/// A page of entries of these organisations below an index, the newest first, and the index to go on from.
pub async fn page(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    filter: &Filter,
    below: i64,
) -> Result<(Vec<Found>, Option<i64>), StoreError> {
    let scope: Vec<_> =
        scope.iter().filter(|id| filter.organisation.as_ref().is_none_or(|wanted| wanted == *id)).collect();
    let from = first_not_before(snapshot, filter.from).await?.unwrap_or(0);
    let below = first_not_before(snapshot, filter.to).await?.map_or(below, |to| below.min(to));
    let mut floor = from;
    for organisation in &scope {
        floor = floor.max(lowest_looked_at(snapshot, organisation, from, below).await?);
    }
    let (unsorted, mut found) = (snapshot.callers_sorted_in().await?, BTreeMap::new());
    for organisation in &scope {
        for row in matching(snapshot, organisation, filter, floor, unsorted, below).await? {
            let entry = entry(row.blob(1)?)?;
            if filter.purpose.is_none_or(|wanted| wanted == entry.purpose()) {
                found.insert(row.int(0)?, entry);
            }
        }
    }
    let many = found.len() > filter.page_size;
    let page: Vec<_> = found.into_iter().rev().take(filter.page_size).collect();
    let next = if many { page.last().map(|(last, _)| *last) } else { Some(floor).filter(|at| *at > from) };
    let found = page.into_iter().map(|(index, entry)| Found { index: index.unsigned_abs(), entry });
    Ok((found.collect(), next))
}

/// The index of the first entry at or after an instant. Time never goes back in the log, and the entries of
/// one group share theirs, so it is the size of the last tree that was signed before.
async fn first_not_before(snapshot: &mut Snapshot, at: Option<Instant>) -> Result<Option<i64>, StoreError> {
    let Some(at) = at else {
        return Ok(None);
    };
    let sql = "SELECT size FROM checkpoints WHERE time < $1 ORDER BY time DESC, size DESC LIMIT 1";
    let row = snapshot.fetch_one(sql, vec![at.micros().into()]).await?;
    Ok(Some(row.map_or(Ok(0), |row| row.int(0))?))
}

/// How far down an organisation's rows reach that one page may look at.
async fn lowest_looked_at(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    from: i64,
    below: i64,
) -> Result<i64, StoreError> {
    let mut lowest = from;
    for sql in [
        "SELECT idx FROM callers WHERE organisation = $1 AND idx >= $2 AND idx < $3 \
         ORDER BY idx DESC LIMIT 1 OFFSET $4",
        "SELECT idx FROM parties WHERE organisation = $1 AND idx >= $2 AND idx < $3 \
         ORDER BY idx DESC LIMIT 1 OFFSET $4",
    ] {
        let arguments = vec![organisation.as_str().into(), from.into(), below.into(), (LOOKED_AT - 1).into()];
        if let Some(row) = snapshot.fetch_one(sql, arguments).await? {
            lowest = lowest.max(row.int(0)?);
        }
    }
    Ok(lowest)
}

/// What every walk asks of an entry, one more than fills a page. A counterpart is another organisation than
/// the one whose exchanges are read. The order is asked of the table that is walked along: of another, SQLite
/// would read and sort all that may be looked at.
macro_rules! walk {
    ($along:literal, $rows:literal) => {
        concat!(
            "SELECT e.idx, e.bytes FROM ",
            $rows,
            " AND e.idx >= $2 AND e.idx < $3 AND ($4 IS NULL OR e.system = $4) \
             AND ($5 IS NULL OR e.method = $5) AND ($6 IS NULL OR e.outcome = $6) \
             AND ($7 IS NULL OR ($7 <> $1 AND (e.caller = $7 OR EXISTS \
             (SELECT 1 FROM parties c WHERE c.organisation = $7 AND c.idx = e.idx)))) \
             AND ($8 IS NULL OR EXISTS (SELECT 1 FROM leaves l WHERE l.placement = $8 AND l.idx = ",
            $along,
            ".idx)) ORDER BY ",
            $along,
            ".idx DESC LIMIT $9"
        )
    };
}

/// Entries of which the organisation is the caller; the entry has the last word on it.
const CALLED: &str = walk!(
    "a",
    "callers a JOIN entries e ON e.idx = a.idx WHERE a.organisation = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND e.caller = $1"
);
/// The same of the newest entries, whose callers are not sorted in yet.
const JUST_CALLED: &str = walk!("e", "entries e WHERE e.caller = $1");
/// Entries that concern the organisation otherwise; the first of its rows stands for the entry.
const CONCERNED: &str = walk!(
    "a",
    "parties a JOIN entries e ON e.idx = a.idx WHERE a.organisation = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND NOT EXISTS (SELECT 1 FROM parties f WHERE f.organisation = a.organisation \
     AND f.idx = a.idx AND f.ordinal < a.ordinal)"
);

/// The same of an organisation that had its part in the placement for a time only. A return brings it several children, so
/// that the entry concerns it is not enough: a delivery about this placement or a day in its time must be in it.
const CONCERNED_FOR_A_TIME: &str = walk!(
    "a",
    "parties a JOIN entries e ON e.idx = a.idx WHERE a.organisation = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND NOT EXISTS (SELECT 1 FROM parties f WHERE f.organisation = a.organisation \
     AND f.idx = a.idx AND f.ordinal < a.ordinal) \
     AND (EXISTS (SELECT 1 FROM parties d WHERE d.organisation = $1 AND d.idx = a.idx AND d.placement = $8) \
     OR EXISTS (SELECT 1 FROM marks m WHERE m.idx = a.idx AND m.placement = $8 AND m.date BETWEEN $10 AND $11) \
     OR EXISTS (SELECT 1 FROM statements s WHERE s.idx = a.idx AND s.placement = $8 \
     AND s.date BETWEEN $10 AND $11))"
);

/// Which entries about the placement of a filter concern an organisation.
enum About {
    /// All that concern it and are about the placement; also where no placement is asked for.
    Every,
    /// Those with a day in this range.
    Days(Date, Date),
    /// None: it never had a part in the placement.
    None,
}

/// Reads which part the organisation had in the placement of a filter.
async fn about(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    filter: &Filter,
) -> Result<About, StoreError> {
    let Some(id) = filter.placement else { return Ok(About::Every) };
    let Some(placement) = placements::of_party(snapshot, id, organisation).await? else {
        return Ok(About::None);
    };
    let part = placement.part_of(organisation);
    if placement.periods.is_empty() || matches!(part, Part::Commissioner | Part::Provider) {
        return Ok(About::Every);
    }
    let own = || placement.periods.iter().filter(|period| period.organisation == *organisation);
    let first = own().map(|period| period.from.unwrap_or(Date::MIN)).min();
    let last = own().map(|period| period.until.unwrap_or(Date::MAX)).max();
    // One whose time was taken back has no day: what was delivered to it about this placement is left.
    Ok(About::Days(first.unwrap_or(Date::MAX), last.unwrap_or(Date::MIN)))
}

/// The entries that match in everything that is a column: index and bytes, of each walk the newest first. From
/// `unsorted` on callers are not sorted in.
async fn matching(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    filter: &Filter,
    floor: i64,
    unsorted: i64,
    below: i64,
) -> Result<Vec<Row>, StoreError> {
    // The purpose is in the entry's bytes alone: it is looked for among all that the page may look at.
    let most = if filter.purpose.is_some() { LOOKED_AT } else { most(filter.page_size) };
    let arguments = |floor: i64| -> Vec<Value> {
        vec![
            organisation.as_str().into(),
            floor.into(),
            below.into(),
            filter.system.clone().into(),
            filter.method.clone().into(),
            filter.outcome.map(|outcome| outcome as i32).into(),
            filter.counterpart.as_ref().map(OrganisationId::as_str).into(),
            filter.placement.into(),
            most.into(),
        ]
    };
    let mut found = snapshot.fetch(CALLED, arguments(floor)).await?;
    found.extend(snapshot.fetch(JUST_CALLED, arguments(floor.max(unsorted))).await?);
    match about(snapshot, organisation, filter).await? {
        About::Every => found.extend(snapshot.fetch(CONCERNED, arguments(floor)).await?),
        About::Days(first, last) => {
            let days = vec![first.to_string().into(), last.to_string().into()];
            let arguments = [arguments(floor), days].concat();
            found.extend(snapshot.fetch(CONCERNED_FOR_A_TIME, arguments).await?);
        }
        About::None => {}
    }
    Ok(found)
}

fn most(page_size: usize) -> i64 {
    i64::try_from(page_size).unwrap_or(LOOKED_AT).saturating_add(1)
}

fn entry(bytes: &[u8]) -> Result<AuditEntry, StoreError> {
    AuditEntry::decode(bytes).map_err(|_| StoreError::Inconsistent("an entry of the log is not one"))
}

/// An entry by its exchange, if it concerns one of these organisations.
pub async fn by_exchange(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    exchange: Uuid,
) -> Result<Option<Found>, StoreError> {
    // From the index alone, and for one that does not exist the same next query: another's and an invented exchange
    // end at the same lookup, so that the time of a refusal does not tell them apart.
    let sql = "SELECT idx FROM entries WHERE exchange = $1";
    let found = snapshot.fetch_one(sql, vec![exchange.into()]).await?;
    let index = found.map_or(Ok(u64::MAX), |row| row.int(0).map(i64::unsigned_abs))?;
    if !concerns(snapshot, scope, index).await? {
        return Ok(None);
    }
    let sql = "SELECT bytes FROM entries WHERE exchange = $1";
    let row = snapshot.fetch_one(sql, vec![exchange.into()]).await?;
    row.map(|row| Ok(Found { index, entry: entry(row.blob(0)?)? })).transpose()
}

/// Whether an entry concerns one of these organisations.
pub async fn concerns(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    index: u64,
) -> Result<bool, StoreError> {
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    for organisation in scope {
        let sql = "SELECT 1 FROM entries WHERE caller = $1 AND idx = $2 \
                   UNION ALL SELECT 1 FROM parties WHERE organisation = $1 AND idx = $2 LIMIT 1";
        let arguments = vec![organisation.as_str().into(), index.into()];
        if snapshot.fetch_one(sql, arguments).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
