//! Who is told of an alert: the parties of the placement that the rule book names.

use super::rule_book::PartyRole;
use crate::codes::organisation::OrganisationId;
use crate::placements::Placement;

/// Lists the present parties of a placement that are told, each once.
pub(super) fn list_parties(roles: &[PartyRole], placement: Option<&Placement>) -> Vec<OrganisationId> {
    let mut parties = Vec::new();
    let Some(placement) = placement else { return parties };
    for role in roles {
        let named = match role {
            PartyRole::Commissioner => std::slice::from_ref(&placement.commissioner),
            PartyRole::Provider => std::slice::from_ref(&placement.provider),
            PartyRole::Schools => &placement.schools,
            PartyRole::Residence => std::slice::from_ref(&placement.residence),
        };
        for organisation in named {
            if !parties.contains(organisation) {
                parties.push(organisation.clone());
            }
        }
    }
    parties
}
