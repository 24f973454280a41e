//! Pure rules for progress returns: the comparison with the stored return, the flags, and the checks against placement
//! and plan.

use bitflags::bitflags;

use crate::calendar::Period;
use crate::exchange::check::Check;
use crate::placements::Placement;
use crate::proto::v1::{Plan, ProgressOutcome, ProgressReturn};
use crate::stored_flags;
use crate::violation_reason::ViolationReason;

bitflags! {
    /// What is unusual about a progress return.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ProgressFlags: u32 {
        /// The return covers only academic progress, but the child's primary need is SEMH (social, emotional and mental
        /// health).
        const INCOMPLETE = 1;
        /// [`ProgressFlags::INCOMPLETE`] is set, and the provider may see it.
        const INCOMPLETE_SHOWN_TO_PROVIDER = 2;
        /// No agreement covered progress when the return was received.
        const AGREEMENT_LAPSED = 4;
    }
}

stored_flags! { ProgressFlags }

impl ProgressFlags {
    /// Returns the names of the flags. The provider gets `INCOMPLETE` only if
    /// [`ProgressFlags::INCOMPLETE_SHOWN_TO_PROVIDER`] is set.
    #[must_use]
    pub fn names(self, provider: bool) -> Vec<String> {
        let incomplete = if provider { Self::INCOMPLETE_SHOWN_TO_PROVIDER } else { Self::INCOMPLETE };
        let names = [(incomplete, "INCOMPLETE"), (Self::AGREEMENT_LAPSED, "AGREEMENT_LAPSED")];
        names.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| (*name).to_owned()).collect()
    }
}

/// Compares a return with the stored return for the same period.
///
/// # Errors
/// Field and reason, if the stored return differs and no correction reason was given.
pub fn compare_with_current(
    sent: &ProgressReturn,
    standing: Option<&ProgressReturn>,
    reason: &str,
) -> Result<ProgressOutcome, (&'static str, ViolationReason)> {
    match standing {
        None => Ok(ProgressOutcome::Stored),
        Some(standing) if is_same(sent, standing) => Ok(ProgressOutcome::Unchanged),
        Some(_) if reason.is_empty() => Err(("correction_reason", ViolationReason::CorrectionReasonRequired)),
        Some(_) => Ok(ProgressOutcome::Corrected),
    }
}

/// Returns whether two returns state the same. A return whose author was attested is the same as one that a system sends
/// without a token.
fn is_same(sent: &ProgressReturn, standing: &ProgressReturn) -> bool {
    let is_author = match (&sent.author, &standing.author) {
        (Some(sent), Some(standing)) if sent.attested != standing.attested => {
            (&sent.name, &sent.role) == (&standing.name, &standing.role)
        }
        (sent, standing) => sent == standing,
    };
    let without_author = |progress: &ProgressReturn| ProgressReturn { author: None, ..progress.clone() };
    is_author && without_author(sent) == without_author(standing)
}

/// Returns whether the return covers only subjects and qualifications.
#[must_use]
pub fn is_only_academic(progress: &ProgressReturn) -> bool {
    let academic = !progress.academic.is_empty() || !progress.qualifications.is_empty();
    let semh = progress.semh.as_ref().is_some_and(|semh| {
        let scales = semh.leuven_wellbeing != 0 || semh.leuven_involvement != 0;
        scales || !semh.sdq.is_empty() || !semh.boxall.is_empty()
    });
    academic && !semh && progress.behaviour.is_none() && progress.wellbeing.is_empty()
}

/// Checks a return against its placement and plan. Adds a fault if the period lies outside the placement, or if an
/// outcome or the plan version is unknown.
pub fn check_against_placement(
    check: &mut Check,
    (progress, period): (&ProgressReturn, Period),
    placement: &Placement,
    plan: Option<&Plan>,
) {
    let begun = placement.start_date.is_some_and(|start| start <= period.last());
    let over = placement.end_date.is_some_and(|end| end < period.first());
    let mut check = check.enter("progress");
    if !begun || over {
        check.add_violation("from_date", ViolationReason::PlacementNotActive);
    }
    if !progress.plan_etag.is_empty() && plan.is_none() {
        check.add_violation("plan_etag", ViolationReason::PlanVersionUnknown);
    }
    for (index, outcome) in progress.outcomes.iter().enumerate() {
        let position = usize::try_from(outcome.outcome).unwrap_or(usize::MAX);
        if plan.is_some_and(|plan| plan.outcomes.get(position).is_none()) {
            check.enter("outcomes").index(index).add_violation("outcome", ViolationReason::OutcomeUnknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{AcademicProgress, BehaviourCounts, SemhProgress};

    #[test]
    fn the_same_again_is_unchanged_and_another_needs_a_reason() {
        let one = ProgressReturn { wellbeing: "well".to_owned(), ..ProgressReturn::default() };
        let other = ProgressReturn::default();
        assert_eq!(compare_with_current(&one, None, ""), Ok(ProgressOutcome::Stored));
        assert_eq!(compare_with_current(&one, Some(&one), ""), Ok(ProgressOutcome::Unchanged));
        assert_eq!(
            compare_with_current(&one, Some(&other), ""),
            Err(("correction_reason", ViolationReason::CorrectionReasonRequired))
        );
        assert_eq!(compare_with_current(&one, Some(&other), "miscounted"), Ok(ProgressOutcome::Corrected));
    }

    #[test]
    fn academic_alone_is_not_all() {
        let academic =
            ProgressReturn { academic: vec![AcademicProgress::default()], ..ProgressReturn::default() };
        assert!(is_only_academic(&academic));
        assert!(!is_only_academic(&ProgressReturn::default()));
        let semh = Some(SemhProgress { leuven_wellbeing: 3, ..SemhProgress::default() });
        assert!(!is_only_academic(&ProgressReturn { semh, ..academic.clone() }));
        assert!(is_only_academic(&ProgressReturn {
            semh: Some(SemhProgress::default()),
            ..academic.clone()
        }));
        let behaviour = Some(BehaviourCounts::default());
        assert!(!is_only_academic(&ProgressReturn { behaviour, ..academic }));
    }

    #[test]
    fn a_need_that_the_provider_may_not_read_is_not_told_by_a_flag() {
        assert_eq!(ProgressFlags::INCOMPLETE.names(false), ["INCOMPLETE"]);
        assert!(ProgressFlags::INCOMPLETE.names(true).is_empty());
        assert_eq!(ProgressFlags::all().names(true), ["INCOMPLETE", "AGREEMENT_LAPSED"]);
    }
}
