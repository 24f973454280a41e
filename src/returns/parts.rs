//! `StreamAttendance`: a return goes in part by part, each as a register goes in. The parts of a return are
//! counted under one key, so that each number is given once, whichever stream it comes on.

use std::collections::HashSet;

use uuid::Uuid;

use super::roll::Rolls;
use super::rows::{ReturnRow, parts_key};
use super::submit::{self, take};
use super::wire;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{Action, Cx, Decided, Facts, NextActor, Part, Piece, Reason, Refusal, WrongState};
use crate::proto::v1::{
    StreamAttendanceRequest, StreamAttendanceResponse, SubmitAttendanceRequest, SubmitAttendanceResponse,
};
use crate::store::key::Key;
use crate::store::{Snapshot, StoreError};

/// Most marks of a message.
const FRAME: usize = 200;
/// Most marks of a return.
const RETURN: i64 = 20_000;

/// How far a return has come.
struct Reached {
    /// Number of the part that comes next.
    next: i64,
    /// Whether the last part is in.
    complete: bool,
    /// Marks of all its parts.
    marks: i64,
}

async fn reached(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    return_id: Uuid,
) -> Result<Option<Reached>, StoreError> {
    let sql = "SELECT h.version, r.last, r.marks FROM heads h \
               LEFT JOIN returns r ON r.idx = h.idx AND r.ordinal = h.ordinal WHERE h.key = $1";
    let key = parts_key(provider, return_id);
    let row = snapshot.fetch_one(sql, vec![key.as_bytes().into()]).await?;
    row.map(|row| {
        let complete = row.opt_int(1)?.is_some_and(|last| last != 0);
        Ok(Reached { next: row.int(0)?, complete, marks: row.opt_int(2)?.unwrap_or(0) })
    })
    .transpose()
}

/// Which of a provider's returns are incomplete: in parts, and the last is not in.
pub async fn incomplete(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    returns: impl Iterator<Item = Uuid>,
) -> Result<HashSet<Uuid>, StoreError> {
    let keys: HashSet<Key> = returns.map(|id| parts_key(provider, id)).collect();
    let sql = "SELECT r.return_id, r.last FROM heads h \
               JOIN returns r ON r.idx = h.idx AND r.ordinal = h.ordinal WHERE h.key";
    let mut incomplete = HashSet::new();
    for row in snapshot.fetch_among(sql, &keys).await? {
        if row.int(1)? == 0 {
            incomplete.insert(row.id(0)?);
        }
    }
    Ok(incomplete)
}

/// Whether a provider has a return in parts of this id.
pub async fn is_in_parts(
    snapshot: &mut Snapshot,
    provider: &OrganisationId,
    return_id: Uuid,
) -> Result<bool, StoreError> {
    Ok(reached(snapshot, provider, return_id).await?.is_some())
}

/// What a message is in its part.
pub fn piece(m: &StreamAttendanceRequest) -> Result<Piece, Refusal> {
    let header = m.part > 0;
    let named = !m.request_id.is_empty() || m.validate_only || m.mode != 0 || !m.return_id.is_empty();
    let things = m.marks.len();
    match &m.commit {
        Some(commit) if !header && !named && things == 0 => {
            Ok(Piece::Commit(commit.count, commit.sha256.clone()))
        }
        None if header || (!named && things > 0) => {
            let mut check = Check::new();
            if things > FRAME {
                check.fault("marks", "BATCH_TOO_LARGE");
            }
            check.finish()?;
            Ok(if header { Piece::Header(things) } else { Piece::Frame(things) })
        }
        _ => Err(Reason::StreamProtocol.into()),
    }
}

/// Answers the opening of a stream: makes a return, or finds the caller's own.
pub async fn open(
    mut cx: Cx,
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
    let found = reached(&mut cx.snapshot, &provider, return_id).await?;
    let part = if named.is_some() && found.is_none() { Part::None } else { Part::Provider };
    let permit = cx.permit(Action::StreamAttendance, &Facts::own(part))?;
    let key = parts_key(&provider, return_id);
    let (change, found) = match found {
        Some(found) => (cx.change(&permit).guard(key, found.next), found),
        None => (cx.change(&permit).bump(key), Reached { next: 1, complete: false, marks: 0 }),
    };
    let next = if found.complete { 0 } else { found.next };
    Ok(change.reply(&StreamAttendanceResponse {
        return_id: return_id.hyphenated().to_string(),
        next_part: u32::try_from(next).unwrap_or(u32::MAX),
        complete: found.complete,
        ..StreamAttendanceResponse::default()
    }))
}

/// Takes a part.
pub async fn part(
    rolls: Rolls,
    mut cx: Cx,
    m: StreamAttendanceRequest,
) -> Result<Decided<StreamAttendanceResponse>, Refusal> {
    let mut check = Check::new();
    let return_id = check.uuid("return_id", &m.return_id);
    let StreamAttendanceRequest { request_id, validate_only, mode, marks, part, .. } = m;
    let of_part = SubmitAttendanceRequest { request_id, validate_only, mode, nil_return: false, marks };
    let submission = wire::submission(check, &of_part)?;
    let (return_id, last) = (return_id.unwrap_or_default(), m.commit.is_some_and(|commit| commit.last));
    let provider = cx.caller.organisation.clone();
    let found = reached(&mut cx.snapshot, &provider, return_id).await?.ok_or(Reason::NotFound)?;
    if found.complete {
        return Err(
            WrongState { present: "COMPLETE", needed: Vec::new(), next_actor: NextActor::Caller }.into()
        );
    }
    if i64::from(part) != found.next {
        return Err(Reason::SequenceGap.into());
    }
    let marks = found.marks + i64::try_from(of_part.marks.len()).unwrap_or(RETURN);
    let mut check = Check::new();
    if marks > RETURN {
        check.fault("marks", "RETURN_TOO_LARGE");
    }
    check.finish()?;
    let key = parts_key(&provider, return_id);
    let row = ReturnRow { id: return_id, provider, nil: false, stored: 0, part: found.next, last, marks };
    let (change, results) = take(&rolls, &mut cx, Action::StreamAttendance, submission, row).await?;
    let SubmitAttendanceResponse { return_id, results, stored, unchanged, corrected, rejected, .. } =
        submit::response(return_id, results);
    let complete = last && !validate_only;
    let next_part = if complete { 0 } else { part + u32::from(!validate_only) };
    Ok(change.guard(key, found.next).reply(&StreamAttendanceResponse {
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
