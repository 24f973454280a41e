//! What the rules about a provider need to know of one day.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::provider_rule::{ProviderRule, ProviderSession};
use super::rule_book::{PartyRole, RuleSettings};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::{self, Placement};
use crate::returns::provider_day::{self, ProviderDay};
use crate::store::Revision;
use crate::store::version_key::VersionKey;

/// The sessions of a provider's day with what they were read from.
pub(super) struct ProviderFacts {
    /// The sessions of the placements that the rule covers.
    pub(super) sessions: Vec<ProviderSession>,
    /// Whether a placement that the rule covers is, or will be, with the provider after the day.
    pub(super) goes_on: bool,
    /// The key versions that were read.
    pub(super) versions_read: Vec<(VersionKey, Revision)>,
}

/// Loads the sessions of a provider's day for a rule.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open.
pub(super) async fn load(
    cx: &mut RequestContext,
    (provider, day): (&OrganisationId, Date),
    (rule, settings): (&dyn ProviderRule, &RuleSettings),
) -> Result<ProviderFacts, Refusal> {
    load_some(cx, (provider, day), (rule, settings), &|_| true).await
}

/// Loads the sessions of a provider's day for a rule, of the placements that are wanted.
///
/// # Errors
/// As [`load`].
pub(super) async fn load_some(
    cx: &mut RequestContext,
    (provider, day): (&OrganisationId, Date),
    (rule, settings): (&dyn ProviderRule, &RuleSettings),
    is_wanted: &(dyn Fn(&Placement) -> bool + Sync),
) -> Result<ProviderFacts, Refusal> {
    let covers = |placement: &Placement| settings.covers(placement.start_date) && is_wanted(placement);
    let times = rule.cut_off_times(settings);
    let loaded = provider_day::load_provider_day(cx, provider, (day, &times), &covers).await?;
    let ProviderDay { placements, sessions, goes_on, versions_read } = loaded;
    let mut parties = HashMap::<Uuid, Vec<(PartyRole, OrganisationId)>>::new();
    let sessions = sessions.iter().filter_map(|session| {
        let placement = placements.get(&session.placement)?;
        let parties = parties.entry(placement.id).or_insert_with(|| parties_on(placement, day));
        Some(ProviderSession {
            placement: placement.id,
            child: placement.child,
            cut_off: session.cut_off,
            is_missing: session.is_missing,
            parties: parties.clone(),
        })
    });
    Ok(ProviderFacts { sessions: sessions.collect(), goes_on, versions_read })
}

/// Lists the parties of a placement that may read what belongs to a day, with their roles; and the provider as long as it
/// may send the marks, also after the placement ended, because it owes them.
fn parties_on(placement: &Placement, day: Date) -> Vec<(PartyRole, OrganisationId)> {
    let schools = placement.schools_on(day).into_iter().map(|school| (PartyRole::Schools, school));
    let residences = placement.residence_on(day).into_iter().map(|la| (PartyRole::Residence, la));
    [(PartyRole::Commissioner, &placement.commissioner), (PartyRole::Provider, &placement.provider)]
        .into_iter()
        .chain(schools)
        .chain(residences)
        .filter(|(role, organisation)| match role {
            PartyRole::Provider => provider_day::may_submit(placement),
            _ => placements::can_read_on(placement, organisation, day),
        })
        .map(|(role, organisation)| (role, organisation.clone()))
        .collect()
}

impl ProviderFacts {
    /// Lists the cut-offs of the day in their order.
    pub(super) fn cut_offs(&self) -> BTreeSet<Instant> {
        self.sessions.iter().map(|session| session.cut_off).collect()
    }

    /// Lists the organisations with a role in a session of a cut-off, in the order of their ids.
    pub(super) fn organisations(&self, cut_off: Instant, role: PartyRole) -> BTreeSet<&OrganisationId> {
        let sessions = self.sessions.iter().filter(|session| session.cut_off == cut_off);
        let parties = sessions.flat_map(|session| &session.parties);
        parties.filter(|(known, _)| *known == role).map(|(_, organisation)| organisation).collect()
    }
}
