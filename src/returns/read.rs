//! Attendance read back: by a placement's parties, and by recipients as what a return brought them.

use uuid::Uuid;

use super::parts;
use super::rates::Count;
use super::rows::{self, MarkRow};
use super::statements::{self, Stated};
use super::view::View;
use super::void;
use crate::calendar::{Date, Period};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    Action, ChildPart, Cx, Decided, Facts, LeafRole, Pages, Part, Permit, Reason, Refusal,
};
use crate::placements::parties::Access;
use crate::placements::{self, Placement};
use crate::proto::v1::{
    ChildAttendance, GetAttendanceRequest, GetAttendanceResponse, MarkHistory, StoredMark,
};
use crate::register::terms;
use crate::seal::ChildKey;
use crate::store::StoreError;
use prost::Message;

/// Days of one request: a year and a day, so that the rates of a school year come in one answer.
const MAX_DAYS: usize = 367;
/// Earlier revisions that are shown.
const EARLIER: usize = 50;

/// What a return, or its withdrawal, brought a recipient.
pub struct Returned {
    /// By child.
    pub children: Vec<ReturnedChild>,
    /// It declared that there was nothing to send.
    pub nil: bool,
    /// The return that was withdrawn.
    pub voided: Option<Uuid>,
    /// Of a return in parts, which; else 0.
    pub part: i64,
    /// It is a part, and not the last.
    pub incomplete: bool,
}

/// What a return brought a recipient about one child.
pub struct ReturnedChild {
    /// The child's placement.
    pub placement: Uuid,
    /// Who sent it, whose key of the child its leaf is salted with.
    pub sender: OrganisationId,
    /// The child.
    pub child: Uuid,
    /// The marks.
    pub attendance: ChildAttendance,
}

/// The marks of a placement from one day to another, each with what it was before.
pub async fn get_attendance(
    mut cx: Cx,
    m: GetAttendanceRequest,
) -> Result<Decided<GetAttendanceResponse>, Refusal> {
    let Asked { id, days, page_size, pages } = asked(&cx, &m)?;
    let (placement, permit) = permitted(&mut cx, id).await?;
    let key = placements::children::required_key(&mut cx, &placement.provider, placement.child).await?;
    let (reader, today) = (cx.caller.organisation.clone(), cx.today);
    let calendar = terms::calendar(&mut cx.snapshot, &placement.provider).await?;
    let view = |day| View::today(&placement, &reader, day, &calendar, today);
    let mut count = m.page_token.is_empty().then(Count::default);
    // Marks stand between the start and today, also after an end that was set later.
    let marked = placement.start.and_then(|start| Period::new(start, today)?.intersect(days));
    let (mut marks, mut next) = (Vec::new(), None);
    for day in marked.into_iter().flat_map(Period::days) {
        if marks.len() >= page_size {
            next = next.or(Some(day));
            // The first page counts the whole range.
            if count.is_none() {
                break;
            }
        }
        // The days of another party's time in the placement are not the reader's.
        let of_day = if placements::readable_on(&placement, &reader, day) {
            rows::of_day(&mut cx.snapshot, &placement, day).await?
        } else {
            Vec::new()
        };
        if let Some(count) = &mut count {
            count.add(&of_day);
        }
        if next.is_none() {
            for mark in of_day {
                marks.push(history(&mut cx, &view(mark.date), &key, mark, EARLIER).await?);
            }
        }
    }
    let summary = count.map(|count| count.summary());
    if let Some(marked) = marked {
        confirmed(&mut cx, view, placement.id, marked, &mut marks).await?;
    }
    let return_id = |history: &MarkHistory| Uuid::parse_str(&history.mark.as_ref()?.return_id).ok();
    let incomplete =
        parts::incomplete(&mut cx.snapshot, &placement.provider, marks.iter().filter_map(return_id));
    let incomplete = incomplete.await?;
    for history in &mut marks {
        history.return_incomplete = return_id(history).is_some_and(|id| incomplete.contains(&id));
    }
    let next_page_token = match next {
        Some(next) => pages.seal(&cx, next.to_string().as_bytes())?,
        None => String::new(),
    };
    let reply = GetAttendanceResponse { marks, next_page_token, summary, receipt: None };
    let part = ChildPart { placement: id, role: LeafRole::Read, key: &key, reply: &reply.encode_to_vec() };
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let change = change.child::<MarkRow>(&part, &[]);
    let change = if placement.provider == cx.caller.organisation {
        change
    } else {
        change.counterpart(&placement.provider)
    };
    Ok(change.reply(&reply))
}

/// A request whose shape holds.
struct Asked {
    id: Uuid,
    days: Period,
    page_size: usize,
    pages: Pages,
}

fn asked(cx: &Cx, m: &GetAttendanceRequest) -> Result<Asked, Refusal> {
    let mut check = Check::new();
    let id = check.uuid("placement_id", &m.placement_id);
    let days = check.query_period(&m.from_date, &m.to_date, MAX_DAYS, cx.today);
    let page_size = check.page_size("page_size", m.page_size, 1_000, 1_000).unwrap_or(1_000);
    let query = GetAttendanceRequest { page_token: String::new(), page_size: 0, ..m.clone() };
    let pages = Pages::of(cx, "GetAttendance", &query);
    let mut left = days;
    if !m.page_token.is_empty() {
        let opened = pages.open(cx, &m.page_token).and_then(|day| String::from_utf8(day).ok());
        let begin = opened.and_then(|day| Date::parse(&day).ok());
        if begin.is_none() {
            check.fault("page_token", "PAGE_TOKEN_INVALID");
        }
        left = begin.zip(days).and_then(|(begin, days)| Period::new(begin, days.last()));
    }
    check.finish()?;
    let (Some(id), Some(days)) = (id, left) else {
        return Err(Reason::Malformed.into());
    };
    Ok(Asked { id, days, page_size: page_size as usize, pages })
}

/// The placement, and leave to read its attendance.
async fn permitted(cx: &mut Cx, id: Uuid) -> Result<(Placement, Permit), Refusal> {
    let found = placements::of_party(&mut cx.snapshot, id, &cx.caller.organisation).await?;
    let facts = match &found {
        Some(placement) => {
            let part = placement.reader_of_any_day(&cx.caller.organisation);
            Facts { standing: placement.standing(), ..Facts::own(part) }
        }
        None => Facts::own(Part::None),
    };
    let permit = cx.permit(Action::GetAttendance, &facts)?;
    Ok((found.ok_or(Reason::NotFound)?, permit))
}

/// Puts beside each mark what registers hold for its session.
async fn confirmed<'a>(
    cx: &mut Cx,
    view: impl Fn(Date) -> View<'a>,
    placement: Uuid,
    days: Period,
    marks: &mut [MarkHistory],
) -> Result<(), Refusal> {
    let stated = Stated::Confirmed;
    for row in statements::of_placement(&mut cx.snapshot, stated, placement, days).await? {
        let confirmation = row.confirmation(cx, &view(row.date)).await?;
        let of = |mark: &StoredMark| mark.date == confirmation.date && mark.session == confirmation.session;
        if let Some(beside) = marks.iter_mut().find(|history| history.mark.as_ref().is_some_and(of)) {
            beside.confirmations.push(confirmation);
        }
    }
    Ok(())
}

/// What the return or withdrawal at an entry brought a recipient: its own children only, a corrected mark with
/// what it was before.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub async fn content(cx: &mut Cx, index: i64, recipient: &OrganisationId) -> Result<Returned, Refusal> {
    let sql = "SELECT nil, part, last FROM returns WHERE idx = $1";
    let (nil, part, last) = match cx.snapshot.fetch_one(sql, vec![index.into()]).await? {
        Some(row) => (row.int(0)? != 0, row.int(1)?, row.int(2)? != 0),
        None => (false, 0, true),
    };
    let sql = rows::select!("WHERE m.idx = $1 ORDER BY m.ordinal");
    let mut children: Vec<(Placement, ChildKey, ReturnedChild)> = Vec::new();
    for row in cx.snapshot.fetch(sql, vec![index.into()]).await? {
        let (mark, ..) = rows::read(&row)?;
        if !children.iter().any(|(placement, ..)| placement.id == mark.placement) {
            let Some(found) = placements::by_id(&mut cx.snapshot, mark.placement).await? else {
                continue;
            };
            let Some(key) = placements::children::key(cx, &mark.sender, mark.child).await? else {
                continue;
            };
            // A former party is given no record of the child that was made after its time.
            let child = match placements::access(&found, recipient) {
                Some(Access::Whole | Access::Outline) => {
                    placements::children::identity_at(cx, &found, index).await?
                }
                Some(Access::Former(_)) | None => None,
            };
            let placement_id = found.id.hyphenated().to_string();
            let attendance = ChildAttendance { placement_id, child, marks: Vec::new() };
            let (placement, sender, child) = (found.id, mark.sender.clone(), mark.child);
            children.push((found, key, ReturnedChild { placement, sender, child, attendance }));
        }
        let of = children.iter_mut().find(|(placement, ..)| placement.id == mark.placement);
        if let Some((placement, key, returned)) = of {
            if !placement.recipients_on([mark.date], &placement.provider).contains(recipient) {
                continue;
            }
            let view = View::delivered(placement, recipient, mark.date);
            let history = history(cx, &view, key, mark, 1).await?;
            returned.attendance.marks.push(history);
        }
    }
    let children = children.into_iter().map(|(_, _, returned)| returned);
    let children = children.filter(|returned| !returned.attendance.marks.is_empty()).collect();
    let voided = void::voided_at(&mut cx.snapshot, index).await?;
    let (voided, part) = voided.map_or((None, part), |(id, part)| (Some(id), part));
    Ok(Returned { children, nil, voided, part, incomplete: !last })
}

/// A mark with its earlier revisions, the newest first.
async fn history(
    cx: &mut Cx,
    view: &View<'_>,
    key: &ChildKey,
    mark: MarkRow,
    most: usize,
) -> Result<MarkHistory, Refusal> {
    let mut history = MarkHistory { mark: Some(view.mark(key, &mark)?), ..MarkHistory::default() };
    let mut prior = mark.prior;
    while let Some((idx, ordinal)) = prior.filter(|_| history.earlier.len() < most) {
        let sql = rows::select!("WHERE m.idx = $1 AND m.ordinal = $2");
        let row = cx.snapshot.fetch_one(sql, vec![idx.into(), ordinal.into()]).await?;
        let row =
            row.ok_or(StoreError::Inconsistent("a mark names an earlier revision that is not stored"))?;
        let (earlier, ..) = rows::read(&row)?;
        history.earlier.push(view.mark(key, &earlier)?);
        prior = earlier.prior;
    }
    Ok(history)
}
