//! The part of an exchange that a reader may see. An organisation sees its own part: an exchange that it made with
//! everything, an exchange of another only with its own children, and never whom else that concerned.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{
    AuditEntry, EntryOpenings, ExchangeBasis, ExchangeSubject, OpenedLeaf, PassportBlockKind, Purpose,
    RecordKind,
};

/// An entry of the log, with what is kept beside it.
pub struct OpenedEntry {
    pub index: u64,
    pub entry: AuditEntry,
    pub openings: EntryOpenings,
}

/// A filter of records. Every field that is set must match.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordFilter {
    /// The child's placement.
    pub placement: Option<Uuid>,
    /// Kind of the record.
    pub kind: Option<RecordKind>,
    /// Version of the record.
    pub version: Option<u32>,
}

impl RecordFilter {
    /// Returns whether a leaf is of a record that matches.
    fn matches(self, leaf: &OpenedLeaf) -> bool {
        self.placement.is_none_or(|only| leaf.placement_id[..] == only.as_bytes()[..])
            && self.kind.is_none_or(|only| leaf.kind() == only)
            && self.version.is_none_or(|only| leaf.version == only)
    }

    /// Returns whether a field is set.
    fn is_set(self) -> bool {
        self.placement.is_some() || self.kind.is_some() || self.version.is_some()
    }
}

/// The part of an exchange that some organisations have in it.
pub struct ReaderPart<'a> {
    opened: &'a OpenedEntry,
    /// Whether one of them made the exchange.
    is_caller: bool,
    /// Indexes of the leaves of their own children.
    leaves: BTreeSet<usize>,
}

impl OpenedEntry {
    /// Returns the part that these organisations have in the exchange; `None` if it concerns none of them.
    pub fn part_of(&self, readers: &[&OrganisationId]) -> Option<ReaderPart<'_>> {
        let is_reader = |organisation: &str| readers.iter().any(|reader| reader.as_str() == organisation);
        let is_caller = is_reader(&self.entry.organisation);
        let mut own = self.openings.parties.iter().filter(|party| is_reader(&party.organisation)).peekable();
        if !is_caller && own.peek().is_none() {
            return None;
        }
        let leaves = if is_caller {
            (0..self.openings.leaves.len()).collect()
        } else {
            own.flat_map(|party| &party.leaves).map(|leaf| *leaf as usize).collect()
        };
        Some(ReaderPart { opened: self, is_caller, leaves })
    }
}

impl ReaderPart<'_> {
    /// Returns the other organisations that the exchange concerned, as far as the reader may know them: all if it made
    /// the exchange, none otherwise.
    pub fn counterparts(&self) -> BTreeSet<&str> {
        let parties = self.opened.openings.parties.iter().filter(|_| self.is_caller);
        let others = parties.map(|party| party.organisation.as_str());
        others.filter(|organisation| *organisation != self.opened.entry.organisation).collect()
    }

    /// Returns whether the exchange concerned another organisation, as far as the reader may know: in an exchange of
    /// another, only the one that made it.
    pub fn has_counterpart(&self, counterpart: &OrganisationId) -> bool {
        if self.is_caller {
            self.counterparts().contains(counterpart.as_str())
        } else {
            self.opened.entry.organisation == counterpart.as_str()
        }
    }

    fn leaves(&self) -> impl Iterator<Item = &OpenedLeaf> {
        let leaves = self.opened.openings.leaves.iter().enumerate();
        leaves.filter(|(index, _)| self.leaves.contains(index)).map(|(_, leaf)| leaf)
    }

    /// Returns the number of the reader's own children.
    pub fn child_count(&self) -> usize {
        self.leaves().map(|leaf| &leaf.placement_id).collect::<BTreeSet<_>>().len()
    }

    /// Returns whether a record of one of them that matches was written or read; without a filter, always.
    pub fn has_record(&self, wanted: RecordFilter) -> bool {
        !wanted.is_set() || self.leaves().any(|leaf| wanted.matches(leaf))
    }

    /// Returns the number of leaves of records that match. It bounds the size of the part.
    pub fn leaf_count(&self, wanted: RecordFilter) -> usize {
        self.leaves().filter(|leaf| wanted.matches(leaf)).count()
    }

    /// Returns whether this is the purpose of the person's token, or of an agreement under which a record of one of them
    /// was shared.
    pub fn has_purpose(&self, purpose: Purpose) -> bool {
        self.opened.entry.purpose() == purpose || self.bases().iter().any(|basis| basis.purpose() == purpose)
    }

    /// Returns the agreements under which records of these children were shared, in the order of these children: their
    /// order in the exchange would tell of children of others.
    pub fn bases(&self) -> Vec<ExchangeBasis> {
        let mut numbers: Vec<u32> = Vec::new();
        for leaf in self.leaves() {
            if !numbers.contains(&leaf.basis) {
                numbers.push(leaf.basis);
            }
        }
        let at = |number: u32| usize::try_from(number).ok()?.checked_sub(1);
        let bases = numbers.into_iter().filter_map(|number| self.opened.openings.bases.get(at(number)?));
        let bases = bases.map(|basis| ExchangeBasis {
            agreement_id: id_text(&basis.agreement_id),
            purpose: basis.purpose,
            article_6: basis.article_6,
            article_9: basis.article_9,
            schedule_1: basis.schedule_1.clone(),
            agreement_lapsed: basis.agreement_lapsed,
            schedule_1_article_10: basis.schedule_1_article_10.clone(),
        });
        bases.collect()
    }

    /// Returns the records of these children that the exchange was about, of those that match.
    pub fn subjects(&self, wanted: RecordFilter) -> Vec<ExchangeSubject> {
        let mut subjects: Vec<ExchangeSubject> = Vec::new();
        let mut known = HashSet::new();
        for leaf in self.leaves().filter(|leaf| wanted.matches(leaf)) {
            // A record of several tables has a leaf for each.
            let OpenedLeaf { placement_id, sender, role, kind, record_id, version, blocks, .. } = leaf;
            if known.insert((placement_id, sender, role, kind, record_id, version, blocks)) {
                subjects.push(self.subject(leaf));
            }
        }
        subjects
    }

    fn subject(&self, leaf: &OpenedLeaf) -> ExchangeSubject {
        let caller = &self.opened.entry.organisation;
        let sender = if leaf.sender.is_empty() { caller } else { &leaf.sender };
        let kinds = (1..64).filter(|number| leaf.blocks & (1 << number) != 0);
        ExchangeSubject {
            placement_id: id_text(&leaf.placement_id),
            sender: sender.clone(),
            role: leaf.role,
            kind: leaf.kind,
            record_id: id_text(&leaf.record_id),
            version: leaf.version,
            blocks: kinds.filter(|kind| PassportBlockKind::try_from(*kind).is_ok()).collect(),
        }
    }
}

/// Returns the text of a UUID; empty for other bytes.
pub fn id_text(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).map(|id| id.hyphenated().to_string()).unwrap_or_default()
}
