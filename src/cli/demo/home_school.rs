//! Step of the home school: it confirms the code that its own register holds.

use super::super::{Failure, print_line};
use super::mailbox::{Mailbox, collect_deliveries};
use super::{Clients, ensure};
use crate::clock::Randomness;
use crate::proto::v1::delivery::Content;
use crate::proto::v1::{
    ConfirmMarksRequest, Confirmation, GetAttendanceRequest, StoredMark, returns_service as returns,
};

/// Confirms another code than the suggested one. Both are kept, and commissioner and provider receive a delivery.
pub async fn confirm_other_code(
    clients: &Clients,
    mailbox: &mut Mailbox,
    mark: &StoredMark,
) -> Result<(), Failure> {
    let register_code = "M";
    let confirmation = Confirmation {
        placement_id: mark.placement_id.clone(),
        date: mark.date.clone(),
        session: mark.session,
        code: register_code.to_owned(),
        ..Confirmation::default()
    };
    let request = ConfirmMarksRequest {
        request_id: Randomness::system().uuid_v4().hyphenated().to_string(),
        confirmations: vec![confirmation],
        ..ConfirmMarksRequest::default()
    };
    let confirmed = clients.school.call(returns::CONFIRM_MARKS, &request).await?.message;
    let delivery = mailbox.next().await?;
    let is_confirmation = delivery.object_id == confirmed.confirmation_id;
    ensure(is_confirmation, "the commissioner received another delivery")?;
    let deliveries = collect_deliveries(&clients.riverside).await?.0;
    let delivery = deliveries.iter().find(|delivery| delivery.object_id == confirmed.confirmation_id);
    let is_confirmation =
        delivery.is_some_and(|delivery| matches!(delivery.content, Some(Content::Confirmation(_))));
    ensure(is_confirmation, "the provider received no confirmation")?;
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
        return Err(Failure::refused("mark and confirmation are not shown together"));
    };
    print_line(&format!(
        "   The school's register holds {}, beside Riverside's {} and the suggested {}; both parties receive it",
        confirmation.code, mark.code, mark.suggested_code
    ));
    ensure(confirmation.code == register_code && mark.code == "I", "another code was confirmed")
}
