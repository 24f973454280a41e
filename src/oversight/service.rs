//! `ListAlerts` and `ResolveAlert`: whoever commissions a placement, or teaches while it is live, reads its alerts and
//! sees to them.

use prost::Message;

use super::wire;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    Action, ChildPart, Cx, Decided, Facts, LeafRole, NextActor, Pages, Part, Reason, Refusal, WrongState,
    policy,
};
use crate::placements::alerts::{self, AlertRow};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{
    AlertState, DeliveryKind, ListAlertsRequest, ListAlertsResponse, ResolveAlertRequest,
    ResolveAlertResponse, StoredResolution,
};
use crate::store::LogPosition;

/// Gives a page of alerts; one may end before it is full.
pub(super) async fn list_alerts(
    mut cx: Cx,
    m: ListAlertsRequest,
) -> Result<Decided<ListAlertsResponse>, Refusal> {
    let (wanted, size) = wire::list(&m)?;
    let permit = cx.permit(Action::ListAlerts, &Facts::own(Part::Own))?;
    let caller = cx.caller.organisation.clone();
    let bare = ListAlertsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = Pages::of(&cx, "ListAlerts", &bare);
    let after = pages.begin(&cx, &m.page_token, LogPosition::START, LogPosition::from_bytes)?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let most = i64::try_from(size + 1).unwrap_or(i64::MAX);
    let mut found = alerts::of_party(&mut cx.snapshot, &caller, &wanted, after, most).await?;
    let more = found.len() > size;
    found.truncate(size);
    let mut response = ListAlertsResponse::default();
    if let Some((last, _)) = found.last().filter(|_| more) {
        response.next_page_token = pages.seal(&cx, &last.to_bytes())?;
    }
    let mut change = cx.change(&permit);
    for (_, alert) in &found {
        let placement = placements::by_id(&mut cx.snapshot, alert.placement).await?;
        let Some(placement) = placement.filter(|placement| sees(placement, &caller)) else { continue };
        // An erased child is in no list.
        let Some(key) = children::key(&mut cx, &placement.commissioner, placement.child).await? else {
            continue;
        };
        let message = alerts::message(&mut cx, alert, &placement).await?;
        let reply = message.encode_to_vec();
        let part = ChildPart { placement: placement.id, role: LeafRole::Read, key: &key, reply: &reply };
        change = change.child(&part, &[] as &[AlertRow]).counterpart(&placement.commissioner);
        response.alerts.push(message);
    }
    Ok(change.reply(&response))
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
