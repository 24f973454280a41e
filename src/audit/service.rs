//! Handlers of `AuditService`.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::reader_part::RecordFilter;
use super::{entry_lookup, query, wire};
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::check::Check;
use crate::exchange::{
    Caller, CallerRole, Change, Decided, PageTokens, PolicyFacts, Reason, Refusal, RequestContext,
};
use crate::proto::v1::{
    AuditEntry, ExchangeRecord, GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest,
    GetConsistencyProofResponse, GetExchangeRequest, GetExchangeResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, ListExchangesRequest, ListExchangesResponse, NamedOrganisation, Outcome,
};
use crate::register::organisations;
use crate::store::{CommitmentSalts, StoreError, evidence};
use crate::tlog::Hash;

/// Lists the exchanges that concern the caller or, for an auditor, the organisations that appointed it.
pub async fn list_exchanges(
    mut cx: RequestContext,
    m: ListExchangesRequest,
) -> Result<Decided<ListExchangesResponse>, Refusal> {
    let filter = wire::check_filter(&m)?;
    let query = ListExchangesRequest { page_token: String::new(), page_size: 0, ..m.clone() };
    let pages = PageTokens::for_query(&cx, &query);
    let below = pages.start_position(&cx, &m.page_token, i64::MAX, PageTokens::decode_number)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let scope = query::load_scope(&mut cx).await?;
    // An empty list would be wrong. An organisation that did not appoint the caller and one that does not exist are
    // refused alike, because only the caller's own appointments are compared.
    if filter.organisation.as_ref().is_some_and(|named| !scope.contains(named)) {
        return Err(Reason::NotAppointed.into());
    }
    let (found, next) = query::list_page(&mut cx.snapshot, &scope, &filter, below).await?;
    let next_page_token = match next {
        Some(below) => pages.seal(&cx, &below.to_be_bytes())?,
        None => String::new(),
    };
    let readers = filter.readers(&scope);
    let records = found.iter().filter_map(|found| wire::exchange_record(found, &readers, filter.records()));
    let exchanges: Vec<_> = records.collect();
    let organisations = list_named(&mut cx, &exchanges).await?;
    let change = add_counterparts(&cx, cx.change(&permit), &scope);
    Ok(change.with_reply(&ListExchangesResponse { exchanges, next_page_token, organisations, receipt: None }))
}

/// Returns one exchange with its receipt.
pub async fn get_exchange(
    mut cx: RequestContext,
    m: GetExchangeRequest,
) -> Result<Decided<GetExchangeResponse>, Refusal> {
    let mut check = Check::new();
    let exchange = check.uuid("exchange_id", &m.exchange_id);
    check.finish()?;
    let exchange = exchange.ok_or(Reason::Malformed)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let scope = query::load_scope(&mut cx).await?;
    let readers: Vec<_> = scope.iter().collect();
    let Some(found) = entry_lookup::by_exchange(&mut cx.snapshot, &scope, exchange).await? else {
        return get_exchange_of_another(cx, exchange).await;
    };
    let record = wire::exchange_record(&found, &readers, RecordFilter::default()).ok_or(Reason::NotFound)?;
    let evidence = evidence::load_evidence(&mut cx.snapshot, found.index).await?.ok_or(Reason::NotFound)?;
    let salts = if is_own_exchange(&cx.caller, &found.entry) {
        load_salts(&mut cx, found.index).await?
    } else {
        None
    };
    let exchange_receipt = Some(evidence::build_receipt(exchange, found.index, evidence, salts.as_ref()));
    let read = OrganisationId::parse(&found.entry.organisation).ok();
    let change = cx.change(&permit);
    let change = match read.filter(|read| *read != cx.caller.organisation) {
        Some(read) => change.add_counterpart(&read),
        None => change,
    };
    Ok(change.with_reply(&GetExchangeResponse { exchange: Some(record), exchange_receipt, receipt: None }))
}

/// Returns to an operator who made an exchange of another, when, how and with what outcome. The organisation sees in its
/// log that it was read.
async fn get_exchange_of_another(
    mut cx: RequestContext,
    exchange: Uuid,
) -> Result<Decided<GetExchangeResponse>, Refusal> {
    if cx.caller.kind() != OrganisationKind::Operator {
        return Err(Reason::NotFound.into());
    }
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Operator))?;
    let (index, entry) =
        entry_lookup::entry_of_any(&mut cx.snapshot, exchange).await?.ok_or(Reason::NotFound)?;
    let mut change = cx.change(&permit);
    // A certificate that is not registered names an organisation that may not exist.
    if let Ok(caller) = OrganisationId::parse(&entry.organisation)
        && organisations::by_id(&mut cx.snapshot, &caller).await?.is_some()
    {
        change = change.add_counterpart(&caller);
    }
    let exchange = Some(wire::bare_record(index, &entry));
    Ok(change.with_reply(&GetExchangeResponse { exchange, ..GetExchangeResponse::default() }))
}

/// Returns a signed checkpoint, and with the newest one the receipts of the log's replacements.
pub async fn get_checkpoint(
    mut cx: RequestContext,
    m: GetCheckpointRequest,
) -> Result<GetCheckpointResponse, Refusal> {
    let note = evidence::load_checkpoint(&mut cx.snapshot, m.tree_size).await?;
    let mut replacements = Vec::new();
    for index in cx.log_keys.replacement_indexes().filter(|_| m.tree_size == 0) {
        let evidence = evidence::load_evidence(&mut cx.snapshot, index).await?.ok_or(Reason::Failed)?;
        let entry = AuditEntry::decode(evidence.entry.clone()).unwrap_or_default();
        let exchange = Uuid::from_slice(&entry.exchange_id).map_err(|_| Reason::Failed)?;
        replacements.push(evidence::build_receipt(exchange, index, evidence, None));
    }
    Ok(GetCheckpointResponse { checkpoint: note.ok_or(Reason::NotFound)?, replacements })
}

/// Returns the inclusion proof of an entry that the caller may read.
pub async fn get_inclusion_proof(
    mut cx: RequestContext,
    m: GetInclusionProofRequest,
) -> Result<GetInclusionProofResponse, Refusal> {
    let scope = query::load_scope(&mut cx).await?;
    let readable = entry_lookup::is_in_scope(&mut cx.snapshot, &scope, m.index).await?;
    if !readable || m.index >= m.tree_size || m.tree_size > tree_size(&mut cx).await? {
        return Err(Reason::NotFound.into());
    }
    let proof = evidence::prove_inclusion(&mut cx.snapshot, m.index, m.tree_size).await?;
    Ok(GetInclusionProofResponse { hashes: proof_bytes(&proof) })
}

/// Returns the consistency proof between two trees of the log.
pub async fn get_consistency_proof(
    mut cx: RequestContext,
    m: GetConsistencyProofRequest,
) -> Result<GetConsistencyProofResponse, Refusal> {
    if m.from_size == 0 || m.from_size > m.to_size || m.to_size > tree_size(&mut cx).await? {
        return Err(Reason::NotFound.into());
    }
    let proof = evidence::prove_consistency(&mut cx.snapshot, m.from_size, m.to_size).await?;
    Ok(GetConsistencyProofResponse { hashes: proof_bytes(&proof) })
}

/// Returns the size of the newest signed tree.
async fn tree_size(cx: &mut RequestContext) -> Result<u64, StoreError> {
    let row = cx.snapshot.fetch_one("SELECT MAX(size) AS size FROM checkpoints", vec![]).await?;
    row.map_or(Ok(0), |row| Ok(row.get::<i64>("size")?.unsigned_abs()))
}

/// Returns whether the exchange was the caller's own: that of the same person, or of a system if the call is without one.
/// With the salts of another's exchange one could find out by guesses what a person read or sent. A processor is given
/// those of what it did itself. A refusal may have come before the person was known, so one whose entry names no person
/// is nobody's.
fn is_own_exchange(caller: &Caller, entry: &AuditEntry) -> bool {
    let is_of_processor =
        caller.processor.as_ref().is_none_or(|processor| entry.processor == processor.as_str());
    let is_of_reader = match &caller.person {
        Some(person) => entry.practitioner[..] == person.practitioner,
        None => entry.practitioner.is_empty() && matches!(entry.outcome(), Outcome::Ok | Outcome::Replayed),
    };
    entry.organisation == caller.organisation.as_str() && is_of_processor && is_of_reader
}

/// Loads the commitment salts of an entry, if they are stored.
async fn load_salts(cx: &mut RequestContext, index: u64) -> Result<Option<CommitmentSalts>, Refusal> {
    let sql = "SELECT exchange, caller, salts FROM entries WHERE idx = $1";
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    let Some(row) = cx.snapshot.fetch_one(sql, vec![index.into()]).await? else {
        return Ok(None);
    };
    let Some(sealed) = row.get::<Option<Vec<u8>>>("salts")? else {
        return Ok(None);
    };
    let salts =
        CommitmentSalts::open(&cx.vault.ring(), row.get_str("caller")?, row.get("exchange")?, &sealed);
    Ok(Some(salts.map_err(|_| Reason::Failed)?))
}

/// Returns the display names of the organisations in the exchanges.
pub(super) async fn list_named(
    cx: &mut RequestContext,
    exchanges: &[ExchangeRecord],
) -> Result<Vec<NamedOrganisation>, StoreError> {
    let mut ids = BTreeSet::new();
    for exchange in exchanges {
        ids.extend([exchange.organisation.as_str(), exchange.processor.as_str()]);
        ids.extend(exchange.counterparts.iter().map(String::as_str));
    }
    let names = organisations::list_names(&mut cx.snapshot, ids).await?.into_iter();
    Ok(names.map(|(organisation, display_name)| NamedOrganisation { organisation, display_name }).collect())
}

/// Adds the organisations whose exchanges were read as counterparts of this exchange.
fn add_counterparts(cx: &RequestContext, change: Change, scope: &[OrganisationId]) -> Change {
    let others = scope.iter().filter(|read| **read != cx.caller.organisation);
    others.fold(change, Change::add_counterpart)
}

fn proof_bytes(proof: &[Hash]) -> Vec<Bytes> {
    proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}
