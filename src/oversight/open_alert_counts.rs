//! Numbers of open alerts, for the metrics.

use std::collections::BTreeMap;

use super::rule_id::RuleId;
use crate::store::{Snapshot, StoreError};

/// Counts open alerts by rule, and by how often they were escalated: never, once, more often.
///
/// # Errors
/// See [`StoreError`].
pub async fn count_open_alerts(snapshot: &mut Snapshot) -> Result<BTreeMap<RuleId, [i64; 3]>, StoreError> {
    let sql = "SELECT a.rule, a.level, COUNT(*) AS number FROM alerts a JOIN current_versions v \
               ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
               WHERE a.state = 1 GROUP BY a.rule, a.level ORDER BY a.rule, a.level";
    let mut counts: BTreeMap<_, _> = RuleId::ALL.iter().map(|rule| (*rule, [0; 3])).collect();
    for row in snapshot.fetch(sql, Vec::new()).await? {
        let (rule, level): (RuleId, u32) = (row.get("rule")?, row.get("level")?);
        let [never, once, more] = counts.entry(rule).or_default();
        let number: i64 = row.get("number")?;
        *match level {
            0 => never,
            1 => once,
            _ => more,
        } += number;
    }
    Ok(counts)
}
