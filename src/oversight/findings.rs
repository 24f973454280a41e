//! The findings of the review of alternative provision, each with what the gateway does about it: the rule, refusal,
//! warning or record that answers it and the test that shows it, or what a finding that is not collected waits for. The
//! table is `findings.csv`.

use std::sync::LazyLock;

use serde::Deserialize;

const TABLE: &str = include_str!("findings.csv");

/// A finding and what answers it. Each list is of names, separated by spaces.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// Its number, such as `OC4`.
    pub finding: String,
    /// What the gateway does about it, in a sentence.
    #[serde(rename = "what the gateway does about it")]
    pub answer: String,
    /// Rules that raise an alert: ids of the rule book.
    pub rules: String,
    /// Reasons of refusals and of fields at fault.
    pub refusals: String,
    /// Open items, flags and warnings.
    pub warnings: String,
    /// Fields and methods of the protocol.
    pub records: String,
    /// What is missing before the finding is answered whole.
    #[serde(rename = "waits for")]
    pub waits_for: String,
    /// Tests that show it.
    pub tests: String,
}

impl Finding {
    /// Returns whether nothing answers it yet.
    #[must_use]
    pub fn is_not_collected(&self) -> bool {
        [&self.rules, &self.refusals, &self.warnings, &self.records].iter().all(|names| names.is_empty())
    }

    /// Returns the ids of its rules.
    pub fn rule_ids(&self) -> impl Iterator<Item = &str> {
        self.rules.split_whitespace()
    }
}

/// Returns all findings, in the order of the review. A test holds that every row of the table is among them.
#[must_use]
pub fn all() -> &'static [Finding] {
    static FINDINGS: LazyLock<Vec<Finding>> = LazyLock::new(|| read().unwrap_or_default());
    &FINDINGS
}

fn read() -> Result<Vec<Finding>, csv::Error> {
    csv::Reader::from_reader(TABLE.as_bytes()).deserialize().collect()
}

/// Returns the findings that name a rule that is not among these ids.
#[must_use]
pub fn check<'a>(findings: &'a [Finding], rule_ids: &[&str]) -> Vec<&'a Finding> {
    let is_answered = |finding: &&Finding| finding.rule_ids().all(|id| rule_ids.contains(&id));
    findings.iter().filter(|finding| !is_answered(finding)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::rule_id::RuleId;

    fn ids() -> Vec<&'static str> {
        RuleId::ALL.iter().map(|id| id.as_str()).collect()
    }

    fn numbers<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<&'a str> {
        findings.into_iter().map(|finding| finding.finding.as_str()).collect()
    }

    #[test]
    fn every_row_of_the_table_is_read() {
        assert_eq!(read().unwrap().len(), TABLE.lines().count() - 1);
        assert_eq!(all().len(), TABLE.lines().count() - 1);
    }

    #[test]
    fn without_a_rule_exactly_its_rows_fail() {
        assert_eq!(numbers(check(all(), &ids())), [""; 0]);
        for removed in ids() {
            let others: Vec<&str> = ids().into_iter().filter(|id| *id != removed).collect();
            let rows = numbers(all().iter().filter(|finding| finding.rule_ids().any(|id| id == removed)));
            assert!(!rows.is_empty(), "no finding is answered by {removed}");
            assert_eq!(numbers(check(all(), &others)), rows, "{removed}");
        }
    }
}
