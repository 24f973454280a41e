//! Messages of alerts: what `ListAlerts` returns and what a delivery of an alert contains, with the sealed resolution.

use std::collections::BTreeSet;

use prost::Message;
use uuid::Uuid;

use super::alerts::AlertRow;
use super::bundle_facts;
use super::rule_id::RuleId;
use super::subject::Subject;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    ChildContent, ContentSubject, DeliveredContent, DeliverySource, Reason, RecordRef, Refusal,
    RequestContext,
};
use crate::placements::open_item_code::OpenItemCode;
use crate::placements::{self, Placement, children};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{Alert, AlertFigures, RecordKind, StoredResolution};
use crate::seal::{ChildKey, ColumnAddress, OrganisationKey};
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
    placement: Option<&Placement>,
) -> Result<Alert, Refusal> {
    let item = match alert.rule {
        RuleId::OpenItemOverdue => Some(alert.overdue_item()?),
        _ => alert.item,
    };
    let time = |micros: i64| Instant::from_micros(micros).ok().map(Instant::to_proto);
    let (commissioner, provider) = match (&alert.subject, placement) {
        (_, Some(placement)) => (Some(&placement.commissioner), Some(&placement.provider)),
        (Subject::Provider(provider, _), None) => (None, Some(provider)),
        (Subject::Commissioner(commissioner, _), None) => (Some(commissioner), None),
        (Subject::Placement(_) | Subject::Delivery(_), None) => (None, None),
    };
    let figures = alert.figures.as_deref().map(AlertFigures::decode);
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
        placement_id: placement.map(|placement| placement.id.hyphenated().to_string()).unwrap_or_default(),
        commissioner: commissioner.map(ToString::to_string).unwrap_or_default(),
        provider: provider.map(ToString::to_string).unwrap_or_default(),
        figures: figures.transpose().map_err(|_| StoreError::corrupt("alerts", "figures"))?,
        item: item.map(OpenItemCode::as_str).unwrap_or_default().to_owned(),
        due_date: alert.due_date.to_string(),
        state: alert.state as i32,
        raised_time: time(alert.raised),
        ended_time: alert.ended.and_then(time),
        ..Alert::default()
    };
    if let Some((by, sealed)) = alert.resolved_by.as_ref().zip(alert.resolution.as_ref()) {
        message.resolved_by = by.to_string();
        if let Some(resolution) = open_resolution(cx, alert, by, sealed).await? {
            message.officer = resolution.officer;
            message.note = resolution.note;
        }
    }
    Ok(message)
}

/// An alert that is its reader's own, as the reader may see it now.
pub(super) struct OwnAlert {
    pub(super) message: Alert,
    /// The placements that it names, each with the commissioner's key of the child.
    pub(super) children: Vec<(Placement, ChildKey)>,
}

/// Builds the message of an alert that is about no placement. Placements that the caller may not read any more, and those
/// whose child's record was erased, are left out and not counted.
///
/// # Errors
/// [`Reason::Failed`] when what is stored does not open.
pub(super) async fn own_alert(cx: &mut RequestContext, alert: &AlertRow) -> Result<OwnAlert, Refusal> {
    let mut message = alert_message(cx, alert, None).await?;
    let ids: Vec<Uuid> = bundle_facts::placements_of(alert)?.into_iter().collect();
    let mut children = Vec::new();
    if ids.is_empty() {
        return Ok(OwnAlert { message, children });
    }
    for placement in placements::rows::by_ids(&mut cx.snapshot, &ids).await? {
        if !placements::can_read(&placement, &cx.caller.organisation) {
            continue;
        }
        let key = children::load_key(cx, &placement.commissioner, placement.child).await?;
        cx.snapshot.record_read(placement.key(), placement.version);
        children.extend(key.map(|key| (placement, key)));
    }
    let counted: BTreeSet<Uuid> = children.iter().map(|(placement, _)| placement.child).collect();
    message.figures = Some(AlertFigures {
        children: u32::try_from(counted.len()).unwrap_or(u32::MAX),
        placement_ids: children.iter().map(|(placement, _)| placement.id.hyphenated().to_string()).collect(),
        ..AlertFigures::default()
    });
    Ok(OwnAlert { message, children })
}

/// Returns the part of an alert about several placements that is about one of them.
pub(super) fn placement_part(placement: Uuid) -> Vec<u8> {
    let placement_ids = vec![placement.hyphenated().to_string()];
    AlertFigures { placement_ids, ..AlertFigures::default() }.encode_to_vec()
}

/// Opens the resolution of an alert. `None`: the organisation's key of the child is destroyed.
async fn open_resolution(
    cx: &mut RequestContext,
    alert: &AlertRow,
    by: &OrganisationId,
    sealed: &[u8],
) -> Result<Option<StoredResolution>, Refusal> {
    let row = sealed_row_id(alert);
    let plain = match alert.child {
        Some(child) => {
            let Some(key) = children::load_key(cx, by, child).await? else { return Ok(None) };
            key.open(sealed_column(&row), sealed)
        }
        None => OrganisationKey::open(&cx.vault.ring(), by.as_str(), sealed_column(&row), sealed),
    };
    let plain = plain.map_err(children::seal_refusal)?;
    Ok(Some(StoredResolution::decode(&plain[..]).map_err(|_| Reason::Failed)?))
}

/// Seals the resolution of an alert for its row: under the key of the child, or of the caller if it is about no child.
///
/// # Errors
/// [`Reason::Failed`] when the cryptographic library fails.
pub(super) fn seal_resolution(
    cx: &RequestContext,
    key: Option<&ChildKey>,
    alert: &AlertRow,
    resolution: &StoredResolution,
) -> Result<Vec<u8>, Refusal> {
    let fill = |bytes: &mut [u8]| cx.random.fill(bytes);
    let (row, plain) = (sealed_row_id(alert), resolution.encode_to_vec());
    let sealed = match key {
        Some(key) => key.seal(sealed_column(&row), &plain, &fill),
        None => OrganisationKey::derive(&cx.vault.ring(), cx.caller.organisation.as_str())
            .and_then(|key| key.seal(sealed_column(&row), &plain, &fill)),
    };
    sealed.map_err(children::seal_refusal)
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
    if let Some(organisation) = &alert.organisation {
        if *organisation != cx.caller.organisation {
            return Ok(nothing);
        }
        let OwnAlert { message, children } = own_alert(cx, &alert).await?;
        let record = RecordRef::new(RecordKind::Alert, alert.id, alert.version);
        let children = children.into_iter().map(|(placement, key)| {
            let encoded = placement_part(placement.id);
            let (placement, sender) = (placement.id, placement.commissioner);
            ChildContent { subject: ContentSubject { placement, sender, key, record }, encoded }
        });
        return Ok(DeliveredContent::new(message, Content::Alert, children.collect()));
    }
    let placement = alert.placement.ok_or_else(|| StoreError::corrupt("alerts", "placement"))?;
    let placement = placements::by_id(&mut cx.snapshot, placement).await?;
    let placement = placement.filter(|found| placements::can_read(found, &cx.caller.organisation));
    let Some(placement) = placement else { return Ok(nothing) };
    // The leaf is salted by the commissioner's key of the child.
    let Some(key) = children::load_key(cx, &placement.commissioner, placement.child).await? else {
        return Ok(nothing);
    };
    let message = alert_message(cx, &alert, Some(&placement)).await?;
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
