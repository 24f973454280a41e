//! Queries for the log entries that a caller may read: those that concern its own organisation, or, for an auditor, an
//! organisation whose appointment is in force.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::entry_lookup::open_entry;
use super::reader_part::{OpenedEntry, ReaderPart};
use super::wire::ExchangeFilter;
use crate::clock::Instant;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::RequestContext;
use crate::proto::{self, v1::AuditEntry};
use crate::register::grants;
use crate::store::{Row, Snapshot, StoreError, Value};

/// Maximum number of rows of `callers` and of `parties` that are scanned for one page and organisation, apart from the
/// newest entries. A filter that matches little returns a short page and a token, so that no page takes long in a long
/// log.
const MAX_SCANNED_ROWS: i64 = 10_000;

/// Number of leaves of the readers' own children after which a page ends, so that no response is too large.
const MAX_LISTED_LEAVES: usize = 2_000;

/// Returns the organisations whose exchanges the caller may read.
pub async fn load_scope(cx: &mut RequestContext) -> Result<Vec<OrganisationId>, StoreError> {
    if cx.caller.kind() == OrganisationKind::Auditor {
        let mut scope = grants::list_appointers(&mut cx.snapshot, &cx.caller.organisation, cx.today).await?;
        scope.push(cx.caller.organisation.clone());
        return Ok(scope);
    }
    Ok(vec![cx.caller.organisation.clone()])
}

impl ExchangeFilter {
    /// Returns the organisations whose exchanges are listed, of those whose exchanges the caller may read.
    pub fn readers<'a>(&self, scope: &'a [OrganisationId]) -> Vec<&'a OrganisationId> {
        scope.iter().filter(|id| self.organisation.as_ref().is_none_or(|wanted| wanted == *id)).collect()
    }

    /// Returns whether a filter is about what is no column: what is kept beside the entry, and the person who acted.
    fn is_about_parts(&self) -> bool {
        self.purpose.is_some()
            || self.practitioner.is_some()
            || self.role.is_some()
            || self.break_glass
            || self.maker.is_some()
            || self.certificate.is_some()
            || self.reason.is_some()
            || self.record_version.is_some()
            || self.record_kind.is_some()
            || self.counterpart.is_some()
            || self.placement.is_some()
    }

    /// Returns whether the certificate and its organisation, the person who acted, whether in an emergency, and the reason
    /// match the filters.
    pub fn matches_entry(&self, entry: &AuditEntry) -> bool {
        (!self.break_glass || entry.break_glass)
            && self.certificate.is_none_or(|certificate| entry.certificate_sha256 == certificate[..])
            && self.maker.as_ref().is_none_or(|maker| maker_of(entry) == maker.as_str())
            && self.reason.is_none_or(|reason| entry.reason == reason)
            && self.practitioner.is_none_or(|practitioner| entry.practitioner == practitioner[..])
            && self.role.is_none_or(|role| proto::role_code(&entry.role) == Some(role))
    }

    /// Returns whether the part of a reader matches the filters that are no columns.
    fn matches(&self, part: &ReaderPart<'_>) -> bool {
        self.purpose.is_none_or(|purpose| part.has_purpose(purpose))
            && part.has_record(self.records())
            && self.counterpart.as_ref().is_none_or(|counterpart| part.has_counterpart(counterpart))
    }
}

/// Returns the organisation whose certificate an exchange was made with.
fn maker_of(entry: &AuditEntry) -> &str {
    if entry.processor.is_empty() { &entry.organisation } else { &entry.processor }
}

/// Reads a page of entries of these organisations below an index, the newest first, and the index below which the next
/// page begins.
pub async fn list_page(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    filter: &ExchangeFilter,
    below: i64,
) -> Result<(Vec<OpenedEntry>, Option<i64>), StoreError> {
    let mut scope = filter.readers(scope);
    if let Some(placement) = filter.placement {
        scope = retain_parties(snapshot, scope, placement).await?;
    }
    let from = first_not_before(snapshot, filter.from).await?.unwrap_or(0);
    let below = first_not_before(snapshot, filter.to).await?.map_or(below, |to| below.min(to));
    let indexed = snapshot.indexed_up_to().await?;
    let mut page = Page { scope: &scope, filter, found: BTreeMap::new() };
    let (top, tail) = (log_size(snapshot).await?.min(below), indexed.max(from));
    // The newest entries, which are in no index yet, are scanned one by one: a page scans a limited number of them.
    if top - tail > MAX_SCANNED_ROWS {
        let floor = top - MAX_SCANNED_ROWS;
        page.add_of_readers(snapshot, floor, indexed, below).await?;
        return Ok(page.finish(floor, from));
    }
    if let Some(placement) = filter.placement {
        page.add_of_readers(snapshot, tail, indexed, below).await?;
        let mut floor = from;
        for organisation in &scope {
            let reached =
                page.add_of_placement(snapshot, (placement, organisation), from, below.min(indexed));
            floor = floor.max(reached.await?);
        }
        return Ok(page.finish(floor, from));
    }
    let mut floor = from;
    for organisation in &scope {
        floor = floor.max(scan_floor(snapshot, organisation, from, below).await?);
    }
    page.add_of_readers(snapshot, floor, indexed, below).await?;
    Ok(page.finish(floor, from))
}

/// A page under construction.
struct Page<'a> {
    scope: &'a [&'a OrganisationId],
    filter: &'a ExchangeFilter,
    found: BTreeMap<i64, OpenedEntry>,
}

impl Page<'_> {
    /// Adds the entries in which the part of one of the readers matches the filters. Each organisation's own part must
    /// match, so that its list is the same whoever reads it.
    fn add(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        for row in rows {
            let opened = open_entry(row)?;
            if !self.filter.matches_entry(&opened.entry) {
                continue;
            }
            let mut parts = self.scope.iter().filter_map(|organisation| opened.part_of(&[organisation]));
            if parts.any(|part| self.filter.matches(&part)) {
                self.found.insert(row.get::<i64>("idx")?, opened);
            }
        }
        Ok(())
    }

    /// Adds the entries that the readers made or that concern them.
    async fn add_of_readers(
        &mut self,
        snapshot: &mut Snapshot,
        floor: i64,
        indexed: i64,
        below: i64,
    ) -> Result<(), StoreError> {
        for organisation in self.scope {
            let rows = fetch_matching(snapshot, organisation, self.filter, floor, indexed, below).await?;
            self.add(&rows)?;
        }
        Ok(())
    }

    /// Adds the indexed entries about a placement that concern an organisation, the newest first, until the page is full
    /// or many rows were scanned. Returns the index down to which it went.
    async fn add_of_placement(
        &mut self,
        snapshot: &mut Snapshot,
        (placement, organisation): (Uuid, &OrganisationId),
        floor: i64,
        mut below: i64,
    ) -> Result<i64, StoreError> {
        let limit = row_limit(self.filter.page_size);
        let mut scanned = 0;
        while self.found.range(below.max(floor)..).count() <= self.filter.page_size
            && scanned < MAX_SCANNED_ROWS
        {
            let mut arguments = filter_arguments(placement.into(), self.filter, floor, below, limit);
            arguments.push(organisation.as_str().into());
            let rows = snapshot.fetch(SELECT_OF_PLACEMENT, arguments).await?;
            self.add(&rows)?;
            scanned += limit;
            match rows.last() {
                Some(last) if i64::try_from(rows.len()) == Ok(limit) => below = last.get("idx")?,
                _ => return Ok(floor),
            }
        }
        Ok(below)
    }

    /// Returns the page, and the index below which the next one begins: that of the last entry if the page is full, or
    /// else where the scan ended.
    fn finish(mut self, floor: i64, from: i64) -> (Vec<OpenedEntry>, Option<i64>) {
        let size = self.filter.page_size;
        // Below the floor not every reader's entries were read.
        let found = self.found.split_off(&floor);
        let count = found.len();
        let mut page: Vec<(i64, OpenedEntry)> = Vec::new();
        let mut leaves = 0;
        for (index, opened) in found.into_iter().rev().take(size) {
            let part = opened.part_of(self.scope);
            leaves += part.map_or(0, |part| part.leaf_count(self.filter.records()));
            // A single exchange is always returned, whatever it is about.
            if leaves > MAX_LISTED_LEAVES && !page.is_empty() {
                break;
            }
            page.push((index, opened));
        }
        let is_cut = count > page.len();
        let next =
            if is_cut { page.last().map(|(last, _)| *last) } else { Some(floor).filter(|at| *at > from) };
        (page.into_iter().map(|(_, opened)| opened).collect(), next)
    }
}

/// Keeps those of the organisations that are or were a party to a placement. To the others it is as one that does not
/// exist, however many entries there are about it.
async fn retain_parties<'a>(
    snapshot: &mut Snapshot,
    scope: Vec<&'a OrganisationId>,
    placement: Uuid,
) -> Result<Vec<&'a OrganisationId>, StoreError> {
    let sql = "SELECT 1 FROM placement_parties WHERE organisation = $1 AND placement = $2 LIMIT 1";
    let mut parties = Vec::new();
    for organisation in scope {
        let arguments = vec![organisation.as_str().into(), placement.into()];
        if snapshot.fetch_one(sql, arguments).await?.is_some() {
            parties.push(organisation);
        }
    }
    Ok(parties)
}

/// Returns the number of entries of the log.
pub async fn log_size(snapshot: &mut Snapshot) -> Result<i64, StoreError> {
    let row = snapshot.fetch_one("SELECT COALESCE(MAX(idx) + 1, 0) AS size FROM entries", vec![]).await?;
    row.map_or(Ok(0), |row| row.get("size"))
}

/// Returns the index of the first entry at or after an instant. Time never decreases in the log, and all entries of a
/// group have the same time, so the index is the size of the last tree that was signed before the instant.
pub async fn first_not_before(
    snapshot: &mut Snapshot,
    at: Option<Instant>,
) -> Result<Option<i64>, StoreError> {
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

/// Builds a query for entries that match the filters that are columns. ORDER BY names the table that is scanned, because
/// with another one SQLite would read and sort all rows of the scan.
macro_rules! walk {
    ($along:literal, $rows:literal) => {
        concat!(
            "SELECT e.idx, e.bytes, e.openings FROM ",
            $rows,
            " AND e.idx >= $2 AND e.idx < $3 AND ($4 IS NULL OR e.system = $4) \
             AND ($5 IS NULL OR e.method = $5) AND ($6 IS NULL OR e.outcome = $6) ORDER BY ",
            $along,
            ".idx DESC LIMIT $7"
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
/// Query for the entries in which the organisation is a party. The first of its rows of an entry has the ordinal 0.
const SELECT_AS_PARTY: &str = walk!(
    "a",
    "parties a JOIN entries e ON e.idx = a.idx WHERE a.organisation = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND a.ordinal = 0"
);

/// Query for the entries about a placement that concern the organisation. Only they count towards the limit, so that a
/// page tells nothing of the others. `parties` is probed for each row: for an EXISTS, PostgreSQL would read all rows of
/// the organisation.
pub const SELECT_OF_PLACEMENT: &str = walk!(
    "a",
    "placement_entries a JOIN entries e ON e.idx = a.idx WHERE a.placement = $1 AND a.idx >= $2 AND a.idx < $3 \
     AND (e.caller = $8 OR (SELECT 1 FROM parties p WHERE p.organisation = $8 AND p.idx = a.idx LIMIT 1) = 1)"
);

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
    // Filters of the reader's own part are no columns, so the caller filters all entries of the scan.
    let most = if filter.is_about_parts() { MAX_SCANNED_ROWS } else { row_limit(filter.page_size) };
    let arguments = |floor: i64| filter_arguments(organisation.as_str().into(), filter, floor, below, most);
    let mut found = snapshot.fetch(SELECT_AS_CALLER, arguments(floor)).await?;
    found.extend(snapshot.fetch(SELECT_AS_RECENT_CALLER, arguments(floor.max(unindexed_from))).await?);
    found.extend(snapshot.fetch(SELECT_AS_PARTY, arguments(floor)).await?);
    Ok(found)
}

fn filter_arguments(key: Value, filter: &ExchangeFilter, floor: i64, below: i64, limit: i64) -> Vec<Value> {
    vec![
        key,
        floor.into(),
        below.into(),
        filter.system.clone().into(),
        filter.method.clone().into(),
        filter.outcome.map(|outcome| outcome as i32).into(),
        limit.into(),
    ]
}

fn row_limit(page_size: usize) -> i64 {
    i64::try_from(page_size).unwrap_or(MAX_SCANNED_ROWS).saturating_add(1)
}
