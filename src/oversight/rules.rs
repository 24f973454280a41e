//! The rules of oversight. Each rule is one file and one line of [`RULES`].

mod open_item_overdue;

use super::rule::Rule;
use super::rule_id::RuleId;

/// All rules.
pub const RULES: &[&dyn Rule] = &[&open_item_overdue::OpenItemOverdue];

/// Returns the rule of an id. A test holds that there is one for each.
#[must_use]
pub fn by_id(id: RuleId) -> Option<&'static dyn Rule> {
    RULES.iter().copied().find(|rule| rule.id() == id)
}

/// Returns the names of a rule's parameters.
#[must_use]
pub fn parameters(id: RuleId) -> &'static [&'static str] {
    by_id(id).map_or(&[], Rule::parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_has_one_rule() {
        for id in RuleId::ALL {
            assert_eq!(RULES.iter().filter(|rule| rule.id() == *id).count(), 1, "{id:?}");
        }
    }
}
