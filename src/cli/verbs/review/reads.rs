//! What the log says of a month: refusals by reason, reads of a child for the first time, and reads out of hours.

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar::{Date, TimeOfDay, bank_holiday};
use crate::clock::Instant;
use crate::proto::v1::{ExchangeRecord, LeafRole};

use super::super::super::exchanges::{exchange_time, kind_text, person_text, reason_text};

/// Hours of work in London, in minutes since midnight: from 7 until 19 o'clock.
const HOURS_OF_WORK: std::ops::Range<u16> = 420..1_140;

/// Something to review.
pub struct Finding {
    /// What it is, such as `grant`.
    pub what: &'static str,
    /// Who acted, or the certificate, grant or agreement.
    pub subject: String,
    /// What is said of it.
    pub detail: String,
    /// Number of exchanges in the month.
    pub count: u32,
    /// Time of the first of them; `-` if it has none.
    pub first: String,
}

/// Who made exchanges: an organisation's system, or a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reader {
    organisation: String,
    system: String,
    person: String,
}

impl Reader {
    fn from_exchange(exchange: &ExchangeRecord) -> Self {
        // A break-glass is no other person.
        let person = if exchange.practitioner.is_empty() { String::new() } else { person_text(exchange) };
        let person = person.split(" BREAK-GLASS").next().unwrap_or_default().to_owned();
        Self { organisation: exchange.organisation.clone(), system: exchange.system.clone(), person }
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.organisation, self.system, self.person).trim_end().to_owned()
    }
}

/// First of a reader's reads of a child in the month, with the kinds of records, and whether it read of it before.
struct FirstRead {
    time: Instant,
    kinds: BTreeSet<String>,
    is_known: bool,
}

/// What the exchanges say of a month.
pub struct MonthOfReads {
    /// The month's first instant.
    start: Instant,
    refusals: BTreeMap<(String, Reader), (u32, Instant)>,
    reads: BTreeMap<(Reader, String), FirstRead>,
    out_of_hours: BTreeMap<Reader, (u32, Instant, BTreeSet<String>)>,
    /// Exchanges of the month by certificate and by processor or auditor.
    pub uses: BTreeMap<String, u32>,
}

impl MonthOfReads {
    /// Starts with the month's first instant; what was read before it counts as known.
    pub fn new(start: Instant) -> Self {
        let (refusals, reads, out_of_hours) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { start, refusals, reads, out_of_hours, uses: BTreeMap::new() }
    }

    /// Adds an exchange, in any order.
    pub fn add(&mut self, exchange: &ExchangeRecord) {
        let Some(time) = exchange_time(exchange) else { return };
        let is_in_month = time >= self.start;
        let reader = Reader::from_exchange(exchange);
        if is_in_month {
            for user in [&exchange.certificate_sha256, &exchange.processor, &exchange.organisation] {
                *self.uses.entry(user.clone()).or_default() += 1;
            }
            if !exchange.reason.is_empty() {
                let key = (exchange.reason.clone(), reader.clone());
                let (count, first) = self.refusals.entry(key).or_insert((0, time));
                *count = count.saturating_add(1).saturating_add(exchange.repeats);
                *first = time.min(*first);
            }
        }
        let read = exchange.subjects.iter().filter(|subject| subject.role() != LeafRole::Submitted);
        for subject in read.clone() {
            let key = (reader.clone(), subject.placement_id.clone());
            let kind = kind_text(subject.kind());
            let first =
                self.reads.entry(key).or_insert(FirstRead { time, kinds: BTreeSet::new(), is_known: false });
            first.is_known |= !is_in_month;
            first.time = first.time.min(time);
            first.kinds.insert(kind);
        }
        // A system collects at any hour: only what was asked for tells something.
        let mut asked = read.filter(|subject| subject.role() == LeafRole::Read).peekable();
        if is_in_month && asked.peek().is_some() && is_out_of_hours(time) {
            let (count, first, children) =
                self.out_of_hours.entry(reader).or_insert((0, time, BTreeSet::new()));
            *count += 1;
            *first = time.min(*first);
            children.extend(asked.map(|subject| subject.placement_id.clone()));
        }
    }

    /// Returns what there is to review.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for ((reason, reader), (count, first)) in &self.refusals {
            findings.push(Finding {
                what: "refusal",
                subject: reader.text(),
                detail: format!("{reason}: {}", reason_text(reason)),
                count: *count,
                first: first.to_string(),
            });
        }
        for ((reader, placement), read) in self.reads.iter().filter(|(_, read)| !read.is_known) {
            let kinds = read.kinds.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            findings.push(Finding {
                what: "first read",
                subject: reader.text(),
                detail: format!("placement {placement}: {kinds}"),
                count: 1,
                first: read.time.to_string(),
            });
        }
        for (reader, (count, first, children)) in &self.out_of_hours {
            findings.push(Finding {
                what: "read out of hours",
                subject: reader.text(),
                detail: format!("{} placements", children.len()),
                count: *count,
                first: first.to_string(),
            });
        }
        findings
    }
}

/// Returns whether an instant is outside the hours of work in London: at night, on a weekend or on a bank holiday.
fn is_out_of_hours(time: Instant) -> bool {
    let day = Date::in_london(time);
    day.is_weekend()
        || bank_holiday(day).is_some()
        || !HOURS_OF_WORK.contains(&TimeOfDay::in_london(time).minutes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{ExchangeSubject, RecordKind};

    fn read(time: &str, placement: &str, role: LeafRole) -> ExchangeRecord {
        let subject = ExchangeSubject {
            placement_id: placement.to_owned(),
            role: role.into(),
            kind: RecordKind::Placement.into(),
            ..ExchangeSubject::default()
        };
        ExchangeRecord {
            time: Some(time.parse::<Instant>().unwrap().to_proto()),
            organisation: "provider/riverside".to_owned(),
            system: "mis".to_owned(),
            certificate_sha256: "7".to_owned(),
            subjects: vec![subject],
            ..ExchangeRecord::default()
        }
    }

    fn findings(exchanges: &[ExchangeRecord]) -> Vec<(&'static str, String, u32)> {
        let mut month = MonthOfReads::new("2026-11-01T00:00:00Z".parse().unwrap());
        for exchange in exchanges {
            month.add(exchange);
        }
        month.findings().into_iter().map(|found| (found.what, found.first, found.count)).collect()
    }

    #[test]
    fn a_read_is_the_first_if_the_reader_read_nothing_of_the_child_before() {
        let (before, first, later) = ("2026-10-30T10:00:00Z", "2026-11-03T10:00:00Z", "2026-11-04T10:00:00Z");
        let newest_first = [
            read(later, "one", LeafRole::Read),
            read(later, "other", LeafRole::Delivered),
            read(first, "one", LeafRole::Read),
            read(before, "other", LeafRole::Delivered),
            read(first, "sent", LeafRole::Submitted),
        ];
        assert_eq!(findings(&newest_first), [("first read", first.to_owned(), 1)]);
    }

    #[test]
    fn reads_at_night_on_weekends_and_bank_holidays_are_out_of_hours_and_collections_are_not() {
        for (time, is_out) in [
            ("2026-11-03T06:59:00Z", true),
            ("2026-11-03T07:00:00Z", false),
            ("2026-11-03T18:59:00Z", false),
            ("2026-11-03T19:00:00Z", true),
            ("2026-11-07T12:00:00Z", true),
            ("2026-12-25T12:00:00Z", true),
            // Summer time: 7 o'clock in London.
            ("2027-06-01T06:00:00Z", false),
        ] {
            let found = findings(&[read(time, "one", LeafRole::Read)]);
            assert_eq!(found.iter().any(|found| found.0 == "read out of hours"), is_out, "{time}");
            let collected = findings(&[read(time, "one", LeafRole::Delivered)]);
            assert!(collected.iter().all(|found| found.0 == "first read"), "{time}");
        }
    }

    #[test]
    fn refusals_are_counted_by_reason_with_their_repeats() {
        let refused = |reason: &str, repeats| ExchangeRecord {
            reason: reason.to_owned(),
            repeats,
            ..read("2026-11-03T10:00:00Z", "one", LeafRole::Submitted)
        };
        let found = findings(&[refused("NOT_FOUND", 0), refused("RATE_LIMITED", 6), refused("NOT_FOUND", 0)]);
        let counts: Vec<_> = found.iter().map(|(what, _, count)| (*what, *count)).collect();
        assert_eq!(counts, [("refusal", 2), ("refusal", 7)]);
    }
}
