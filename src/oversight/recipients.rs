//! Who is told of an alert, and when: the parties of the placement, or of the delivery, that the rule book names. A party
//! that may not read the placement any more is told nothing more of its alerts.

use super::alerts::{self, AlertRow};
use super::rule_book::{PartyRole, Recipient};
use super::subject::Subject;
use crate::calendar::SchoolCalendar;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::placements::delivery_subject::DeliverySubject;
use crate::placements::{self, Placement};
use crate::store::{Snapshot, StoreError};

/// Lists the present parties of a placement that are told by an instant of an alert that was opened at another, each
/// once.
pub(super) fn list_parties(
    recipients: &[Recipient],
    (placement, subject): (Option<&Placement>, &Subject),
    (opened, by, calendar): (Instant, Instant, &SchoolCalendar),
) -> Vec<OrganisationId> {
    let mut parties = Vec::new();
    let Some(placement) = placement else { return parties };
    for recipient in recipients.iter().filter(|recipient| recipient.told_at(opened, calendar) <= by) {
        add_each_once(&mut parties, parties_of_role(recipient.party, placement, subject));
    }
    parties
}

/// Lists the organisations that were told of an alert and may read its placement now. Of an alert about no placement, all.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn list_notified(
    snapshot: &mut Snapshot,
    alert: &AlertRow,
    placement: Option<&Placement>,
) -> Result<Vec<OrganisationId>, StoreError> {
    let mut notified = alerts::list_recipients(snapshot, alert.id).await?;
    notified.retain(|party| placement.is_none_or(|placement| placements::can_read(placement, party)));
    Ok(notified)
}

/// Lists who is told at an instant of an alert that is opened again: those who were told and may read it, those who are
/// told at once, and those whose delay since it was first raised has passed. So nobody can keep others from being told by
/// resolving the alert each time.
pub(super) fn list_on_reopening(
    recipients: &[Recipient],
    about: (Option<&Placement>, &Subject),
    (raised, at, calendar): (Instant, Instant, &SchoolCalendar),
    notified: &[OrganisationId],
) -> Vec<OrganisationId> {
    let mut parties = list_parties(recipients, about, (at, at, calendar));
    add_each_once(&mut parties, &list_parties(recipients, about, (raised, at, calendar)));
    add_each_once(&mut parties, notified);
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

fn parties_of_role<'a>(
    party: PartyRole,
    placement: &'a Placement,
    subject: &'a Subject,
) -> &'a [OrganisationId] {
    match party {
        PartyRole::Commissioner => std::slice::from_ref(&placement.commissioner),
        PartyRole::Provider => std::slice::from_ref(&placement.provider),
        PartyRole::Schools => &placement.schools,
        PartyRole::Residence => std::slice::from_ref(&placement.residence),
        PartyRole::Sender => {
            delivery_of(subject).map_or(&[], |delivery| std::slice::from_ref(&delivery.sender))
        }
        PartyRole::Recipient => {
            delivery_of(subject).map_or(&[], |delivery| std::slice::from_ref(&delivery.recipient))
        }
    }
}

/// Returns the delivery that an alert is about; `None` if it is about something else.
const fn delivery_of(subject: &Subject) -> Option<&DeliverySubject> {
    match subject {
        Subject::Delivery(delivery) => Some(delivery),
        _ => None,
    }
}
