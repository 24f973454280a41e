//! How much of each organisation went out to a certificate, a system or a person: numbers for the operator.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::entry_lookup::{decode_entry, open_entry};
use super::query::{first_not_before, log_size};
use super::reader_part::{OpenedEntry, RecordFilter};
use super::wire::ExchangeFilter;
use crate::codes::organisation::OrganisationId;
use crate::proto::v1::{BreachedOrganisation, ExchangeSubject, LeafRole};
use crate::store::{Snapshot, StoreError};

/// Entries that one query reads.
const ENTRIES_PER_QUERY: i64 = 500;
/// Entries that one page reads at most.
const MAX_READ_ENTRIES: i64 = 50_000;

/// The numbers of a page, by organisation.
#[derive(Default)]
pub struct BreachCount(BTreeMap<OrganisationId, Tally>);

/// The numbers of an organisation.
#[derive(Default)]
struct Tally {
    exchanges: u32,
    children: HashSet<String>,
    records: u32,
    submitting: u32,
}

impl BreachCount {
    /// Counts the exchanges below an index, the newest first, and returns the index below which the next page begins.
    pub async fn load(
        snapshot: &mut Snapshot,
        filter: &ExchangeFilter,
        below: i64,
    ) -> Result<(Self, Option<i64>), StoreError> {
        let from = first_not_before(snapshot, filter.from).await?.unwrap_or(0);
        let to = first_not_before(snapshot, filter.to).await?.unwrap_or(i64::MAX);
        let mut below = below.min(to).min(log_size(snapshot).await?);
        let floor = from.max(below.saturating_sub(MAX_READ_ENTRIES));
        let mut count = Self::default();
        while below > floor {
            let first = floor.max(below - ENTRIES_PER_QUERY);
            let sql = "SELECT idx, bytes, openings FROM entries \
                       WHERE idx >= $1 AND idx < $2 AND ($3 IS NULL OR system = $3)";
            let arguments = vec![first.into(), below.into(), filter.system.clone().into()];
            for row in snapshot.fetch(sql, arguments).await? {
                if filter.matches_entry(&decode_entry(&row)?) {
                    count.add(&open_entry(&row)?);
                }
            }
            below = first;
        }
        Ok((count, Some(floor).filter(|floor| *floor > from)))
    }

    /// Adds an exchange to the numbers of each organisation of whose children it has records.
    fn add(&mut self, opened: &OpenedEntry) {
        let parties = opened.openings.parties.iter().map(|party| &party.organisation);
        let concerned: BTreeSet<&String> = parties.chain([&opened.entry.organisation]).collect();
        for organisation in concerned.into_iter().filter_map(|id| OrganisationId::parse(id).ok()) {
            let part = opened.part_of(&[&organisation]);
            let subjects = part.map_or_else(Vec::new, |part| part.subjects(RecordFilter::default()));
            if !subjects.is_empty() {
                self.0.entry(organisation).or_default().add(subjects);
            }
        }
    }

    /// Returns the organisations of whose children something was read or sent.
    pub fn organisations(&self) -> Vec<OrganisationId> {
        self.0.keys().cloned().collect()
    }

    /// Returns the numbers as the response has them, sorted by organisation.
    pub fn into_messages(self) -> Vec<BreachedOrganisation> {
        let message = |(organisation, tally): (OrganisationId, Tally)| BreachedOrganisation {
            organisation: organisation.to_string(),
            exchange_count: tally.exchanges,
            child_count: u32::try_from(tally.children.len()).unwrap_or(u32::MAX),
            record_count: tally.records,
            submitting_exchange_count: tally.submitting,
        };
        self.0.into_iter().map(message).collect()
    }
}

impl Tally {
    /// Adds the records of one exchange.
    fn add(&mut self, subjects: Vec<ExchangeSubject>) {
        let (sent, gone_out): (Vec<_>, Vec<_>) =
            subjects.into_iter().partition(|subject| subject.role() == LeafRole::Submitted);
        self.submitting = self.submitting.saturating_add(u32::from(!sent.is_empty()));
        self.exchanges = self.exchanges.saturating_add(u32::from(!gone_out.is_empty()));
        self.records = self.records.saturating_add(u32::try_from(gone_out.len()).unwrap_or(u32::MAX));
        self.children.extend(gone_out.into_iter().map(|subject| subject.placement_id));
    }
}
