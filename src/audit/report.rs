//! The report of a verification.

use std::fmt;

/// Findings that a report holds; further ones are counted.
const MAX_FINDINGS: usize = 1_000;

/// A finding: a difference between the copy and the log as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    /// The table at fault; `anchor` for the anchor file.
    pub table: String,
    /// The entry that wrote what is at fault, if it is about one.
    pub entry: Option<u64>,
    /// What is at fault, in plain words.
    pub description: String,
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "{}, entry {entry}: {}", self.table, self.description),
            None => write!(f, "{}: {}", self.table, self.description),
        }
    }
}

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Number of entries in the log.
    pub entries: u64,
    /// Number of signed checkpoints.
    pub checkpoints: u64,
    /// Number of rows that were compared with what their entries commit to.
    pub rows: u64,
    /// Losses by accepted rollbacks, in plain words.
    pub lost: Vec<String>,
    /// Differences that were found; empty for an intact log. At most 1,000.
    pub findings: Vec<Discrepancy>,
    /// Number of differences beyond those.
    pub more_findings: u64,
    /// What was checked, in plain words.
    pub checked: Vec<String>,
    /// What was not checked, for want of a file or of a release that knows it, in plain words. While this is not empty, the
    /// report does not say that nothing was altered.
    pub unchecked: Vec<String>,
}

impl VerifyReport {
    /// Adds a finding about a table, and an entry of it, to the report.
    pub(super) fn add_finding(&mut self, table: &str, entry: Option<u64>, description: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            let (table, description) = (table.to_owned(), description.into());
            self.findings.push(Discrepancy { table, entry, description });
        } else {
            self.more_findings += 1;
        }
    }

    /// Puts findings before those that are in the report.
    pub(super) fn prepend_findings(&mut self, findings: Vec<Discrepancy>) {
        self.findings.splice(0..0, findings);
        let beyond = self.findings.split_off(self.findings.len().min(MAX_FINDINGS));
        self.more_findings += beyond.len() as u64;
    }

    /// Returns whether nothing was found.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }
}
