//! The moments of a provider: when the rules of oversight evaluate its returns next. Whatever changes which returns are
//! expected of it sets one: placements and plans, term dates and closures, and what withdraws a return or a notice.

use std::time::Duration;

use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, RequestContext};
use crate::store::moment::{self, MomentRow};
use crate::store::{Revision, StoreError};

/// Time from a change to the evaluation for it, so that several changes are evaluated once. A cut-off is not delayed.
const EVALUATION_DELAY: Duration = Duration::from_secs(30);

/// Maximum number of days of a provider that one change has evaluated: the school days of five years.
const MAX_DAYS: i64 = 1_000;

/// Returns the subject of the moment at which the expected returns of a provider's day are looked up: when a day begins,
/// and when they may have changed.
#[must_use]
pub fn provider_subject(provider: &OrganisationId) -> String {
    format!("provider/{provider}")
}

/// Returns the subject of the moment at which a provider's returns of a day are evaluated: at each cut-off, and when one
/// may be missing again.
#[must_use]
pub fn provider_day_subject(provider: &OrganisationId, day: Date) -> String {
    format!("provider-day/{provider}/{day}")
}

/// Has the expected returns of a provider's present day looked up shortly, because a placement with it starts or ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_provider(
    cx: &mut RequestContext,
    change: Change,
    provider: &OrganisationId,
) -> Result<Change, StoreError> {
    bring_forward(cx, change, provider_subject(provider)).await
}

/// Has the expected returns of a provider's present day looked up shortly, if they are looked up each day: if a placement
/// is with it.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_provider_again(
    cx: &mut RequestContext,
    change: Change,
    provider: &OrganisationId,
) -> Result<Change, StoreError> {
    bring_forward_again(cx, change, provider_subject(provider)).await
}

/// Has a provider's returns of a day evaluated shortly, if they were evaluated or are to be: if any was expected.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_provider_day(
    cx: &mut RequestContext,
    change: Change,
    provider: &OrganisationId,
    day: Date,
) -> Result<Change, StoreError> {
    bring_forward_again(cx, change, provider_day_subject(provider, day)).await
}

/// Has a provider's returns evaluated shortly of each day between two, both included, of which they were evaluated or are
/// to be; of the last thousand such days. A day of which nothing was expected has no moment, and gets none.
///
/// A change that concerns the present day sets the provider's moment too, which guards that the day has none yet.
///
/// # Errors
/// See [`StoreError`].
pub async fn evaluate_provider_days(
    cx: &mut RequestContext,
    mut change: Change,
    provider: &OrganisationId,
    (first, last): (Date, Date),
) -> Result<Change, StoreError> {
    let due = cx.now.plus(EVALUATION_DELAY);
    let subjects = (provider_day_subject(provider, first), provider_day_subject(provider, last));
    let subjects = (&*subjects.0, &*subjects.1);
    for present in moment::list_between(&mut cx.snapshot, subjects, MAX_DAYS).await? {
        // One that is due before keeps its instant; its new version makes an evaluation that has not seen this change
        // decide again.
        let at = present.due.map_or(due, |present| present.min(due));
        let (guard, moment) = present.followed_by(Some(at));
        change = change.guard(guard.key, guard.version).append(&moment);
    }
    Ok(change)
}

/// Brings forward the moment of a subject that has had one. Else guards that it has none.
async fn bring_forward_again(
    cx: &mut RequestContext,
    change: Change,
    subject: String,
) -> Result<Change, StoreError> {
    let key = moment::key(&subject);
    if cx.snapshot.current_version(&key).await? == Revision::ABSENT {
        return Ok(change.guard(key, Revision::ABSENT));
    }
    bring_forward(cx, change, subject).await
}

async fn bring_forward(
    cx: &mut RequestContext,
    change: Change,
    subject: String,
) -> Result<Change, StoreError> {
    let due = cx.now.plus(EVALUATION_DELAY);
    let (guard, moment) = MomentRow::bring_forward(&mut cx.snapshot, subject, (cx.now, due)).await?;
    let change = change.guard(guard.key, guard.version);
    Ok(moment.iter().fold(change, Change::append))
}
