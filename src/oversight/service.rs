//! `ListAlerts` and `ResolveAlert`: the parties of a placement read the alerts of which they were told, the provider while
//! it is live. The commissioner, and the provider while it is live, resolve them. An alert about no placement is read and
//! resolved by the organisation whose it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use prost::Message;
use uuid::Uuid;

use super::act_by::end_of_school_days;
use super::alert_changes::alert_subject;
use super::alert_list::{self, AlertFilter, AlertPosition};
use super::alert_message::{OwnAlert, alert_message, own_alert, placement_part, seal_resolution};
use super::alerts::{self, AlertRow};
use super::rule_book::RuleBook;
use super::{recipients, wire};
use crate::exchange::{
    CallerRole, Decided, LeafInput, NextActor, PageTokens, PolicyFacts, Reason, RecordRef, Refusal,
    RequestContext, WrongState,
};
use crate::placements::{self, Placement, children};
use crate::proto::v1::{
    Alert, AlertState, DeliveryKind, LeafRole, ListAlertsRequest, ListAlertsResponse, RecordKind,
    ResolveAlertRequest, ResolveAlertResponse, StoredResolution,
};
use crate::register::terms;
use crate::seal::ChildKey;
use crate::store::moment::MomentRow;

/// Alerts that one query reads.
const ROWS_PER_STEP: i64 = 200;
/// Maximum number of alerts that one call scans.
const MAX_SCANNED_ALERTS: usize = 10_000;

/// Returns a page of alerts. A page may end before it is full.
pub(super) async fn list_alerts(
    mut cx: RequestContext,
    m: ListAlertsRequest,
) -> Result<Decided<ListAlertsResponse>, Refusal> {
    let (wanted, size) = wire::check_list(&m)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let query = ListAlertsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = PageTokens::for_query(&cx, &query);
    let after = pages.start_position(&cx, &m.page_token, AlertPosition::START, AlertPosition::from_bytes)?;
    let (found, next) =
        load_page(&mut cx, &pages, (&wanted, after), usize::try_from(size).unwrap_or(usize::MAX)).await?;
    let mut response = ListAlertsResponse::default();
    if let Some(next) = next {
        response.next_page_token = pages.seal(&cx, &next.to_bytes())?;
    }
    let mut change = cx.change(&permit);
    for ListedAlert { children, message } in found {
        let record =
            RecordRef::unversioned(RecordKind::Alert, Uuid::parse_str(&message.alert_id).unwrap_or_default());
        for (placement, key) in children {
            let reply = if message.placement_id.is_empty() {
                placement_part(placement.id)
            } else {
                message.encode_to_vec()
            };
            let (id, role, sender) = (placement.id, LeafRole::Read, &placement.commissioner);
            let part = LeafInput { placement: id, role, record, sender, key: &key, reply: &reply };
            change = change.append_child(&part, &[] as &[AlertRow]).add_counterpart(&placement.commissioner);
        }
        response.alerts.push(message);
    }
    Ok(change.with_reply(&response))
}

/// An alert of a list.
struct ListedAlert {
    /// The placements that it names, each with the commissioner's key of the child.
    children: Vec<(Placement, ChildKey)>,
    message: Alert,
}

/// Loads an alert for a list. `None` when the child's record was erased.
async fn load_listed_alert(
    cx: &mut RequestContext,
    alert: &AlertRow,
    placement: &Placement,
) -> Result<Option<ListedAlert>, Refusal> {
    cx.snapshot.record_read(placement.key(), placement.version);
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(None);
    };
    let message = alert_message(cx, alert, Some(placement)).await?;
    Ok(Some(ListedAlert { children: vec![(placement.clone(), key)], message }))
}

/// Reads a page of the alerts that the caller may read, each with its placement, and the position after which the next
/// page begins, if there is one. Other alerts do not count, because a page token for one would reveal that it exists.
async fn load_page(
    cx: &mut RequestContext,
    pages: &PageTokens,
    (wanted, after): (&AlertFilter, AlertPosition),
    size: usize,
) -> Result<(Vec<ListedAlert>, Option<AlertPosition>), Refusal> {
    let caller = cx.caller.organisation.clone();
    let (mut page, mut seen, mut scanned) = (Vec::new(), after, 0);
    while scanned < MAX_SCANNED_ALERTS {
        let found =
            alert_list::list_for_recipient(&mut cx.snapshot, &caller, wanted, seen, ROWS_PER_STEP).await?;
        if found.is_empty() {
            return Ok((page, None));
        }
        scanned += found.len();
        let ids: BTreeSet<Uuid> = found.iter().filter_map(|(_, alert)| alert.placement).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let (mut placements, mut damaged) = (HashMap::new(), BTreeSet::new());
        for placement in placements::by_ids_with_damaged(&mut cx.snapshot, &ids).await? {
            match placement {
                Ok(placement) => drop(placements.insert(placement.id, placement)),
                Err(row) => drop(damaged.insert(row.placement)),
            }
        }
        for (at, alert) in found {
            let (id, is_own) =
                (alert.placement.unwrap_or_default(), alert.organisation.as_ref() == Some(&caller));
            let placement = placements.get(&id).filter(|placement| placements::can_read(placement, &caller));
            let read = match placement {
                _ if page.len() == size && (is_own || placement.is_some()) => return Ok((page, Some(seen))),
                _ if is_own => own_alert(cx, &alert)
                    .await
                    .map(|OwnAlert { message, children }| Some(ListedAlert { children, message })),
                Some(placement) => load_listed_alert(cx, &alert, placement).await,
                None if damaged.contains(&id) => Err(Reason::Failed.into()),
                None => Ok(None),
            };
            match read {
                Ok(listed) => page.extend(listed),
                Err(refusal) => {
                    pages.end_before_damaged(cx, refusal, (page.is_empty(), id, &at.to_bytes()))?;
                    return Ok((page, Some(seen)));
                }
            }
            seen = at;
        }
    }
    Ok((page, Some(seen)))
}

/// Resolves an open alert with the note of a named officer.
pub(super) async fn resolve_alert(
    mut cx: RequestContext,
    m: ResolveAlertRequest,
) -> Result<Decided<ResolveAlertResponse>, Refusal> {
    let (id, officer, note) = wire::check_resolve(&m)?;
    let by = cx.caller.organisation.clone();
    let alert = alerts::by_id_for_recipient(&mut cx.snapshot, id, &by).await?;
    let placement = match alert.as_ref().and_then(|alert| alert.placement) {
        Some(placement) => placements::by_id(&mut cx.snapshot, placement).await?,
        None => None,
    };
    let is_own = alert.as_ref().is_some_and(|alert| alert.organisation.as_ref() == Some(&by));
    let facts = match &placement {
        Some(placement) => {
            PolicyFacts { status: placement.role_status(), ..PolicyFacts::for_role(placement.role_of(&by)) }
        }
        None => PolicyFacts::for_role(if is_own { CallerRole::Owner } else { CallerRole::NoRole }),
    };
    let permit = cx.permit(&facts)?;
    let alert = alert.ok_or(Reason::NotFound)?;
    if alert.state != AlertState::Open {
        let (present, needed) = (alert.state.as_str_name(), vec![AlertState::Open.as_str_name()]);
        return Err(WrongState { current: present, required: needed, next_actor: NextActor::Nobody }.into());
    }
    let change = cx.change(&permit).guard(alerts::key(id), alert.version);
    // The moment at which it is checked whether the cause still holds.
    let book = cx.settings.get().map_or_else(RuleBook::embedded, Arc::clone);
    let controller = placement.as_ref().map_or(&by, |placement| &placement.commissioner);
    let calendar = terms::load_calendar(&mut cx.snapshot, controller).await?;
    let due = Some(end_of_school_days(cx.now, book.reopen_resolved_after_school_days, &calendar));
    let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, alert_subject(id), due).await?;
    let change = change.guard(guard.key, guard.version).append(&moment);
    let (key, mut change) = match &placement {
        Some(placement) => {
            let (key, change) = children::load_or_generate_key(&mut cx, change, &by, placement.child).await?;
            (Some(key), change)
        }
        None => (None, change),
    };
    let mut next = AlertRow {
        state: AlertState::Resolved,
        ended: Some(cx.now.micros()),
        resolved_by: Some(by.clone()),
        ..alert.next()
    };
    next.resolution = Some(seal_resolution(
        &cx,
        key.as_ref(),
        &next,
        &StoredResolution { officer: cx.attest(officer), note },
    )?);
    let recipients = recipients::list_notified(&mut cx.snapshot, &next, placement.as_ref()).await?;
    for party in recipients.iter().filter(|party| **party != by) {
        change = change.deliver(party, DeliveryKind::AlertEnded, id, next.placement);
    }
    let response = ResolveAlertResponse { state: next.state as i32, receipt: None };
    let (Some(placement), Some(key)) = (placement, key) else {
        return Ok(change.append(&next).with_reply(&response));
    };
    let reply = response.encode_to_vec();
    let record = RecordRef::new(RecordKind::Alert, id, next.version);
    let (placement, role) = (placement.id, LeafRole::Submitted);
    let part = LeafInput { placement, role, record, sender: &by, key: &key, reply: &reply };
    Ok(change.append_child(&part, &[next]).with_reply(&response))
}
