//! Authorisation of a passport's sender: the placement, the caller's part in it, and the legal basis for sharing with
//! the provider.

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    CallerRole, Permit, PolicyFacts, Reason, Refusal, RequestContext, RoleStatus, SharingBasis,
};
use crate::placements::rules::wrong_state;
use crate::placements::{self, Placement};
use crate::proto::v1::DataClass;
use crate::register::agreements;
use crate::store::StoreError;

/// Loads the placement and permits the caller's action on its own passport. A placement in which the caller has no
/// part is refused like one that does not exist.
pub async fn authorise_sender(
    cx: &mut RequestContext,
    placement: Uuid,
    agreement: Option<Uuid>,
) -> Result<(Placement, Permit), Refusal> {
    let found = placements::by_id_for_party(&mut cx.snapshot, placement, &cx.caller.organisation).await?;
    let sender = cx.caller.organisation.clone();
    let facts = match &found {
        Some(placement) => {
            let part = placement.role_of(&sender);
            let agreement = agreement.unwrap_or(placement.agreement);
            let basis = if can_send(placement, &sender) {
                sharing_basis(cx, placement, &sender, agreement).await?
            } else {
                None
            };
            PolicyFacts { role: part, status: placement.role_status(), basis, guards: Vec::new() }
        }
        None => PolicyFacts::for_role(CallerRole::NoRole),
    };
    let permit = cx.permit(&facts).map_err(|refusal| match &found {
        Some(placement) if refusal.reason == Reason::StateInvalid => {
            let live = |state| Placement { state, ..placement.clone() }.role_status() == RoleStatus::Live;
            wrong_state(placement.state, live).into()
        }
        _ => refusal,
    })?;
    Ok((found.ok_or(Reason::NotFound)?, permit))
}

/// Returns whether an organisation can have a passport of the placement's child.
pub fn can_send(placement: &Placement, organisation: &OrganisationId) -> bool {
    matches!(placement.role_of(organisation), CallerRole::Commissioner | CallerRole::SchoolOnRoll)
}

/// Returns the legal basis for sharing a passport with the placement's provider. Special-category data need a UK GDPR
/// Article 9 condition, so a basis without one is left out.
pub async fn sharing_basis(
    cx: &mut RequestContext,
    placement: &Placement,
    sender: &OrganisationId,
    agreement: Uuid,
) -> Result<Option<SharingBasis>, StoreError> {
    let parties = [sender, &placement.provider];
    let basis =
        agreements::basis_in_force(&mut cx.snapshot, agreement, &parties, DataClass::Passport, cx.today)
            .await?;
    Ok(basis.filter(|basis| basis.article_9.is_some()))
}
