//! Which entries a caller may read: those that concern its own organisation, or, for an auditor, one that
//! appointed it and still does.

use prost::Message;
use uuid::Uuid;

use super::wire::Filter;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::Cx;
use crate::proto::v1::AuditEntry;
use crate::register::grants;
use crate::store::{Snapshot, StoreError};

/// Entries looked at for one page; a filter that matches little gives a short page and a token.
const LOOKED_AT: i64 = 2_000;

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
    let mut indexes: Vec<i64> = Vec::new();
    let scope = scope.iter().filter(|id| filter.organisation.as_ref().is_none_or(|wanted| wanted == *id));
    for organisation in scope {
        let sql = "SELECT DISTINCT p.idx FROM parties p WHERE p.organisation = $1 AND p.idx < $2 \
                   ORDER BY p.idx DESC LIMIT $3";
        let arguments = vec![organisation.as_str().into(), below.into(), LOOKED_AT.into()];
        for row in snapshot.fetch(sql, arguments).await? {
            indexes.push(row.int(0)?);
        }
    }
    indexes.sort_unstable_by(|one, other| other.cmp(one));
    indexes.dedup();
    indexes.truncate(usize::try_from(LOOKED_AT).unwrap_or(usize::MAX));
    let more = indexes.len() == usize::try_from(LOOKED_AT).unwrap_or(usize::MAX);
    let last = indexes.last().copied();
    let mut found = Vec::new();
    for index in indexes {
        if found.len() == filter.page_size {
            return Ok((found, Some(index + 1)));
        }
        let row = snapshot.fetch_one("SELECT bytes FROM entries WHERE idx = $1", vec![index.into()]).await?;
        let Some(row) = row else { continue };
        let entry = AuditEntry::decode(row.blob(0)?)
            .map_err(|_| StoreError::Inconsistent("an entry of the log is not one"))?;
        if matches(filter, &entry) && about(snapshot, filter.placement, index).await? {
            found.push(Found { index: index.unsigned_abs(), entry });
        }
    }
    Ok((found, last.filter(|_| more)))
}

/// An entry by its exchange, if it concerns one of these organisations.
pub async fn by_exchange(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    exchange: Uuid,
) -> Result<Option<Found>, StoreError> {
    let sql = "SELECT idx, bytes FROM entries WHERE exchange = $1";
    let Some(row) = snapshot.fetch_one(sql, vec![exchange.into()]).await? else {
        return Ok(None);
    };
    let index = row.int(0)?.unsigned_abs();
    if !concerns(snapshot, scope, index).await? {
        return Ok(None);
    }
    let entry = AuditEntry::decode(row.blob(1)?);
    let entry = entry.map_err(|_| StoreError::Inconsistent("an entry of the log is not one"))?;
    Ok(Some(Found { index, entry }))
}

/// Whether an entry concerns one of these organisations.
pub async fn concerns(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    index: u64,
) -> Result<bool, StoreError> {
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    for organisation in scope {
        let sql = "SELECT 1 FROM parties WHERE organisation = $1 AND idx = $2 LIMIT 1";
        let arguments = vec![organisation.as_str().into(), index.into()];
        if snapshot.fetch_one(sql, arguments).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn about(snapshot: &mut Snapshot, placement: Option<Uuid>, index: i64) -> Result<bool, StoreError> {
    let Some(placement) = placement else {
        return Ok(true);
    };
    let sql = "SELECT 1 FROM leaves WHERE placement = $1 AND idx = $2 LIMIT 1";
    Ok(snapshot.fetch_one(sql, vec![placement.into(), index.into()]).await?.is_some())
}

fn matches(filter: &Filter, entry: &AuditEntry) -> bool {
    let time = entry.time_us;
    let short = entry.method.rsplit('/').next().unwrap_or_default();
    let counterpart = |wanted: &OrganisationId| {
        entry.organisation == wanted.as_str() || entry.counterparts.iter().any(|id| id == wanted.as_str())
    };
    filter.system.as_ref().is_none_or(|wanted| *wanted == entry.system)
        && filter.counterpart.as_ref().is_none_or(counterpart)
        && filter.method.as_ref().is_none_or(|wanted| wanted == short)
        && filter.outcome.is_none_or(|wanted| wanted == entry.outcome())
        && filter.purpose.is_none_or(|wanted| wanted == entry.purpose())
        && filter.from.is_none_or(|from| from.micros() <= time)
        && filter.to.is_none_or(|to| time < to.micros())
}
