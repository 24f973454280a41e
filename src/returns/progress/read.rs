//! `GetProgress`, and what a progress return brought a recipient.

use prost::Message;
use uuid::Uuid;

use super::rows::{self, ProgressRow};
use super::{rules, wire};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::policy::verdict;
use crate::exchange::{Action, ChildPart, Cx, Decided, Facts, LeafRole, Pages, Part, Reason, Refusal};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{GetProgressRequest, GetProgressResponse, ProgressRecord};
use crate::seal::ChildKey;

/// Bytes of one answer; a larger record is an answer alone.
const BYTES: usize = 1 << 20;
/// Rows that are read at once.
const STEP: i64 = 100;

/// Gives a placement's progress returns.
pub(in crate::returns) async fn get_progress(
    mut cx: Cx,
    m: GetProgressRequest,
) -> Result<Decided<GetProgressResponse>, Refusal> {
    let (id, size) = wire::get(&m)?;
    let bare = GetProgressRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = Pages::of(&cx, "GetProgress", &bare);
    let caller = cx.caller.organisation.clone();
    let found = placements::of_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => {
            Facts { standing: placement.standing(), ..Facts::own(placement.reader_of_any_day(&caller)) }
        }
        None => Facts::own(Part::None),
    };
    let permit = cx.permit(Action::GetProgress, &facts)?;
    let placement = found.ok_or(Reason::NotFound)?;
    let after = pages.begin(&cx, &m.page_token, -1, Pages::number)?;
    let key = children::required_key(&mut cx, &placement.provider, placement.child).await?;
    let mut response = GetProgressResponse::default();
    let next;
    (response.records, next) =
        page(&mut cx, &placement, &key, (after, size as usize, m.with_earlier)).await?;
    if let Some(next) = next {
        response.next_page_token = pages.seal(&cx, &next.to_be_bytes())?;
    }
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: id, role: LeafRole::Read, key: &key, reply: &reply };
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let change = change.child::<ProgressRow>(&part, &[]);
    let change = if caller == placement.provider { change } else { change.counterpart(&placement.provider) };
    Ok(change.reply(&response))
}

/// Returns the records of a page from behind an index, and the index behind which the next page begins, if it holds a
/// record. Rows that the caller is not given count for nothing: a page that ended at one would lose what comes behind it,
/// and a token for one would tell that it is there.
async fn page(
    cx: &mut Cx,
    placement: &Placement,
    key: &ChildKey,
    (after, size, with_earlier): (i64, usize, bool),
) -> Result<(Vec<ProgressRecord>, Option<i64>), Refusal> {
    let sql = rows::select!("WHERE p.placement = $1 AND p.idx > $2 ORDER BY p.idx LIMIT $3");
    let caller = cx.caller.organisation.clone();
    let (mut records, mut seen, mut bytes) = (Vec::new(), after, 0);
    loop {
        let rows = cx.snapshot.fetch(sql, vec![placement.id.into(), seen.into(), STEP.into()]).await?;
        for row in &rows {
            let (row, index) = rows::read(row)?;
            let newest = with_earlier
                || cx.snapshot.version(&rows::key(placement.id, &row.period)).await? == row.revision;
            if newest && readable(&caller, placement, &row) {
                if records.len() == size || bytes >= BYTES {
                    return Ok((records, Some(seen)));
                }
                let record = record(key, &row, caller == placement.provider)?;
                bytes += record.encoded_len();
                records.push(record);
            }
            seen = index;
        }
        if i64::try_from(rows.len()).is_ok_and(|read| read < STEP) {
            return Ok((records, None));
        }
    }
}

/// What the progress return at an index brings the caller now: nothing once it may not read it any more. With
/// the key under which it was sealed.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub async fn content(cx: &mut Cx, index: i64) -> Result<Option<(Uuid, ChildKey, ProgressRecord)>, Refusal> {
    let row = cx.snapshot.fetch_one(rows::select!("WHERE p.idx = $1"), vec![index.into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let (row, _) = rows::read(&row)?;
    let placement = placements::by_id(&mut cx.snapshot, row.placement).await?;
    let Some(placement) = placement.filter(|placement| readable(&cx.caller.organisation, placement, &row))
    else {
        return Ok(None);
    };
    let Some(key) = children::key(cx, &row.sender, placement.child).await? else {
        return Ok(None);
    };
    let record = record(&key, &row, false)?;
    Ok(Some((placement.id, key, record)))
}

/// Reports whether an organisation may read a return: the parties of the last day of its period may.
fn readable(reader: &OrganisationId, placement: &Placement, row: &ProgressRow) -> bool {
    let part = Date::parse(&row.period.1).map_or(Part::None, |last| placement.reader_on(reader, last));
    verdict(Action::GetProgress, part, placement.standing(), false).is_ok()
}

fn record(key: &ChildKey, row: &ProgressRow, provider: bool) -> Result<ProgressRecord, Refusal> {
    Ok(ProgressRecord {
        placement_id: row.placement.hyphenated().to_string(),
        revision: u32::try_from(row.revision).unwrap_or(u32::MAX),
        received_time: Instant::from_micros(row.received).ok().map(Instant::to_proto),
        flags: rules::flags(row.flags, provider),
        ..rows::open(key, row)?
    })
}
