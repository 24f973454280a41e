//! `ListAlerts` and `ResolveAlert`: whoever commissions a placement, or teaches while it is live, reads its alerts and
//! sees to them.

use std::collections::{BTreeSet, HashMap};

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
    Alert, AlertState, DeliveryKind, ListAlertsRequest, ListAlertsResponse, ResolveAlertRequest,
    ResolveAlertResponse, StoredResolution,
};
use crate::seal::ChildKey;
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
    let (found, next) =
        page(&mut cx, &pages, (&wanted, after), usize::try_from(size).unwrap_or(usize::MAX)).await?;
    let mut response = ListAlertsResponse::default();
    if let Some(next) = next {
        response.next_page_token = pages.seal(&cx, &next.to_bytes())?;
    }
    let mut change = cx.change(&permit);
    for Listed { placement, key, message } in found {
        let reply = message.encode_to_vec();
        let part = ChildPart { placement: placement.id, role: LeafRole::Read, key: &key, reply: &reply };
        change = change.child(&part, &[] as &[AlertRow]).counterpart(&placement.commissioner);
        response.alerts.push(message);
    }
    Ok(change.reply(&response))
}

/// An alert of a list.
struct Listed {
    placement: Placement,
    key: ChildKey,
    message: Alert,
}

/// Reads an alert for a list; none where the child was erased.
async fn listed(cx: &mut Cx, alert: &AlertRow, placement: &Placement) -> Result<Option<Listed>, Refusal> {
    cx.snapshot.rest_on(placement.key(), placement.version);
    let Some(key) = children::key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let message = alerts::message(cx, alert, placement).await?;
    Ok(Some(Listed { placement: placement.clone(), key, message }))
}

/// Reads a page of alerts that the caller sees, each with its placement, and the position behind which the next begins if
/// there is another. Alerts that it does not see count for nothing: a token for one would tell that it is there.
async fn page(
    cx: &mut Cx,
    pages: &Pages,
    (wanted, after): (&Wanted, LogPosition),
    size: usize,
) -> Result<(Vec<Listed>, Option<LogPosition>), Refusal> {
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
        let (mut placements, mut damaged) = (HashMap::new(), BTreeSet::new());
        for placement in placements::each_by_ids(&mut cx.snapshot, &ids).await? {
            match placement {
                Ok(placement) => drop(placements.insert(placement.id, placement)),
                Err(row) => drop(damaged.insert(row.placement)),
            }
        }
        for (at, alert) in found {
            let read = match placements.get(&alert.placement).filter(|placement| sees(placement, &caller)) {
                Some(_) if page.len() == size => return Ok((page, Some(seen))),
                Some(placement) => listed(cx, &alert, placement).await,
                None if damaged.contains(&alert.placement) => Err(Reason::Failed.into()),
                None => Ok(None),
            };
            match read {
                Ok(listed) => page.extend(listed),
                Err(refusal) => {
                    pages.end_before(cx, refusal, (page.is_empty(), alert.placement, &at.to_bytes()))?;
                    return Ok((page, Some(seen)));
                }
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
