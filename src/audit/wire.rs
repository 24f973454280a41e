//! Messages of `AuditService`: checks of filters, and conversion of entries to records.

use uuid::Uuid;

use super::reader_part::{OpenedEntry, id_text};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Refusal;
use crate::exchange::check::{Check, TextRule};
use crate::proto;
use crate::proto::v1::{ExchangeRecord, ListExchangesRequest, Outcome, Purpose, RecordKind, RoleCode};
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
    pub from: Option<Instant>,
    pub to: Option<Instant>,
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
        practitioner: Some(&m.practitioner)
            .filter(|sent| !sent.is_empty())
            .and_then(|sent| check.parsed("practitioner", sent, certificates::parse_fingerprint)),
        role: check.optional_enum("role", m.role),
        break_glass: m.break_glass,
        from: check.optional_timestamp("from_time", m.from_time.as_ref()),
        to: check.optional_timestamp("to_time", m.to_time.as_ref()),
    };
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && to < from
    {
        check.add_violation("to_time", ViolationReason::DateOrder);
    }
    check.finish()?;
    Ok(filter)
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

/// Which records of the children an exchange's record lists.
#[derive(Clone, Copy)]
pub enum SubjectScope {
    /// Those of all children of the reader.
    All,
    /// Those of one placement's child; of one kind, if it is given.
    Placement(Uuid, Option<RecordKind>),
    /// None.
    Nothing,
}

/// Converts an entry to the record that is returned to these organisations; `None` if it concerns none of them.
pub fn exchange_record(
    opened: &OpenedEntry,
    readers: &[&OrganisationId],
    subjects: SubjectScope,
) -> Option<ExchangeRecord> {
    let part = opened.part_of(readers)?;
    let entry = &opened.entry;
    let sha256 = Hash::try_from(&entry.certificate_sha256[..]).map(|hash| hash.to_string());
    Some(ExchangeRecord {
        index: opened.index,
        exchange_id: id_text(&entry.exchange_id),
        time: Instant::from_micros(entry.time_us).ok().map(Instant::to_proto),
        organisation: entry.organisation.clone(),
        system: entry.system.clone(),
        certificate_sha256: sha256.unwrap_or_default(),
        processor: entry.processor.clone(),
        method: entry.method.clone(),
        purpose: entry.purpose,
        outcome: entry.outcome,
        reason: entry.reason.clone(),
        counterparts: part.counterparts().into_iter().map(str::to_owned).collect(),
        child_count: u32::try_from(part.child_count()).unwrap_or(u32::MAX),
        identity_claimed: entry.identity_claimed,
        practitioner: Hash::try_from(&entry.practitioner[..])
            .map(|pseudonym| pseudonym.to_string())
            .unwrap_or_default(),
        role: proto::role_code(&entry.role).map_or(0, i32::from),
        break_glass: entry.break_glass,
        break_glass_over_limit: entry.break_glass_over_limit,
        bases: part.bases(),
        subjects: match subjects {
            SubjectScope::All => part.subjects(None, None),
            SubjectScope::Placement(only, kind) => part.subjects(Some(only), kind),
            SubjectScope::Nothing => Vec::new(),
        },
        repeats: entry.repeats,
    })
}
