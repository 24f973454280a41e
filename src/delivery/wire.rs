//! Requests as they are checked: cursors, kinds, acknowledgements.

use super::rows::Place;
use crate::exchange::check::Check;
use crate::exchange::{Cx, Refusal};
use crate::proto::v1::{
    AcknowledgeDeliveryRequest, Cursor, DeliveryKind, DeliveryStage, GetDeliveryStatusRequest,
    ListDeliveriesRequest, Officer, WatchPosition,
};
use uuid::Uuid;

/// Deliveries of one acknowledgement.
const ACKNOWLEDGED: usize = 100;
/// Kinds in a filter.
const KINDS: usize = 32;

/// Where a reader goes on, and with what.
#[derive(Clone, Copy)]
pub struct From {
    /// Behind this place.
    pub after: Place,
    /// One bit a kind.
    pub kinds: i64,
    /// Most deliveries.
    pub size: i64,
}

/// Checks a request to list.
pub fn list(cx: &Cx, m: &ListDeliveriesRequest) -> Result<From, Refusal> {
    let mut check = Check::new();
    let size = check.page_size("page_size", m.page_size, 100, 100).unwrap_or(100);
    let (after, kinds) = (cursor(cx, &mut check, m.cursor.as_ref()), kinds(&mut check, &m.kinds));
    check.finish()?;
    Ok(From { after, kinds, size: i64::from(size) })
}

/// Checks a position of a stream.
pub fn position(cx: &Cx, m: &WatchPosition) -> Result<From, Refusal> {
    let mut check = Check::new();
    let (after, kinds) = (cursor(cx, &mut check, m.cursor.as_ref()), kinds(&mut check, &m.kinds));
    check.finish()?;
    Ok(From { after, kinds, size: 100 })
}

fn cursor(cx: &Cx, check: &mut Check, sent: Option<&Cursor>) -> Place {
    match sent {
        None => Place::START,
        Some(sent) => place(cx, check, "cursor", sent),
    }
}

/// A cursor of this gateway's logs. Where one was replaced, what it had lost has the indexes of other entries now,
/// and a reader that went on from there would miss those.
fn place(cx: &Cx, check: &mut Check, field: &'static str, sent: &Cursor) -> Place {
    let index = i64::try_from(sent.index).ok();
    match index.and_then(|_| cx.logs.is_lost(&sent.log, sent.index)) {
        Some(false) => {}
        Some(true) => check.fault(field, "CURSOR_LOST"),
        None => check.fault(field, "CURSOR_UNKNOWN"),
    }
    Place { index: index.unwrap_or(0), ordinal: i64::from(sent.ordinal) }
}

/// The filter as bits; every kind where none is named.
fn kinds(check: &mut Check, sent: &[i32]) -> i64 {
    if !check.list_len("kinds", sent.len(), KINDS) || sent.is_empty() {
        return i64::MAX;
    }
    let read = sent.iter().map(|kind| check.enum_value::<DeliveryKind>("kinds", *kind));
    read.flatten().fold(0, |bits, kind| bits | 1 << (kind as i32))
}

/// A place in the mailbox, as a cursor.
pub fn cursor_of(cx: &Cx, at: Place) -> Cursor {
    let index = u64::try_from(at.index).unwrap_or(0);
    Cursor { log: cx.logs.log_of(index).to_owned(), index, ordinal: u32::try_from(at.ordinal).unwrap_or(0) }
}

/// Returns the cursor of a damaged delivery as metadata of a refusal: to go on from it is to go on behind it.
pub fn behind(cx: &Cx, at: Place) -> Vec<(&'static str, String)> {
    let Cursor { log, index, ordinal } = cursor_of(cx, at);
    vec![("next_log", log), ("next_index", index.to_string()), ("next_ordinal", ordinal.to_string())]
}

/// An acknowledgement.
pub struct Acknowledgement {
    /// The deliveries, each with the digest of the content that was received, where it was kept.
    pub deliveries: Vec<(Place, Option<[u8; 32]>)>,
    /// ACKNOWLEDGED or `ACTED_ON`.
    pub stage: DeliveryStage,
    /// Who acted.
    pub officer: Option<Officer>,
}

/// Checks an acknowledgement.
pub fn acknowledgement(cx: &Cx, m: &AcknowledgeDeliveryRequest) -> Result<Acknowledgement, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let stage = check.enum_value::<DeliveryStage>("stage", m.stage);
    if matches!(stage, Some(DeliveryStage::Accepted | DeliveryStage::Collected)) {
        check.fault("stage", "STAGE_NOT_RECIPIENTS");
    }
    let acted = stage == Some(DeliveryStage::ActedOn);
    let officer = if acted { check.person("officer", m.officer.as_ref()) } else { None };
    if !acted && m.officer.is_some() {
        check.fault("officer", "OFFICER_NOT_EXPECTED");
    }
    if m.deliveries.is_empty() {
        check.fault("deliveries", "FIELD_REQUIRED");
    }
    let mut deliveries = Vec::new();
    if check.list_len("deliveries", m.deliveries.len(), ACKNOWLEDGED) {
        for (index, sent) in m.deliveries.iter().enumerate() {
            let (read, violations) = check.row("deliveries", index, |row| {
                let cursor = row.present("cursor", sent.cursor.as_ref());
                let at = cursor.map(|cursor| place(cx, row, "cursor", cursor));
                let digest = <[u8; 32]>::try_from(sent.content_sha256.as_ref()).ok();
                if digest.is_none() && !sent.content_sha256.is_empty() {
                    row.fault("content_sha256", "SHA256_LENGTH");
                }
                at.map(|at| (at, digest))
            });
            check.absorb(violations);
            deliveries.extend(read);
        }
    }
    check.finish()?;
    Ok(Acknowledgement { deliveries, stage: stage.unwrap_or(DeliveryStage::Acknowledged), officer })
}

/// Checks a request for the status of a thing.
pub fn status(m: &GetDeliveryStatusRequest) -> Result<Uuid, Refusal> {
    let mut check = Check::new();
    let object = check.uuid("object_id", &m.object_id);
    check.finish()?;
    Ok(object.unwrap_or_default())
}
