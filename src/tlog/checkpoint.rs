//! Checkpoints (C2SP tlog-checkpoint): the text that is signed for a tree of some size.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::hash::Hash;

/// An error of parsing a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text does not consist of an origin, a size and a root, one a line.
    #[error("not a checkpoint")]
    Malformed,
    /// The size is not a plain decimal number.
    #[error("the checkpoint's size is not a number")]
    Size,
    /// The root is not 32 bytes in base64.
    #[error("the checkpoint's root is not a hash")]
    Root,
}

/// A checkpoint: the log's origin, the tree's size and its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// Makes a checkpoint of the log with this origin.
    #[must_use]
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self { origin: origin.to_owned(), size, root }
    }

    /// Parses a checkpoint; extension lines are ignored.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Malformed)?;
        let mut lines = body.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Malformed);
        let (origin, size, root) = (line()?, line()?, line()?);
        if lines.any(str::is_empty) {
            return Err(CheckpointError::Malformed);
        }
        let number: u64 = size.parse().map_err(|_| CheckpointError::Size)?;
        if number.to_string() != size {
            return Err(CheckpointError::Size);
        }
        let bytes = STANDARD.decode(root).map_err(|_| CheckpointError::Root)?;
        let root = Hash::try_from(&bytes[..]).map_err(|_| CheckpointError::Root)?;
        Ok(Self { origin: origin.to_owned(), size: number, root })
    }

    /// Returns the log's origin, which is its name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root of the tree.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }
}
