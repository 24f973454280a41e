//! Who is told of an alert, and when: the parties of the placement that the rule book names.

use super::rule_book::{PartyRole, Recipient};
use crate::calendar::SchoolCalendar;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::placements::Placement;

/// Lists the present parties of a placement that are told by an instant of an alert that was opened at another, each
/// once.
pub(super) fn list_parties(
    recipients: &[Recipient],
    placement: Option<&Placement>,
    (opened, by, calendar): (Instant, Instant, &SchoolCalendar),
) -> Vec<OrganisationId> {
    let mut parties = Vec::new();
    let Some(placement) = placement else { return parties };
    for recipient in recipients.iter().filter(|recipient| recipient.told_at(opened, calendar) <= by) {
        add_each_once(&mut parties, parties_of_role(recipient.party, placement));
    }
    parties
}

/// Adds the organisations that a list does not contain.
pub(super) fn add_each_once(parties: &mut Vec<OrganisationId>, more: &[OrganisationId]) {
    for organisation in more {
        if !parties.contains(organisation) {
            parties.push(organisation.clone());
        }
    }
}

/// Returns the next instant behind another at which a party is told of an alert that was opened.
pub(super) fn next_telling(
    recipients: &[Recipient],
    (opened, after, calendar): (Instant, Instant, &SchoolCalendar),
) -> Option<Instant> {
    let tellings = recipients.iter().map(|recipient| recipient.told_at(opened, calendar));
    tellings.filter(|telling| *telling > after).min()
}

fn parties_of_role(party: PartyRole, placement: &Placement) -> &[OrganisationId] {
    match party {
        PartyRole::Commissioner => std::slice::from_ref(&placement.commissioner),
        PartyRole::Provider => std::slice::from_ref(&placement.provider),
        PartyRole::Schools => &placement.schools,
        PartyRole::Residence => std::slice::from_ref(&placement.residence),
    }
}
