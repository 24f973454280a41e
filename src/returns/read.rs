//! `GetAttendance`, and the content of a delivered return or withdrawal.

use uuid::Uuid;

use super::parts;
use super::rates::AttendanceCount;
use super::register_statements::{self, StatementKind};
use super::rows::{self, MarkRow};
use super::view::ReaderView;
use super::void;
use crate::calendar::{Date, Period};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Decided, LeafInput, PageTokens, Permit, PolicyFacts, Reason, RecordRef, Refusal,
    RequestContext,
};
use crate::placements::parties::Access;
use crate::placements::{self, Placement};
use crate::proto::v1::{
    ChildAttendance, GetAttendanceRequest, GetAttendanceResponse, LeafRole, MarkHistory, RecordKind,
    StoredMark,
};
use crate::register::terms;
use crate::seal::ChildKey;
use crate::store::{EntryIndex, StoreError};
use crate::violation_reason::ViolationReason;
use prost::Message;

/// Maximum number of days in a request: a year and a day, so that one response has the rates of a school year.
const MAX_DAYS: usize = 367;
/// Maximum number of earlier revisions that are shown per mark.
const MAX_EARLIER_REVISIONS: usize = 50;

/// The content of a delivered return, or of its withdrawal, for one recipient.
pub struct DeliveredReturn {
    /// The marks by child.
    pub children: Vec<DeliveredMarks>,
    /// Whether the provider declared that there was nothing to send.
    pub nil: bool,
    /// The return that was withdrawn; None if marks were sent.
    pub voided: Option<Uuid>,
    /// Number of the part of a return in parts; else 0.
    pub part: i64,
    /// Whether this is a part other than the last.
    pub incomplete: bool,
}

/// The delivered marks of one child.
pub struct DeliveredMarks {
    /// The child's placement.
    pub placement: Uuid,
    /// The sender. The leaf is salted with the sender's key of the child.
    pub sender: OrganisationId,
    /// The child.
    pub child: Uuid,
    /// The marks.
    pub attendance: ChildAttendance,
}

/// Handles `GetAttendance`: returns a placement's marks in a range of days, each with its earlier revisions.
pub async fn get_attendance(
    mut cx: RequestContext,
    m: GetAttendanceRequest,
) -> Result<Decided<GetAttendanceResponse>, Refusal> {
    let AttendanceQuery { id, days, page_size, pages } = parse_request(&cx, &m)?;
    let (placement, permit) = load_permitted(&mut cx, id).await?;
    let key = placements::children::load_required_key(&mut cx, &placement.provider, placement.child).await?;
    let (reader, today) = (cx.caller.organisation.clone(), cx.today);
    let calendar = terms::load_calendar(&mut cx.snapshot, &placement.provider).await?;
    let view = |day| ReaderView::today(&placement, &reader, day, &calendar, today);
    let mut count = m.page_token.is_empty().then(AttendanceCount::default);
    // Marks exist between the start and today, also after the end, because the end may have been set later.
    let marked = placement.start_date.and_then(|start| Period::new(start, today)?.intersect(days));
    let (mut marks, mut next) = (Vec::new(), None);
    for day in marked.into_iter().flat_map(Period::days) {
        if marks.len() >= page_size {
            next = next.or(Some(day));
            // The first page has the summary of the whole range, so it continues to read.
            if count.is_none() {
                break;
            }
        }
        // A party that joined or left the placement reads only the days of its own time.
        let of_day = if placements::can_read_on(&placement, &reader, day) {
            rows::list_current_of_day(&mut cx.snapshot, &placement, day).await?
        } else {
            Vec::new()
        };
        if let Some(count) = &mut count {
            count.add(&of_day)?;
        }
        if next.is_none() {
            for mark in of_day {
                marks.push(mark_history(&mut cx, &view(mark.date), &key, mark, MAX_EARLIER_REVISIONS).await?);
            }
        }
    }
    let summary = count.map(|count| count.summary());
    if let Some(marked) = marked {
        add_confirmations(&mut cx, view, placement.id, marked, &mut marks).await?;
    }
    let return_id = |history: &MarkHistory| Uuid::parse_str(&history.mark.as_ref()?.return_id).ok();
    let incomplete =
        parts::list_incomplete(&mut cx.snapshot, &placement.provider, marks.iter().filter_map(return_id));
    let incomplete = incomplete.await?;
    for history in &mut marks {
        history.return_incomplete = return_id(history).is_some_and(|id| incomplete.contains(&id));
    }
    let next_page_token = match next {
        Some(next) => pages.seal(&cx, next.to_string().as_bytes())?,
        None => String::new(),
    };
    let reply = GetAttendanceResponse { marks, next_page_token, summary, receipt: None };
    let (record, sender) = (RecordRef::unversioned(RecordKind::Attendance, id), &placement.provider);
    let encoded = reply.encode_to_vec();
    let part = LeafInput { placement: id, role: LeafRole::Read, record, sender, key: &key, reply: &encoded };
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let change = change.append_child::<MarkRow>(&part, &[]);
    let change = if placement.provider == cx.caller.organisation {
        change
    } else {
        change.add_counterpart(&placement.provider)
    };
    Ok(change.with_reply(&reply))
}

/// A request that passed the checks of its format.
struct AttendanceQuery {
    id: Uuid,
    days: Period,
    page_size: usize,
    pages: PageTokens,
}

/// Parses the request; reports every fault.
fn parse_request(cx: &RequestContext, m: &GetAttendanceRequest) -> Result<AttendanceQuery, Refusal> {
    let mut check = Check::new();
    let id = check.uuid("placement_id", &m.placement_id);
    let days = check.query_period(&m.from_date, &m.to_date, MAX_DAYS, cx.today);
    let page_size = check.page_size("page_size", m.page_size, 1_000, 1_000).unwrap_or(1_000);
    let query = GetAttendanceRequest { page_token: String::new(), page_size: 0, ..m.clone() };
    let pages = PageTokens::for_query(cx, &query);
    let mut left = days;
    if !m.page_token.is_empty() {
        let opened = pages.open(cx, &m.page_token).and_then(|day| String::from_utf8(day).ok());
        let begin = opened.and_then(|day| Date::parse(&day).ok());
        if begin.is_none() {
            check.add_violation("page_token", ViolationReason::PageTokenInvalid);
        }
        left = begin.zip(days).and_then(|(begin, days)| Period::new(begin, days.last()));
    }
    check.finish()?;
    let (Some(id), Some(days)) = (id, left) else {
        return Err(Reason::Malformed.into());
    };
    Ok(AttendanceQuery { id, days, page_size: page_size as usize, pages })
}

/// Loads the placement and obtains the permit to read its attendance.
async fn load_permitted(cx: &mut RequestContext, id: Uuid) -> Result<(Placement, Permit), Refusal> {
    let found = placements::by_id_for_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => {
            let part = placement.reading_role_on_any_day(&cx.caller.organisation);
            PolicyFacts { status: placement.role_status(), ..PolicyFacts::for_role(part) }
        }
        None => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts)?;
    Ok((found.ok_or(Reason::NotFound)?, permit))
}

/// Adds to each mark the confirmations of its session.
async fn add_confirmations<'a>(
    cx: &mut RequestContext,
    view: impl Fn(Date) -> ReaderView<'a>,
    placement: Uuid,
    days: Period,
    marks: &mut [MarkHistory],
) -> Result<(), Refusal> {
    let kind = StatementKind::Confirmed;
    for row in register_statements::list_for_placement(&mut cx.snapshot, kind, placement, days).await? {
        let confirmation = row.to_stored_confirmation(cx, &view(row.date)).await?;
        let same = |mark: &StoredMark| mark.date == confirmation.date && mark.session == confirmation.session;
        if let Some(history) = marks.iter_mut().find(|history| history.mark.as_ref().is_some_and(same)) {
            history.confirmations.push(confirmation);
        }
    }
    Ok(())
}

/// Loads the content of the return or withdrawal at an index for a recipient: only the marks that are for this
/// recipient, and each corrected mark with its previous revision.
///
/// # Errors
/// [`Reason::Failed`] if stored data cannot be decrypted.
pub async fn load_return_content(
    cx: &mut RequestContext,
    index: EntryIndex,
    recipient: &OrganisationId,
) -> Result<DeliveredReturn, Refusal> {
    let sql = "SELECT is_nil, part, is_last FROM returns WHERE idx = $1";
    let (nil, part, last) = match cx.snapshot.fetch_one(sql, vec![index.into()]).await? {
        Some(row) => (row.get("is_nil")?, row.get("part")?, row.get("is_last")?),
        None => (false, 0, true),
    };
    let mut children: Vec<(Placement, ChildKey, DeliveredMarks)> = Vec::new();
    for mark in cx.snapshot.written_at::<MarkRow>(index).await? {
        if !children.iter().any(|(placement, ..)| placement.id == mark.placement) {
            let Some(found) = placements::by_id(&mut cx.snapshot, mark.placement).await? else {
                continue;
            };
            let Some(key) = placements::children::load_key(cx, &mark.sender, mark.child).await? else {
                continue;
            };
            // A former party must not get a record of the child that was made after its time.
            let child = match placements::granted_access(&found, recipient) {
                Some(Access::Full | Access::Outline) => {
                    placements::children::load_identity_as_of(cx, &found, index).await?
                }
                Some(Access::Former(_)) | None => None,
            };
            let placement_id = found.id.hyphenated().to_string();
            let attendance = ChildAttendance { placement_id, child, marks: Vec::new() };
            let (placement, sender, child) = (found.id, mark.sender.clone(), mark.child);
            children.push((found, key, DeliveredMarks { placement, sender, child, attendance }));
        }
        let of_placement = children.iter_mut().find(|(placement, ..)| placement.id == mark.placement);
        if let Some((placement, key, returned)) = of_placement {
            if !placement.recipients_on([mark.date], &placement.provider).contains(recipient) {
                continue;
            }
            let view = ReaderView::for_delivery(placement, recipient, mark.date);
            let history = mark_history(cx, &view, key, mark, 1).await?;
            returned.attendance.marks.push(history);
        }
    }
    let children = children.into_iter().map(|(_, _, returned)| returned);
    let children = children.filter(|returned| !returned.attendance.marks.is_empty()).collect();
    let voided = void::voided_at(&mut cx.snapshot, index).await?;
    let (voided, part) = voided.map_or((None, part), |(id, part)| (Some(id), part));
    Ok(DeliveredReturn { children, nil, voided, part, incomplete: !last })
}

/// Loads a mark's earlier revisions, the newest first, at most `most` of them.
async fn mark_history(
    cx: &mut RequestContext,
    view: &ReaderView<'_>,
    key: &ChildKey,
    mark: MarkRow,
    most: usize,
) -> Result<MarkHistory, Refusal> {
    let mut history = MarkHistory { mark: Some(view.to_stored_mark(key, &mark)?), ..MarkHistory::default() };
    let mut prior = mark.prior();
    while let Some(position) = prior.filter(|_| history.earlier.len() < most) {
        let earlier = rows::load_revision(&mut cx.snapshot, position).await?;
        let earlier =
            earlier.ok_or(StoreError::Inconsistent("a mark names an earlier revision that is not stored"))?;
        history.earlier.push(view.to_stored_mark(key, &earlier)?);
        prior = earlier.prior();
    }
    Ok(history)
}
