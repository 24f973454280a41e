//! Whose passport a request is about: a placement of the child, the caller's part in it, and on what
//! authority its sender shares with the provider.

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::exchange::{Action, Basis, Cx, Facts, Part, Permit, Reason, Refusal, Standing};
use crate::placements::rules::wrong_state;
use crate::placements::{self, Placement};
use crate::proto::v1::DataClass;
use crate::register::agreements;
use crate::store::StoreError;

/// The placement, and leave for the sender's action on its own passport. One in which the caller has no
/// part may as well not exist.
pub async fn of_sender(
    cx: &mut Cx,
    action: Action,
    placement: Uuid,
    agreement: Option<Uuid>,
) -> Result<(Placement, Permit), Refusal> {
    let found = placements::of_party(&mut cx.snapshot, placement, &cx.caller.organisation).await?;
    let sender = cx.caller.organisation.clone();
    let facts = match &found {
        Some(placement) => {
            let part = placement.part_of(&sender);
            let agreement = agreement.unwrap_or(placement.agreement);
            let basis = if may_send(placement, &sender) {
                basis(cx, placement, &sender, agreement).await?
            } else {
                None
            };
            Facts { part, standing: placement.standing(), basis, guards: Vec::new() }
        }
        None => Facts::own(Part::None),
    };
    let permit = cx.permit(action, &facts).map_err(|refusal| match &found {
        Some(placement) if refusal.reason == Reason::StateInvalid => {
            let live = |state| Placement { state, ..placement.clone() }.standing() == Standing::Live;
            wrong_state(placement.state, live).into()
        }
        _ => refusal,
    })?;
    Ok((found.ok_or(Reason::NotFound)?, permit))
}

/// Whether an organisation can have a passport of the placement's child.
pub fn may_send(placement: &Placement, organisation: &OrganisationId) -> bool {
    matches!(placement.part_of(organisation), Part::Commissioner | Part::SchoolOnRoll)
}

/// On what authority a passport is shared with the placement's provider: special-category data need an
/// Article 9 condition.
pub async fn basis(
    cx: &mut Cx,
    placement: &Placement,
    sender: &OrganisationId,
    agreement: Uuid,
) -> Result<Option<Basis>, StoreError> {
    let parties = [sender, &placement.provider];
    let basis =
        agreements::basis(&mut cx.snapshot, agreement, &parties, DataClass::Passport, cx.today).await?;
    Ok(basis.filter(|basis| basis.article_9.is_some()))
}
