//! `ListOrganisationStatus`: what goes to and comes from each organisation, for the operator. The metrics have no figures by
//! organisation, because their readers are not authenticated.

use std::collections::HashMap;

use crate::clock::Instant;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::check::Check;
use crate::exchange::{CallerRole, Decided, PageTokens, PolicyFacts, Refusal, RequestContext};
use crate::proto::v1::{ListOrganisationStatusRequest, ListOrganisationStatusResponse, OrganisationStatus};
use crate::register::organisations::{self, OrganisationRow};
use crate::store::{Snapshot, StoreError};
use crate::violation_reason::ViolationReason;

/// Number of organisations of a page, if the request has none.
const DEFAULT_PAGE_SIZE: u32 = 100;
/// Maximum number of them: each takes a few queries.
const MAX_PAGE_SIZE: u32 = 200;
/// Maximum number of waiting deliveries that are counted.
const MAX_COUNTED: i64 = 10_000;

/// Lists the status of each organisation.
pub(super) async fn list_organisation_status(
    mut cx: RequestContext,
    m: ListOrganisationStatusRequest,
) -> Result<Decided<ListOrganisationStatusResponse>, Refusal> {
    let mut check = Check::new();
    let page_size = check.page_size("page_size", m.page_size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE);
    let page_size = i64::from(page_size.unwrap_or(DEFAULT_PAGE_SIZE));
    let pages = PageTokens::for_query(&cx, &ListOrganisationStatusRequest::default());
    let after = if m.page_token.is_empty() { Some(Vec::new()) } else { pages.open(&cx, &m.page_token) };
    if after.is_none() {
        check.add_violation("page_token", ViolationReason::PageTokenInvalid);
    }
    check.finish()?;
    let is_operator = cx.caller.kind() == OrganisationKind::Operator;
    let role = if is_operator { CallerRole::Operator } else { CallerRole::NoRole };
    let permit = cx.permit(&PolicyFacts::for_role(role))?;
    let after = String::from_utf8(after.unwrap_or_default()).unwrap_or_default();
    let rows = organisations::list_after(&mut cx.snapshot, (&after, ""), page_size).await?;
    let is_full = i64::try_from(rows.len()) == Ok(page_size);
    let alerts = match rows.first().zip(rows.last()) {
        Some((first, last)) => open_alerts(&mut cx.snapshot, &first.organisation, &last.organisation).await?,
        None => HashMap::new(),
    };
    let indexed_to = cx.snapshot.indexed_up_to().await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let open_alerts = alerts.get(row.organisation.as_str()).copied().unwrap_or_default();
        let status = load(&mut cx.snapshot, row, indexed_to).await?;
        found.push(OrganisationStatus { open_alerts: count(open_alerts), ..status });
    }
    let last = rows.last().filter(|_| is_full);
    let next_page_token =
        last.map_or(Ok(String::new()), |last| pages.seal(&cx, last.organisation.as_str().as_bytes()))?;
    let reply = ListOrganisationStatusResponse { organisations: found, next_page_token, receipt: None };
    Ok(cx.change(&permit).with_reply(&reply))
}

/// Reads all but the alerts.
async fn load(
    snapshot: &mut Snapshot,
    row: &OrganisationRow,
    indexed_to: i64,
) -> Result<OrganisationStatus, StoreError> {
    let organisation = row.organisation.as_str();
    let sql = "SELECT e.time FROM callers c JOIN entries e ON e.idx = c.idx WHERE c.organisation = $1 \
               ORDER BY c.idx DESC LIMIT 1";
    let indexed = snapshot.fetch_one(sql, vec![organisation.into()]).await?;
    // The index by caller follows the log; the entries behind it are few.
    let sql = "SELECT time FROM entries WHERE caller = $1 AND idx >= $2 ORDER BY idx DESC LIMIT 1";
    let called = snapshot.fetch_one(sql, vec![organisation.into(), indexed_to.into()]).await?.or(indexed);
    let sql = "SELECT to_idx, to_ordinal, time FROM collections WHERE organisation = $1 \
               ORDER BY to_idx DESC, to_ordinal DESC LIMIT 1";
    let collected = snapshot.fetch_one(sql, vec![organisation.into()]).await?;
    let (index, ordinal): (i64, i64) = match &collected {
        Some(row) => (row.get("to_idx")?, row.get("to_ordinal")?),
        None => (-1, 0),
    };
    let sql = "SELECT COUNT(*) AS number, MIN(idx) AS oldest FROM (SELECT idx FROM parties WHERE organisation = $1 \
               AND kind > 0 AND (idx, ordinal) > ($2, $3) ORDER BY idx, ordinal LIMIT $4) AS waiting";
    let arguments = vec![organisation.into(), index.into(), ordinal.into(), MAX_COUNTED.into()];
    let waiting = snapshot.fetch_one(sql, arguments).await?;
    let (number, oldest): (i64, Option<i64>) = match &waiting {
        Some(row) => (row.get("number")?, row.get("oldest")?),
        None => (0, None),
    };
    let since = match oldest {
        Some(oldest) => {
            snapshot.fetch_one("SELECT time FROM entries WHERE idx = $1", vec![oldest.into()]).await?
        }
        None => None,
    };
    let time = |row: Option<&crate::store::Row>| -> Result<_, StoreError> {
        let micros: Option<i64> = row.map(|row| row.get("time")).transpose()?;
        Ok(micros.and_then(|micros| Instant::from_micros(micros).ok()).map(Instant::to_proto))
    };
    Ok(OrganisationStatus {
        organisation: row.organisation.to_string(),
        state: row.state as i32,
        last_call_time: time(called.as_ref())?,
        last_collection_time: time(collected.as_ref())?,
        waiting_deliveries: count(number),
        waiting_since_time: time(since.as_ref())?,
        open_alerts: 0,
    })
}

/// Counts the open alerts of which each organisation was told, of those between two ids.
async fn open_alerts(
    snapshot: &mut Snapshot,
    first: &OrganisationId,
    last: &OrganisationId,
) -> Result<HashMap<String, i64>, StoreError> {
    let sql = "SELECT p.organisation, COUNT(DISTINCT a.id) AS number FROM alerts a JOIN current_versions v \
               ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
               JOIN parties p ON p.object = a.id AND p.kind = 22 WHERE a.state = 1 \
               AND p.organisation BETWEEN $1 AND $2 GROUP BY p.organisation ORDER BY p.organisation";
    let rows = snapshot.fetch(sql, vec![first.as_str().into(), last.as_str().into()]).await?;
    rows.iter().map(|row| Ok((row.get("organisation")?, row.get("number")?))).collect()
}

fn count(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
