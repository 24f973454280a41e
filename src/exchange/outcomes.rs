//! Outcomes of exchanges as the metrics count them: each has a number, and the texts of its labels.

use super::refusal::Reason;

/// Number of the outcome of an exchange that was done.
pub(super) const DONE: usize = 0;
/// Number of the outcome of an exchange that repeats one that was done before.
pub(super) const REPLAYED: usize = 1;

/// Returns the number of the outcome of a refusal.
pub(super) fn number_of_refusal(reason: Reason) -> usize {
    REPLAYED + 1 + reason as usize
}

/// Returns the values of the labels `outcome` and `reason` of every outcome, by number.
#[must_use]
pub fn outcome_labels() -> Vec<(&'static str, &'static str)> {
    let outcome = |reason: &Reason| match reason {
        Reason::Malformed => "malformed",
        Reason::Failed => "failed",
        Reason::LogUnavailable => "unavailable",
        _ => "refused",
    };
    let refusals = Reason::ALL.iter().map(|reason| (outcome(reason), reason.name()));
    [("ok", ""), ("replayed", "")].into_iter().chain(refusals).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_outcome_is_its_place_in_the_list() {
        let labels = outcome_labels();
        assert_eq!((labels[DONE], labels[REPLAYED]), (("ok", ""), ("replayed", "")));
        for reason in Reason::ALL {
            assert_eq!(labels[number_of_refusal(*reason)].1, reason.name());
        }
    }
}
