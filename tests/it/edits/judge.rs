//! Verifies an edited copy and judges whether the findings name what was edited.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ap_gateway::audit::report::Discrepancy;
use ap_gateway::audit::verify::{VerifyOptions, verify_database};
use ap_gateway::gateway;
use ap_gateway::store::DatabaseLocation;
use ap_gateway::tlog::LogKeyHistory;

use super::copies::EditedCopy;
use super::generate::Edit;

/// Maximum time of one verification. One that takes longer counts as one that found nothing.
const MAX_VERIFY_TIME: Duration = Duration::from_secs(20);
/// Maximum number of edits that are verified together.
const MAX_EDITS_TOGETHER: usize = 12;
/// Tables that prove all others. An edit of one of them is verified alone, because its findings may be about any entry.
const VERIFIED_ALONE: [&str; 3] = ["checkpoints", "entries", "tiles"];

/// Findings that follow from an edit, because a table is compared with another: the edited table, and the table that is
/// named beside it. `*` stands for all.
const CONSEQUENCES: [(&str, &str); 7] = [
    // What is derived from the rows of an entry is compared with the edited rows.
    ("*", "current_versions"),
    // Rows about a child are checked with its key, which a placement names.
    ("child_keys", "*"),
    ("placements", "*"),
    // Each row belongs to an entry, and all that is derived rests on the entries.
    ("entries", "*"),
    ("index_progress", "callers"),
    ("index_progress", "placement_entries"),
    ("index_progress", "practitioner_entries"),
];

/// Tables that are compared as a whole, so that a finding names no entry.
const NAMED_WITHOUT_ENTRY: [&str; 2] = ["placement_entries", "practitioner_entries"];

/// Returns the entry that a finding names.
fn named_entry(finding: &Discrepancy) -> Option<i64> {
    finding.entry.and_then(|entry| i64::try_from(entry).ok())
}

/// Returns the entries of which a finding says that one was changed.
fn named_range(finding: &Discrepancy) -> Option<RangeInclusive<i64>> {
    let (range, _) = finding.description.strip_prefix("an entry from ")?.split_once(" was changed")?;
    let (first, last) = range.split_once(" to ")?;
    Some(first.parse().unwrap()..=last.parse().unwrap())
}

/// Returns whether a finding is about an edit: it names the table, and the entry if the edited row has one.
fn is_about(finding: &Discrepancy, edit: &Edit) -> bool {
    // An index that no entry has is no name.
    let has_no_entry = edit.entries.is_empty()
        || edit.entries.iter().any(|entry| *entry < 0)
        || NAMED_WITHOUT_ENTRY.contains(&&*edit.table)
        || finding.description.contains("the verification ended there");
    // A log that was cut is named by the number of its entries.
    let is_size = |entry: &i64| finding.description.contains(&format!("ends at {entry} entries"));
    let range = named_range(finding);
    let is_in_range = |entry: &i64| range.as_ref().is_some_and(|range| range.contains(entry));
    let is_of_entry = match named_entry(finding) {
        Some(entry) => edit.entries.contains(&entry),
        None => edit.entries.iter().any(is_size) || edit.entries.iter().any(is_in_range),
    };
    // A row of another shape fails the query, with an error that names the table.
    let is_error = finding.table.is_empty() && finding.description.contains(&edit.table);
    is_error || (finding.table == edit.table && (has_no_entry || is_of_entry))
}

/// Returns whether a finding is about something that was not edited: neither the table nor an entry of it, nor a
/// consequence.
fn is_about_something_else(finding: &Discrepancy, edits: &[&Edit]) -> bool {
    !edits.iter().any(|edit| {
        let is_of_entry = named_entry(finding).is_some_and(|entry| edit.entries.contains(&entry));
        let follows = CONSEQUENCES.iter().any(|(edited, named)| {
            (*edited == "*" || *edited == edit.table) && (*named == "*" || *named == finding.table)
        });
        is_about(finding, edit) || finding.table == edit.table || is_of_entry || follows
    })
}

/// The files with which a copy is verified.
pub struct Verifier {
    log_key: LogKeyHistory,
    anchor: PathBuf,
    key_ring: PathBuf,
    commitment_key: PathBuf,
}

impl Verifier {
    /// Takes the files from the folder of the gateway.
    pub fn new(dir: &Path) -> Self {
        let log_key = std::fs::read_to_string(dir.join("log-key")).unwrap();
        let log_key = LogKeyHistory::parse(log_key.trim()).unwrap_or_else(|_| panic!("not a log key"));
        let [anchor, key_ring, commitment_key] =
            ["anchor", "key-ring", "commitment-key"].map(|name| dir.join(name));
        Self { log_key, anchor, key_ring, commitment_key }
    }

    /// Verifies a database, and returns the findings; an error counts as one.
    pub async fn verify(&self, database: &DatabaseLocation) -> Vec<Discrepancy> {
        let options = VerifyOptions {
            database: database.clone(),
            log_key: self.log_key.clone(),
            anchor: Some(self.anchor.clone()),
            key_ring: Some(self.key_ring.clone()),
            commitment_key: Some(self.commitment_key.clone()),
        };
        let tables = gateway::tables();
        match tokio::time::timeout(MAX_VERIFY_TIME, verify_database(&options, &tables)).await {
            Ok(Ok(report)) => report.findings,
            Ok(Err(error)) => {
                let description = format!("the copy cannot be read: {error}");
                vec![Discrepancy { table: String::new(), entry: None, description }]
            }
            Err(_) => Vec::new(),
        }
    }
}

/// Results of the edits of one table.
#[derive(Default)]
struct Tally {
    edits: usize,
    impossible: usize,
    not_found: Vec<String>,
    wrongly_named: Vec<String>,
}

/// The results by table.
#[derive(Default)]
pub struct Report {
    tables: BTreeMap<String, Tally>,
    impossible: Vec<String>,
    verifications: usize,
    verify_time: Duration,
}

impl Report {
    /// Makes each edit on the copy, verifies it and judges the findings. Edits of different tables and entries are
    /// verified together; those that are not named then are verified alone.
    pub async fn judge_edits(&mut self, copy: &EditedCopy, verifier: &Verifier, edits: Vec<Edit>) {
        let mut waiting = edits;
        while !waiting.is_empty() {
            let mut together = take_together(&mut waiting);
            let findings = self.try_edits(copy, verifier, &mut together).await;
            let made: Vec<&Edit> = together.iter().collect();
            if let [edit] = made[..] {
                self.judge_one(edit, &findings);
                continue;
            }
            let has_others = findings.iter().any(|finding| is_about_something_else(finding, &made));
            let is_unnamed =
                |edit: &&Edit| has_others || !findings.iter().any(|finding| is_about(finding, edit));
            for edit in made.into_iter().filter(is_unnamed) {
                copy.apply(&edit.statements).await.unwrap();
                let findings = self.verify(copy, verifier, &[edit]).await;
                self.judge_one(edit, &findings);
            }
        }
    }

    /// Makes edits and verifies the copy. Removes the edits that a constraint makes impossible.
    async fn try_edits(
        &mut self,
        copy: &EditedCopy,
        verifier: &Verifier,
        together: &mut Vec<Edit>,
    ) -> Vec<Discrepancy> {
        let mut made = Vec::new();
        for edit in std::mem::take(together) {
            let tally = self.tables.entry(edit.table.clone()).or_default();
            match copy.apply(&edit.statements).await {
                Ok(()) => {
                    tally.edits += 1;
                    made.push(edit);
                }
                Err(error) => {
                    tally.impossible += 1;
                    self.impossible.push(format!("{}: {}: {error}", edit.table, edit.what));
                }
            }
        }
        *together = made;
        self.verify(copy, verifier, &together.iter().collect::<Vec<_>>()).await
    }

    /// Verifies the copy and sets it back.
    async fn verify(&mut self, copy: &EditedCopy, verifier: &Verifier, made: &[&Edit]) -> Vec<Discrepancy> {
        if made.is_empty() {
            return Vec::new();
        }
        let started = Instant::now();
        let findings = verifier.verify(&copy.location).await;
        self.verifications += 1;
        self.verify_time += started.elapsed();
        copy.set_back(&made.iter().map(|edit| edit.table.as_str()).collect()).await;
        findings
    }

    /// Judges the findings after one edit.
    fn judge_one(&mut self, edit: &Edit, findings: &[Discrepancy]) {
        let tally = self.tables.entry(edit.table.clone()).or_default();
        let what = format!("{}: {} {:?}", edit.table, edit.what, edit.entries);
        let named = findings.iter().any(|finding| is_about(finding, edit));
        let others = findings.iter().filter(|finding| is_about_something_else(finding, &[edit]));
        let others: Vec<String> = others.map(ToString::to_string).collect();
        if findings.is_empty() {
            tally.not_found.push(what);
        } else if !named || !others.is_empty() {
            let first = others.first().cloned().unwrap_or_else(|| findings[0].to_string());
            tally.wrongly_named.push(format!("{what}: {first}"));
        }
    }

    /// Prints the figures by table, and returns each edit that is not found or wrongly named.
    pub fn print(&self) -> Vec<String> {
        say!(
            "{:24} {:>6} {:>10} {:>10} {:>13}",
            "table",
            "edits",
            "impossible",
            "not found",
            "wrongly named"
        );
        for (table, tally) in &self.tables {
            let (not_found, wrong) = (tally.not_found.len(), tally.wrongly_named.len());
            say!("{table:24} {:>6} {:>10} {not_found:>10} {wrong:>13}", tally.edits, tally.impossible);
        }
        let count = |part: fn(&Tally) -> usize| self.tables.values().map(part).sum::<usize>();
        say!(
            "{:24} {:>6} {:>10} {:>10} {:>13}   in {} verifications of {:.1?}",
            "all",
            count(|tally| tally.edits),
            count(|tally| tally.impossible),
            count(|tally| tally.not_found.len()),
            count(|tally| tally.wrongly_named.len()),
            self.verifications,
            self.verify_time
        );
        for what in &self.impossible {
            say!("impossible: {what}");
        }
        let missed = |tally: &Tally| {
            let not_found = tally.not_found.iter().map(|what| format!("not found: {what}"));
            let wrong = tally.wrongly_named.iter().map(|what| format!("wrongly named: {what}"));
            not_found.chain(wrong).collect::<Vec<_>>()
        };
        self.tables.values().flat_map(missed).collect()
    }
}

/// Takes edits that can be verified together: of different tables and of different entries.
fn take_together(waiting: &mut Vec<Edit>) -> Vec<Edit> {
    let (mut tables, mut entries) = (BTreeSet::new(), BTreeSet::new());
    let mut taken: Vec<Edit> = Vec::new();
    let mut at = 0;
    while at < waiting.len() && taken.len() < MAX_EDITS_TOGETHER {
        let edit = &waiting[at];
        // An entry that no log has may be reported in any way.
        let is_alone = VERIFIED_ALONE.contains(&edit.table.as_str())
            || edit.entries.is_empty()
            || edit.entries.iter().any(|entry| !(0..1_000_000).contains(entry));
        if is_alone && taken.is_empty() {
            return vec![waiting.remove(at)];
        }
        if is_alone || tables.contains(&edit.table) || !entries.is_disjoint(&edit.entries) {
            at += 1;
            continue;
        }
        let edit = waiting.remove(at);
        tables.insert(edit.table.clone());
        entries.extend(edit.entries.iter().copied());
        taken.push(edit);
    }
    taken
}
