//! Who reads a passport: the right of the calling organisation, and the person of the call.

use uuid::Uuid;

use super::need_to_know::{AgreementTerms, Reader, ReadingRight};
use crate::codes::organisation::OrganisationId;
use crate::exchange::RequestContext;
use crate::placements::Placement;
use crate::proto::v1::DataClass;
use crate::register::agreements::{self, AgreementRow};
use crate::store::StoreError;

/// Returns the reader for whom the call is made: the caller's person, or else its system.
pub fn of_call(cx: &RequestContext, right: ReadingRight) -> Reader {
    Reader { right, person: cx.person().map(|person| (person.role, person.purpose)) }
}

/// Returns the right of a placement's provider to the passport that a sender shared with it under an agreement. The
/// agreement's key joins the read set, so that the exchange is decided again if the agreement ends before the commit.
pub async fn recipient_right(
    cx: &mut RequestContext,
    placement: &Placement,
    sender: &OrganisationId,
    agreement: Uuid,
) -> Result<ReadingRight, StoreError> {
    let parties = [sender, &placement.provider];
    let agreed =
        agreements::in_force(&mut cx.snapshot, agreement, &parties, DataClass::Passport, cx.today).await?;
    Ok(ReadingRight::of_recipient(placement.role_status(), agreed.as_ref().map(terms_of)))
}

fn terms_of(agreement: &AgreementRow) -> AgreementTerms {
    AgreementTerms {
        purposes: agreement.purposes.clone(),
        has_article_9_condition: agreement.article_9.is_some(),
        covers_restricted: agreement.data_classes.contains(&DataClass::Restricted),
        has_article_10_condition: !agreement.schedule_1_article_10.is_empty(),
    }
}
