//! The school where the child is on roll states what its own register holds.

use super::super::{Failure, say};
use super::mailbox::{Mailbox, collected};
use super::{Clients, ensure};
use crate::clock::Randomness;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    ConfirmMarksRequest, Confirmation, GetAttendanceRequest, StoredMark, returns_service as returns,
};

/// The school confirms another code than the one suggested: both stand, and the provider is told.
pub async fn confirms(clients: &Clients, mailbox: &mut Mailbox, mark: &StoredMark) -> Result<(), Failure> {
    let held = "M";
    let confirmation = Confirmation {
        placement_id: mark.placement_id.clone(),
        date: mark.date.clone(),
        session: mark.session,
        code: held.to_owned(),
        ..Confirmation::default()
    };
    let request = ConfirmMarksRequest {
        request_id: Randomness::system().uuid_v4().hyphenated().to_string(),
        confirmations: vec![confirmation],
        ..ConfirmMarksRequest::default()
    };
    let confirmed = clients.school.call(returns::CONFIRM_MARKS, &request).await?.message;
    let told = mailbox.next().await?;
    ensure(told.object_id == confirmed.confirmation_id, "the commissioner was told another thing")?;
    let told = collected(&clients.riverside).await?.0;
    let told = told.iter().find(|delivery| delivery.object_id == confirmed.confirmation_id);
    let is_told = told.is_some_and(|told| matches!(told.content, Some(Content::Confirmation(_))));
    ensure(is_told, "the provider was not told")?;
    let request = GetAttendanceRequest {
        placement_id: mark.placement_id.clone(),
        from_date: mark.date.clone(),
        to_date: mark.date.clone(),
        ..GetAttendanceRequest::default()
    };
    let read = clients.la.call(returns::GET_ATTENDANCE, &request).await?.message.marks;
    let history = read.iter().find(|history| !history.confirmations.is_empty());
    let both = history.and_then(|history| history.mark.as_ref().zip(history.confirmations.first()));
    let Some((mark, confirmation)) = both else {
        return Err(Failure::refused("mark and confirmation do not stand side by side"));
    };
    say(&format!(
        "   The school's register holds {}: it stands beside Riverside's {} and the {} suggested, and both are told",
        confirmation.code, mark.code, mark.suggested_code
    ));
    ensure(confirmation.code == held && mark.code == "I", "another code was confirmed")
}
