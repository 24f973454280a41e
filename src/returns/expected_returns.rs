//! `ListExpectedReturns`: lists the sessions for which a mark is due by the timetable of the plan in force, with the
//! state of each. A session without a mark at its cut-off is a missing return. That makes no statement about the child.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use uuid::Uuid;

use super::arrangement::{Arrangement, SessionEnd};
use super::cut_off::CutOffTimes;
use super::flags::MarkFlags;
use super::parts;
use super::register_statements::{self, StatementKind, StatementRow};
use super::rows::{self, MarkRow};
use super::rules::SessionSlot;
use super::view::{ReaderView, session_to_proto};
use super::void;
use crate::calendar::{Date, Period, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Decided, LeafInput, PageTokens, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
};
use crate::placements::{self, Placement, by_ids_with_damaged, children, plan, rows as placed};
use crate::proto::v1::{
    ExpectedReturn, LeafRole, ListExpectedReturnsRequest, ListExpectedReturnsResponse, Plan, RecordKind,
    ReturnState, Session,
};
use crate::register::terms;
use crate::seal::ChildKey;
use crate::store::version_key::VersionKey;
use crate::store::{DamagedRow, Revision, StoreError};
use crate::violation_reason::ViolationReason;

/// Maximum number of days in a request.
const MAX_DAYS: usize = 31;
/// Maximum number of placements examined for a page, so that a page may have fewer items than its size.
const MAX_PLACEMENTS_PER_PAGE: i64 = 500;

/// A session for which a mark is expected.
pub(super) struct ExpectedSession {
    pub date: Date,
    /// The session; None for an extra date of the plan without sessions, for which any mark of the day counts.
    pub slot: Option<SessionSlot>,
    /// When the mark is due.
    pub deadline: Instant,
    pub site: String,
    /// Whether the provider or the site is closed on the day.
    pub closed: bool,
}

/// Returns the expected sessions in a range: those of the weekly timetable on school days, and those of the plan's
/// extra dates on any day.
pub(super) fn expected_sessions(
    arrangement: &Arrangement,
    calendar: &SchoolCalendar,
    (days, times): (Period, &CutOffTimes),
) -> Vec<ExpectedSession> {
    let mut due = Vec::new();
    for date in days.days() {
        let extra = arrangement.extra_dates.contains(&date);
        if extra || calendar.is_term_day(date) {
            let weekday = date.days_since_monday();
            let mut of_day: Vec<_> =
                arrangement.sessions.iter().filter(|session| session.weekday == weekday).collect();
            of_day.sort_unstable_by_key(|session| session.slot);
            for session in &of_day {
                due.push(ExpectedSession {
                    date,
                    slot: Some(session.slot),
                    deadline: times.cut_off(date, (session.cut_off, session.end)),
                    site: session.site.clone(),
                    closed: calendar.is_closed(date, &session.site),
                });
            }
            if of_day.is_empty() && extra {
                due.push(ExpectedSession {
                    date,
                    slot: None,
                    deadline: times.cut_off(date, (None, SessionEnd::Day)),
                    site: String::new(),
                    closed: calendar.is_closed(date, ""),
                });
            }
        }
    }
    due
}

/// Returns the expected sessions by the plans in force, each on its days.
fn sessions_by_plans(
    placement: &Placement,
    plans: &[(Period, Plan)],
    (calendar, times): (&SchoolCalendar, &CutOffTimes),
) -> Vec<ExpectedSession> {
    let sessions = |(days, plan): &(Period, Plan)| {
        expected_sessions(&Arrangement::new(placement, Some(plan)), calendar, (*days, times))
    };
    plans.iter().flat_map(sessions).collect()
}

/// Handles `ListExpectedReturns`.
pub async fn list_expected_returns(
    mut cx: RequestContext,
    m: ListExpectedReturnsRequest,
) -> Result<Decided<ListExpectedReturnsResponse>, Refusal> {
    let query = parse_request(&cx, &m)?;
    let caller = cx.caller.organisation.clone();
    let only = match query.placement {
        Some(id) => Some(
            placements::by_id_for_party(&mut cx.snapshot, id, &caller)
                .await?
                .filter(|found| is_listed_for(found, &caller)),
        ),
        None => None,
    };
    let part = if matches!(only, Some(None)) { CallerRole::NoRole } else { CallerRole::Owner };
    let permit = cx.permit(&PolicyFacts::for_role(part))?;
    let (found, mut next) = match only.flatten() {
        Some(one) => (vec![Ok(one)], None),
        None => load_page(&mut cx, &caller, query.after).await?,
    };
    let (mut change, mut reply) = (cx.change(&permit), ListExpectedReturnsResponse::default());
    let (mut calendars, mut done, budget) = (HashMap::new(), None, cx.snapshot.budget());
    for found in found {
        // Marks with many corrections are expensive to read, so the page may end early; the rest is on the next page.
        if reply.returns.len() >= query.size || (done.is_some() && budget.is_half_spent()) {
            next = done;
            break;
        }
        let id = found.as_ref().map_or_else(|damaged| damaged.placement, |placement| placement.id);
        let read = match found {
            Ok(placement) => list_for_placement(&mut cx, placement, &query, &mut calendars).await,
            Err(damaged) => Err(damaged.error.into()),
        };
        match read {
            Ok(None) => {}
            Ok(Some((placement, key, returns))) => {
                let encoded: Vec<u8> = returns.iter().flat_map(Message::encode_to_vec).collect();
                let (id, sender) = (placement.id, &placement.provider);
                let (role, record) = (LeafRole::Read, RecordRef::unversioned(RecordKind::ExpectedReturn, id));
                let part = LeafInput { placement: id, role, record, sender, key: &key, reply: &encoded };
                change = change.append_child::<MarkRow>(&part, &[]).add_counterpart(&placement.provider);
                reply.returns.extend(returns);
            }
            Err(refusal) => {
                query.pages.end_before_damaged(&cx, refusal, (done.is_none(), id, id.as_bytes()))?;
                next = done;
                break;
            }
        }
        done = Some(id);
    }
    if let Some(next) = next {
        reply.next_page_token = query.pages.seal(&cx, next.as_bytes())?;
    }
    Ok(change.with_reply(&reply))
}

/// Loads a placement's expected returns in the requested states, and the key of its child. Returns None if the child
/// was erased.
async fn list_for_placement(
    cx: &mut RequestContext,
    placement: Placement,
    query: &Query,
    calendars: &mut HashMap<OrganisationId, SchoolCalendar>,
) -> Result<Option<(Placement, ChildKey, Vec<ExpectedReturn>)>, Refusal> {
    cx.snapshot.record_read(placement.key(), placement.version);
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let mut returns = load_expected_returns(cx, &placement, query, calendars).await?;
    returns.retain(|one| query.states.is_empty() || query.states.contains(&one.state));
    Ok(Some((placement, key, returns)))
}

/// A request that passed the checks of its format.
struct Query {
    days: Period,
    placement: Option<Uuid>,
    states: Vec<i32>,
    size: usize,
    after: Uuid,
    pages: PageTokens,
}

/// Parses the request; reports every fault.
fn parse_request(cx: &RequestContext, m: &ListExpectedReturnsRequest) -> Result<Query, Refusal> {
    let mut check = Check::new();
    let days = check.query_period(&m.from_date, &m.to_date, MAX_DAYS, cx.today);
    let placement = check.optional_uuid("placement_id", &m.placement_id);
    if check.list_len("states", m.states.len(), 10) {
        for (index, state) in m.states.iter().enumerate() {
            check.enter("states").index(index).enum_value::<ReturnState>("", *state);
        }
    }
    let size = check.page_size("page_size", m.page_size, 1_000, 1_000).unwrap_or(1_000);
    let query = ListExpectedReturnsRequest { page_token: String::new(), page_size: 0, ..m.clone() };
    let pages = PageTokens::for_query(cx, &query);
    let mut after = Some(Uuid::nil());
    if !m.page_token.is_empty() {
        after = pages.open(cx, &m.page_token).and_then(|id| Uuid::from_slice(&id).ok());
        if after.is_none() {
            check.add_violation("page_token", ViolationReason::PageTokenInvalid);
        }
    }
    check.finish()?;
    let (Some(days), Some(after)) = (days, after) else {
        return Err(Reason::Malformed.into());
    };
    let states = m.states.clone();
    Ok(Query { days, placement, states, size: size as usize, after, pages })
}

/// Returns whether the caller may list a placement's expected returns: it may read the placement's attendance.
fn is_listed_for(placement: &Placement, caller: &OrganisationId) -> bool {
    let part = placement.reading_role_on_any_day(caller);
    super::GET_ATTENDANCE.verdict(part, placement.role_status(), false).is_ok()
}

/// Loads the caller's placements after an id. Also returns the id after which to continue, if there may be more.
async fn load_page(
    cx: &mut RequestContext,
    caller: &OrganisationId,
    after: Uuid,
) -> Result<(Vec<Result<Placement, DamagedRow>>, Option<Uuid>), StoreError> {
    let ids = placed::list_ids_for_party(&mut cx.snapshot, caller, after, MAX_PLACEMENTS_PER_PAGE).await?;
    let full = i64::try_from(ids.len()).is_ok_and(|count| count == MAX_PLACEMENTS_PER_PAGE);
    let next = ids.last().copied().filter(|_| full);
    let mut found = by_ids_with_damaged(&mut cx.snapshot, &ids).await?;
    found.retain(|found| found.as_ref().map_or(true, |placement| is_listed_for(placement, caller)));
    Ok((found, next))
}

/// Loads the expected returns of a placement, with the state of each.
async fn load_expected_returns(
    cx: &mut RequestContext,
    placement: &Placement,
    query: &Query,
    calendars: &mut HashMap<OrganisationId, SchoolCalendar>,
) -> Result<Vec<ExpectedReturn>, Refusal> {
    let held =
        placement.start_date.and_then(|start| Period::new(start, placement.end_date.unwrap_or(Date::MAX)));
    let Some(days) = held.and_then(|held| held.intersect(query.days)) else {
        return Ok(Vec::new());
    };
    let plans = plan::list_in_force(cx, placement, days).await?;
    if !calendars.contains_key(&placement.provider) {
        let calendar = terms::load_calendar(&mut cx.snapshot, &placement.provider).await?;
        calendars.insert(placement.provider.clone(), calendar);
    }
    let times = cx.settings.get::<Arc<CutOffTimes>>().cloned().unwrap_or_default();
    let due = calendars.get(&placement.provider);
    let due = due.map(|calendar| sessions_by_plans(placement, &plans, (calendar, &times)));
    let mut due = due.unwrap_or_default();
    let reader = cx.caller.organisation.clone();
    due.retain(|due| placements::can_read_on(placement, &reader, due.date));
    let key =
        |due: &ExpectedSession| Some(rows::mark_key(due.date, &placement.provider, placement.id, due.slot?));
    let keys: Vec<VersionKey> = due.iter().filter_map(key).collect();
    let marks: Vec<MarkRow> = cx.snapshot.newest_by_keys(&keys).await?;
    let mut marks: HashMap<_, _> = marks.into_iter().map(|mark| ((mark.date, mark.slot), mark)).collect();
    let absences = register_statements::list_for_placement(
        &mut cx.snapshot,
        StatementKind::NotExpected,
        placement.id,
        days,
    )
    .await?;
    let (mut returns, mut return_ids) = (Vec::with_capacity(due.len()), Vec::with_capacity(due.len()));
    for due in due {
        let mark = if let Some(slot) = due.slot {
            marks.remove(&(due.date, slot))
        } else {
            let of_day = rows::list_current_of_day(&mut cx.snapshot, placement, due.date).await?;
            of_day.into_iter().find(|mark| !mark.is_withdrawn())
        };
        return_ids.push(mark.as_ref().map(|mark| mark.return_id));
        let received = first_received_time(cx, mark).await?;
        let view = ReaderView::for_delivery(placement, &reader, due.date);
        returns.push(expected_return(
            placement,
            &due,
            received,
            find_absence(&absences, &due),
            cx.now,
            &view,
        ));
    }
    let ids = return_ids.iter().flatten().copied();
    let incomplete = parts::list_incomplete(&mut cx.snapshot, &placement.provider, ids).await?;
    for (expected, id) in returns.iter_mut().zip(return_ids) {
        expected.return_incomplete = id.is_some_and(|id| incomplete.contains(&id));
    }
    Ok(returns)
}

/// Returns when the session's first mark was received; None if the session has no mark. The first mark counts, so that
/// a correction makes no return late. Withdrawn marks do not count: neither the marks before the newest withdrawal that
/// left the session empty, nor a corrected mark whose own return was withdrawn later.
async fn first_received_time(
    cx: &mut RequestContext,
    mark: Option<MarkRow>,
) -> Result<Option<Instant>, StoreError> {
    let Some(mark) = mark.filter(|mark| !mark.is_withdrawn()) else {
        return Ok(None);
    };
    let (mut received, mut prior) = (mark.received, mark.prior());
    // Each step goes to an earlier revision, so the loop ends.
    while let Some(position) = prior {
        let missing = StoreError::Inconsistent("an earlier revision of a mark is missing");
        let earlier = rows::load_revision(&mut cx.snapshot, position).await?.ok_or(missing)?;
        if earlier.is_withdrawn() {
            break;
        }
        if !earlier.flags.contains(MarkFlags::RESTORED) {
            let withdrawal = void::withdrawal_key(&mut cx.snapshot, &earlier, position.index).await?;
            if cx.snapshot.current_version(&withdrawal).await? == Revision::ABSENT {
                received = earlier.received;
            }
        }
        prior = earlier.prior();
    }
    Ok(Instant::from_micros(received).ok())
}

/// Finds the newest notice of expected absence for the session. Each organisation's newest revision counts, unless it
/// withdraws the notice.
pub(super) fn find_absence<'a>(
    absences: &'a [StatementRow],
    due: &ExpectedSession,
) -> Option<&'a StatementRow> {
    let of_session = |row: &&StatementRow| row.date == due.date && Some(row.slot) == due.slot;
    let mut seen: Vec<&OrganisationId> = Vec::new();
    absences.iter().filter(of_session).find(|row| {
        let newest = !seen.contains(&&row.organisation);
        seen.push(&row.organisation);
        newest && row.code.is_some()
    })
}

/// Builds an expected return and determines its state.
fn expected_return(
    placement: &Placement,
    due: &ExpectedSession,
    received: Option<Instant>,
    absence: Option<&StatementRow>,
    now: Instant,
    view: &ReaderView<'_>,
) -> ExpectedReturn {
    let state = match received {
        Some(at) if at <= due.deadline => ReturnState::Received,
        Some(_) => ReturnState::Late,
        None if absence.is_some() => ReturnState::NotExpected,
        None if due.closed => ReturnState::Closed,
        None if due.deadline < now => ReturnState::Missing,
        None => ReturnState::Due,
    };
    let absence = absence.filter(|_| state == ReturnState::NotExpected);
    let (code, not_possible) = absence.map(|absence| absence.code_for(view)).unwrap_or_default();
    let (session, start_time) = due.slot.map_or((Session::Unspecified, String::new()), session_to_proto);
    ExpectedReturn {
        placement_id: placement.id.hyphenated().to_string(),
        date: due.date.to_string(),
        session: session as i32,
        start_time,
        site: due.site.clone(),
        due_time: Some(due.deadline.to_proto()),
        state: state as i32,
        received_time: received.map(Instant::to_proto),
        code,
        not_possible,
        return_incomplete: false,
    }
}

#[cfg(test)]
mod tests;
