//! The content of a delivered break-glass: to each sender who read its passport and why, to an operator nothing of the
//! child.

use super::rows::{self, BreakGlassRow};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::{
    CallerRole, ContentSubject, DeliveredContent, DeliverySource, Reason, RecordRef, Refusal, RequestContext,
};
use crate::placements::{self, Placement, children};
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{BreakGlassContent, BreakGlassRecipient, RecordKind, StoredBreakGlass};
use crate::seal::ChildKey;
use crate::store::EntryIndex;

/// A break-glass, opened.
struct OpenedBreakGlass {
    row: BreakGlassRow,
    placement: Placement,
    key: ChildKey,
    statement: StoredBreakGlass,
}

impl OpenedBreakGlass {
    /// Returns what concerns a sender, if its passport was read.
    fn part_of(&self, sender: &OrganisationId) -> Option<&BreakGlassRecipient> {
        self.statement.recipients.iter().find(|recipient| recipient.sender == sender.as_str())
    }
}

/// Reads the content of a delivered break-glass. Empty for a recipient that was no party on that day, and when the
/// child's record is erased.
///
/// # Errors
/// [`Reason::Failed`] when a stored value cannot be opened.
pub async fn break_glass_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let nothing = DeliveredContent::default();
    let reader = cx.caller.organisation.clone();
    if cx.caller.kind() == OrganisationKind::Operator {
        let organisation = source.sender.to_string();
        let content = BreakGlassContent { organisation, over_daily_limit: true, ..Default::default() };
        return Ok(DeliveredContent::new(content, Content::BreakGlass, Vec::new()));
    }
    let Some(opened) = open_written_at(cx, source.index).await? else { return Ok(nothing) };
    let sent_on = Date::in_london(Instant::from_micros(source.sent_us).map_err(|_| Reason::Failed)?);
    if opened.placement.role_on(&reader, sent_on) == CallerRole::NoRole {
        return Ok(nothing);
    }
    let Some(part) = opened.part_of(&reader).cloned() else { return Ok(nothing) };
    let OpenedBreakGlass { row, placement, key, statement } = opened;
    let content = BreakGlassContent {
        organisation: row.organisation.to_string(),
        over_daily_limit: row.over_limit,
        placement_id: placement.id.hyphenated().to_string(),
        etag: part.etag,
        officer: statement.officer,
        reason: statement.reason,
        life_at_risk: statement.life_at_risk,
        due_date: part.due_date,
    };
    let record = RecordRef::unversioned(RecordKind::BreakGlass, row.id);
    let subject = ContentSubject { placement: placement.id, sender: row.organisation, key, record };
    Ok(DeliveredContent::about_child(content, Content::BreakGlass, subject))
}

/// Returns the last day on which a recipient acts in time on the break-glass of a log index; `None` for an operator, and
/// when the child's record is erased.
///
/// # Errors
/// As [`break_glass_content`].
pub async fn due_date(
    cx: &mut RequestContext,
    index: EntryIndex,
    recipient: &OrganisationId,
) -> Result<Option<Date>, Refusal> {
    let Some(opened) = open_written_at(cx, index).await? else { return Ok(None) };
    let due_date = opened.part_of(recipient).map(|part| Date::parse(&part.due_date));
    due_date.transpose().map_err(|_| Reason::Failed.into())
}

/// Reads and opens the break-glass that the exchange at an index wrote; `None` when the child's record is erased.
async fn open_written_at(
    cx: &mut RequestContext,
    index: EntryIndex,
) -> Result<Option<OpenedBreakGlass>, Refusal> {
    let row = cx.snapshot.written_at::<BreakGlassRow>(index).await?.into_iter().next();
    let Some(row) = row else { return Ok(None) };
    let Some(placement) = placements::by_id(&mut cx.snapshot, row.placement).await? else { return Ok(None) };
    let Some(key) = children::load_key(cx, &row.organisation, placement.child).await? else {
        return Ok(None);
    };
    let statement = rows::open_statement(&key, &row)?;
    Ok(Some(OpenedBreakGlass { row, placement, key, statement }))
}
