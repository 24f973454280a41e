//! Queries for the log entries that a caller may read: those that concern its own organisation, or, for an auditor, an
//! organisation whose appointment is in force.

use std::collections::BTreeMap;

use prost::Message;
use uuid::Uuid;

use super::wire::ExchangeFilter;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{CallerRole, RequestContext};
use crate::placements;
use crate::proto::v1::AuditEntry;
use crate::register::grants;
use crate::store::{Row, Snapshot, StoreError, Value};

/// Maximum number of rows of `callers` and of `parties` that are scanned for one page and organisation, apart from the
/// newest entries. A filter that matches little returns a short page and a token, so that no page takes long in a long
/// log.
const MAX_SCANNED_ROWS: i64 = 10_000;

/// Returns the organisations whose exchanges the caller may read.
pub async fn load_scope(cx: &mut RequestContext) -> Result<Vec<OrganisationId>, StoreError> {
    if cx.caller.kind() == OrganisationKind::Auditor {
        let mut scope = grants::list_appointers(&mut cx.snapshot, &cx.caller.organisation, cx.today).await?;
        scope.push(cx.caller.organisation.clone());
        return Ok(scope);
    }
    Ok(vec![cx.caller.organisation.clone()])
}

/// An entry that the caller may read.
pub struct ReadableEntry {
    pub index: u64,
    pub entry: AuditEntry,
}

/// Reads a page of entries of these organisations below an index, the newest first, and the index below which the next
/// page begins.
pub async fn list_page(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    filter: &ExchangeFilter,
    below: i64,
) -> Result<(Vec<ReadableEntry>, Option<i64>), StoreError> {
    let scope: Vec<_> =
        scope.iter().filter(|id| filter.organisation.as_ref().is_none_or(|wanted| wanted == *id)).collect();
    let from = first_not_before(snapshot, filter.from).await?.unwrap_or(0);
    let below = first_not_before(snapshot, filter.to).await?.map_or(below, |to| below.min(to));
    let mut floor = from;
    for organisation in &scope {
        floor = floor.max(scan_floor(snapshot, organisation, from, below).await?);
    }
    let (unindexed_from, mut found) = (snapshot.callers_indexed_up_to().await?, BTreeMap::new());
    for organisation in &scope {
        for row in fetch_matching(snapshot, organisation, filter, floor, unindexed_from, below).await? {
            let entry = decode_entry(row.get_bytes("bytes")?)?;
            if filter.purpose.is_none_or(|wanted| wanted == entry.purpose()) {
                found.insert(row.get("idx")?, entry);
            }
        }
    }
    let many = found.len() > filter.page_size;
    let page: Vec<_> = found.into_iter().rev().take(filter.page_size).collect();
    let next = if many { page.last().map(|(last, _)| *last) } else { Some(floor).filter(|at| *at > from) };
    let found = page.into_iter().map(|(index, entry)| ReadableEntry { index: index.unsigned_abs(), entry });
    Ok((found.collect(), next))
}

/// Returns the index of the first entry at or after an instant. Time never decreases in the log, and all entries of a
/// group have the same time, so the index is the size of the last tree that was signed before the instant.
async fn first_not_before(snapshot: &mut Snapshot, at: Option<Instant>) -> Result<Option<i64>, StoreError> {
    let Some(at) = at else {
        return Ok(None);
    };
    let sql = "SELECT size FROM checkpoints WHERE time < $1 ORDER BY time DESC, size DESC LIMIT 1";
    let row = snapshot.fetch_one(sql, vec![at.micros().into()]).await?;
    Ok(Some(row.map_or(Ok(0), |row| row.get("size"))?))
}

/// Returns the lowest index to which one page may scan an organisation's rows.
async fn scan_floor(
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
        let arguments =
            vec![organisation.as_str().into(), from.into(), below.into(), (MAX_SCANNED_ROWS - 1).into()];
        if let Some(row) = snapshot.fetch_one(sql, arguments).await? {
            lowest = lowest.max(row.get("idx")?);
        }
    }
    Ok(lowest)
}

/// Builds a query for entries that match the filter, with one row more than fills a page. A counterpart differs from
/// the organisation whose exchanges are read. ORDER BY names the table that is scanned, because with another one SQLite
/// would read and sort all rows of the scan.
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

/// Query for the entries whose caller is the organisation. The caller in the entry decides, not the row of `callers`.
const SELECT_AS_CALLER: &str = walk!(
    "a",
    "callers a JOIN entries e ON e.idx = a.idx WHERE a.organisation = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND e.caller = $1"
);
/// Query for the newest entries whose caller is the organisation. They have no rows in `callers` yet.
const SELECT_AS_RECENT_CALLER: &str = walk!("e", "entries e WHERE e.caller = $1");
/// Query for the entries in which the organisation is a party. Only the first of its rows of an entry counts.
const SELECT_AS_PARTY: &str = walk!(
    "a",
    "parties a JOIN entries e ON e.idx = a.idx WHERE a.organisation = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND NOT EXISTS (SELECT 1 FROM parties f WHERE f.organisation = a.organisation \
     AND f.idx = a.idx AND f.ordinal < a.ordinal)"
);

/// Query for the entries in which an organisation is a party that had a part in the placement for a limited time. A
/// return can be about several children, so being a party is not enough: the entry must hold a delivery about this
/// placement, or a day in that time.
const SELECT_AS_FORMER_PARTY: &str = walk!(
    "a",
    "parties a JOIN entries e ON e.idx = a.idx WHERE a.organisation = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND NOT EXISTS (SELECT 1 FROM parties f WHERE f.organisation = a.organisation \
     AND f.idx = a.idx AND f.ordinal < a.ordinal) \
     AND (EXISTS (SELECT 1 FROM parties d WHERE d.organisation = $1 AND d.idx = a.idx AND d.placement = $8) \
     OR EXISTS (SELECT 1 FROM marks m WHERE m.idx = a.idx AND m.placement = $8 AND m.date BETWEEN $10 AND $11) \
     OR EXISTS (SELECT 1 FROM statements s WHERE s.idx = a.idx AND s.placement = $8 \
     AND s.date BETWEEN $10 AND $11))"
);

/// The entries about the placement of a filter that concern an organisation.
enum PlacementScope {
    /// All entries that concern it. Also used when the filter has no placement.
    All,
    /// The entries with a day in this inclusive range.
    Days(Date, Date),
    /// No entry: it never had a part in the placement.
    Nothing,
}

/// Returns which entries the organisation's part in the placement of a filter allows.
async fn placement_scope(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    filter: &ExchangeFilter,
) -> Result<PlacementScope, StoreError> {
    let Some(id) = filter.placement else { return Ok(PlacementScope::All) };
    let Some(placement) = placements::by_id_for_party(snapshot, id, organisation).await? else {
        return Ok(PlacementScope::Nothing);
    };
    let part = placement.role_of(organisation);
    if placement.party_periods.is_empty() || matches!(part, CallerRole::Commissioner | CallerRole::Provider) {
        return Ok(PlacementScope::All);
    }
    let periods = || placement.party_periods.iter().filter(|period| period.organisation == *organisation);
    let first = periods().map(|period| period.from.unwrap_or(Date::MIN)).min();
    let last = periods().map(|period| period.until.unwrap_or(Date::MAX)).max();
    // An organisation whose period was withdrawn has no day. Deliveries to it about this placement still match.
    Ok(PlacementScope::Days(first.unwrap_or(Date::MAX), last.unwrap_or(Date::MIN)))
}

/// Fetches the entries that match every filter that is a column, as index and bytes; each query returns the newest
/// first. Entries from `unindexed_from` on have no rows in `callers` yet.
async fn fetch_matching(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    filter: &ExchangeFilter,
    floor: i64,
    unindexed_from: i64,
    below: i64,
) -> Result<Vec<Row>, StoreError> {
    // The purpose is only in the entry's bytes, so the caller filters all entries of the scan.
    let most = if filter.purpose.is_some() { MAX_SCANNED_ROWS } else { row_limit(filter.page_size) };
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
    let mut found = snapshot.fetch(SELECT_AS_CALLER, arguments(floor)).await?;
    found.extend(snapshot.fetch(SELECT_AS_RECENT_CALLER, arguments(floor.max(unindexed_from))).await?);
    match placement_scope(snapshot, organisation, filter).await? {
        PlacementScope::All => found.extend(snapshot.fetch(SELECT_AS_PARTY, arguments(floor)).await?),
        PlacementScope::Days(first, last) => {
            let days = vec![first.to_string().into(), last.to_string().into()];
            let arguments = [arguments(floor), days].concat();
            found.extend(snapshot.fetch(SELECT_AS_FORMER_PARTY, arguments).await?);
        }
        PlacementScope::Nothing => {}
    }
    Ok(found)
}

fn row_limit(page_size: usize) -> i64 {
    i64::try_from(page_size).unwrap_or(MAX_SCANNED_ROWS).saturating_add(1)
}

fn decode_entry(bytes: &[u8]) -> Result<AuditEntry, StoreError> {
    AuditEntry::decode(bytes).map_err(|_| StoreError::Inconsistent("an entry of the log cannot be decoded"))
}

/// Returns the entry of an exchange, if it concerns one of these organisations.
pub async fn by_exchange(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    exchange: Uuid,
) -> Result<Option<ReadableEntry>, StoreError> {
    // The first query uses the index alone, and an exchange that does not exist runs the same second query. So the time
    // of a refusal does not reveal whether the exchange exists.
    let sql = "SELECT idx FROM entries WHERE exchange = $1";
    let found = snapshot.fetch_one(sql, vec![exchange.into()]).await?;
    let index = found.map_or(Ok(u64::MAX), |row| row.get("idx").map(i64::unsigned_abs))?;
    if !is_in_scope(snapshot, scope, index).await? {
        return Ok(None);
    }
    let sql = "SELECT bytes FROM entries WHERE exchange = $1";
    let row = snapshot.fetch_one(sql, vec![exchange.into()]).await?;
    row.map(|row| Ok(ReadableEntry { index, entry: decode_entry(row.get_bytes("bytes")?)? })).transpose()
}

/// Returns whether an entry concerns one of these organisations.
pub async fn is_in_scope(
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
