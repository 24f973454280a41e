//! `ListExpectedReturns`: what was due by the weekly timetable of the day's plan, and what came. A session expected
//! without a mark by its cut-off is a missing return, and nothing is said of the child.

use std::collections::HashMap;

use prost::Message;
use uuid::Uuid;

use super::arrangement::Arrangement;
use super::parts;
use super::rows::{self, MarkRow};
use super::rules::{Slot, Statement};
use super::statements::{self, Stated, StatementRow};
use super::view::{View, session};
use super::void;
use crate::calendar::{Date, Period, SchoolCalendar, TimeOfDay};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    Action, ChildPart, Cx, Decided, Facts, LeafRole, Pages, Part, Reason, Refusal, policy,
};
use crate::placements::{self, Placement, children, each_by_ids, plan, rows as placed};
use crate::proto::v1::{
    ExpectedReturn, ListExpectedReturnsRequest, ListExpectedReturnsResponse, Plan, ReturnState, Session,
};
use crate::register::terms;
use crate::seal::ChildKey;
use crate::store::key::Key;
use crate::store::{DamagedRow, StoreError};

/// Days of one request.
const MAX_DAYS: usize = 31;
/// Placements looked at for one answer; a page may end before it is full.
const LOOKED_AT: i64 = 500;

/// A session that is due.
pub(super) struct Due {
    pub date: Date,
    /// None for a day that the plan names without a session: any mark of the day is its return.
    pub slot: Option<Slot>,
    pub by: Instant,
    pub site: String,
    pub closed: bool,
}

/// The sessions that are due in a range: those of the weekly timetable on school days, and the plan's extra
/// dates, whatever day they are.
pub(super) fn due(arrangement: &Arrangement, calendar: &SchoolCalendar, days: Period) -> Vec<Due> {
    let mut due = Vec::new();
    for date in days.days() {
        let extra = arrangement.extra_dates.contains(&date);
        if extra || calendar.is_term_day(date) {
            let weekday = date.days_since_monday();
            let mut of_day: Vec<_> =
                arrangement.sessions.iter().filter(|session| session.weekday == weekday).collect();
            of_day.sort_unstable_by_key(|session| session.slot);
            for session in &of_day {
                due.push(Due {
                    date,
                    slot: Some(session.slot),
                    by: moment(date, session.cut_off),
                    site: session.site.clone(),
                    closed: calendar.is_closed(date, &session.site),
                });
            }
            if of_day.is_empty() && extra {
                let (by, closed) = (moment(date, None), calendar.is_closed(date, ""));
                due.push(Due { date, slot: None, by, site: String::new(), closed });
            }
        }
    }
    due
}

/// The cut-off on that day in England; without one, the end of the day.
fn moment(date: Date, cut_off: Option<TimeOfDay>) -> Instant {
    cut_off.and_then(|at| at.on(date).ok()).unwrap_or_else(|| date.ends())
}

/// What is due by the plans that were in force, each with its days.
fn due_by(placement: &Placement, plans: &[(Period, Plan)], calendar: &SchoolCalendar) -> Vec<Due> {
    let of = |(days, plan): &(Period, Plan)| due(&Arrangement::of(placement, Some(plan)), calendar, *days);
    plans.iter().flat_map(of).collect()
}

/// Gives what was due and what came, of the caller's placements.
pub async fn list_expected_returns(
    mut cx: Cx,
    m: ListExpectedReturnsRequest,
) -> Result<Decided<ListExpectedReturnsResponse>, Refusal> {
    let query = read(&cx, &m)?;
    let caller = cx.caller.organisation.clone();
    let only = match query.placement {
        Some(id) => Some(
            placements::of_party(&mut cx.snapshot, id, &caller).await?.filter(|found| wanted(found, &caller)),
        ),
        None => None,
    };
    let part = if matches!(only, Some(None)) { Part::None } else { Part::Own };
    let permit = cx.permit(Action::ListExpectedReturns, &Facts::own(part))?;
    let (found, mut next) = match only.flatten() {
        Some(one) => (vec![Ok(one)], None),
        None => page(&mut cx, &caller, query.after).await?,
    };
    let (mut change, mut reply) = (cx.change(&permit), ListExpectedReturnsResponse::default());
    let (mut calendars, mut done, budget) = (HashMap::new(), None, cx.snapshot.budget());
    for found in found {
        // Marks that were corrected often cost much: what is left is for the next page.
        if reply.returns.len() >= query.size || (done.is_some() && budget.is_half_spent()) {
            next = done;
            break;
        }
        let id = found.as_ref().map_or_else(|damaged| damaged.placement, |placement| placement.id);
        let read = match found {
            Ok(placement) => listed(&mut cx, placement, &query, &mut calendars).await,
            Err(damaged) => Err(damaged.error.into()),
        };
        match read {
            Ok(None) => {}
            Ok(Some((placement, key, returns))) => {
                let part: Vec<u8> = returns.iter().flat_map(Message::encode_to_vec).collect();
                let part =
                    ChildPart { placement: placement.id, role: LeafRole::Read, key: &key, reply: &part };
                change = change.child::<MarkRow>(&part, &[]).counterpart(&placement.provider);
                reply.returns.extend(returns);
            }
            Err(refusal) => {
                query.pages.end_before(&cx, refusal, (done.is_none(), id, id.as_bytes()))?;
                next = done;
                break;
            }
        }
        done = Some(id);
    }
    if let Some(next) = next {
        reply.next_page_token = query.pages.seal(&cx, next.as_bytes())?;
    }
    Ok(change.reply(&reply))
}

/// Reads what was due of a placement, and the key of its child; none where the child was erased.
async fn listed(
    cx: &mut Cx,
    placement: Placement,
    query: &Query,
    calendars: &mut HashMap<OrganisationId, SchoolCalendar>,
) -> Result<Option<(Placement, ChildKey, Vec<ExpectedReturn>)>, Refusal> {
    cx.snapshot.rest_on(placement.key(), placement.version);
    let Some(key) = children::key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let mut returns = of_placement(cx, &placement, query, calendars).await?;
    returns.retain(|one| query.states.is_empty() || query.states.contains(&one.state));
    Ok(Some((placement, key, returns)))
}

/// A query whose shape holds.
struct Query {
    days: Period,
    placement: Option<Uuid>,
    states: Vec<i32>,
    size: usize,
    after: Uuid,
    pages: Pages,
}

fn read(cx: &Cx, m: &ListExpectedReturnsRequest) -> Result<Query, Refusal> {
    let mut check = Check::new();
    let days = check.query_period(&m.from_date, &m.to_date, MAX_DAYS, cx.today);
    let placement = check.optional_uuid("placement_id", &m.placement_id);
    if check.list_len("states", m.states.len(), 10) {
        for (index, state) in m.states.iter().enumerate() {
            check.at("states").index(index).enum_value::<ReturnState>("", *state);
        }
    }
    let size = check.page_size("page_size", m.page_size, 1_000, 1_000).unwrap_or(1_000);
    let query = ListExpectedReturnsRequest { page_token: String::new(), page_size: 0, ..m.clone() };
    let pages = Pages::of(cx, "ListExpectedReturns", &query);
    let mut after = Some(Uuid::nil());
    if !m.page_token.is_empty() {
        after = pages.open(cx, &m.page_token).and_then(|id| Uuid::from_slice(&id).ok());
        if after.is_none() {
            check.fault("page_token", "PAGE_TOKEN_INVALID");
        }
    }
    check.finish()?;
    let (Some(days), Some(after)) = (days, after) else {
        return Err(Reason::Malformed.into());
    };
    let states = m.states.clone();
    Ok(Query { days, placement, states, size: size as usize, after, pages })
}

/// Whose return it is to know of: whoever reads the attendance, but for the LA of residence.
fn wanted(placement: &Placement, caller: &OrganisationId) -> bool {
    let part = placement.reader_of_any_day(caller);
    part != Part::Residence
        && policy::verdict(Action::GetAttendance, part, placement.standing(), false).is_ok()
}

/// The caller's placements behind one, and where to go on if there may be more.
async fn page(
    cx: &mut Cx,
    caller: &OrganisationId,
    after: Uuid,
) -> Result<(Vec<Result<Placement, DamagedRow>>, Option<Uuid>), StoreError> {
    let ids = placed::ids_of_party(&mut cx.snapshot, caller, after, LOOKED_AT).await?;
    let full = i64::try_from(ids.len()).is_ok_and(|looked_at| looked_at == LOOKED_AT);
    let next = ids.last().copied().filter(|_| full);
    let mut found = each_by_ids(&mut cx.snapshot, &ids).await?;
    found.retain(|found| found.as_ref().map_or(true, |placement| wanted(placement, caller)));
    Ok((found, next))
}

/// What was due of a placement and what came.
async fn of_placement(
    cx: &mut Cx,
    placement: &Placement,
    query: &Query,
    calendars: &mut HashMap<OrganisationId, SchoolCalendar>,
) -> Result<Vec<ExpectedReturn>, Refusal> {
    let held = placement.start.and_then(|start| Period::new(start, placement.end.unwrap_or(Date::MAX)));
    let Some(days) = held.and_then(|held| held.intersect(query.days)) else {
        return Ok(Vec::new());
    };
    let plans = plan::in_force(cx, placement, days).await?;
    if !calendars.contains_key(&placement.provider) {
        let calendar = terms::calendar(&mut cx.snapshot, &placement.provider).await?;
        calendars.insert(placement.provider.clone(), calendar);
    }
    let due = calendars.get(&placement.provider).map(|calendar| due_by(placement, &plans, calendar));
    let mut due = due.unwrap_or_default();
    let reader = cx.caller.organisation.clone();
    due.retain(|due| placements::readable_on(placement, &reader, due.date));
    let key = |due: &Due| Some(rows::key(due.date, &placement.provider, placement.id, due.slot?));
    let keys: Vec<Key> = due.iter().filter_map(key).collect();
    let sql = rows::select!("JOIN heads h ON m.idx = h.idx AND m.ordinal = h.ordinal WHERE h.key");
    let mut marks = HashMap::new();
    for row in cx.snapshot.fetch_among(sql, &keys).await? {
        let (mark, ..) = rows::read(&row)?;
        marks.insert((mark.date, mark.slot), mark);
    }
    let absences =
        statements::of_placement(&mut cx.snapshot, Stated::NotExpected, placement.id, days).await?;
    let (mut returns, mut brought) = (Vec::with_capacity(due.len()), Vec::with_capacity(due.len()));
    for due in due {
        let mark = match due.slot {
            Some(slot) => marks.remove(&(due.date, slot)),
            None => rows::of_day(&mut cx.snapshot, placement, due.date).await?.into_iter().next(),
        };
        brought.push(mark.as_ref().map(|mark| mark.return_id));
        let received = received(cx, mark).await?;
        let view = View::delivered(placement, &reader, due.date);
        returns.push(expected(placement, &due, received, absence(&absences, &due), cx.now, &view));
    }
    let ids = brought.iter().flatten().copied();
    let incomplete = parts::incomplete(&mut cx.snapshot, &placement.provider, ids).await?;
    for (expected, id) in returns.iter_mut().zip(brought) {
        expected.return_incomplete = id.is_some_and(|id| incomplete.contains(&id));
    }
    Ok(returns)
}

/// Returns when the session's mark was received, if one stands. A correction makes no return late: the first mark
/// counts. What was withdrawn counts no more: neither what stood before the newest withdrawal of the session's mark,
/// nor a corrected mark whose own return was withdrawn later.
async fn received(cx: &mut Cx, mark: Option<MarkRow>) -> Result<Option<Instant>, StoreError> {
    let Some(mark) = mark.filter(|mark| mark.statement != Statement::Withdrawn) else {
        return Ok(None);
    };
    let (mut received, mut prior) = (mark.received, mark.prior);
    // Revisions count down to the first, so this ends.
    while let Some((idx, ordinal)) = prior {
        let sql = rows::select!("WHERE m.idx = $1 AND m.ordinal = $2");
        let missing = StoreError::Inconsistent("an earlier revision of a mark is missing");
        let row = cx.snapshot.fetch_one(sql, vec![idx.into(), ordinal.into()]).await?.ok_or(missing)?;
        let (earlier, ..) = rows::read(&row)?;
        if earlier.statement == Statement::Withdrawn {
            break;
        }
        let restored = earlier.flags & rows::RESTORED != 0;
        if !restored {
            let withdrawal = void::withdrawal(&mut cx.snapshot, &earlier, idx).await?;
            if cx.snapshot.version(&withdrawal).await? == 0 {
                received = earlier.received;
            }
        }
        prior = earlier.prior;
    }
    Ok(Instant::from_micros(received).ok())
}

/// The newest notice of the session that was not taken back.
fn absence<'a>(absences: &'a [StatementRow], due: &Due) -> Option<&'a StatementRow> {
    let of = |row: &&StatementRow| row.date == due.date && Some(row.slot) == due.slot;
    let mut told: Vec<&OrganisationId> = Vec::new();
    absences.iter().filter(of).find(|row| {
        let newest = !told.contains(&&row.organisation);
        told.push(&row.organisation);
        newest && row.code.is_some()
    })
}

fn expected(
    placement: &Placement,
    due: &Due,
    received: Option<Instant>,
    absence: Option<&StatementRow>,
    now: Instant,
    view: &View<'_>,
) -> ExpectedReturn {
    let state = match received {
        Some(at) if at <= due.by => ReturnState::Received,
        Some(_) => ReturnState::Late,
        None if absence.is_some() => ReturnState::NotExpected,
        None if due.closed => ReturnState::Closed,
        None if due.by < now => ReturnState::Missing,
        None => ReturnState::Due,
    };
    let absence = absence.filter(|_| state == ReturnState::NotExpected);
    let (code, not_possible) = absence.map(|absence| absence.code_for(view)).unwrap_or_default();
    let (session, start_time) = due.slot.map_or((Session::Unspecified, String::new()), session);
    ExpectedReturn {
        placement_id: placement.id.hyphenated().to_string(),
        date: due.date.to_string(),
        session: session as i32,
        start_time,
        site: due.site.clone(),
        due_time: Some(due.by.to_proto()),
        state: state as i32,
        received_time: received.map(Instant::to_proto),
        code,
        not_possible,
        return_incomplete: false,
    }
}

#[cfg(test)]
mod tests;
