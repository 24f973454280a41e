//! When commissioner or provider acted on missed tuition: a named person acted on a delivery of the marks or of an alert about
//! missed tuition, such an alert was resolved, or the commissioner stated in its register or by a notice what it knows. A
//! plan and a progress return count too; they are facts of the placement.
//!
//! Commissioner and provider may both read each of these, because both are told whether somebody acted. Alerts of other
//! rules do not count: what the commissioner does about an alert of which it alone is told would show in the provider's.

use uuid::Uuid;

use super::rule_id::RuleId;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::exchange::RequestContext;
use crate::placements::Placement;
use crate::proto::v1::{AlertState, DeliveryStage};
use crate::store::version_key::VersionKey;
use crate::store::{Row, StoreError, ValueSet};

/// Returns the newest day on which commissioner or provider acted; `returns` sent the marks of the missed sessions.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn acted_on(
    cx: &mut RequestContext,
    placement: &Placement,
    returns: &[Uuid],
) -> Result<Option<Date>, StoreError> {
    let actors = [placement.commissioner.as_str(), placement.provider.as_str()];
    let rule = RuleId::TuitionMissed.as_str();
    let sql = "SELECT DISTINCT a.id FROM alerts a WHERE a.placement = $1 AND a.rule = $2";
    let alerts = cx.snapshot.fetch(sql, vec![placement.id.into(), rule.into()]).await?;
    let mut objects = alerts.iter().map(|row| row.get("id")).collect::<Result<Vec<Uuid>, _>>()?;
    objects.extend(returns);
    let sql = "SELECT p.organisation, p.idx, p.ordinal FROM parties p WHERE p.object IN SET";
    let mut keys = Vec::new();
    for row in &cx.snapshot.fetch_in_set(sql, Vec::new(), ValueSet::of_ids(&objects)).await? {
        let organisation = row.get_str("organisation")?;
        if actors.contains(&organisation) {
            let position = (row.get("idx")?, row.get("ordinal")?);
            keys.push(VersionKey::acknowledgement(organisation, position, DeliveryStage::ActedOn as i32));
        }
    }
    let sql = "SELECT k.time FROM current_versions v \
               JOIN acknowledgements k ON k.idx = v.idx AND k.ordinal = v.ordinal WHERE v.key";
    let acknowledged = cx.snapshot.fetch_by_keys(sql, &keys).await?;
    let sql = "SELECT a.ended AS time FROM alerts a WHERE a.placement = $1 AND a.rule = $5 AND a.state = $2 \
               AND a.resolved_by IN ($3, $4) \
               UNION ALL SELECT s.received AS time FROM statements s WHERE s.placement = $1 AND s.organisation = $3";
    let [commissioner, provider] = actors;
    let resolved = i64::from(AlertState::Resolved as i32);
    let arguments =
        vec![placement.id.into(), resolved.into(), commissioner.into(), provider.into(), rule.into()];
    let statements = cx.snapshot.fetch(sql, arguments).await?;
    let day = |row: &Row| Ok::<_, StoreError>(row.get::<Option<Instant>>("time")?.map(Date::in_london));
    let days = acknowledged.iter().chain(&statements).map(day).collect::<Result<Vec<_>, _>>()?;
    Ok(days.into_iter().flatten().max())
}
