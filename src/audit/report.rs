//! The report of a verification.

/// A finding: a difference between the copy and the log as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    /// Description in plain words.
    pub description: String,
}

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Number of entries in the log.
    pub entries: u64,
    /// Number of signed checkpoints.
    pub checkpoints: u64,
    /// Number of record rows that were compared with their leaves; 0 without the key ring.
    pub records: u64,
    /// Losses by accepted rollbacks, in plain words.
    pub lost: Vec<String>,
    /// Differences that were found; empty for an intact log.
    pub findings: Vec<Discrepancy>,
}

impl VerifyReport {
    /// Adds a finding to the report.
    pub(super) fn add_finding(&mut self, what: impl Into<String>) {
        self.findings.push(Discrepancy { description: what.into() });
    }
}
