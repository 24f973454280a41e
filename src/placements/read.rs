//! `GetPlacement` and `ListPlacements`: what those who have a part in a placement read of it. A provider reads
//! while referral or placement is live; no method searches all children, and a list never names one.

use prost::Message;
use uuid::Uuid;

use super::children;
use super::draft;
use super::plan;
use super::rows::{self, Placement};
use super::rules;
use super::safety;
use super::wire::{self, Query};
use crate::calendar::Date;
use crate::exchange::{Action, ChildPart, Cx, Decided, Facts, LeafRole, Pages, Part, Reason, Refusal};
use crate::proto::v1::{
    self, GetPlacementRequest, GetPlacementResponse, ListPlacementsRequest, ListPlacementsResponse,
    MissingItem, OpenItem, PlacementDetail, Plan,
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
    let message = message(&mut cx, &placement, true).await?;
    let plan = plan::newest(&mut cx, &placement).await?.map(|(_, plan)| plan);
    let key = children::required_key(&mut cx, &placement.commissioner, placement.child).await?;
    let plan_active = plan.as_ref().is_some_and(|plan| rules::open_items(plan).is_empty());
    let safety = safety::of(&mut cx, &placement).await?;
    let open_items = open_items(message.detail.as_ref(), plan.as_ref(), safety.acknowledged);
    let response =
        GetPlacementResponse { placement: Some(message), plan, open_items, plan_active, receipt: None };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: id, role: LeafRole::Read, key: &key, reply: &reply };
    let change = cx.change(&permit).counterpart(&placement.commissioner);
    Ok(change.child(&part, &[] as &[Placement]).reply(&response))
}

/// What a placement still lacks: what its start left open, and what its plan is without.
fn open_items(detail: Option<&PlacementDetail>, plan: Option<&Plan>, acknowledged: bool) -> Vec<OpenItem> {
    let missing: Vec<MissingItem> = detail.map(|detail| detail.missing_items().collect()).unwrap_or_default();
    let decided = detail.is_some_and(|detail| detail.decision.is_some());
    let due_date = detail.map(|detail| detail.open_items_due.clone()).unwrap_or_default();
    let of_start = rules::still_open(&missing, plan.is_some(), decided, acknowledged)
        .into_iter()
        .map(rules::item_reason);
    let items = of_start.chain(plan.map(rules::open_items).unwrap_or_default());
    items.map(|item| OpenItem { item: item.to_owned(), due_date: due_date.clone() }).collect()
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
    let (page, last) = page(&mut cx, &query, after).await?;
    let mut change = cx.change(&permit);
    let mut response = ListPlacementsResponse::default();
    for placement in &page {
        let message = message(&mut cx, placement, false).await?;
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

/// A placement as it is sent; with the child, also what was said about it. The reader's right to it has
/// been decided by whoever asks.
///
/// # Errors
/// As [`children::required_key`]; [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open.
pub async fn message(cx: &mut Cx, placement: &Placement, with_child: bool) -> Result<v1::Placement, Refusal> {
    let plan = cx.snapshot.version(&plan::key(placement.id)).await?;
    let date = |date: Option<Date>| date.map(|date| date.to_string()).unwrap_or_default();
    let mut message = v1::Placement {
        placement_id: placement.id.hyphenated().to_string(),
        etag: placement.version.to_string(),
        state: placement.state as i32,
        commissioner: placement.commissioner.to_string(),
        provider: placement.provider.to_string(),
        schools_on_roll: placement.schools.iter().map(ToString::to_string).collect(),
        la_of_residence: placement.residence.to_string(),
        provider_reference: placement.provider_reference.clone().unwrap_or_default(),
        legal_basis: placement.legal_basis,
        reason: placement.reason,
        start_date: date(placement.start),
        planned_end_date: date(placement.planned_end),
        end_date: date(placement.end),
        agreement_id: placement.agreement.hyphenated().to_string(),
        plan_etag: if plan == 0 { String::new() } else { plan.to_string() },
        child: None,
        detail: None,
    };
    if with_child {
        let key = children::required_key(cx, &placement.commissioner, placement.child).await?;
        message.detail = Some(draft::detail(&key, placement)?);
        message.child = Some(children::identity(cx, placement).await?.ok_or(Reason::NotFound)?);
    }
    Ok(message)
}

/// The placements of a page, and the id behind which the next begins, if there may be more.
async fn page(cx: &mut Cx, query: &Query, after: Uuid) -> Result<(Vec<Placement>, Option<Uuid>), Refusal> {
    let size = usize::try_from(query.size).unwrap_or(usize::MAX);
    let caller = cx.caller.organisation.clone();
    let (mut page, mut seen, mut looked_at) = (Vec::new(), after, 0);
    loop {
        let ids = rows::ids_of_party(&mut cx.snapshot, &caller, seen, STEP).await?;
        if ids.is_empty() {
            return Ok((page, None));
        }
        for placement in rows::by_ids(&mut cx.snapshot, &ids).await? {
            let wanted = draft::readable(&placement, &caller) && matches(query, &placement);
            if wanted && page.len() == size {
                return Ok((page, Some(seen)));
            }
            seen = placement.id;
            if wanted && kept(cx, &placement).await? {
                page.push(placement);
            }
        }
        looked_at += ids.len();
        if looked_at >= LOOKED_AT {
            return Ok((page, Some(seen)));
        }
    }
}

/// Whether the child's record still stands: an erased one is in no list, as `GetPlacement` gives none.
async fn kept(cx: &mut Cx, placement: &Placement) -> Result<bool, Refusal> {
    Ok(children::key(cx, &placement.commissioner, placement.child).await?.is_some())
}

fn matches(query: &Query, placement: &Placement) -> bool {
    let active = |day| rules::active_on(placement.state, placement.start, placement.end, day);
    query.state.is_none_or(|state| state == placement.state)
        && query.provider.as_ref().is_none_or(|provider| *provider == placement.provider)
        && query.commissioner.as_ref().is_none_or(|commissioner| *commissioner == placement.commissioner)
        && query.active_on.is_none_or(active)
}
