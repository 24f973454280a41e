//! Checks of delivery requests: cursors, kinds and acknowledgements.

use super::rows::MailboxPosition;
use crate::exchange::check::Check;
use crate::exchange::{Refusal, RequestContext};
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, Cursor, DeliveryKind, DeliveryStage, GetDeliveryStatusRequest,
    ListDeliveriesRequest, Officer, WatchPosition,
};
use crate::store::{EntryIndex, Ordinal};
use crate::violation_reason::ViolationReason;
use uuid::Uuid;

/// Maximum number of deliveries of one acknowledgement.
const MAX_ACKNOWLEDGED_DELIVERIES: usize = 100;
/// Maximum number of kinds of a filter.
const MAX_FILTER_KINDS: usize = 32;

/// A checked request to read a mailbox.
#[derive(Clone, Copy)]
pub struct MailboxQuery {
    /// Position after which to read.
    pub after: MailboxPosition,
    /// Kinds to return, one bit for each.
    pub kind_bits: i64,
    /// Maximum number of deliveries to return.
    pub max_deliveries: i64,
}

/// Checks a request to list.
pub fn check_list(cx: &RequestContext, m: &ListDeliveriesRequest) -> Result<MailboxQuery, Refusal> {
    let mut check = Check::new();
    let size = check.page_size("page_size", m.page_size, 100, 100).unwrap_or(100);
    let (after, kinds) = (check_cursor(cx, &mut check, m.cursor.as_ref()), check_kinds(&mut check, &m.kinds));
    check.finish()?;
    Ok(MailboxQuery { after, kind_bits: kinds, max_deliveries: i64::from(size) })
}

/// Checks the position of a stream.
pub fn check_position(cx: &RequestContext, m: &WatchPosition) -> Result<MailboxQuery, Refusal> {
    let mut check = Check::new();
    let (after, kinds) = (check_cursor(cx, &mut check, m.cursor.as_ref()), check_kinds(&mut check, &m.kinds));
    check.finish()?;
    Ok(MailboxQuery { after, kind_bits: kinds, max_deliveries: 100 })
}

fn check_cursor(cx: &RequestContext, check: &mut Check, sent: Option<&Cursor>) -> MailboxPosition {
    match sent {
        None => MailboxPosition::START,
        Some(sent) => position_from_cursor(cx, check, "cursor", sent),
    }
}

/// Checks a cursor against the gateway's logs and returns its position. A cursor into the lost part of a replaced log
/// is refused, because other entries have those indexes now and a reader that continued there would miss them.
fn position_from_cursor(
    cx: &RequestContext,
    check: &mut Check,
    field: &'static str,
    sent: &Cursor,
) -> MailboxPosition {
    let index = i64::try_from(sent.index).ok();
    match index.and_then(|_| cx.log_keys.is_lost(&sent.log, sent.index)) {
        Some(false) => {}
        Some(true) => check.add_violation(field, ViolationReason::CursorLost),
        None => check.add_violation(field, ViolationReason::CursorUnknown),
    }
    MailboxPosition {
        index: EntryIndex::new(index.unwrap_or(0)),
        ordinal: Ordinal::new(i64::from(sent.ordinal)),
    }
}

/// Checks a filter of kinds and returns it as bits. An empty filter selects every kind.
fn check_kinds(check: &mut Check, sent: &[i32]) -> i64 {
    if !check.list_len("kinds", sent.len(), MAX_FILTER_KINDS) || sent.is_empty() {
        return i64::MAX;
    }
    let read = sent.iter().map(|kind| check.enum_value::<DeliveryKind>("kinds", *kind));
    read.flatten().fold(0, |bits, kind| bits | 1 << (kind as i32))
}

/// Returns the cursor of a position in a mailbox.
pub fn cursor_from_position(cx: &RequestContext, at: MailboxPosition) -> Cursor {
    let index = u64::try_from(at.index.get()).unwrap_or(0);
    Cursor {
        log: cx.log_keys.cursor_log_name(index).to_owned(),
        index,
        ordinal: u32::try_from(at.ordinal.get()).unwrap_or(0),
    }
}

/// Returns the cursor of a damaged delivery as metadata of a refusal. The caller continues after that delivery when it
/// reads from this cursor.
pub fn resume_metadata(cx: &RequestContext, at: MailboxPosition) -> Vec<(&'static str, String)> {
    cursor_metadata(cursor_from_position(cx, at))
}

/// Returns a cursor as metadata of a refusal.
pub fn cursor_metadata(Cursor { log, index, ordinal }: Cursor) -> Vec<(&'static str, String)> {
    vec![("next_log", log), ("next_index", index.to_string()), ("next_ordinal", ordinal.to_string())]
}

/// A checked request to acknowledge.
pub struct CheckedAcknowledgement {
    /// The deliveries, each with the digest of the received content if the caller sent one.
    pub deliveries: Vec<(MailboxPosition, Option<[u8; 32]>)>,
    /// Stage to record: `ACKNOWLEDGED` or `ACTED_ON`.
    pub stage: DeliveryStage,
    /// The officer who acted; set with `ACTED_ON` only.
    pub officer: Option<Officer>,
}

/// Checks a request to acknowledge.
pub fn check_acknowledgement(
    cx: &RequestContext,
    m: &AcknowledgeDeliveryRequest,
) -> Result<CheckedAcknowledgement, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let stage = check.enum_value::<DeliveryStage>("stage", m.stage);
    if matches!(stage, Some(DeliveryStage::Accepted | DeliveryStage::Collected)) {
        check.add_violation("stage", ViolationReason::StageNotRecipients);
    }
    let acted = stage == Some(DeliveryStage::ActedOn);
    let officer = if acted { check.officer("officer", m.officer.as_ref()) } else { None };
    if !acted && m.officer.is_some() {
        check.add_violation("officer", ViolationReason::OfficerNotExpected);
    }
    if m.deliveries.is_empty() {
        check.add_violation("deliveries", ViolationReason::FieldRequired);
    }
    let mut deliveries = Vec::new();
    if check.list_len("deliveries", m.deliveries.len(), MAX_ACKNOWLEDGED_DELIVERIES) {
        for (index, sent) in m.deliveries.iter().enumerate() {
            let (read, violations) = check.read_row("deliveries", index, |row| {
                let cursor = row.present("cursor", sent.cursor.as_ref());
                let at = cursor.map(|cursor| position_from_cursor(cx, row, "cursor", cursor));
                let digest = <[u8; 32]>::try_from(sent.content_sha256.as_ref()).ok();
                if digest.is_none() && !sent.content_sha256.is_empty() {
                    row.add_violation("content_sha256", ViolationReason::Sha256Length);
                }
                at.map(|at| (at, digest))
            });
            check.absorb(violations);
            deliveries.extend(read);
        }
    }
    check.finish()?;
    Ok(CheckedAcknowledgement { deliveries, stage: stage.unwrap_or(DeliveryStage::Acknowledged), officer })
}

/// Checks a request for the delivery status of an object, and returns its id.
pub fn check_status(m: &GetDeliveryStatusRequest) -> Result<Uuid, Refusal> {
    let mut check = Check::new();
    let object = check.uuid("object_id", &m.object_id);
    check.finish()?;
    Ok(object.unwrap_or_default())
}
