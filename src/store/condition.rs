//! The condition of a node, which the health service reports.

/// The condition of a node: faults that keep it from serving or appending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each holds or not, whatever the others do")]
pub struct NodeCondition {
    /// The database cannot be reached or does not answer in time.
    pub database_unreachable: bool,
    /// This node's clock differs from the database's by more than two seconds: the node appends nothing.
    pub clock_skewed: bool,
    /// This node's clock has jumped: the node appends nothing until the clock is right again.
    pub clock_jumped: bool,
    /// The last attempt to write to the database failed.
    pub database_unwritable: bool,
    /// The last attempt to write to the anchor failed.
    pub anchor_unwritable: bool,
    /// PostgreSQL's settings would let an acknowledged commit be lost: the node appends nothing.
    pub not_durable: bool,
    /// The log was changed after it was written.
    pub log_altered: bool,
    /// Whether the revocation status of certificates can be checked.
    pub revocation: Revocation,
    /// The key ring lacks a key that is in use: the node appends nothing.
    pub key_missing: bool,
    /// A background task has made no progress for longer than its limit.
    pub task_stalled: bool,
}

impl NodeCondition {
    /// Names of the causes for which a node is not ready, in the order of [`NodeCondition::causes`].
    pub const CAUSES: [&'static str; 10] = [
        "database_unreachable",
        "database_unwritable",
        "anchor_unwritable",
        "clock_skewed",
        "clock_jumped",
        "not_durable",
        "log_altered",
        "revocation_unknown",
        "key_missing",
        "task_stalled",
    ];

    /// Returns each cause for which the node is not ready, and whether it holds.
    pub fn causes(self) -> impl Iterator<Item = (&'static str, bool)> {
        let Self {
            database_unreachable,
            database_unwritable,
            anchor_unwritable,
            clock_skewed,
            clock_jumped,
            not_durable,
            log_altered,
            revocation,
            key_missing,
            task_stalled,
        } = self;
        let holds = [
            database_unreachable,
            database_unwritable,
            anchor_unwritable,
            clock_skewed,
            clock_jumped,
            not_durable,
            log_altered,
            revocation == Revocation::Unknown,
            key_missing,
            task_stalled,
        ];
        Self::CAUSES.into_iter().zip(holds)
    }
}

/// Whether the revocation status of certificates can be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocation {
    /// The revocation lists of at least one issuer are current.
    #[default]
    Known,
    /// The revocation lists of every issuer have expired: no caller is served.
    Unknown,
}
