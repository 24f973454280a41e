//! `ListDirectory`: who is registered, under which name, and whether it takes part at present.

use super::organisations::{self, OrganisationRow};
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::check::Check;
use crate::exchange::{CallerRole, Decided, PageTokens, PolicyFacts, Refusal, RequestContext};
use crate::proto::v1::{DirectoryEntry, ListDirectoryRequest, ListDirectoryResponse};
use crate::violation_reason::ViolationReason;

/// Maximum number of organisations that one request names.
const MAX_NAMED: usize = 1_000;

/// Lists organisations by id.
pub(super) async fn list(
    mut cx: RequestContext,
    m: ListDirectoryRequest,
) -> Result<Decided<ListDirectoryResponse>, Refusal> {
    let mut check = Check::new();
    let page_size = i64::from(check.page_size("page_size", m.page_size, 100, 1_000).unwrap_or(100));
    if !m.kind.is_empty() && OrganisationKind::parse(&m.kind).is_none() {
        check.add_violation("kind", ViolationReason::OrganisationKind);
    }
    let mut named = Vec::new();
    if check.list_len("organisations", m.organisations.len(), MAX_NAMED) {
        for (index, id) in m.organisations.iter().enumerate() {
            named.extend(check.enter("organisations").index(index).organisation("", id));
        }
    }
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let query = ListDirectoryRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = PageTokens::for_query(&cx, &query);
    let after =
        pages.start_position(&cx, &m.page_token, String::new(), |id| String::from_utf8(id.to_vec()).ok())?;
    let rows = if named.is_empty() {
        organisations::list_after(&mut cx.snapshot, (&after, &m.kind), page_size).await?
    } else {
        list_named(&mut cx, named, (&after, &m.kind), page_size).await?
    };
    let is_full = i64::try_from(rows.len()) == Ok(page_size);
    let next_page_token = match rows.last().filter(|_| is_full) {
        None => String::new(),
        Some(last) => pages.seal(&cx, last.organisation.as_str().as_bytes())?,
    };
    let organisations = rows.into_iter().map(entry).collect();
    Ok(cx.change(&permit).with_reply(&ListDirectoryResponse {
        organisations,
        next_page_token,
        receipt: None,
    }))
}

/// Lists those of the named organisations that are registered, after an id and of a kind.
async fn list_named(
    cx: &mut RequestContext,
    named: Vec<OrganisationId>,
    (after, kind): (&str, &str),
    page_size: i64,
) -> Result<Vec<OrganisationRow>, Refusal> {
    let is_listed =
        |id: &&OrganisationId| id.as_str() > after && (kind.is_empty() || id.kind().as_str() == kind);
    let keys: Vec<_> = named.iter().filter(is_listed).map(organisations::key).collect();
    let mut rows: Vec<OrganisationRow> = cx.snapshot.newest_by_keys(&keys).await?;
    rows.sort_unstable_by(|one, other| one.organisation.cmp(&other.organisation));
    rows.dedup_by(|one, other| one.organisation == other.organisation);
    rows.truncate(usize::try_from(page_size).unwrap_or(usize::MAX));
    Ok(rows)
}

fn entry(row: OrganisationRow) -> DirectoryEntry {
    DirectoryEntry {
        kind: row.organisation.kind().as_str().to_owned(),
        organisation: row.organisation.as_str().to_owned(),
        display_name: row.display_name,
        state: row.state.into(),
    }
}
