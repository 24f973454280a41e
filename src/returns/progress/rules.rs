//! What becomes of a progress return, and what is flagged in it: pure.

use crate::calendar::Date;
use crate::exchange::check::Check;
use crate::placements::Placement;
use crate::proto::v1::{Plan, ProgressOutcome, ProgressReturn};

/// Bit of a return that is only academic, of a child whose primary need is SEMH.
pub const INCOMPLETE: i64 = 1;
/// Bit of a return whose provider may be told that.
pub const INCOMPLETE_TOLD: i64 = 2;
/// Bit of a return that no agreement covered when it was received.
pub const AGREEMENT_LAPSED: i64 = 4;

/// What becomes of it against what stands for the same period.
///
/// # Errors
/// The field at fault and why: a different return stands, and no reason was given.
pub fn against(
    sent: &ProgressReturn,
    standing: Option<&ProgressReturn>,
    reason: &str,
) -> Result<ProgressOutcome, (&'static str, &'static str)> {
    match standing {
        None => Ok(ProgressOutcome::Stored),
        Some(standing) if standing == sent => Ok(ProgressOutcome::Unchanged),
        Some(_) if reason.is_empty() => Err(("correction_reason", "CORRECTION_REASON_REQUIRED")),
        Some(_) => Ok(ProgressOutcome::Corrected),
    }
}

/// Whether the return says nothing beside subjects and qualifications.
#[must_use]
pub fn is_only_academic(progress: &ProgressReturn) -> bool {
    let academic = !progress.academic.is_empty() || !progress.qualifications.is_empty();
    let semh = progress.semh.as_ref().is_some_and(|semh| {
        let scales = semh.leuven_wellbeing != 0 || semh.leuven_involvement != 0;
        scales || !semh.sdq.is_empty() || !semh.boxall.is_empty()
    });
    academic && !semh && progress.behaviour.is_none() && progress.wellbeing.is_empty()
}

/// The flags of a return, as its provider or another reads them.
#[must_use]
pub fn flags(bits: i64, provider: bool) -> Vec<String> {
    let incomplete = if provider { INCOMPLETE_TOLD } else { INCOMPLETE };
    let all = [(incomplete, "INCOMPLETE"), (AGREEMENT_LAPSED, "AGREEMENT_LAPSED")];
    all.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, flag)| (*flag).to_owned()).collect()
}

/// Faults that take the placement to see: the period lies beside it, or an outcome is none of the plan's.
pub fn fits(check: &mut Check, progress: &ProgressReturn, placement: &Placement, plan: Option<&Plan>) {
    let (from, to) = (Date::parse(&progress.from_date).ok(), Date::parse(&progress.to_date).ok());
    let begun = placement.start.zip(to).is_some_and(|(start, to)| start <= to);
    let over = placement.end.zip(from).is_some_and(|(end, from)| end < from);
    let mut check = check.at("progress");
    if !begun || over {
        check.fault("from_date", "PLACEMENT_NOT_ACTIVE");
    }
    if !progress.plan_etag.is_empty() && plan.is_none() {
        check.fault("plan_etag", "PLAN_VERSION_UNKNOWN");
    }
    for (at, outcome) in progress.outcomes.iter().enumerate() {
        let place = usize::try_from(outcome.outcome).unwrap_or(usize::MAX);
        if plan.is_some_and(|plan| plan.outcomes.get(place).is_none()) {
            check.at("outcomes").index(at).fault("outcome", "OUTCOME_UNKNOWN");
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
        assert_eq!(against(&one, None, ""), Ok(ProgressOutcome::Stored));
        assert_eq!(against(&one, Some(&one), ""), Ok(ProgressOutcome::Unchanged));
        assert_eq!(against(&one, Some(&other), ""), Err(("correction_reason", "CORRECTION_REASON_REQUIRED")));
        assert_eq!(against(&one, Some(&other), "miscounted"), Ok(ProgressOutcome::Corrected));
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
        assert_eq!(flags(INCOMPLETE, false), ["INCOMPLETE"]);
        assert!(flags(INCOMPLETE, true).is_empty());
        assert_eq!(
            flags(INCOMPLETE | INCOMPLETE_TOLD | AGREEMENT_LAPSED, true),
            ["INCOMPLETE", "AGREEMENT_LAPSED"]
        );
    }
}
