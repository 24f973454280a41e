//! The content of delivered placements and plans.

use super::parties::Access;
use super::{children, draft, plan, read, rows};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::exchange::{
    CallerRole, ContentSubject, DeliveredContent, DeliverySource, Reason, RecordRef, Refusal, RequestContext,
};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{DeliveryKind, PlacementContent, RecordKind};
use crate::store::Revision;

/// Reads the version of the placement or plan that the sender's exchange wrote, so that later versions do not change
/// the digest of the delivery. A recipient that may no longer read the placement receives its outcome without the
/// child; an organisation that was no party on the day of the delivery receives nothing. The LA of residence receives
/// the outline of each version that was written before the start, also when it reads after the start.
///
/// # Errors
/// [`Reason::Failed`] when a stored value cannot be opened.
pub async fn placement_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let nothing = DeliveredContent::default();
    let (Some(id), reader) = (source.placement, cx.caller.organisation.clone()) else {
        return Ok(nothing);
    };
    let sent_on = Date::in_london(Instant::from_micros(source.sent_us).map_err(|_| Reason::Failed)?);
    let newest = rows::by_id(&mut cx.snapshot, id).await?;
    let Some(newest) = newest.filter(|newest| newest.role_on(&reader, sent_on) != CallerRole::NoRole) else {
        return Ok(nothing);
    };
    let Some(key) = children::load_key(cx, &newest.commissioner, newest.child).await? else {
        return Ok(nothing);
    };
    let (kind, index) = (source.kind, source.index);
    let (mut content, mut version) = (PlacementContent::default(), Revision::ABSENT);
    let readable = draft::can_read(&newest, &reader);
    let mut access = Access::Full;
    if kind != DeliveryKind::Plan
        && let Some(written) = rows::version_written_at(&mut cx.snapshot, id, index).await?
    {
        version = written.version;
        access = written.access_by_role(&reader).unwrap_or(Access::Outline);
        let mut message = read::placement_message(cx, &written, (access, readable), index).await?;
        // The plan has separate deliveries, and its etag changes without a new version of the placement.
        message.plan_etag.clear();
        content.placement = Some(message);
    }
    if readable && access == Access::Full && matches!(kind, DeliveryKind::Plan | DeliveryKind::Parties) {
        content.plan = match kind {
            DeliveryKind::Plan => {
                let written = plan::load_written_at(cx, &newest, index).await?;
                written.map(|(written, plan)| {
                    version = written;
                    plan
                })
            }
            _ => plan::load_as_of(cx, &newest, index).await?,
        };
        if let Some(plan) = &content.plan {
            let lacks = plan::plan_open_items(plan).into_iter();
            content.plan_open_items = lacks.map(|item| item.as_str().to_owned()).collect();
            content.plan_active = content.plan_open_items.is_empty();
        }
    }
    let kind = if kind == DeliveryKind::Plan { RecordKind::Plan } else { RecordKind::Placement };
    let record = RecordRef::new(kind, id, version);
    let subject = ContentSubject { placement: id, sender: newest.commissioner, key, record };
    Ok(DeliveredContent::about_child(content, Content::Placement, subject))
}
