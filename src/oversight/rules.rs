//! The rules of oversight. Each rule is one file and one line of [`RULES`].

mod open_item_overdue;

use super::rule::Rule;
use crate::proto::v1::AlertKind;

/// All rules.
pub const RULES: &[&dyn Rule] = &[&open_item_overdue::OpenItemOverdue];

/// Returns the rule that raises alerts of a kind; `None` if this binary has no such rule.
#[must_use]
pub fn by_kind(kind: AlertKind) -> Option<&'static dyn Rule> {
    RULES.iter().copied().find(|rule| rule.kind() == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_alert_has_one_rule() {
        for number in 1.. {
            let Ok(kind) = AlertKind::try_from(number) else { break };
            assert_eq!(RULES.iter().filter(|rule| rule.kind() == kind).count(), 1, "{kind:?}");
        }
        assert!(by_kind(AlertKind::Unspecified).is_none());
    }
}
