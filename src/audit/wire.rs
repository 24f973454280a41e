//! Messages of `AuditService`: checks of filters, and conversion of entries to records.

use uuid::Uuid;

use super::reader_part::{OpenedEntry, RecordFilter, id_text};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Reason, Refusal};
use crate::proto;
use crate::proto::v1::{
    AuditEntry, ExchangeRecord, ListExchangesRequest, Outcome, Purpose, RecordKind, RoleCode,
};
use crate::register::certificates;
use crate::tlog::Hash;
use crate::violation_reason::ViolationReason;

/// A checked filter of exchanges. Every field that is set must match.
#[derive(Debug, Default)]
pub struct ExchangeFilter {
    pub page_size: usize,
    pub organisation: Option<OrganisationId>,
    pub system: Option<String>,
    pub counterpart: Option<OrganisationId>,
    pub placement: Option<Uuid>,
    /// Full name of the method.
    pub method: Option<String>,
    pub outcome: Option<Outcome>,
    pub purpose: Option<Purpose>,
    pub record_kind: Option<RecordKind>,
    /// Pseudonym of the person who acted.
    pub practitioner: Option<[u8; 32]>,
    pub role: Option<RoleCode>,
    pub break_glass: bool,
    /// The organisation that made the exchange: the processor that acted, or else the caller.
    pub maker: Option<OrganisationId>,
    /// SHA-256 of the caller's certificate.
    pub certificate: Option<[u8; 32]>,
    /// Version of a record; with kind and placement of one record.
    pub record_version: Option<u32>,
    /// Name of the reason of a refusal.
    pub reason: Option<&'static str>,
    pub from: Option<Instant>,
    pub to: Option<Instant>,
}

impl ExchangeFilter {
    /// Returns which records of the children a list names: those that match the filters of one record.
    pub fn records(&self) -> RecordFilter {
        RecordFilter { placement: self.placement, kind: self.record_kind, version: self.record_version }
    }
}

/// Checks the filter of a list.
pub fn check_filter(m: &ListExchangesRequest) -> Result<ExchangeFilter, Refusal> {
    let mut check = Check::new();
    let page_size = check.page_size("page_size", m.page_size, 100, 1_000);
    let filter = ExchangeFilter {
        page_size: page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(100),
        organisation: check.optional_organisation("organisation", &m.organisation),
        system: check.text("system", &m.system, TextRule::line(40)),
        counterpart: check.optional_organisation("counterpart", &m.counterpart),
        placement: check.optional_uuid("placement_id", &m.placement_id),
        method: check_method(&mut check, &m.method),
        outcome: check.optional_enum("outcome", m.outcome),
        purpose: check.optional_enum("purpose", m.purpose),
        record_kind: check.optional_enum("record_kind", m.record_kind),
        practitioner: optional_hash(&mut check, "practitioner", &m.practitioner),
        role: check.optional_enum("role", m.role),
        break_glass: m.break_glass,
        maker: None,
        certificate: optional_hash(&mut check, "certificate_sha256", &m.certificate_sha256),
        record_version: Some(m.record_version).filter(|version| *version != 0),
        reason: check_reason(&mut check, &m.reason),
        from: check.optional_timestamp("from_time", m.from_time.as_ref()),
        to: check.optional_timestamp("to_time", m.to_time.as_ref()),
    };
    check_order(&mut check, filter.from, filter.to);
    check.finish()?;
    Ok(filter)
}

/// Checks that a time range does not end before it begins.
pub fn check_order(check: &mut Check, from: Option<Instant>, to: Option<Instant>) {
    if from.zip(to).is_some_and(|(from, to)| to < from) {
        check.add_violation("to_time", ViolationReason::DateOrder);
    }
}

/// Parses 64 hexadecimal digits, of a certificate or of a person; `None` for an empty text.
pub fn optional_hash(check: &mut Check, field: &'static str, sent: &str) -> Option<[u8; 32]> {
    if sent.is_empty() { None } else { check.parsed(field, sent, certificates::parse_fingerprint) }
}

/// Returns the name of a reason. An unknown one is a fault, because an empty list would hide the misspelling.
fn check_reason(check: &mut Check, sent: &str) -> Option<&'static str> {
    if sent.is_empty() {
        return None;
    }
    let found = Reason::ALL.iter().map(|reason| reason.name()).find(|name| *name == sent);
    if found.is_none() {
        check.add_violation("reason", ViolationReason::ReasonUnknown);
    }
    found
}

/// Returns the full name of a method from its short name. An unknown name is a fault, because an empty list would hide
/// the misspelling.
fn check_method(check: &mut Check, short: &str) -> Option<String> {
    if short.is_empty() {
        return None;
    }
    let found = proto::find_method_path(short);
    if found.is_none() {
        check.add_violation("method", ViolationReason::MethodUnknown);
    }
    found
}

/// Converts an entry to the record that is returned to these organisations; `None` if it concerns none of them.
pub fn exchange_record(
    opened: &OpenedEntry,
    readers: &[&OrganisationId],
    wanted: RecordFilter,
) -> Option<ExchangeRecord> {
    let part = opened.part_of(readers)?;
    let entry = &opened.entry;
    Some(ExchangeRecord {
        purpose: entry.purpose,
        counterparts: part.counterparts().into_iter().map(str::to_owned).collect(),
        child_count: u32::try_from(part.child_count()).unwrap_or(u32::MAX),
        practitioner: Hash::try_from(&entry.practitioner[..])
            .map(|pseudonym| pseudonym.to_string())
            .unwrap_or_default(),
        role: proto::role_code(&entry.role).map_or(0, i32::from),
        break_glass: entry.break_glass,
        break_glass_over_limit: entry.break_glass_over_limit,
        bases: part.bases(),
        subjects: part.subjects(wanted),
        ..bare_record(opened.index, entry)
    })
}

/// Converts an entry to the record that an operator gets of the exchange of another: by whom, when and how it was made, and
/// its outcome.
pub fn bare_record(index: u64, entry: &AuditEntry) -> ExchangeRecord {
    let sha256 = Hash::try_from(&entry.certificate_sha256[..]).map(|hash| hash.to_string());
    ExchangeRecord {
        index,
        exchange_id: id_text(&entry.exchange_id),
        time: Instant::from_micros(entry.time_us).ok().map(Instant::to_proto),
        organisation: entry.organisation.clone(),
        system: entry.system.clone(),
        certificate_sha256: sha256.unwrap_or_default(),
        processor: entry.processor.clone(),
        method: entry.method.clone(),
        outcome: entry.outcome,
        reason: entry.reason.clone(),
        identity_claimed: entry.identity_claimed,
        repeats: entry.repeats,
        ..ExchangeRecord::default()
    }
}
