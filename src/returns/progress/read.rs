//! `GetProgress`, and the content of a delivered progress return.

use prost::Message;

use super::rows::{self, ProgressRow};
use super::wire;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    CallerRole, ContentSubject, Decided, DeliveredContent, DeliverySource, LeafInput, PageTokens,
    PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
};
use crate::placements::{self, Placement, children};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{GetProgressRequest, GetProgressResponse, LeafRole, ProgressRecord, RecordKind};
use crate::returns::GET_PROGRESS;
use crate::seal::ChildKey;
use crate::select;
use crate::store::{EntryIndex, read_located};

/// Soft limit in bytes of the records in a response: a page ends with the record that reaches it.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// Number of rows per query.
const ROWS_PER_QUERY: i64 = 100;

/// Handles `GetProgress`.
pub(in crate::returns) async fn get_progress(
    mut cx: RequestContext,
    m: GetProgressRequest,
) -> Result<Decided<GetProgressResponse>, Refusal> {
    let (id, size) = wire::parse_get_request(&m)?;
    let bare = GetProgressRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = PageTokens::for_query(&cx, &bare);
    let caller = cx.caller.organisation.clone();
    let found = placements::by_id_for_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => PolicyFacts {
            status: placement.role_status(),
            ..PolicyFacts::for_role(placement.reading_role_on_any_day(&caller))
        },
        None => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts)?;
    let placement = found.ok_or(Reason::NotFound)?;
    let after = pages.start_position(&cx, &m.page_token, EntryIndex::BEFORE_FIRST, |payload| {
        PageTokens::decode_number(payload).map(EntryIndex::new)
    })?;
    let key = children::load_required_key(&mut cx, &placement.provider, placement.child).await?;
    let mut response = GetProgressResponse::default();
    let next;
    (response.records, next) =
        load_page(&mut cx, &placement, &key, (after, size as usize, m.with_earlier)).await?;
    if let Some(next) = next {
        response.next_page_token = pages.seal(&cx, &next.to_be_bytes())?;
    }
    let reply = response.encode_to_vec();
    let (record, sender) = (RecordRef::unversioned(RecordKind::Progress, id), &placement.provider);
    let part = LeafInput { placement: id, role: LeafRole::Read, record, sender, key: &key, reply: &reply };
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let change = change.append_child::<ProgressRow>(&part, &[]);
    let change =
        if caller == placement.provider { change } else { change.add_counterpart(&placement.provider) };
    Ok(change.with_reply(&response))
}

/// Returns the records of a page after an index, and the index after which the next page begins, if that has a record.
/// Rows that the caller may not see do not end a page: the page would lose the records after them, and its token would
/// reveal that they exist.
async fn load_page(
    cx: &mut RequestContext,
    placement: &Placement,
    key: &ChildKey,
    (after, size, with_earlier): (EntryIndex, usize, bool),
) -> Result<(Vec<ProgressRecord>, Option<EntryIndex>), Refusal> {
    let sql = select!(ProgressRow, "WHERE p.placement = $1 AND p.idx > $2 ORDER BY p.idx LIMIT $3");
    let caller = cx.caller.organisation.clone();
    let (mut records, mut seen, mut bytes) = (Vec::new(), after, 0);
    loop {
        let rows =
            cx.snapshot.fetch(sql, vec![placement.id.into(), seen.into(), ROWS_PER_QUERY.into()]).await?;
        for row in &rows {
            let (position, row) = read_located::<ProgressRow>(row)?;
            let newest = with_earlier || cx.snapshot.current_version(&row.key()).await? == row.revision;
            if newest && is_readable(&caller, placement, &row) {
                if records.len() == size || bytes >= MAX_RESPONSE_BYTES {
                    return Ok((records, Some(seen)));
                }
                let record = progress_record(key, &row, caller == placement.provider)?;
                bytes += record.encoded_len();
                records.push(record);
            }
            seen = position.index;
        }
        if i64::try_from(rows.len()).is_ok_and(|read| read < ROWS_PER_QUERY) {
            return Ok((records, None));
        }
    }
}

/// Reads the content of a delivered progress return. Empty if the recipient may no longer read the return.
///
/// # Errors
/// [`Reason::Failed`] if stored data cannot be decrypted.
pub async fn progress_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let row = cx.snapshot.written_at::<ProgressRow>(source.index).await?.into_iter().next();
    let Some(row) = row else { return Ok(DeliveredContent::default()) };
    let placement = placements::by_id(&mut cx.snapshot, row.placement).await?;
    let Some(placement) = placement.filter(|placement| is_readable(&cx.caller.organisation, placement, &row))
    else {
        return Ok(DeliveredContent::default());
    };
    let Some(key) = children::load_key(cx, &row.sender, placement.child).await? else {
        return Ok(DeliveredContent::default());
    };
    let message = progress_record(&key, &row, false)?;
    let record = RecordRef::new(RecordKind::Progress, placement.id, row.revision);
    let subject = ContentSubject { placement: placement.id, sender: row.sender, key, record };
    Ok(DeliveredContent::about_child(message, Content::Progress, subject))
}

/// Returns whether an organisation may read a return: it must be a party on the last day of the return's period.
fn is_readable(reader: &OrganisationId, placement: &Placement, row: &ProgressRow) -> bool {
    let part = placement.reading_role_on(reader, row.to_date);
    GET_PROGRESS.verdict(part, placement.role_status(), false).is_ok()
}

/// Opens a row and completes its record with what the gateway adds.
fn progress_record(key: &ChildKey, row: &ProgressRow, provider: bool) -> Result<ProgressRecord, Refusal> {
    Ok(ProgressRecord {
        placement_id: row.placement.hyphenated().to_string(),
        revision: row.revision.to_u32(),
        received_time: Instant::from_micros(row.received).ok().map(Instant::to_proto),
        flags: row.flags.names(provider),
        ..rows::open_progress(key, row)?
    })
}
