//! Messages of alerts: what `ListAlerts` returns and what a delivery of an alert contains, with the sealed resolution.

use prost::Message;

use super::alerts::AlertRow;
use super::rule_id::RuleId;
use crate::clock::Instant;
use crate::exchange::{
    ContentSubject, DeliveredContent, DeliverySource, Reason, RecordRef, Refusal, RequestContext,
};
use crate::placements::open_item_code::OpenItemCode;
use crate::placements::{self, Placement, children};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{Alert, RecordKind, StoredResolution};
use crate::seal::{ChildKey, ColumnAddress};
use crate::select;
use crate::store::{Record, StoreError};

/// Builds the message of an alert. The officer and the note of its resolution are left out once the key that seals them
/// is destroyed.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub(super) async fn alert_message(
    cx: &mut RequestContext,
    alert: &AlertRow,
    placement: &Placement,
) -> Result<Alert, Refusal> {
    let item = match alert.rule {
        RuleId::OpenItemOverdue => Some(alert.overdue_item()?),
        _ => alert.item,
    };
    let time = |micros: i64| Instant::from_micros(micros).ok().map(Instant::to_proto);
    let mut message = Alert {
        alert_id: alert.id.hyphenated().to_string(),
        kind: alert.rule.alert_kind() as i32,
        rule: alert.rule.as_str().to_owned(),
        severity: alert.severity.number(),
        level: i32::try_from(alert.level).unwrap_or(i32::MAX),
        subject: alert.subject.to_string(),
        act_by_time: Some(alert.act_by.to_proto()),
        escalated_time: alert.escalated.map(Instant::to_proto),
        times_raised: i32::try_from(alert.times_raised).unwrap_or(i32::MAX),
        placement_id: placement.id.hyphenated().to_string(),
        commissioner: placement.commissioner.to_string(),
        provider: placement.provider.to_string(),
        item: item.map(OpenItemCode::as_str).unwrap_or_default().to_owned(),
        due_date: alert.due_date.to_string(),
        state: alert.state as i32,
        raised_time: time(alert.raised),
        ended_time: alert.ended.and_then(time),
        ..Alert::default()
    };
    if let Some((by, sealed)) = alert.resolved_by.as_ref().zip(alert.resolution.as_ref()) {
        let child = alert.child.ok_or_else(|| StoreError::corrupt("alerts", "child"))?;
        message.resolved_by = by.to_string();
        if let Some(key) = children::load_key(cx, by, child).await? {
            let plain =
                key.open(sealed_column(&sealed_row_id(alert)), sealed).map_err(children::seal_refusal)?;
            let resolution = StoredResolution::decode(&plain[..]).map_err(|_| Reason::Failed)?;
            message.officer = resolution.officer;
            message.note = resolution.note;
        }
    }
    Ok(message)
}

/// Seals the resolution of an alert for its row.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub(super) fn seal_resolution(
    cx: &RequestContext,
    key: &ChildKey,
    alert: &AlertRow,
    resolution: &StoredResolution,
) -> Result<Vec<u8>, Refusal> {
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    key.seal(sealed_column(&sealed_row_id(alert)), &resolution.encode_to_vec(), &fill)
        .map_err(children::seal_refusal)
}

/// Reads the content of a delivery of an alert, as the exchange at a log index wrote it. It is empty if the caller may not
/// read the placement any more, or the child's record was erased.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub async fn alert_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let nothing = DeliveredContent::default();
    let sql = select!(AlertRow, "WHERE a.idx = $1 AND a.id = $2");
    let arguments = vec![source.index.into(), source.object.into()];
    let Some(row) = cx.snapshot.fetch_one(sql, arguments).await? else { return Ok(nothing) };
    let alert = AlertRow::read(&row)?;
    let placement = alert.placement.ok_or_else(|| StoreError::corrupt("alerts", "placement"))?;
    let placement = placements::by_id(&mut cx.snapshot, placement).await?;
    let placement = placement.filter(|found| placements::can_read(found, &cx.caller.organisation));
    let Some(placement) = placement else { return Ok(nothing) };
    // The leaf is salted by the commissioner's key of the child.
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(nothing);
    };
    let message = alert_message(cx, &alert, &placement).await?;
    let record = RecordRef::new(RecordKind::Alert, alert.id, alert.version);
    let subject = ContentSubject { placement: placement.id, sender: placement.commissioner, key, record };
    Ok(DeliveredContent::about_child(message, Content::Alert, subject))
}

/// Returns the bytes that identify a row to the sealing functions: id and version. The row has no log index yet.
fn sealed_row_id(alert: &AlertRow) -> Vec<u8> {
    [&alert.id.as_bytes()[..], &alert.version.to_be_bytes()].concat()
}

fn sealed_column(row: &[u8]) -> ColumnAddress<'_> {
    ColumnAddress { table: "alerts", row, column: "resolution" }
}
