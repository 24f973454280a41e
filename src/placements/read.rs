//! `GetPlacement` and `ListPlacements`: reads by the parties to a placement. A provider reads only while the referral
//! or placement is live. No method searches all children, and a list never names a child.

use std::collections::HashMap;

use prost::Message;
use uuid::Uuid;

use super::children;
use super::damaged::by_ids_with_damaged;
use super::draft;
use super::open_item_code::OpenItemCode;
use super::open_items;
use super::parties::Access;
use super::party_periods::PartyPeriod;
use super::plan;
use super::rows::{self, Placement};
use super::rules;
use super::safety_acknowledgement;
use super::wire::{self, ListQuery};
use crate::calendar::Date;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{
    CallerRole, Decided, LeafInput, PageTokens, PolicyFacts, Reason, RecordRef, Refusal, RequestContext,
};
use crate::proto::v1::{
    self, GetPlacementRequest, GetPlacementResponse, LeafRole, ListPlacementsRequest, ListPlacementsResponse,
    MissingItem, OpenItem, PlacementDetail, PlacementState, Plan, RecordKind,
};
use crate::seal::ChildKey;
use crate::store::{EntryIndex, Revision};

/// Number of placements that a list reads with one query.
const PLACEMENTS_PER_QUERY: i64 = 500;
/// Number of placements after which a page ends, even if it is not full.
const MAX_PLACEMENTS_READ: usize = 10_000;

/// Returns a placement with its child, its detail and its newest plan.
pub(super) async fn get_placement(
    mut cx: RequestContext,
    m: GetPlacementRequest,
) -> Result<Decided<GetPlacementResponse>, Refusal> {
    let id = wire::get(&m)?;
    let (placement, permit) = draft::load_permitted(&mut cx, id).await?;
    let access = draft::granted_access(&placement, &cx.caller.organisation).ok_or(Reason::NotFound)?;
    let message = placement_message(&mut cx, &placement, (access, true), EntryIndex::MAX).await?;
    let key = children::load_required_key(&mut cx, &placement.commissioner, placement.child).await?;
    let mut response = GetPlacementResponse { placement: Some(message), ..GetPlacementResponse::default() };
    if access == Access::Full {
        response.plan = plan::load_newest(&mut cx, &placement).await?.map(|(_, plan)| plan);
        response.plan_active =
            response.plan.as_ref().is_some_and(|plan| rules::plan_open_items(plan).is_empty());
        let safety = safety_acknowledgement::load(&mut cx, &placement).await?;
        let detail = response.placement.as_ref().and_then(|placement| placement.detail.as_ref());
        let due_dates = open_items::load_due_dates(&mut cx.snapshot, id).await?;
        let plan = response.plan.as_ref();
        response.open_items = open_item_messages(&placement, detail, (plan, safety.acknowledged), &due_dates);
        if placement.commissioner == cx.caller.organisation {
            safety.add_versions_to_items(&mut response.open_items);
        }
    }
    let reply = response.encode_to_vec();
    let part = read_leaf(&placement, &key, &reply);
    // The response was filtered by the parties of this version.
    let change = cx.change(&permit).guard(placement.key(), placement.version);
    let change = change.add_counterpart(&placement.commissioner);
    Ok(change.append_child(&part, &[] as &[Placement]).with_reply(&response))
}

/// Returns the input of the leaf of a placement that is read.
fn read_leaf<'a>(placement: &'a Placement, key: &'a ChildKey, reply: &'a [u8]) -> LeafInput<'a> {
    let record = RecordRef::new(RecordKind::Placement, placement.id, placement.version);
    let (role, sender) = (LeafRole::Read, &placement.commissioner);
    LeafInput { placement: placement.id, role, record, sender, key, reply }
}

/// Returns the open items of a placement: before the start the items for which it would be refused, after it those
/// that it left open, and in both cases those of the plan.
fn open_item_messages(
    placement: &Placement,
    detail: Option<&PlacementDetail>,
    (plan, acknowledged): (Option<&Plan>, bool),
    due_dates: &HashMap<OpenItemCode, Date>,
) -> Vec<OpenItem> {
    let missing: Vec<MissingItem> = detail.map(|detail| detail.missing_items().collect()).unwrap_or_default();
    let decided = detail.is_some_and(|detail| detail.decision.is_some());
    let due_date = |item| due_dates.get(&item).map(ToString::to_string).unwrap_or_default();
    let start_items = rules::still_open_items(&missing, plan.is_some(), decided, acknowledged).into_iter();
    let before_start = rules::start_blockers(placement.state, plan.is_some(), acknowledged);
    let start_items = before_start.into_iter().chain(start_items);
    let items = start_items.chain(plan.map(rules::plan_open_items).unwrap_or_default());
    items
        .map(|item| OpenItem {
            item: item.as_str().to_owned(),
            due_date: due_date(item),
            ..OpenItem::default()
        })
        .collect()
}

/// Returns a page of the placements that the caller may get by `GetPlacement`, without their children.
pub(super) async fn list_placements(
    mut cx: RequestContext,
    m: ListPlacementsRequest,
) -> Result<Decided<ListPlacementsResponse>, Refusal> {
    let query = wire::list(&m)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let bare = ListPlacementsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = PageTokens::for_query(&cx, &bare);
    let after = pages.start_position(&cx, &m.page_token, Uuid::nil(), |id| Uuid::from_slice(id).ok())?;
    let (page, last) = read_page(&mut cx, &pages, &query, after).await?;
    let mut change = cx.change(&permit);
    let mut response = ListPlacementsResponse::default();
    for (placement, access) in &page {
        cx.snapshot.record_read(placement.key(), placement.version);
        let message = placement_message(&mut cx, placement, (*access, false), EntryIndex::MAX).await?;
        let reply = message.encode_to_vec();
        let key = children::load_required_key(&mut cx, &placement.commissioner, placement.child).await?;
        let part = read_leaf(placement, &key, &reply);
        change = change.append_child(&part, &[] as &[Placement]).add_counterpart(&placement.commissioner);
        response.placements.push(message);
    }
    if let Some(last) = last {
        response.next_page_token = pages.seal(&cx, last.as_bytes())?;
    }
    Ok(change.with_reply(&response))
}

/// Builds the message of a placement as of a log index, filtered by the reader's access; `with_child` adds the child
/// and the detail. The caller has checked the reader's right to it.
///
/// # Errors
/// As [`children::load_required_key`]; [`Reason::Failed`] when what is stored does not open.
pub async fn placement_message(
    cx: &mut RequestContext,
    placement: &Placement,
    (access, with_child): (Access, bool),
    index: EntryIndex,
) -> Result<v1::Placement, Refusal> {
    if let Access::Former(until) = access {
        return Ok(former_party_message(placement, &cx.caller.organisation, until));
    }
    let mut message = outline_message(placement);
    if with_child {
        let key = children::load_required_key(cx, &placement.commissioner, placement.child).await?;
        let detail = draft::open_detail(&key, placement)?;
        let requested_start = detail.requested_start.clone();
        message.detail = Some(match access {
            Access::Full => detail,
            _ => PlacementDetail { requested_start, ..PlacementDetail::default() },
        });
        message.child =
            Some(children::load_identity_as_of(cx, placement, index).await?.ok_or(Reason::NotFound)?);
    }
    if access != Access::Full {
        return Ok(message);
    }
    let plan = cx.snapshot.current_version(&plan::key(placement.id)).await?;
    message.schools_on_roll = placement.schools.iter().map(ToString::to_string).collect();
    message.provider_reference = placement.provider_reference.clone().unwrap_or_default();
    message.reason = placement.reason as i32;
    message.agreement_id = placement.agreement.hyphenated().to_string();
    message.plan_etag = if plan == Revision::ABSENT { String::new() } else { plan.to_string() };
    if matches!(placement.role_of(&cx.caller.organisation), CallerRole::Commissioner | CallerRole::Provider) {
        message.party_periods = placement.party_periods.iter().map(PartyPeriod::message).collect();
    }
    Ok(message)
}

/// Builds the part of the message that every party may read.
fn outline_message(placement: &Placement) -> v1::Placement {
    let date = |date: Option<Date>| date.map(|date| date.to_string()).unwrap_or_default();
    v1::Placement {
        placement_id: placement.id.hyphenated().to_string(),
        etag: placement.version.to_string(),
        state: placement.state as i32,
        commissioner: placement.commissioner.to_string(),
        provider: placement.provider.to_string(),
        la_of_residence: placement.residence.to_string(),
        legal_basis: placement.legal_basis as i32,
        start_date: date(placement.start_date),
        planned_end_date: date(placement.planned_end_date),
        end_date: date(placement.end_date),
        ..v1::Placement::default()
    }
}

/// Builds the message for a former party: the placement as of its last day, with itself as the only other party.
fn former_party_message(placement: &Placement, party: &OrganisationId, until: Date) -> v1::Placement {
    let mut message = outline_message(&state_on_day(placement, until));
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

/// Returns the placement without what happened after a day.
fn state_on_day(placement: &Placement, day: Date) -> Placement {
    let end_date = placement.end_date.filter(|end| *end <= day);
    let state = if end_date.is_some() { PlacementState::Ended } else { PlacementState::Active };
    Placement { state, end_date, planned_end_date: None, ..placement.clone() }
}

/// Reads the placements of a page, each with the caller's access, and the id after which the next page begins, if there
/// may be more.
async fn read_page(
    cx: &mut RequestContext,
    pages: &PageTokens,
    query: &ListQuery,
    after: Uuid,
) -> Result<(Vec<(Placement, Access)>, Option<Uuid>), Refusal> {
    let size = usize::try_from(query.size).unwrap_or(usize::MAX);
    let caller = cx.caller.organisation.clone();
    let (mut page, mut last_read, mut read_count) = (Vec::new(), after, 0);
    loop {
        let ids =
            rows::list_ids_for_party(&mut cx.snapshot, &caller, last_read, PLACEMENTS_PER_QUERY).await?;
        if ids.is_empty() {
            return Ok((page, None));
        }
        for placement in by_ids_with_damaged(&mut cx.snapshot, &ids).await? {
            let id = placement.as_ref().map_or_else(|damaged| damaged.placement, |placement| placement.id);
            let listed = match placement {
                Ok(placement) => list_entry(cx, query, placement).await,
                Err(damaged) => Err(damaged.error.into()),
            };
            match listed {
                Ok(None) => {}
                Ok(Some(_)) if page.len() == size => return Ok((page, Some(last_read))),
                Ok(Some(found)) => page.push(found),
                Err(refusal) => {
                    pages.end_before_damaged(cx, refusal, (page.is_empty(), id, id.as_bytes()))?;
                    return Ok((page, Some(last_read)));
                }
            }
            last_read = id;
        }
        read_count += ids.len();
        if read_count >= MAX_PLACEMENTS_READ {
            return Ok((page, Some(last_read)));
        }
    }
}

/// Returns a placement with the caller's access to it; `None` if it does not belong in the list. Placements of erased
/// children are left out, because `GetPlacement` returns none of them.
async fn list_entry(
    cx: &mut RequestContext,
    query: &ListQuery,
    placement: Placement,
) -> Result<Option<(Placement, Access)>, Refusal> {
    let access = draft::granted_access(&placement, &cx.caller.organisation);
    let Some(access) = access.filter(|access| matches_query(query, &placement, *access)) else {
        return Ok(None);
    };
    let has_key = children::load_key(cx, &placement.commissioner, placement.child).await?.is_some();
    Ok(has_key.then_some((placement, access)))
}

/// Reports whether a placement matches the query. Only what the reader may see is compared, because a filter would
/// reveal the rest.
fn matches_query(query: &ListQuery, placement: &Placement, access: Access) -> bool {
    if let Access::Former(until) = access {
        let as_of_day = state_on_day(placement, until);
        return query.active_on.is_none_or(|day| day <= until)
            && query.from.is_none_or(|from| from <= until)
            && matches_query(query, &as_of_day, Access::Full);
    }
    let active = |day| rules::is_active_on(placement.state, placement.start_date, placement.end_date, day);
    query.state.is_none_or(|state| state == placement.state)
        && query.provider.as_ref().is_none_or(|provider| *provider == placement.provider)
        && query.commissioner.as_ref().is_none_or(|commissioner| *commissioner == placement.commissioner)
        && query.active_on.is_none_or(active)
        && was_active_between(placement, query.from, query.to)
}

/// Reports whether a placement was active on any of these days; without any, whether it belongs in a list of all.
fn was_active_between(placement: &Placement, from: Option<Date>, to: Option<Date>) -> bool {
    if from.is_none() && to.is_none() {
        return true;
    }
    let is_or_was_active = matches!(placement.state, PlacementState::Active | PlacementState::Ended);
    is_or_was_active
        && placement.start_date.is_some_and(|start| to.is_none_or(|to| start <= to))
        && from.is_none_or(|from| placement.end_date.is_none_or(|end| from <= end))
}
