//! The moment of a placement: when the rules of oversight evaluate it next. Start, end and plan set it.

use uuid::Uuid;

use crate::clock::Instant;
use crate::exchange::{Change, RequestContext};
use crate::store::StoreError;
use crate::store::moment::{self, MomentRow};

/// Has the placement evaluated when the day ends, unless it is evaluated before.
pub(super) async fn evaluate_today(
    cx: &mut RequestContext,
    change: Change,
    placement: Uuid,
) -> Result<Change, StoreError> {
    let (subject, due) = (subject(placement), cx.today.end_of_day());
    let present: Option<MomentRow> = cx.snapshot.newest(&moment::key(&subject)).await?;
    if present.and_then(|present| present.due).is_some_and(|present: Instant| present <= due) {
        return Ok(change);
    }
    let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, subject, Some(due)).await?;
    Ok(change.guard(guard.key, guard.version).append(&moment))
}

/// Returns the subject of a placement's moments.
fn subject(placement: Uuid) -> String {
    format!("placement/{}", placement.hyphenated())
}
