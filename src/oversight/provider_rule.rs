//! The interface of a rule about what a provider owes at the cut-offs of a day: pure functions of its sessions, an
//! instant and the organisation that would be told.

use uuid::Uuid;

use super::rule_book::{Parameter, PartyRole, RuleSettings};
use super::rule_id::RuleId;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::AlertFigures;
use crate::returns::cut_off::CutOffTimes;

/// A rule about a provider.
pub trait ProviderRule: Send + Sync {
    /// Returns its id, which is stored with its alerts.
    fn id(&self) -> RuleId;

    /// Returns who may be told at most: those who may read everything on which the rule rests. The rule book names some of
    /// them.
    fn may_tell(&self) -> &'static [PartyRole] {
        &PartyRole::ALL
    }

    /// Returns its parameters, which the rule book must hold.
    fn parameters(&self) -> &'static [Parameter];

    /// Returns what makes the cut-off of a session of which the plan has none.
    fn cut_off_times(&self, settings: &RuleSettings) -> CutOffTimes;

    /// Decides whether the rule's cause holds of a cut-off for the children with which an organisation has one of these
    /// roles, and with which figures. `None`: it does not.
    fn evaluate(
        &self,
        sessions: &[ProviderSession],
        cut_off: Instant,
        reader: (&OrganisationId, &[PartyRole]),
    ) -> Option<AlertFigures>;
}

/// A session of a provider's day, as the rules see it.
#[derive(Clone, Debug)]
pub struct ProviderSession {
    /// The placement.
    pub placement: Uuid,
    /// The child.
    pub child: Uuid,
    /// When its mark is due.
    pub cut_off: Instant,
    /// Whether the mark is missing.
    pub is_missing: bool,
    /// The organisations that may read what belongs to the day, each with its role.
    pub parties: Vec<(PartyRole, OrganisationId)>,
}
