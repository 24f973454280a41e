//! Single entries of the log: decoding of rows, and look-up by exchange.

use prost::Message;
use uuid::Uuid;

use super::reader_part::OpenedEntry;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{AuditEntry, EntryOpenings};
use crate::store::{Row, Snapshot, StoreError};

/// Reads the entry of a row with its bytes.
pub fn decode_entry(row: &Row) -> Result<AuditEntry, StoreError> {
    let entry = AuditEntry::decode(row.get_bytes("bytes")?);
    entry.map_err(|_| StoreError::Inconsistent("an entry of the log cannot be decoded"))
}

/// Reads a row of index, bytes and openings.
pub fn open_entry(row: &Row) -> Result<OpenedEntry, StoreError> {
    let entry = decode_entry(row)?;
    let openings = EntryOpenings::decode(row.get_bytes("openings")?);
    let openings = openings.map_err(|_| StoreError::corrupt("entries", "openings"))?;
    Ok(OpenedEntry { index: row.get::<i64>("idx")?.unsigned_abs(), entry, openings })
}

/// Returns the entry of an exchange, if it concerns one of these organisations.
pub async fn by_exchange(
    snapshot: &mut Snapshot,
    scope: &[OrganisationId],
    exchange: Uuid,
) -> Result<Option<OpenedEntry>, StoreError> {
    // The first query uses the index alone, and an exchange that does not exist runs the same second query. So the time
    // of a refusal does not reveal whether the exchange exists.
    let sql = "SELECT idx FROM entries WHERE exchange = $1";
    let found = snapshot.fetch_one(sql, vec![exchange.into()]).await?;
    let index = found.map_or(Ok(u64::MAX), |row| row.get("idx").map(i64::unsigned_abs))?;
    if !is_in_scope(snapshot, scope, index).await? {
        return Ok(None);
    }
    let sql = "SELECT idx, bytes, openings FROM entries WHERE exchange = $1";
    let row = snapshot.fetch_one(sql, vec![exchange.into()]).await?;
    row.as_ref().map(open_entry).transpose()
}

/// Returns the entry of any exchange, with its index and without what is kept beside it.
pub async fn entry_of_any(
    snapshot: &mut Snapshot,
    exchange: Uuid,
) -> Result<Option<(u64, AuditEntry)>, StoreError> {
    let sql = "SELECT idx, bytes FROM entries WHERE exchange = $1";
    let Some(row) = snapshot.fetch_one(sql, vec![exchange.into()]).await? else { return Ok(None) };
    Ok(Some((row.get::<i64>("idx")?.unsigned_abs(), decode_entry(&row)?)))
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
