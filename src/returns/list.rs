//! `ListAttendance`: the attendance of a few days across the placements of an organisation. A placement is read under the
//! policy of `GetAttendance`, and its marks are cut as there.

use prost::Message;
use uuid::Uuid;

use super::rates::AttendanceCount;
use super::rows::{self, MarkRow};
use super::view::ReaderView;
use crate::calendar::{Date, Period};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Decided, LeafInput, PageTokens, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
};
use crate::placements::parties::Access;
use crate::placements::{self, Placement, by_ids_with_damaged};
use crate::proto::v1::{
    LeafRole, ListAttendanceRequest, ListAttendanceResponse, PlacementAttendance, RecordKind,
};
use crate::register::terms;
use crate::seal::ChildKey;

/// Maximum number of days in a request.
const MAX_DAYS: usize = 7;
/// Largest page, and the page if none is requested, in placements.
const PAGE_SIZES: (u32, u32) = (50, 100);
/// Number of placements that one query reads.
const PLACEMENTS_PER_QUERY: i64 = 100;

/// A request that passed the checks of its format.
struct Query {
    days: Period,
    page_size: usize,
    provider: Option<OrganisationId>,
}

/// Handles `ListAttendance`.
pub async fn list_attendance(
    mut cx: RequestContext,
    m: ListAttendanceRequest,
) -> Result<Decided<ListAttendanceResponse>, Refusal> {
    let query = parse_request(&cx, &m)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let bare = ListAttendanceRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = PageTokens::for_query(&cx, &bare);
    let after = pages.start_position(&cx, &m.page_token, Uuid::nil(), |id| Uuid::from_slice(id).ok())?;
    let mut page = Page { found: Vec::new(), last: after };
    let is_last = page.fill(&mut cx, &pages, &query).await?;
    let (mut change, mut response) = (cx.change(&permit), ListAttendanceResponse::default());
    if !is_last {
        response.next_page_token = pages.seal(&cx, page.last.as_bytes())?;
    }
    for FoundAttendance { placement, key, attendance } in page.found {
        let encoded = attendance.encode_to_vec();
        let record = RecordRef::unversioned(RecordKind::Attendance, placement.id);
        let (role, sender) = (LeafRole::Read, &placement.provider);
        let part = LeafInput { placement: placement.id, role, record, sender, key: &key, reply: &encoded };
        change = change.append_child::<MarkRow>(&part, &[]);
        if placement.provider != cx.caller.organisation {
            change = change.add_counterpart(&placement.provider);
        }
        response.placements.push(attendance);
    }
    Ok(change.with_reply(&response))
}

fn parse_request(cx: &RequestContext, m: &ListAttendanceRequest) -> Result<Query, Refusal> {
    let mut check = Check::new();
    let days = check.query_period(&m.from_date, &m.to_date, MAX_DAYS, cx.today);
    let page_size = check.page_size("page_size", m.page_size, PAGE_SIZES.0, PAGE_SIZES.1);
    let provider = check.optional_organisation("provider", &m.provider);
    check.finish()?;
    let (Some(days), Some(page_size)) = (days, page_size) else {
        return Err(Reason::Malformed.into());
    };
    Ok(Query { days, page_size: page_size as usize, provider })
}

/// Attendance at a placement, with the key of the child that salts its leaf.
struct FoundAttendance {
    placement: Placement,
    key: ChildKey,
    attendance: PlacementAttendance,
}

/// A page of the list, under construction.
struct Page {
    found: Vec<FoundAttendance>,
    /// The placement after which the next page begins.
    last: Uuid,
}

impl Page {
    /// Reads placements until the page is full or half of what a decision may read is spent; returns whether none is left.
    async fn fill(
        &mut self,
        cx: &mut RequestContext,
        pages: &PageTokens,
        query: &Query,
    ) -> Result<bool, Refusal> {
        let caller = cx.caller.organisation.clone();
        loop {
            let ids =
                placements::list_ids_for_party(&mut cx.snapshot, &caller, self.last, PLACEMENTS_PER_QUERY)
                    .await?;
            if ids.is_empty() {
                return Ok(true);
            }
            for placement in by_ids_with_damaged(&mut cx.snapshot, &ids).await? {
                if self.found.len() == query.page_size || cx.snapshot.budget().is_half_spent() {
                    return Ok(false);
                }
                let id =
                    placement.as_ref().map_or_else(|damaged| damaged.placement, |placement| placement.id);
                let added = match placement {
                    Ok(placement) => self.add(cx, query, placement).await,
                    Err(damaged) => Err(damaged.error.into()),
                };
                if let Err(refusal) = added {
                    let is_first = self.found.is_empty();
                    pages.end_before_damaged(cx, refusal, (is_first, id, id.as_bytes()))?;
                    return Ok(false);
                }
                self.last = id;
            }
        }
    }

    /// Adds a placement, if the caller may read its attendance on one of the days.
    async fn add(
        &mut self,
        cx: &mut RequestContext,
        query: &Query,
        placement: Placement,
    ) -> Result<(), Refusal> {
        let caller = cx.caller.organisation.clone();
        let is_wanted = query.provider.as_ref().is_none_or(|provider| *provider == placement.provider);
        let access = placements::granted_access(&placement, &caller).filter(|_| is_wanted);
        let marked =
            placement.start_date.and_then(|start| Period::new(start, cx.today)?.intersect(query.days));
        let may_read = |day: &Date| placements::can_read_on(&placement, &caller, *day);
        let days: Vec<Date> = marked.into_iter().flat_map(Period::days).filter(may_read).collect();
        let (Some(access), false) = (access, days.is_empty()) else {
            return Ok(());
        };
        let Some(key) = placements::children::load_key(cx, &placement.provider, placement.child).await?
        else {
            return Ok(());
        };
        cx.snapshot.record_read(placement.key(), placement.version);
        let mut attendance = read_marks(cx, &placement, &key, &days).await?;
        if access == Access::Full {
            attendance.provider_reference = placement.provider_reference.clone().unwrap_or_default();
        }
        self.found.push(FoundAttendance { placement, key, attendance });
        Ok(())
    }
}

/// Reads the marks of a placement on these days, as its reader may see them.
async fn read_marks(
    cx: &mut RequestContext,
    placement: &Placement,
    key: &ChildKey,
    days: &[Date],
) -> Result<PlacementAttendance, Refusal> {
    let (reader, today) = (cx.caller.organisation.clone(), cx.today);
    let calendar = terms::load_calendar(&mut cx.snapshot, &placement.provider).await?;
    let (mut marks, mut count) = (Vec::new(), AttendanceCount::default());
    for day in days {
        let of_day = rows::list_current_of_day(&mut cx.snapshot, placement, *day).await?;
        count.add(&of_day)?;
        let view = ReaderView::today(placement, &reader, *day, &calendar, today);
        for mark in &of_day {
            marks.push(view.to_stored_mark(key, mark)?);
        }
    }
    Ok(PlacementAttendance {
        placement_id: placement.id.hyphenated().to_string(),
        provider: placement.provider.to_string(),
        commissioner: placement.commissioner.to_string(),
        marks,
        summary: Some(count.summary()),
        ..PlacementAttendance::default()
    })
}
