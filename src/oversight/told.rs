//! Who is told of an alert: the parties of the placement that the rule book names.

use super::rule_book::Told;
use crate::codes::organisation::OrganisationId;
use crate::placements::Placement;

/// Lists the present parties of a placement that are told, each once.
pub(super) fn list_parties(told: &[Told], placement: Option<&Placement>) -> Vec<OrganisationId> {
    let mut parties = Vec::new();
    let Some(placement) = placement else { return parties };
    for told in told {
        let named = match told {
            Told::Commissioner => std::slice::from_ref(&placement.commissioner),
            Told::Provider => std::slice::from_ref(&placement.provider),
            Told::Schools => &placement.schools,
            Told::Residence => std::slice::from_ref(&placement.residence),
        };
        for organisation in named {
            if !parties.contains(organisation) {
                parties.push(organisation.clone());
            }
        }
    }
    parties
}
