//! The logs of one gateway, in their order. An accepted rollback ends a log where its database stood, and begins
//! the next, with a name and a key of its own, over the entries that were kept: indexes go on. So each checkpoint
//! is of the log in whose part of the tree it ends, and that log's key alone verifies it.

use std::fmt;

use super::checkpoint::Checkpoint;
use super::note::{NoteError, Verifier};

/// Why a checkpoint is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.what())]
pub enum LineageError {
    /// None of the keys signed it.
    Signature,
    /// It has not the form of a checkpoint.
    Malformed,
    /// It is not of the log whose key signed it, or of a part of the tree that is another log's.
    Other,
    /// It is of a log that was replaced, and lies beyond what was kept of it.
    Replaced,
}

impl LineageError {
    /// In plain words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Signature => "a checkpoint's signature is wrong",
            Self::Malformed => "a checkpoint is not one",
            Self::Other => "a checkpoint is of another log",
            Self::Replaced => "a checkpoint is of a log that was replaced, and beyond what was kept of it",
        }
    }
}

/// The keys of a gateway's logs: of the present one, and of those that it replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Each with how many entries were kept of it, and of those before it: never fewer than in the line before.
    replaced: Vec<(Verifier, u64)>,
    present: Verifier,
}

impl From<Verifier> for Lineage {
    fn from(present: Verifier) -> Self {
        Self { replaced: Vec::new(), present }
    }
}

impl Lineage {
    /// Reads a verifier key; before it, for each log that was replaced, its key and the entries that were kept,
    /// all between spaces.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut words = text.split_whitespace();
        let mut lineage = Self::from(Verifier::parse(words.next().ok_or(NoteError::Key)?)?);
        while let Some(kept) = words.next() {
            let kept = kept.parse().map_err(|_| NoteError::Key)?;
            let next = Verifier::parse(words.next().ok_or(NoteError::Key)?)?;
            if lineage.replaced.last().is_some_and(|(_, before)| *before > kept) || lineage.knows(next.name())
            {
                return Err(NoteError::Key);
            }
            let before = std::mem::replace(&mut lineage.present, next);
            lineage.replaced.push((before, kept));
        }
        Ok(lineage)
    }

    /// What stands before the key of a log that replaces the present one, of which so many entries are kept.
    #[must_use]
    pub fn before(&self, kept: u64) -> String {
        let replaced = self.replaced.iter().map(|(key, end)| (key, (*end).min(kept)));
        let replaced = replaced.chain([(&self.present, kept)]);
        replaced.fold(String::new(), |before, (key, kept)| format!("{before}{key} {kept} "))
    }

    /// The key of the present log.
    #[must_use]
    pub fn present(&self) -> &Verifier {
        &self.present
    }

    /// Whether one of the logs has this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.present.name() == name || self.replaced.iter().any(|(key, _)| key.name() == name)
    }

    /// The key of the log that signed the tree of a size.
    #[must_use]
    pub fn key_of(&self, size: u64) -> &Verifier {
        self.replaced.iter().find(|(_, kept)| size <= *kept).map_or(&self.present, |(key, _)| key)
    }

    /// The name that cursors give to the log which an entry is of: none for a gateway's first.
    #[must_use]
    pub fn log_of(&self, index: u64) -> &str {
        let found = self.replaced.iter().position(|(_, kept)| index < *kept);
        match found.unwrap_or(self.replaced.len()) {
            0 => "",
            _ => self.key_of(index.saturating_add(1)).name(),
        }
    }

    /// Whether an entry of a log that cursors give this name was lost when the log was replaced; none where no log
    /// has it, or its entries are elsewhere.
    #[must_use]
    pub fn is_lost(&self, log: &str, index: u64) -> Option<bool> {
        let mut names = self.replaced.iter().enumerate();
        let of = names.find(|(at, (key, _))| (*at == 0 && log.is_empty()) || (*at > 0 && key.name() == log));
        match of {
            Some((_, (_, kept))) if index >= *kept => Some(true),
            _ => (self.log_of(index) == log).then_some(false),
        }
    }

    /// Where the logs begin that replaced others, each with an entry that says so.
    pub fn boundaries(&self) -> impl Iterator<Item = u64> {
        let later = self.replaced.iter().skip(1).map(|(_, kept)| Some(*kept)).chain([None]);
        // Of two replaced at one place only the second's entry is there.
        self.replaced
            .iter()
            .zip(later)
            .filter(|((_, kept), next)| *next != Some(*kept))
            .map(|((_, kept), _)| *kept)
    }

    /// The checkpoint in a note that one of the logs signed.
    ///
    /// # Errors
    /// [`LineageError`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, LineageError> {
        match self.read(note)? {
            (checkpoint, false) => Ok(checkpoint),
            (_, true) => Err(LineageError::Replaced),
        }
    }

    /// As [`Lineage::open`]; and whether it lies beyond what was kept of its log.
    ///
    /// # Errors
    /// [`LineageError`], but not [`LineageError::Replaced`].
    pub fn read(&self, note: &str) -> Result<(Checkpoint, bool), LineageError> {
        for (key, kept) in
            self.replaced.iter().map(|(key, kept)| (key, *kept)).chain([(&self.present, u64::MAX)])
        {
            let text = match key.open(note) {
                Ok(text) => text,
                Err(NoteError::Unsigned) => continue,
                Err(_) => return Err(LineageError::Signature),
            };
            let checkpoint = Checkpoint::parse(&text).map_err(|_| LineageError::Malformed)?;
            let is_lost = checkpoint.size() > kept;
            if checkpoint.origin() != key.name() || (!is_lost && self.key_of(checkpoint.size()) != key) {
                return Err(LineageError::Other);
            }
            return Ok((checkpoint, is_lost));
        }
        Err(LineageError::Signature)
    }

    /// The last checkpoint of the log that was replaced where an entry stands, by what the entry says: the last
    /// checkpoint that was known of that log, beyond what was kept, and the one of what was kept.
    ///
    /// # Errors
    /// [`LineageError`], when the entry cannot say that there.
    pub fn lost_at(&self, index: u64, last: &str, kept: &str) -> Result<Checkpoint, LineageError> {
        let replaced = self.replaced.iter().rfind(|(_, kept)| *kept == index);
        let (key, _) = replaced.ok_or(LineageError::Other)?;
        let (last, _) = self.read(last)?;
        let fits = last.origin() == key.name() && last.size() > index && self.open(kept)?.size() == index;
        if fits { Ok(last) } else { Err(LineageError::Other) }
    }

    /// What was lost when a log was replaced at an index, with its last checkpoint, in plain words.
    #[must_use]
    pub fn loss(&self, index: u64, last: &Checkpoint) -> String {
        format!(
            "{} was replaced by {}: {index} entries were kept, {} are lost ({index} to {})",
            last.origin(),
            self.key_of(index.saturating_add(1)).name(),
            last.size().saturating_sub(index),
            last.size().saturating_sub(1)
        )
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, kept) in &self.replaced {
            write!(f, "{key} {kept} ")?;
        }
        self.present.fmt(f)
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Signer, tree_root};
    use super::*;

    /// A log of which 9 entries were kept, then one that was replaced where so many of both were kept.
    fn third(kept: u64) -> [Signer; 3] {
        let [first, second, third] =
            [1, 2, 3].map(|seed| Signer::from_seed(&format!("log/{seed}"), &[seed; 32]).unwrap());
        let second = second.after(&first.lineage().before(9)).unwrap();
        let third = third.after(&second.lineage().before(kept)).unwrap();
        [first, second, third]
    }

    fn note(signer: &Signer, size: u64) -> String {
        signer.sign(&Checkpoint::new(signer.verifier().name(), size, tree_root(&[])).to_string())
    }

    #[test]
    fn a_checkpoint_is_taken_from_the_key_of_its_part_alone() {
        let logs = third(12);
        let keys = logs[2].lineage();
        assert_eq!(Lineage::parse(&keys.to_string()).as_ref(), Ok(keys));
        for size in 0..20 {
            let signed_by = usize::from(size > 9) + usize::from(size > 12);
            for (at, log) in logs.iter().enumerate() {
                let found = keys.open(&note(log, size)).map(|found| found.size());
                let expected = match at.cmp(&signed_by) {
                    std::cmp::Ordering::Less => Err(LineageError::Replaced),
                    std::cmp::Ordering::Equal => Ok(size),
                    std::cmp::Ordering::Greater => Err(LineageError::Other),
                };
                assert_eq!(found, expected, "{at} at {size}");
            }
        }
        let stranger = Signer::from_seed("log/1", &[4; 32]).unwrap();
        assert_eq!(keys.open(&note(&stranger, 5)), Err(LineageError::Signature));
        assert!(logs[0].clone().after(&keys.before(15)).is_err(), "a name is not given twice");
    }

    #[test]
    fn a_cursor_is_of_the_log_whose_entry_it_names() {
        let logs = third(12);
        let keys = logs[2].lineage();
        assert_eq!([8, 9, 11, 12].map(|index| keys.log_of(index)), ["", "log/2", "log/2", "log/3"]);
        assert_eq!([8, 9, 13].map(|index| keys.is_lost("", index)), [Some(false), Some(true), Some(true)]);
        assert_eq!([8, 11, 12].map(|index| keys.is_lost("log/2", index)), [None, Some(false), Some(true)]);
        assert_eq!([11, 12, 99].map(|index| keys.is_lost("log/3", index)), [None, Some(false), Some(false)]);
        assert_eq!(keys.is_lost("log/1", 3), None);
        assert_eq!(keys.boundaries().collect::<Vec<_>>(), [9, 12]);
    }

    /// Of the second log nothing is left when a rollback goes back behind its beginning.
    #[test]
    fn a_rollback_may_go_back_behind_the_one_before() {
        let [first, second, third] = third(7);
        let keys = third.lineage();
        assert_eq!(keys.boundaries().collect::<Vec<_>>(), [7]);
        assert_eq!([6, 7].map(|index| keys.log_of(index)), ["", "log/3"]);
        assert_eq!(keys.is_lost("", 7).zip(keys.is_lost("log/2", 9)), Some((true, true)));
        assert_eq!(keys.open(&note(&first, 8)), Err(LineageError::Replaced));
        let last = keys.lost_at(7, &note(&second, 14), &note(&first, 7)).unwrap();
        assert_eq!(
            keys.loss(7, &last),
            "log/2 was replaced by log/3: 7 entries were kept, 7 are lost (7 to 13)"
        );
        for (index, last, kept) in [
            (7, note(&first, 8), note(&first, 7)),
            (7, note(&second, 14), note(&first, 6)),
            (9, note(&second, 14), note(&first, 7)),
        ] {
            assert_eq!(keys.lost_at(index, &last, &kept), Err(LineageError::Other));
        }
    }
}
