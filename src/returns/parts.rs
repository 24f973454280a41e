//! `StreamAttendance`: receives a return in parts and decides each part like a register. The parts of a return are
//! counted under one key, so that each part number is used once, also when parts come on different streams.

use std::collections::HashSet;

use uuid::Uuid;

use super::roster::RosterCache;
use super::rows::{ReturnRow, parts_key};
use super::submit::{self, decide_marks};
use super::wire;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Decided, NextActor, PartMessage, PolicyFacts, Reason, Refusal, RequestContext, WrongState,
};
use crate::proto::v1::{
    StreamAttendanceRequest, StreamAttendanceResponse, SubmitAttendanceRequest, SubmitAttendanceResponse,
};
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Snapshot, StoreError};
use crate::violation_reason::ViolationReason;

/// Maximum number of marks in a message.
const MAX_MARKS_PER_MESSAGE: usize = 200;
/// Maximum number of marks in a return.
const MAX_MARKS_PER_RETURN: i64 = 20_000;

/// The progress of a return in parts.
struct PartsProgress {
    /// Number of the next part.
    next: i64,
    /// Whether the last part was received.
    complete: bool,
    /// Number of marks in all parts so far.
    marks: i64,
}

/// Loads the progress of a provider's return; None if there is no return in parts with this id.
async fn load_parts_progress(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    return_id: Uuid,
) -> Result<Option<PartsProgress>, StoreError> {
    let sql = "SELECT v.version, r.is_last, r.marks FROM current_versions v \
               LEFT JOIN returns r ON r.idx = v.idx AND r.ordinal = v.ordinal WHERE v.key = $1";
    let key = parts_key(provider, return_id);
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    row.map(|row| {
        Ok(PartsProgress {
            next: row.get("version")?,
            complete: row.get::<Option<bool>>("is_last")?.unwrap_or(false),
            marks: row.get::<Option<i64>>("marks")?.unwrap_or(0),
        })
    })
    .transpose()
}

/// Returns which of a provider's returns are incomplete: they are in parts, and the last part was not received.
pub async fn list_incomplete(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    returns: impl Iterator<Item = Uuid>,
) -> Result<HashSet<Uuid>, StoreError> {
    let keys: HashSet<VersionKey> = returns.map(|id| parts_key(provider, id)).collect();
    let sql = "SELECT r.return_id, r.is_last FROM current_versions v \
               JOIN returns r ON r.idx = v.idx AND r.ordinal = v.ordinal WHERE v.key";
    let mut incomplete = HashSet::new();
    for row in snapshot.fetch_by_keys(sql, &keys).await? {
        if !row.get::<bool>("is_last")? {
            incomplete.insert(row.get("return_id")?);
        }
    }
    Ok(incomplete)
}

/// Returns whether a provider has a return in parts with this id.
pub async fn is_in_parts(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    return_id: Uuid,
) -> Result<bool, StoreError> {
    Ok(load_parts_progress(snapshot, provider, return_id).await?.is_some())
}

/// Classifies a message of a stream: header, frame or commit of a part.
///
/// # Errors
/// [`Reason::StreamProtocol`] for a message that is none of them; `BATCH_TOO_LARGE` for too many marks.
pub fn classify_message(m: &StreamAttendanceRequest) -> Result<PartMessage, Refusal> {
    let header = m.part > 0;
    let named = !m.request_id.is_empty() || m.validate_only || m.mode != 0 || !m.return_id.is_empty();
    let marks = m.marks.len();
    match &m.commit {
        Some(commit) if !header && !named && marks == 0 => {
            Ok(PartMessage::Commit(commit.count, commit.sha256.clone()))
        }
        None if header || (!named && marks > 0) => {
            let mut check = Check::new();
            if marks > MAX_MARKS_PER_MESSAGE {
                check.add_violation("marks", ViolationReason::BatchTooLarge);
            }
            check.finish()?;
            Ok(if header { PartMessage::Header(marks) } else { PartMessage::Frame(marks) })
        }
        _ => Err(Reason::StreamProtocol.into()),
    }
}

/// Opens a stream: creates a return, or continues the caller's return with the given id.
pub async fn open_stream(
    mut cx: RequestContext,
    m: StreamAttendanceRequest,
) -> Result<Decided<StreamAttendanceResponse>, Refusal> {
    if m.part > 0 || m.mode != 0 || !m.marks.is_empty() || m.commit.is_some() {
        return Err(Reason::StreamProtocol.into());
    }
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let named = check.optional_uuid("return_id", &m.return_id);
    check.finish()?;
    let provider = cx.caller.organisation.clone();
    let return_id = named.unwrap_or_else(|| cx.random.uuid_v7(cx.now));
    let found = load_parts_progress(&mut cx.snapshot, &provider, return_id).await?;
    let part = if named.is_some() && found.is_none() { CallerRole::NoRole } else { CallerRole::Provider };
    let permit = cx.permit(&PolicyFacts::for_role(part))?;
    let key = parts_key(&provider, return_id);
    let (change, found) = match found {
        Some(found) => (cx.change(&permit).guard(key, Revision::new(found.next)), found),
        None => (cx.change(&permit).bump(key), PartsProgress { next: 1, complete: false, marks: 0 }),
    };
    let next = if found.complete { 0 } else { found.next };
    Ok(change.with_reply(&StreamAttendanceResponse {
        return_id: return_id.hyphenated().to_string(),
        next_part: u32::try_from(next).unwrap_or(u32::MAX),
        complete: found.complete,
        ..StreamAttendanceResponse::default()
    }))
}

/// Handles a complete part.
pub async fn submit_part(
    rosters: RosterCache,
    mut cx: RequestContext,
    m: StreamAttendanceRequest,
) -> Result<Decided<StreamAttendanceResponse>, Refusal> {
    let mut check = Check::new();
    let return_id = check.uuid("return_id", &m.return_id);
    let StreamAttendanceRequest { request_id, validate_only, mode, marks, part, .. } = m;
    let of_part = SubmitAttendanceRequest { request_id, validate_only, mode, nil_return: false, marks };
    let submission = wire::parse_submission(check, &of_part)?;
    let (return_id, last) = (return_id.unwrap_or_default(), m.commit.is_some_and(|commit| commit.last));
    let provider = cx.caller.organisation.clone();
    let found = load_parts_progress(&mut cx.snapshot, &provider, return_id).await?.ok_or(Reason::NotFound)?;
    if found.complete {
        return Err(
            WrongState { current: "COMPLETE", required: Vec::new(), next_actor: NextActor::Caller }.into()
        );
    }
    if i64::from(part) != found.next {
        return Err(Reason::SequenceGap.into());
    }
    let marks = found.marks + i64::try_from(of_part.marks.len()).unwrap_or(MAX_MARKS_PER_RETURN);
    let mut check = Check::new();
    if marks > MAX_MARKS_PER_RETURN {
        check.add_violation("marks", ViolationReason::ReturnTooLarge);
    }
    check.finish()?;
    let key = parts_key(&provider, return_id);
    let row =
        ReturnRow { return_id, provider, is_nil: false, stored: 0, part: found.next, is_last: last, marks };
    let (change, results) = decide_marks(&rosters, &mut cx, submission, row).await?;
    let SubmitAttendanceResponse { return_id, results, stored, unchanged, corrected, rejected, .. } =
        submit::response(return_id, results);
    let complete = last && !validate_only;
    let next_part = if complete { 0 } else { part + u32::from(!validate_only) };
    Ok(change.guard(key, Revision::new(found.next)).with_reply(&StreamAttendanceResponse {
        return_id,
        results,
        stored,
        unchanged,
        corrected,
        rejected,
        part,
        next_part,
        complete,
        receipt: None,
    }))
}
