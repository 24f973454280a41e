//! `GetPlacement` and `ListPlacements`: what those who have a part in a placement read of it. A provider reads
//! while referral or placement is live; no method searches all children, and a list never names one.

use prost::Message;
use uuid::Uuid;

use super::children;
use super::damaged::each_by_ids;
use super::draft;
use super::parties::{Access, PartyPeriod};
use super::plan;
use super::rows::{self, Placement};
use super::rules;
use super::safety;
use super::wire::{self, Query};
use crate::calendar::Date;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{Action, ChildPart, Cx, Decided, Facts, LeafRole, Pages, Part, Reason, Refusal};
use crate::proto::v1::{
    self, GetPlacementRequest, GetPlacementResponse, ListPlacementsRequest, ListPlacementsResponse,
    MissingItem, OpenItem, PlacementDetail, PlacementState, Plan,
};

/// Placements looked at in one step of a list.
const STEP: i64 = 500;
/// Placements looked at for one answer; a page may end before it is full.
const LOOKED_AT: usize = 10_000;

/// Gives a placement with its child, what was said about it, and its newest plan.
pub(super) async fn get_placement(
    mut cx: Cx,
    m: GetPlacementRequest,
) -> Result<Decided<GetPlacementResponse>, Refusal> {
    let id = wire::get(&m)?;
    let (placement, permit) = draft::permitted(&mut cx, Action::GetPlacement, id).await?;
    let access = draft::access(&placement, &cx.caller.organisation).ok_or(Reason::NotFound)?;
    let message = message(&mut cx, &placement, (access, true), i64::MAX).await?;
    let key = children::required_key(&mut cx, &placement.commissioner, placement.child).await?;
    let mut response = GetPlacementResponse { placement: Some(message), ..GetPlacementResponse::default() };
    if access == Access::Whole {
        response.plan = plan::newest(&mut cx, &placement).await?.map(|(_, plan)| plan);
        response.plan_active = response.plan.as_ref().is_some_and(|plan| rules::open_items(plan).is_empty());
        let safety = safety::of(&mut cx, &placement).await?;
        let detail = response.placement.as_ref().and_then(|placement| placement.detail.as_ref());
        response.open_items = open_items(&placement, detail, response.plan.as_ref(), safety.acknowledged);
        if placement.commissioner == cx.caller.organisation {
            safety.name_versions(&mut response.open_items);
        }
    }
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: id, role: LeafRole::Read, key: &key, reply: &reply };
    // What was cut rests on who has a part in this version.
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let change = change.counterpart(&placement.commissioner);
    Ok(change.child(&part, &[] as &[Placement]).reply(&response))
}

/// What a placement still lacks: before the start what that would refuse, then what it left open, and what the plan is
/// without.
fn open_items(
    placement: &Placement,
    detail: Option<&PlacementDetail>,
    plan: Option<&Plan>,
    acknowledged: bool,
) -> Vec<OpenItem> {
    let missing: Vec<MissingItem> = detail.map(|detail| detail.missing_items().collect()).unwrap_or_default();
    let decided = detail.is_some_and(|detail| detail.decision.is_some());
    let due_date = detail.map(|detail| detail.open_items_due.clone()).unwrap_or_default();
    let of_start = rules::still_open(&missing, plan.is_some(), decided, acknowledged).into_iter();
    let before_start = rules::before_start(placement.state, plan.is_some(), acknowledged);
    let of_start = before_start.into_iter().chain(of_start).map(rules::item_reason);
    let items = of_start.chain(plan.map(rules::open_items).unwrap_or_default());
    items
        .map(|item| OpenItem { item: item.to_owned(), due_date: due_date.clone(), ..OpenItem::default() })
        .collect()
}

/// Gives a page of the placements that `GetPlacement` would give the caller, without their children.
pub(super) async fn list_placements(
    mut cx: Cx,
    m: ListPlacementsRequest,
) -> Result<Decided<ListPlacementsResponse>, Refusal> {
    let query = wire::list(&m)?;
    let permit = cx.permit(Action::ListPlacements, &Facts::own(Part::Own))?;
    let bare = ListPlacementsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = Pages::of(&cx, "ListPlacements", &bare);
    let after = pages.begin(&cx, &m.page_token, Uuid::nil(), |id| Uuid::from_slice(id).ok())?;
    let (page, last) = page(&mut cx, &pages, &query, after).await?;
    let mut change = cx.change(&permit);
    let mut response = ListPlacementsResponse::default();
    for (placement, access) in &page {
        cx.snapshot.rest_on(placement.key(), placement.version);
        let message = message(&mut cx, placement, (*access, false), i64::MAX).await?;
        let reply = message.encode_to_vec();
        let key = children::required_key(&mut cx, &placement.commissioner, placement.child).await?;
        let part = ChildPart { placement: placement.id, role: LeafRole::Read, key: &key, reply: &reply };
        change = change.child(&part, &[] as &[Placement]).counterpart(&placement.commissioner);
        response.placements.push(message);
    }
    if let Some(last) = last {
        response.next_page_token = pages.seal(&cx, last.as_bytes())?;
    }
    Ok(change.reply(&response))
}

/// Builds the message of a placement, cut to what its reader has access to; with the child, also what was said about
/// it. The reader's right to it has been decided before.
///
/// # Errors
/// As [`children::required_key`]; [`Reason::Failed`] when what is stored does not open.
pub async fn message(
    cx: &mut Cx,
    placement: &Placement,
    (access, with_child): (Access, bool),
    index: i64,
) -> Result<v1::Placement, Refusal> {
    if let Access::Former(until) = access {
        return Ok(former(placement, &cx.caller.organisation, until));
    }
    let mut message = outline(placement);
    if with_child {
        let key = children::required_key(cx, &placement.commissioner, placement.child).await?;
        let detail = draft::detail(&key, placement)?;
        let requested_start = detail.requested_start.clone();
        message.detail = Some(match access {
            Access::Whole => detail,
            _ => PlacementDetail { requested_start, ..PlacementDetail::default() },
        });
        message.child = Some(children::identity_at(cx, placement, index).await?.ok_or(Reason::NotFound)?);
    }
    if access != Access::Whole {
        return Ok(message);
    }
    let plan = cx.snapshot.version(&plan::key(placement.id)).await?;
    message.schools_on_roll = placement.schools.iter().map(ToString::to_string).collect();
    message.provider_reference = placement.provider_reference.clone().unwrap_or_default();
    message.reason = placement.reason;
    message.agreement_id = placement.agreement.hyphenated().to_string();
    message.plan_etag = if plan == 0 { String::new() } else { plan.to_string() };
    if matches!(placement.part_of(&cx.caller.organisation), Part::Commissioner | Part::Provider) {
        message.party_periods = placement.periods.iter().map(PartyPeriod::message).collect();
    }
    Ok(message)
}

/// Builds what every party may read of a placement.
fn outline(placement: &Placement) -> v1::Placement {
    let date = |date: Option<Date>| date.map(|date| date.to_string()).unwrap_or_default();
    v1::Placement {
        placement_id: placement.id.hyphenated().to_string(),
        etag: placement.version.to_string(),
        state: placement.state as i32,
        commissioner: placement.commissioner.to_string(),
        provider: placement.provider.to_string(),
        la_of_residence: placement.residence.to_string(),
        legal_basis: placement.legal_basis,
        start_date: date(placement.start),
        planned_end_date: date(placement.planned_end),
        end_date: date(placement.end),
        ..v1::Placement::default()
    }
}

/// Builds what a former party may read: what stood on its last day, with itself as the only other party.
fn former(placement: &Placement, party: &OrganisationId, until: Date) -> v1::Placement {
    let mut message = outline(&as_it_stood(placement, until));
    message.etag.clear();
    message.la_of_residence.clear();
    if party.kind() == OrganisationKind::La {
        message.la_of_residence = party.to_string();
    } else {
        message.schools_on_roll = vec![party.to_string()];
    }
    message.party_until = until.to_string();
    message
}

/// The placement without what happened after a day.
fn as_it_stood(placement: &Placement, day: Date) -> Placement {
    let end = placement.end.filter(|end| *end <= day);
    let state = if end.is_some() { PlacementState::Ended } else { PlacementState::Active };
    Placement { state, end, planned_end: None, ..placement.clone() }
}

/// The placements of a page, each with the caller's access, and the id behind which the next begins, if there may be
/// more.
async fn page(
    cx: &mut Cx,
    pages: &Pages,
    query: &Query,
    after: Uuid,
) -> Result<(Vec<(Placement, Access)>, Option<Uuid>), Refusal> {
    let size = usize::try_from(query.size).unwrap_or(usize::MAX);
    let caller = cx.caller.organisation.clone();
    let (mut page, mut seen, mut looked_at) = (Vec::new(), after, 0);
    loop {
        let ids = rows::ids_of_party(&mut cx.snapshot, &caller, seen, STEP).await?;
        if ids.is_empty() {
            return Ok((page, None));
        }
        for placement in each_by_ids(&mut cx.snapshot, &ids).await? {
            let id = placement.as_ref().map_or_else(|damaged| damaged.placement, |placement| placement.id);
            let listed = match placement {
                Ok(placement) => listed(cx, query, placement).await,
                Err(damaged) => Err(damaged.error.into()),
            };
            match listed {
                Ok(None) => {}
                Ok(Some(_)) if page.len() == size => return Ok((page, Some(seen))),
                Ok(Some(found)) => page.push(found),
                Err(refusal) => {
                    pages.end_before(cx, refusal, (page.is_empty(), id, id.as_bytes()))?;
                    return Ok((page, Some(seen)));
                }
            }
            seen = id;
        }
        looked_at += ids.len();
        if looked_at >= LOOKED_AT {
            return Ok((page, Some(seen)));
        }
    }
}

/// Returns a placement with the caller's access to it; none where it is not listed. An erased child's is in no list,
/// as `GetPlacement` gives none.
async fn listed(
    cx: &mut Cx,
    query: &Query,
    placement: Placement,
) -> Result<Option<(Placement, Access)>, Refusal> {
    let access = draft::access(&placement, &cx.caller.organisation);
    let Some(access) = access.filter(|access| matches(query, &placement, *access)) else { return Ok(None) };
    let kept = children::key(cx, &placement.commissioner, placement.child).await?.is_some();
    Ok(kept.then_some((placement, access)))
}

/// Compares with the query only what the reader is given, or a filter would reveal the rest.
fn matches(query: &Query, placement: &Placement, access: Access) -> bool {
    if let Access::Former(until) = access {
        let stood = as_it_stood(placement, until);
        return query.active_on.is_none_or(|day| day <= until) && matches(query, &stood, Access::Whole);
    }
    let active = |day| rules::active_on(placement.state, placement.start, placement.end, day);
    query.state.is_none_or(|state| state == placement.state)
        && query.provider.as_ref().is_none_or(|provider| *provider == placement.provider)
        && query.commissioner.as_ref().is_none_or(|commissioner| *commissioner == placement.commissioner)
        && query.active_on.is_none_or(active)
}
