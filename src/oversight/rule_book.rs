//! The rule book: what `rules.toml` says of each rule. The binary embeds one; a file that the configuration names replaces
//! the keys that it holds.

mod parameter;
mod parse;
mod recipient;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::act_by::{ActWithin, SchoolHours};
use super::rule_id::RuleId;
use super::severity::Severity;
use crate::calendar::{Date, TimeOfDay};

pub use parameter::Parameter;
pub use parse::RuleBookFault;
pub use recipient::{Bundle, Delay, PartyRole, Recipient};

const EMBEDDED: &str = include_str!("rules.toml");

/// The settings of all rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBook {
    /// The hours of a school day.
    pub school_hours: SchoolHours,
    /// How often an alert is escalated at most.
    pub escalations: u32,
    /// School days after which a resolved alert is opened again if its cause still holds.
    pub reopen_resolved_after_school_days: u32,
    /// School days within which a closed alert is opened again if its cause holds again.
    pub reopen_closed_within_school_days: u32,
    act_within: BTreeMap<Severity, ActWithin>,
    rules: BTreeMap<RuleId, RuleSettings>,
}

/// The settings of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// Its first day; `None` if it does not run. Placements that started before are not alerted.
    pub from: Option<Date>,
    /// Findings of the review that it answers.
    pub findings: Vec<String>,
    /// Severity of its alerts.
    pub severity: Severity,
    /// Who is told, and when.
    pub recipients: Vec<Recipient>,
    /// The organisation whose placements share one alert a day; `None` if each placement has its own.
    pub bundle: Option<Bundle>,
    /// Its thresholds by name, each the values with the days from which they hold, in the order of the days.
    pub parameters: BTreeMap<String, Vec<(Date, u32)>>,
}

impl RuleBook {
    /// Returns the embedded rule book. A test parses its text, so the book without rules is never returned.
    #[must_use]
    pub fn embedded() -> Arc<Self> {
        static BOOK: LazyLock<Arc<RuleBook>> = LazyLock::new(|| {
            Arc::new(
                parse::parse(EMBEDDED, RuleBook::without_rules())
                    .unwrap_or_else(|_| RuleBook::without_rules()),
            )
        });
        Arc::clone(&BOOK)
    }

    /// Parses a file that replaces the keys of the embedded book that it holds.
    ///
    /// # Errors
    /// [`RuleBookFault`] for the first fault of the text.
    pub fn with_overrides(text: &str) -> Result<Arc<Self>, RuleBookFault> {
        parse::parse(text, Self::embedded().as_ref().clone()).map(Arc::new)
    }

    /// Returns how long somebody has to act on an alert.
    #[must_use]
    pub fn act_within(&self, severity: Severity) -> ActWithin {
        self.act_within.get(&severity).copied().unwrap_or(ActWithin::SchoolDays(1))
    }

    /// Returns the settings of a rule; `None` if it does not run yet on a day.
    #[must_use]
    pub fn running(&self, rule: RuleId, today: Date) -> Option<&RuleSettings> {
        self.rules.get(&rule).filter(|settings| settings.runs_on(today))
    }

    /// Returns the settings of a rule, also if it does not run.
    #[must_use]
    pub fn settings(&self, rule: RuleId) -> Option<&RuleSettings> {
        self.rules.get(&rule)
    }

    /// Returns the settings of all rules, in the order of their ids.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &RuleSettings)> {
        self.rules.iter().map(|(id, settings)| (*id, settings))
    }

    fn without_rules() -> Self {
        Self {
            school_hours: SchoolHours { from: TimeOfDay::NOON, to: TimeOfDay::NOON },
            escalations: 0,
            reopen_resolved_after_school_days: 0,
            reopen_closed_within_school_days: 0,
            act_within: BTreeMap::new(),
            rules: BTreeMap::new(),
        }
    }
}

impl RuleSettings {
    /// Returns whether a placement that started on a day is alerted by the rule. One without a start is.
    #[must_use]
    pub fn covers(&self, start: Option<Date>) -> bool {
        self.from.is_some_and(|from| start.is_none_or(|start| start >= from))
    }

    /// Returns whether the rule runs on a day.
    #[must_use]
    pub fn runs_on(&self, day: Date) -> bool {
        self.from.is_some_and(|from| from <= day)
    }

    /// Returns the next day after a day on which the rule begins, or one of its parameters has another value; `None` if there
    /// is none, or the rule does not run at any time.
    #[must_use]
    pub fn next_from_date(&self, day: Date) -> Option<Date> {
        let first = self.from?;
        let values = self.parameters.values().flatten().map(|(from, _)| (*from).max(first));
        values.chain([first]).filter(|from| *from > day).min()
    }

    /// Returns the value of a parameter on a day; `None` before the first.
    #[must_use]
    pub fn parameter(&self, name: &str, day: Date) -> Option<u32> {
        parameter::value_on(self.parameters.get(name)?, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{date, settings};

    #[test]
    fn the_next_from_date_is_that_of_the_rule_or_of_a_parameter() {
        let mut rule = settings(RuleId::ProgressMissing);
        rule.from = Some(date("2026-11-02"));
        let values = ["2026-09-01", "2026-11-20", "2027-01-04"].map(|from| (date(from), 1));
        rule.parameters = [("days".to_owned(), values.to_vec())].into();
        for (day, next) in [
            ("2026-08-31", Some("2026-11-02")),
            ("2026-11-01", Some("2026-11-02")),
            ("2026-11-02", Some("2026-11-20")),
            ("2026-11-20", Some("2027-01-04")),
            ("2027-01-04", None),
        ] {
            assert_eq!(rule.next_from_date(date(day)), next.map(date), "{day}");
        }
        rule.from = None;
        assert_eq!(rule.next_from_date(date("2026-08-31")), None, "a rule that does not run at any time");
    }
}
