//! The key history of a gateway's logs. An accepted rollback ends a log at the size of its database, and begins the
//! next one, with a new name and key, after the entries that were kept; indexes continue. A checkpoint's size therefore
//! determines which log signed it, and only that log's key verifies it.

use std::fmt;

use super::checkpoint::Checkpoint;
use super::note::{NoteError, Verifier};

/// An error because of which a checkpoint is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum LogKeyHistoryError {
    /// No key of the history signed it.
    Signature,
    /// The text is not in the format of a checkpoint.
    Malformed,
    /// Its origin is not the log whose key signed it, or its size belongs to another log.
    WrongLog,
    /// It is of a replaced log, and larger than what was kept of that log.
    Replaced,
}

impl LogKeyHistoryError {
    /// Returns a description for operators.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Signature => {
                "a checkpoint is not signed by this log's key: log.signing_key or log.anchor is another log's, or was changed"
            }
            Self::Malformed => "a checkpoint is malformed",
            Self::WrongLog => "a checkpoint is of another log",
            Self::Replaced => "a checkpoint is of a log that was replaced, and beyond the entries kept of it",
        }
    }
}

/// The keys of a gateway's logs: that of the current log, and those of the logs that it replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct LogKeyHistory {
    /// The replaced logs in order, each with the size of the tree at which the next log begins; sizes never decrease.
    replaced: Vec<(Verifier, u64)>,
    present: Verifier,
}

impl From<Verifier> for LogKeyHistory {
    fn from(present: Verifier) -> Self {
        Self { replaced: Vec::new(), present }
    }
}

impl LogKeyHistory {
    /// Parses a key history: for each replaced log its verifier key and the number of kept entries, then the current
    /// log's verifier key, all separated by whitespace.
    ///
    /// # Errors
    /// [`NoteError::Key`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut words = text.split_whitespace();
        let mut history = Self::from(Verifier::parse(words.next().ok_or(NoteError::Key)?)?);
        while let Some(kept) = words.next() {
            let kept = kept.parse().map_err(|_| NoteError::Key)?;
            let next = Verifier::parse(words.next().ok_or(NoteError::Key)?)?;
            if history.replaced.last().is_some_and(|(_, before)| *before > kept)
                || history.contains_name(next.name())
            {
                return Err(NoteError::Key);
            }
            let before = std::mem::replace(&mut history.present, next);
            history.replaced.push((before, kept));
        }
        Ok(history)
    }

    /// Returns the text before the next log's key in its key history, if the next log keeps `kept` entries.
    #[must_use]
    pub fn prefix_for_next(&self, kept: u64) -> String {
        let replaced = self.replaced.iter().map(|(key, end)| (key, (*end).min(kept)));
        let replaced = replaced.chain([(&self.present, kept)]);
        replaced.fold(String::new(), |before, (key, kept)| format!("{before}{key} {kept} "))
    }

    /// Returns the key of the current log.
    #[must_use]
    pub fn present(&self) -> &Verifier {
        &self.present
    }

    /// Returns the keys of all logs, the current one last.
    pub fn keys(&self) -> impl Iterator<Item = &Verifier> {
        self.replaced.iter().map(|(key, _)| key).chain([&self.present])
    }

    /// Returns whether one of the logs has this name.
    #[must_use]
    pub fn contains_name(&self, name: &str) -> bool {
        self.keys().any(|key| key.name() == name)
    }

    /// Returns the key of the log that signs trees of this size.
    #[must_use]
    pub fn key_for_size(&self, size: u64) -> &Verifier {
        self.replaced.iter().find(|(_, kept)| size <= *kept).map_or(&self.present, |(key, _)| key)
    }

    /// Returns the name by which cursors identify the log of an entry; empty for a gateway's first log.
    #[must_use]
    pub fn cursor_log_name(&self, index: u64) -> &str {
        let found = self.replaced.iter().position(|(_, kept)| index < *kept);
        match found.unwrap_or(self.replaced.len()) {
            0 => "",
            _ => self.key_for_size(index.saturating_add(1)).name(),
        }
    }

    /// Returns whether the entry `index` of the log with this cursor name was lost when that log was replaced. `None`
    /// if no log has the name, or the index belongs to an earlier log.
    #[must_use]
    pub fn is_lost(&self, log: &str, index: u64) -> Option<bool> {
        let mut names = self.replaced.iter().enumerate();
        let found =
            names.find(|(at, (key, _))| (*at == 0 && log.is_empty()) || (*at > 0 && key.name() == log));
        match found {
            Some((_, (_, kept))) if index >= *kept => Some(true),
            _ => (self.cursor_log_name(index) == log).then_some(false),
        }
    }

    /// Returns whether a checkpoint of one of the logs is beyond what was kept of that log.
    #[must_use]
    pub fn is_beyond_kept(&self, checkpoint: &Checkpoint) -> bool {
        let log = self.replaced.iter().find(|(key, _)| key.name() == checkpoint.origin());
        log.is_some_and(|(_, kept)| checkpoint.size() > *kept)
    }

    /// Returns the index at which each log begins that replaced another; its first entry records the replacement.
    pub fn replacement_indexes(&self) -> impl Iterator<Item = u64> {
        let later = self.replaced.iter().skip(1).map(|(_, kept)| Some(*kept)).chain([None]);
        // If two logs were replaced at the same index, only the entry of the later replacement exists.
        self.replaced
            .iter()
            .zip(later)
            .filter(|((_, kept), next)| *next != Some(*kept))
            .map(|((_, kept), _)| *kept)
    }

    /// Verifies a note with the keys of the history, and returns its checkpoint.
    ///
    /// # Errors
    /// [`LogKeyHistoryError`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, LogKeyHistoryError> {
        match self.open_even_if_lost(note)? {
            (checkpoint, false) => Ok(checkpoint),
            (_, true) => Err(LogKeyHistoryError::Replaced),
        }
    }

    /// Verifies a note like [`LogKeyHistory::open`], but accepts a checkpoint beyond what was kept of its log. The flag is
    /// set for such a checkpoint.
    ///
    /// # Errors
    /// [`LogKeyHistoryError`], but not [`LogKeyHistoryError::Replaced`].
    pub fn open_even_if_lost(&self, note: &str) -> Result<(Checkpoint, bool), LogKeyHistoryError> {
        for (key, kept) in
            self.replaced.iter().map(|(key, kept)| (key, *kept)).chain([(&self.present, u64::MAX)])
        {
            let text = match key.open(note) {
                Ok(text) => text,
                Err(NoteError::Unsigned) => continue,
                Err(_) => return Err(LogKeyHistoryError::Signature),
            };
            let checkpoint = Checkpoint::parse(&text).map_err(|_| LogKeyHistoryError::Malformed)?;
            let is_lost = checkpoint.size() > kept;
            if checkpoint.origin() != key.name() || (!is_lost && self.key_for_size(checkpoint.size()) != key)
            {
                return Err(LogKeyHistoryError::WrongLog);
            }
            return Ok((checkpoint, is_lost));
        }
        Err(LogKeyHistoryError::Signature)
    }

    /// Returns the last checkpoint of the log that was replaced at `index`. `last` and `kept` are the notes in the
    /// entry at that index: the last known checkpoint of the replaced log, and the checkpoint of the kept entries.
    ///
    /// # Errors
    /// [`LogKeyHistoryError`] if the notes do not verify or do not fit the index.
    pub fn last_lost_checkpoint(
        &self,
        index: u64,
        last: &str,
        kept: &str,
    ) -> Result<Checkpoint, LogKeyHistoryError> {
        let replaced = self.replaced.iter().rfind(|(_, kept)| *kept == index);
        let (key, _) = replaced.ok_or(LogKeyHistoryError::WrongLog)?;
        let (last, _) = self.open_even_if_lost(last)?;
        let fits = last.origin() == key.name() && last.size() > index && self.open(kept)?.size() == index;
        if fits { Ok(last) } else { Err(LogKeyHistoryError::WrongLog) }
    }

    /// Describes what was lost when a log was replaced at `index`. `last` is the replaced log's last checkpoint.
    #[must_use]
    pub fn describe_loss(&self, index: u64, last: &Checkpoint) -> String {
        format!(
            "{} was replaced by {}: {index} entries were kept, {} are lost ({index} to {})",
            last.origin(),
            self.key_for_size(index.saturating_add(1)).name(),
            last.size().saturating_sub(index),
            last.size().saturating_sub(1)
        )
    }
}

impl fmt::Display for LogKeyHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, kept) in &self.replaced {
            write!(f, "{key} {kept} ")?;
        }
        self.present.fmt(f)
    }
}

impl fmt::Debug for LogKeyHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Signer, tree_root};
    use super::*;

    /// Returns three logs: the second keeps 9 entries of the first, the third keeps `kept` entries of both.
    fn third(kept: u64) -> [Signer; 3] {
        let [first, second, third] =
            [1, 2, 3].map(|seed| Signer::from_seed(&format!("log/{seed}"), &[seed; 32]).unwrap());
        let second = second.with_replaced_logs(&first.key_history().prefix_for_next(9)).unwrap();
        let third = third.with_replaced_logs(&second.key_history().prefix_for_next(kept)).unwrap();
        [first, second, third]
    }

    fn note(signer: &Signer, size: u64) -> String {
        signer.sign(&Checkpoint::new(signer.verifier().name(), size, tree_root(&[])).to_string())
    }

    #[test]
    fn only_the_key_for_a_checkpoints_size_verifies_it() {
        let logs = third(12);
        let keys = logs[2].key_history();
        assert_eq!(LogKeyHistory::parse(&keys.to_string()).as_ref(), Ok(keys));
        for size in 0..20 {
            let signed_by = usize::from(size > 9) + usize::from(size > 12);
            for (at, log) in logs.iter().enumerate() {
                let found = keys.open(&note(log, size)).map(|found| found.size());
                let expected = match at.cmp(&signed_by) {
                    std::cmp::Ordering::Less => Err(LogKeyHistoryError::Replaced),
                    std::cmp::Ordering::Equal => Ok(size),
                    std::cmp::Ordering::Greater => Err(LogKeyHistoryError::WrongLog),
                };
                assert_eq!(found, expected, "{at} at {size}");
            }
        }
        let stranger = Signer::from_seed("log/1", &[4; 32]).unwrap();
        assert_eq!(keys.open(&note(&stranger, 5)), Err(LogKeyHistoryError::Signature));
        assert!(
            logs[0].clone().with_replaced_logs(&keys.prefix_for_next(15)).is_err(),
            "a name is not used twice"
        );
    }

    #[test]
    fn a_cursor_belongs_to_the_log_of_its_entry() {
        let logs = third(12);
        let keys = logs[2].key_history();
        assert_eq!([8, 9, 11, 12].map(|index| keys.cursor_log_name(index)), ["", "log/2", "log/2", "log/3"]);
        assert_eq!([8, 9, 13].map(|index| keys.is_lost("", index)), [Some(false), Some(true), Some(true)]);
        assert_eq!([8, 11, 12].map(|index| keys.is_lost("log/2", index)), [None, Some(false), Some(true)]);
        assert_eq!([11, 12, 99].map(|index| keys.is_lost("log/3", index)), [None, Some(false), Some(false)]);
        assert_eq!(keys.is_lost("log/1", 3), None);
        assert_eq!(keys.replacement_indexes().collect::<Vec<_>>(), [9, 12]);
    }

    /// Nothing of the second log is left if a rollback goes back to before its beginning.
    #[test]
    fn a_rollback_may_go_back_to_before_the_previous_one() {
        let [first, second, third] = third(7);
        let keys = third.key_history();
        assert_eq!(keys.replacement_indexes().collect::<Vec<_>>(), [7]);
        assert_eq!([6, 7].map(|index| keys.cursor_log_name(index)), ["", "log/3"]);
        assert_eq!(keys.is_lost("", 7).zip(keys.is_lost("log/2", 9)), Some((true, true)));
        assert_eq!(keys.open(&note(&first, 8)), Err(LogKeyHistoryError::Replaced));
        let last = keys.last_lost_checkpoint(7, &note(&second, 14), &note(&first, 7)).unwrap();
        assert_eq!(
            keys.describe_loss(7, &last),
            "log/2 was replaced by log/3: 7 entries were kept, 7 are lost (7 to 13)"
        );
        for (index, last, kept) in [
            (7, note(&first, 8), note(&first, 7)),
            (7, note(&second, 14), note(&first, 6)),
            (9, note(&second, 14), note(&first, 7)),
        ] {
            assert_eq!(keys.last_lost_checkpoint(index, &last, &kept), Err(LogKeyHistoryError::WrongLog));
        }
    }
}
