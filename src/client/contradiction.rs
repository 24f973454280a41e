//! Contradictions between checkpoints of one log.

use std::path::PathBuf;

use super::ClientError;

/// Way in which a log contradicts a checkpoint that was received before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The gateway returned no newest checkpoint.
    #[error("the gateway returns no newest checkpoint")]
    NoNewest,
    /// The newest tree is smaller than one that was received before.
    #[error(
        "the log shrank: its newest checkpoint is of {newest} entries, and one of {before} was received before"
    )]
    Shrunk {
        /// Size of the newest tree.
        newest: u64,
        /// Size of the tree that was received before.
        before: u64,
    },
    /// Two trees of one size have different roots.
    #[error("two trees: the log has two checkpoints of {0} entries with different roots")]
    SecondRoot(u64),
    /// The gateway gave no consistency proof.
    #[error("the gateway gives no proof that the tree of {to} entries contains that of {from}")]
    Unproved {
        /// Size of the smaller tree.
        from: u64,
        /// Size of the larger tree.
        to: u64,
    },
    /// The larger tree does not contain the smaller one.
    #[error(
        "two trees: the log of {to} entries is not consistent with the checkpoint of {from} entries that was seen"
    )]
    NotContinued {
        /// Size of the smaller tree.
        from: u64,
        /// Size of the larger tree.
        to: u64,
    },
    /// The records of the log's replacements are not valid for its keys.
    #[error("{0}")]
    Replacements(&'static str),
    /// A checkpoint of a replaced log is beyond the part that was recorded as lost.
    #[error(
        "{log} was replaced, and the checkpoint of {size} entries that was seen is not in the part recorded as lost"
    )]
    LossNotRecorded {
        /// Name of the replaced log.
        log: String,
        /// Size of the tree.
        size: u64,
    },
}

/// A contradiction, and where its evidence is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistency {
    /// The contradiction.
    pub contradiction: Contradiction,
    /// Folder in which both checkpoints were stored; `None` if they were only compared.
    pub evidence: Option<PathBuf>,
}

impl std::fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.contradiction.fmt(f)?;
        let Some(folder) = &self.evidence else { return Ok(()) };
        write!(
            f,
            "; the response was discarded, the evidence is in {}, and every further call is refused: give a copy of that \
             folder to the gateway's operator and to an auditor, and take the files conflicting-* out of it when their \
             cause is known",
            folder.display()
        )
    }
}

impl From<Contradiction> for ClientError {
    fn from(contradiction: Contradiction) -> Self {
        Self::Inconsistent(Box::new(Inconsistency { contradiction, evidence: None }))
    }
}
