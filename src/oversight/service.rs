//! `ListAlerts` and `ResolveAlert`: whoever commissions a placement, or teaches while it is live, reads its alerts and
//! sees to them.

use std::collections::BTreeSet;

use prost::Message;
use uuid::Uuid;

use super::wire;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    Action, ChildPart, Cx, Decided, Facts, LeafRole, NextActor, Pages, Part, Reason, Refusal, WrongState,
    policy,
};
use crate::placements::alerts::{self, AlertRow, Wanted};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{
    AlertState, DeliveryKind, ListAlertsRequest, ListAlertsResponse, ResolveAlertRequest,
    ResolveAlertResponse, StoredResolution,
};
use crate::store::LogPosition;

/// Alerts that are read at once.
const STEP: i64 = 200;
/// Alerts looked at for one answer.
const LOOKED_AT: usize = 10_000;

/// Gives a page of alerts; one may end before it is full.
pub(super) async fn list_alerts(
    mut cx: Cx,
    m: ListAlertsRequest,
) -> Result<Decided<ListAlertsResponse>, Refusal> {
    let (wanted, size) = wire::list(&m)?;
    let permit = cx.permit(Action::ListAlerts, &Facts::own(Part::Own))?;
    let bare = ListAlertsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = Pages::of(&cx, "ListAlerts", &bare);
    let after = pages.begin(&cx, &m.page_token, LogPosition::START, LogPosition::from_bytes)?;
    let (found, next) = page(&mut cx, &wanted, after, usize::try_from(size).unwrap_or(usize::MAX)).await?;
    let mut response = ListAlertsResponse::default();
    if let Some(next) = next {
        response.next_page_token = pages.seal(&cx, &next.to_bytes())?;
    }
    let mut change = cx.change(&permit);
    for (alert, placement) in &found {
        cx.snapshot.rest_on(placement.key(), placement.version);
        // An erased child is in no list.
        let Some(key) = children::key(&mut cx, &placement.commissioner, placement.child).await? else {
            continue;
        };
        let message = alerts::message(&mut cx, alert, placement).await?;
        let reply = message.encode_to_vec();
        let part = ChildPart { placement: placement.id, role: LeafRole::Read, key: &key, reply: &reply };
        change = change.child(&part, &[] as &[AlertRow]).counterpart(&placement.commissioner);
        response.alerts.push(message);
    }
    Ok(change.reply(&response))
}

/// Reads a page of alerts that the caller sees, each with its placement, and the position behind which the next begins if
/// there is another. Alerts that it does not see count for nothing: a token for one would tell that it is there.
async fn page(
    cx: &mut Cx,
    wanted: &Wanted,
    after: LogPosition,
    size: usize,
) -> Result<(Vec<(AlertRow, Placement)>, Option<LogPosition>), Refusal> {
    let caller = cx.caller.organisation.clone();
    let (mut page, mut seen, mut looked_at) = (Vec::new(), after, 0);
    while looked_at < LOOKED_AT {
        let found = alerts::of_party(&mut cx.snapshot, &caller, wanted, seen, STEP).await?;
        if found.is_empty() {
            return Ok((page, None));
        }
        looked_at += found.len();
        let ids: BTreeSet<Uuid> = found.iter().map(|(_, alert)| alert.placement).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let placements = placements::rows::by_ids(&mut cx.snapshot, &ids).await?;
        for (at, alert) in found {
            let placement = placements.iter().find(|placement| placement.id == alert.placement);
            if let Some(placement) = placement.filter(|placement| sees(placement, &caller)) {
                if page.len() == size {
                    return Ok((page, Some(seen)));
                }
                page.push((alert, placement.clone()));
            }
            seen = at;
        }
    }
    Ok((page, Some(seen)))
}

/// Whoever may resolve an alert of the placement reads it too.
fn sees(placement: &Placement, organisation: &OrganisationId) -> bool {
    let part = placement.part_of(organisation);
    policy::verdict(Action::ResolveAlert, part, placement.standing(), false).is_ok()
}

/// A named officer says what was done about an open alert.
pub(super) async fn resolve_alert(
    mut cx: Cx,
    m: ResolveAlertRequest,
) -> Result<Decided<ResolveAlertResponse>, Refusal> {
    let (id, officer, note) = wire::resolve(&m)?;
    let by = cx.caller.organisation.clone();
    let alert = alerts::by_id_of_party(&mut cx.snapshot, id, &by).await?;
    let placement = match &alert {
        Some(alert) => placements::by_id(&mut cx.snapshot, alert.placement).await?,
        None => None,
    };
    let facts = placement.as_ref().map_or(Facts::own(Part::None), |placement| Facts {
        standing: placement.standing(),
        ..Facts::own(placement.part_of(&by))
    });
    let permit = cx.permit(Action::ResolveAlert, &facts)?;
    let (alert, placement) = alert.zip(placement).ok_or(Reason::NotFound)?;
    if alert.state != AlertState::Open {
        let (present, needed) = (alert.state.as_str_name(), vec![AlertState::Open.as_str_name()]);
        return Err(WrongState { present, needed, next_actor: NextActor::Nobody }.into());
    }
    let change = cx.change(&permit).guard(alerts::key(id), alert.version);
    let (key, mut change) = children::own_key(&mut cx, change, &by, placement.child).await?;
    let mut next = AlertRow {
        version: alert.version + 1,
        state: AlertState::Resolved,
        ended: Some(cx.now.micros()),
        resolved_by: Some(by.clone()),
        ..alert
    };
    next.resolution = Some(alerts::seal(&cx, &key, &next, &StoredResolution { officer, note })?);
    for party in [&placement.commissioner, &placement.provider].into_iter().filter(|party| **party != by) {
        change = change.deliver(party, DeliveryKind::AlertEnded, id, Some(placement.id));
    }
    let response = ResolveAlertResponse { state: next.state as i32, receipt: None };
    let reply = response.encode_to_vec();
    let part = ChildPart { placement: placement.id, role: LeafRole::Submitted, key: &key, reply: &reply };
    Ok(change.child(&part, &[next]).reply(&response))
}
