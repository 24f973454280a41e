//! Messages of `AuditService`: checks of filters, and conversion of entries to records.

use uuid::Uuid;

use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::Refusal;
use crate::exchange::check::{Check, TextRule};
use crate::proto;
use crate::proto::v1::{AuditEntry, ExchangeRecord, ListExchangesRequest, Outcome, Purpose};
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

/// Converts an entry to the record that is returned to callers.
pub fn exchange_record(index: u64, entry: AuditEntry) -> ExchangeRecord {
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).map(|id| id.hyphenated().to_string()).unwrap_or_default();
    let time = Instant::from_micros(entry.time_us).ok().map(Instant::to_proto);
    let sha256 = Hash::try_from(&entry.certificate_sha256[..]).map(|hash| hash.to_string());
    ExchangeRecord {
        index,
        exchange_id: id(&entry.exchange_id),
        time,
        organisation: entry.organisation,
        system: entry.system,
        certificate_sha256: sha256.unwrap_or_default(),
        processor: entry.processor,
        method: entry.method,
        purpose: entry.purpose,
        article_6: entry.article_6,
        article_9: entry.article_9,
        schedule_1: entry.schedule_1,
        agreement_id: id(&entry.agreement_id),
        outcome: entry.outcome,
        reason: entry.reason,
        counterparts: entry.counterparts,
        counterpart_count: entry.counterpart_count,
        child_count: entry.child_count,
        identity_claimed: entry.identity_claimed,
        agreement_lapsed: entry.agreement_lapsed,
    }
}
