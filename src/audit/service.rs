//! `AuditService`, one function an RPC.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::{query, wire};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{Action, Change, Cx, Decided, Facts, Pages, Part, Reason, Refusal};
use crate::proto::v1::{
    AuditEntry, ExchangeRecord, GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest,
    GetConsistencyProofResponse, GetExchangeRequest, GetExchangeResponse, GetInclusionProofRequest,
    GetInclusionProofResponse, ListExchangesRequest, ListExchangesResponse, NamedOrganisation,
};
use crate::register::organisations;
use crate::store::{Salts, StoreError, evidence};
use crate::tlog::Hash;

/// Exchanges that concern the caller, or, for an auditor, those who appointed it.
pub async fn list_exchanges(
    mut cx: Cx,
    m: ListExchangesRequest,
) -> Result<Decided<ListExchangesResponse>, Refusal> {
    let filter = wire::filter(&m)?;
    let query = ListExchangesRequest { page_token: String::new(), page_size: 0, ..m.clone() };
    let pages = Pages::of(&cx, "ListExchanges", &query);
    let below = pages.begin(&cx, &m.page_token, i64::MAX, Pages::number)?;
    let permit = cx.permit(Action::ListExchanges, &Facts::own(Part::Own))?;
    let scope = query::scope(&mut cx).await?;
    // "No rows" would be untrue. An organisation that did not appoint the caller and one that does not exist are
    // refused alike, because only the caller's own appointments are compared.
    if filter.organisation.as_ref().is_some_and(|named| !scope.contains(named)) {
        return Err(Reason::NotAppointed.into());
    }
    let (found, next) = query::page(&mut cx.snapshot, &scope, &filter, below).await?;
    let next_page_token = match next {
        Some(below) => pages.seal(&cx, &below.to_be_bytes())?,
        None => String::new(),
    };
    let exchanges: Vec<_> = found.into_iter().map(|found| wire::record(found.index, found.entry)).collect();
    let organisations = named(&mut cx, &exchanges).await?;
    let change = read_about(&cx, cx.change(&permit), &scope);
    Ok(change.reply(&ListExchangesResponse { exchanges, next_page_token, organisations, receipt: None }))
}

/// One exchange, with its receipt.
pub async fn get_exchange(
    mut cx: Cx,
    m: GetExchangeRequest,
) -> Result<Decided<GetExchangeResponse>, Refusal> {
    let mut check = Check::new();
    let exchange = check.uuid("exchange_id", &m.exchange_id);
    check.finish()?;
    let exchange = exchange.ok_or(Reason::Malformed)?;
    let permit = cx.permit(Action::GetExchange, &Facts::own(Part::Own))?;
    let scope = query::scope(&mut cx).await?;
    let found = query::by_exchange(&mut cx.snapshot, &scope, exchange).await?.ok_or(Reason::NotFound)?;
    let evidence = evidence::evidence(&mut cx.snapshot, found.index).await?.ok_or(Reason::NotFound)?;
    let own = found.entry.organisation == cx.caller.organisation.as_str();
    let salts = if own { salts(&mut cx, found.index).await? } else { None };
    let exchange_receipt = Some(evidence::receipt(exchange, found.index, evidence, salts.as_ref()));
    let read = OrganisationId::parse(&found.entry.organisation).ok();
    let change = cx.change(&permit);
    let change = match read.filter(|read| *read != cx.caller.organisation) {
        Some(read) => change.counterpart(&read),
        None => change,
    };
    let exchange = Some(wire::record(found.index, found.entry));
    Ok(change.reply(&GetExchangeResponse { exchange, exchange_receipt, receipt: None }))
}

/// A signed checkpoint.
pub async fn get_checkpoint(mut cx: Cx, m: GetCheckpointRequest) -> Result<GetCheckpointResponse, Refusal> {
    let note = evidence::note(&mut cx.snapshot, m.tree_size).await?;
    let mut replacements = Vec::new();
    for index in cx.logs.boundaries().filter(|_| m.tree_size == 0) {
        let evidence = evidence::evidence(&mut cx.snapshot, index).await?.ok_or(Reason::Failed)?;
        let entry = AuditEntry::decode(evidence.entry.clone()).unwrap_or_default();
        let exchange = Uuid::from_slice(&entry.exchange_id).map_err(|_| Reason::Failed)?;
        replacements.push(evidence::receipt(exchange, index, evidence, None));
    }
    Ok(GetCheckpointResponse { checkpoint: note.ok_or(Reason::NotFound)?, replacements })
}

/// The proof of an entry that the caller may read.
pub async fn get_inclusion_proof(
    mut cx: Cx,
    m: GetInclusionProofRequest,
) -> Result<GetInclusionProofResponse, Refusal> {
    let scope = query::scope(&mut cx).await?;
    let known = query::concerns(&mut cx.snapshot, &scope, m.index).await?;
    if !known || m.index >= m.tree_size || m.tree_size > size(&mut cx).await? {
        return Err(Reason::NotFound.into());
    }
    let proof = evidence::inclusion(&mut cx.snapshot, m.index, m.tree_size).await?;
    Ok(GetInclusionProofResponse { hashes: hashes(&proof) })
}

/// The proof that one tree of the log begins with another.
pub async fn get_consistency_proof(
    mut cx: Cx,
    m: GetConsistencyProofRequest,
) -> Result<GetConsistencyProofResponse, Refusal> {
    if m.from_size == 0 || m.from_size > m.to_size || m.to_size > size(&mut cx).await? {
        return Err(Reason::NotFound.into());
    }
    let proof = evidence::consistency(&mut cx.snapshot, m.from_size, m.to_size).await?;
    Ok(GetConsistencyProofResponse { hashes: hashes(&proof) })
}

async fn size(cx: &mut Cx) -> Result<u64, StoreError> {
    let row = cx.snapshot.fetch_one("SELECT MAX(size) FROM checkpoints", vec![]).await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?.unsigned_abs()))
}

async fn salts(cx: &mut Cx, index: u64) -> Result<Option<Salts>, Refusal> {
    let sql = "SELECT exchange, caller, salts FROM entries WHERE idx = $1";
    let index = i64::try_from(index).unwrap_or(i64::MAX);
    let Some(row) = cx.snapshot.fetch_one(sql, vec![index.into()]).await? else {
        return Ok(None);
    };
    let Some(sealed) = row.opt_blob(2)? else {
        return Ok(None);
    };
    let salts = Salts::open(&cx.vault.ring(), row.text(1)?, row.id(0)?, sealed);
    Ok(Some(salts.map_err(|_| Reason::Failed)?))
}

/// The names of the organisations that the exchanges name.
async fn named(cx: &mut Cx, exchanges: &[ExchangeRecord]) -> Result<Vec<NamedOrganisation>, StoreError> {
    let mut ids = BTreeSet::new();
    for exchange in exchanges {
        ids.extend([exchange.organisation.as_str(), exchange.processor.as_str()]);
        ids.extend(exchange.counterparts.iter().map(String::as_str));
    }
    let names = organisations::names(&mut cx.snapshot, ids).await?.into_iter();
    Ok(names.map(|(organisation, display_name)| NamedOrganisation { organisation, display_name }).collect())
}

/// The organisations whose exchanges were read are told by the entry.
fn read_about(cx: &Cx, change: Change, scope: &[OrganisationId]) -> Change {
    let others = scope.iter().filter(|read| **read != cx.caller.organisation);
    others.fold(change, Change::counterpart)
}

fn hashes(proof: &[Hash]) -> Vec<Bytes> {
    proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}
