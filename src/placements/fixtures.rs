//! An invented placement for tests.

use uuid::Uuid;

use super::Placement;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{LegalBasis, PlacementReason, PlacementState};
use crate::store::Revision;

/// Makes an active placement since 1 September 2026 of la/330 with provider/riverside, of a child that lives in la/331 and is
/// on the roll of this school.
///
/// # Panics
/// If the school is no id of an organisation.
#[must_use]
pub fn placement_of_school(school: &str) -> Placement {
    let organisation = |text: &str| OrganisationId::parse(text).unwrap();
    Placement {
        id: Uuid::from_u128(1),
        version: Revision::FIRST,
        state: PlacementState::Active,
        commissioner: organisation("la/330"),
        provider: organisation("provider/riverside"),
        residence: organisation("la/331"),
        schools: vec![organisation(school)],
        party_periods: Vec::new(),
        child: Uuid::from_u128(2),
        agreement: Uuid::from_u128(3),
        provider_reference: None,
        upn_index: None,
        start_date: Some(Date::parse("2026-09-01").unwrap()),
        planned_end_date: None,
        end_date: None,
        legal_basis: LegalBasis::Unspecified,
        reason: PlacementReason::Unspecified,
        detail: Vec::new(),
    }
}
