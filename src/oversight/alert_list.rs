//! The list of the alerts of which an organisation was told: filters, orders and pages.

use uuid::Uuid;

use super::alerts::AlertRow;
use super::rule_id::RuleId;
use super::severity::Severity;
use super::subject::Subject;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{AlertOrder, AlertState};
use crate::select;
use crate::store::{Record, Row, Snapshot, StoreError, Value, ValueSet};

/// A filter of alerts.
pub struct AlertFilter {
    /// State, if alerts in other states are left out.
    pub state: Option<AlertState>,
    /// Placement, if alerts of other placements are left out.
    pub placement: Option<Uuid>,
    /// Rule, if alerts of other rules are left out.
    pub rule: Option<RuleId>,
    /// Severity, if alerts of other severities are left out.
    pub severity: Option<Severity>,
    /// Order.
    pub order: AlertOrder,
}

/// A position in a list of alerts: what the list is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertPosition {
    /// In the order of raising: entry index and ordinal of the first delivery, then zeros. In the order of urgency:
    /// severity, level below zero, act-by and raised in microseconds since 1970 UTC.
    numbers: [i64; 4],
    /// The alert, in the order of urgency.
    id: Uuid,
}

impl AlertPosition {
    /// The position before the first alert.
    pub const START: Self = Self { numbers: [-1, i64::MIN, i64::MIN, i64::MIN], id: Uuid::nil() };

    /// Encodes the position for a page token.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let numbers = self.numbers.iter().flat_map(|number| number.to_be_bytes());
        numbers.chain(self.id.into_bytes()).collect()
    }

    /// Decodes a position.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, id) = bytes.split_at_checked(32)?;
        let mut position = Self { id: Uuid::from_slice(id).ok()?, ..Self::START };
        for (number, stored) in position.numbers.iter_mut().zip(numbers.chunks_exact(8)) {
            *number = i64::from_be_bytes(stored.try_into().ok()?);
        }
        Some(position)
    }

    fn read(row: &Row, order: AlertOrder) -> Result<Self, StoreError> {
        if order == AlertOrder::Urgency {
            let level: i64 = row.get("level")?;
            let numbers = [row.get("severity")?, -level, row.get("act_by")?, row.get("raised")?];
            Ok(Self { numbers, id: row.get("id")? })
        } else {
            Ok(Self {
                numbers: [row.get("received_idx")?, row.get("received_ordinal")?, 0, 0],
                id: Uuid::nil(),
            })
        }
    }
}

/// Selects the alerts of which an organisation was told, each with the position of its first delivery.
macro_rules! received {
    ($order:literal) => {
        select!(
            AlertRow,
            and "t.idx AS received_idx, t.ordinal AS received_ordinal",
            concat!(
                "JOIN current_versions v ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
                 JOIN parties t ON t.object = a.id AND t.organisation = $1 AND t.kind = 22 AND t.idx = \
                 (SELECT MIN(f.idx) FROM parties f WHERE f.organisation = $1 AND f.object = a.id AND f.kind = 22) \
                 WHERE a.state BETWEEN $2 AND $3 AND COALESCE(a.placement, $10) BETWEEN $4 AND $5 AND a.rule BETWEEN $6 AND $7 \
                 AND a.severity BETWEEN $8 AND $9 AND ",
                $order
            )
        )
    };
}

/// Lists alerts of which the organisation was told, behind a position, at most `limit`, each with its position.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_for_recipient(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    wanted: &AlertFilter,
    after: AlertPosition,
    limit: i64,
) -> Result<Vec<(AlertPosition, AlertRow)>, StoreError> {
    let states = wanted.state.map_or((0, i32::MAX), |state| (state as i32, state as i32));
    let placements = wanted.placement.map_or((Uuid::nil(), Uuid::max()), |placement| (placement, placement));
    // Ids are of A to Z and _, so all of them lie between these.
    let rules = wanted.rule.map_or(("", "~"), |rule| (rule.as_str(), rule.as_str()));
    let severities = wanted.severity.map_or((0, i32::MAX), |one| (one.number(), one.number()));
    let mut arguments: Vec<Value> = vec![
        organisation.as_str().into(),
        states.0.into(),
        states.1.into(),
        placements.0.into(),
        placements.1.into(),
        rules.0.into(),
        rules.1.into(),
        severities.0.into(),
        severities.1.into(),
        // An alert about no placement is among those of all placements.
        Uuid::nil().into(),
    ];
    let [first, second, third, fourth] = after.numbers;
    let sql = if wanted.order == AlertOrder::Urgency {
        arguments.extend([first.into(), second.into(), third.into(), fourth.into(), after.id.into()]);
        received!(
            "(a.severity, -a.level, a.act_by, a.raised, a.id) > ($11, $12, $13, $14, $15) \
             ORDER BY a.severity, -a.level, a.act_by, a.raised, a.id LIMIT $16"
        )
    } else {
        arguments.extend([first.into(), second.into()]);
        received!("(t.idx, t.ordinal) > ($11, $12) ORDER BY t.idx, t.ordinal LIMIT $13")
    };
    arguments.push(limit.into());
    let rows = snapshot.fetch(sql, arguments).await?;
    rows.iter().map(|row| Ok((AlertPosition::read(row, wanted.order)?, AlertRow::read(row)?))).collect()
}

/// Lists the rules with an open alert about placements of a set, of which the organisation was told, each with its
/// placement and the day by which the cause should have been gone.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_open_about(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    placements: ValueSet,
) -> Result<Vec<(Uuid, RuleId, Date)>, StoreError> {
    let sql = "SELECT a.placement, a.rule, a.due_date FROM alerts a \
               JOIN current_versions v ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
               WHERE a.state = 1 AND EXISTS (SELECT 1 FROM parties t WHERE t.organisation = $1 AND t.object = a.id \
               AND t.kind = 22) AND a.placement IN SET";
    let rows = snapshot.fetch_in_set(sql, vec![organisation.as_str().into()], placements).await?;
    rows.iter().map(|row| Ok((row.get("placement")?, row.get("rule")?, row.get("due_date")?))).collect()
}

/// Lists the open alerts of the organisation's own about a provider, the first day first, at most `limit`: the rule, the
/// subject and the day that it is about.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_open_about_provider(
    snapshot: &mut Snapshot,
    organisation: &OrganisationId,
    provider: &OrganisationId,
    limit: i64,
) -> Result<Vec<(RuleId, Subject, Date)>, StoreError> {
    // Subjects are `provider/{organisation}/{cut-off}`, and 0 follows the slash.
    let (from, to) = (format!("provider/{provider}/"), format!("provider/{provider}0"));
    let sql = "SELECT a.rule, a.subject, a.due_date FROM alerts a \
               JOIN current_versions v ON v.key = a.version_key AND v.idx = a.idx AND v.ordinal = a.ordinal \
               WHERE a.state = 1 AND a.organisation = $1 AND a.subject >= $2 AND a.subject < $3 \
               ORDER BY a.due_date, a.subject, a.rule LIMIT $4";
    let arguments = vec![organisation.as_str().into(), from.into(), to.into(), limit.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    rows.iter().map(|row| Ok((row.get("rule")?, row.get("subject")?, row.get("due_date")?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_its_bytes() {
        let position = AlertPosition { numbers: [2, -1, 7, i64::MAX], id: Uuid::from_u128(9) };
        assert_eq!(AlertPosition::from_bytes(&position.to_bytes()), Some(position));
        assert_eq!(AlertPosition::from_bytes(&[0; 47]), None);
        assert_eq!(AlertPosition::from_bytes(&[0; 49]), None);
    }
}
