//! The content of delivered returns, confirmations and notices of expected absence.

use prost::Message;
use uuid::Uuid;

use super::read::load_return_content;
use super::statement_delivery::{DeliveredStatements, absences_at, confirmations_at};
use crate::exchange::{
    ChildContent, ContentSubject, DeliveredContent, DeliverySource, RecordRef, Refusal, RequestContext,
};
use crate::placements::children;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{AttendanceContent, ConfirmationContent, RecordKind};

/// Reads the marks of an attendance return, or of its withdrawal, that are for the recipient.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] if stored data cannot be decrypted.
pub async fn attendance_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let recipient = cx.caller.organisation.clone();
    let returned = load_return_content(cx, source.index, &recipient).await?;
    let mut content = AttendanceContent {
        children: Vec::new(),
        nil_return: returned.nil,
        voided_return_id: returned.voided.map(|id| id.hyphenated().to_string()).unwrap_or_default(),
        part: u32::try_from(returned.part).unwrap_or(u32::MAX),
        incomplete: returned.incomplete,
    };
    let mut children = Vec::new();
    for child in returned.children {
        let key = children::load_required_key(cx, &child.sender, child.child).await?;
        let encoded = child.attendance.encode_to_vec();
        let record = RecordRef::unversioned(RecordKind::Attendance, source.object);
        let subject = ContentSubject { placement: child.placement, sender: child.sender, key, record };
        children.push(ChildContent { subject, encoded });
        content.children.push(child.attendance);
    }
    let marks = content.children.iter().map(|child| child.marks.len()).sum();
    Ok(DeliveredContent::new(content, Content::Attendance, children).with_marks(marks))
}

/// Reads the confirmations about the children that the recipient may read.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] if stored data cannot be decrypted.
pub async fn confirmation_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let (mut children, mut content) = (Vec::new(), ConfirmationContent::default());
    for statements in confirmations_at(cx, source.index).await? {
        children.push(child_content(cx, source.object, &statements).await?);
        content.children.push(statements.content);
    }
    let sessions = content.children.iter().map(|child| child.confirmations.len()).sum();
    Ok(DeliveredContent::new(content, Content::Confirmation, children).with_marks(sessions))
}

/// Reads a notice of expected absence, if the recipient may read the child.
///
/// # Errors
/// [`crate::exchange::Reason::Failed`] if stored data cannot be decrypted.
pub async fn expected_absence_content(
    cx: &mut RequestContext,
    source: DeliverySource<'_>,
) -> Result<DeliveredContent, Refusal> {
    let Some(statements) = absences_at(cx, source.index).await? else {
        return Ok(DeliveredContent::default());
    };
    let children = vec![child_content(cx, source.object, &statements).await?];
    let sessions = statements.content.absences.len();
    Ok(DeliveredContent::new(statements.content, Content::ExpectedAbsence, children).with_marks(sessions))
}

async fn child_content<M: Message>(
    cx: &mut RequestContext,
    object: Uuid,
    statements: &DeliveredStatements<M>,
) -> Result<ChildContent, Refusal> {
    let key = children::load_required_key(cx, &statements.sender, statements.child).await?;
    let record = RecordRef::unversioned(RecordKind::Statement, object);
    let (placement, sender) = (statements.placement, statements.sender.clone());
    let subject = ContentSubject { placement, sender, key, record };
    Ok(ChildContent { subject, encoded: statements.content.encode_to_vec() })
}
