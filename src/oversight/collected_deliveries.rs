//! The collection of late deliveries: an alert that nobody had collected one may end with it.

use std::collections::BTreeSet;

use super::rules::DELIVERY_RULE;
use crate::exchange::{Change, RequestContext};
use crate::placements::delivery_subject::DeliverySubject;
use crate::store::moment::MomentRow;
use crate::store::{StoreError, ValueSet};

/// Time in microseconds for which no delivery is late: the first deadline is at the end of the day at the earliest.
const NEVER_LATE_US: i64 = 3_600_000_000;

/// Has those of the deliveries that the caller collects evaluated now about which the sender has an open alert. Each is given
/// with the time at which it was stored. Deliveries in time cost nothing.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_collected(
    cx: &mut RequestContext,
    mut change: Change,
    collected: impl IntoIterator<Item = (DeliverySubject, i64)>,
) -> Result<Change, StoreError> {
    let now = cx.now;
    let is_late = |stored: i64| stored.saturating_add(NEVER_LATE_US) < now.micros();
    let late = collected.into_iter().filter(|(_, stored)| is_late(*stored));
    let late: BTreeSet<String> = late.map(|(delivery, _)| delivery.to_string()).collect();
    let sql = "SELECT DISTINCT a.subject FROM alerts a JOIN current_versions v ON v.key = a.version_key \
               AND v.idx = a.idx AND v.ordinal = a.ordinal WHERE a.rule = $1 AND a.state = 1 AND a.subject IN SET";
    let subjects = ValueSet::Texts(late.into_iter().collect());
    let rows = cx.snapshot.fetch_in_set(sql, vec![DELIVERY_RULE.as_str().into()], subjects).await?;
    for row in rows {
        let subject: String = row.get("subject")?;
        let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, subject, Some(now)).await?;
        change = change.guard(guard.key, guard.version).append(&moment);
    }
    Ok(change)
}
