//! Subjects whose moments are due, in the order of their instants, and those whose evaluation failed.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::subject::Subject;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::placements::delivery_subject::DeliverySubject;
use crate::register::agreements::AgreementPage;

/// Subjects whose moments are due: the instant, in microseconds since 1970 UTC, and the subject.
pub(super) type DueSubjects = BTreeSet<(i64, String)>;

/// Moments that failed. One stays until it was evaluated without a failure, also if a retry ends before its turn.
#[derive(Default)]
pub(super) struct FailedMoments(DueSubjects);

impl FailedMoments {
    /// Returns whether none has failed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists the moments that failed.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(i64, String)> {
        self.0.iter()
    }

    /// Replaces what is known of subjects that were evaluated at an instant by those of them that failed.
    pub(super) fn replace(&mut self, at: Instant, evaluated: Vec<String>, failed: Vec<String>) {
        let at = at.micros();
        if !self.0.is_empty() {
            for subject in evaluated {
                self.0.remove(&(at, subject));
            }
        }
        self.0.extend(failed.into_iter().map(|subject| (at, subject)));
    }
}

/// What is evaluated together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Together {
    /// One subject.
    One(String),
    /// Placements whose moments are due at the same instant.
    Placements(Vec<Uuid>),
}

impl Together {
    /// Lists the subjects.
    pub(super) fn subjects(&self) -> Vec<String> {
        match self {
            Self::One(subject) => vec![subject.clone()],
            Self::Placements(placements) => {
                placements.iter().map(|placement| Subject::Placement(*placement).to_string()).collect()
            }
        }
    }
}

/// Takes the earliest subject, and if it is a placement the others that are due at the same instant.
pub(super) fn pop_together(due: &mut DueSubjects) -> Option<(Instant, Together)> {
    let (micros, subject) = due.pop_first()?;
    let at = Instant::from_micros(micros).unwrap_or(Instant::MAX);
    let Some(first) = placement_of(&subject) else { return Some((at, Together::One(subject))) };
    let mut placements = vec![first];
    while let Some(next) = due.first().filter(|(due, _)| *due == micros)
        && let Some(placement) = placement_of(&next.1)
    {
        due.pop_first();
        placements.push(placement);
    }
    Some((at, Together::Placements(placements)))
}

fn placement_of(subject: &str) -> Option<Uuid> {
    match EvaluatedSubject::parse(subject)? {
        EvaluatedSubject::Placement(id) => Some(id),
        EvaluatedSubject::Alert(_)
        | EvaluatedSubject::Delivery(_)
        | EvaluatedSubject::Agreement(_)
        | EvaluatedSubject::Provider(_)
        | EvaluatedSubject::ProviderDay(..) => None,
    }
}

/// What a moment evaluates.
#[derive(Clone)]
pub(super) enum EvaluatedSubject {
    Alert(Uuid),
    Placement(Uuid),
    Agreement(AgreementPage),
    Provider(OrganisationId),
    ProviderDay(OrganisationId, Date),
    Delivery(DeliverySubject),
}

impl EvaluatedSubject {
    /// Parses the subject of a moment; `None` if it is of no known kind.
    pub(super) fn parse(subject: &str) -> Option<Self> {
        let (kind, id) = subject.split_once('/')?;
        match kind {
            "alert" => Uuid::parse_str(id).ok().map(Self::Alert),
            "placement" => Uuid::parse_str(id).ok().map(Self::Placement),
            "delivery" => DeliverySubject::parse(id).map(Self::Delivery),
            "agreement" => AgreementPage::parse(id).map(Self::Agreement),
            "provider" => id.parse().ok().map(Self::Provider),
            "provider-day" => {
                let (provider, day) = id.rsplit_once('/')?;
                Some(Self::ProviderDay(provider.parse().ok()?, Date::parse(day).ok()?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_moment_stays_until_it_was_evaluated() {
        let [first, second] = [1, 2].map(|at| Instant::from_micros(at).unwrap());
        let [placement, alert] =
            ["placement", "alert"].map(|kind| format!("{kind}/{}", Uuid::from_u128(7).hyphenated()));
        let mut failed = FailedMoments::default();
        failed.replace(first, vec![placement.clone()], vec![placement.clone()]);
        failed.replace(second, vec![alert.clone()], vec![alert.clone()]);
        // A retry that ends after the first, for example because the database is unavailable.
        let mut due: DueSubjects = failed.iter().cloned().collect();
        let (at, together) = pop_together(&mut due).unwrap();
        assert_eq!((at, &together), (first, &Together::Placements(vec![Uuid::from_u128(7)])));
        assert_eq!(failed.iter().count(), 2, "a retry that has begun forgets nothing");
        failed.replace(at, together.subjects(), Vec::new());
        assert_eq!(failed.iter().collect::<Vec<_>>(), [&(2, alert.clone())]);
        // The next retry finds what the first did not reach.
        let mut due: DueSubjects = failed.iter().cloned().collect();
        assert_eq!(pop_together(&mut due), Some((second, Together::One(alert.clone()))));
        failed.replace(second, vec![alert], Vec::new());
        assert!(failed.is_empty());
    }
}
