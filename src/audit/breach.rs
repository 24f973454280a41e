//! `GetBreachScope`: what went out to a certificate, a system or a person in a time range. An organisation gets the
//! exchanges with the records of its own children, as it gets them from `ListExchanges`. An operator is a processor, and
//! gets numbers for each organisation that it has to notify.

use super::breach_count::BreachCount;
use super::reader_part::RecordFilter;
use super::service::list_named;
use super::wire::{self, ExchangeFilter};
use super::{query, wire::optional_hash};
use crate::codes::organisation::{OrganisationId, OrganisationKind};
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{CallerRole, Change, Decided, PageTokens, PolicyFacts, Refusal, RequestContext};
use crate::proto::v1::{GetBreachScopeRequest, GetBreachScopeResponse, NamedOrganisation};
use crate::register::organisations;
use crate::violation_reason::ViolationReason;

/// Returns the scope of a breach, to an organisation with its own children, to an operator as numbers.
pub async fn get_breach_scope(
    mut cx: RequestContext,
    m: GetBreachScopeRequest,
) -> Result<Decided<GetBreachScopeResponse>, Refusal> {
    let filter = check_request(&m)?;
    let query = GetBreachScopeRequest { page_token: String::new(), page_size: 0, ..m.clone() };
    let pages = PageTokens::for_query(&cx, &query);
    let below = pages.start_position(&cx, &m.page_token, i64::MAX, PageTokens::decode_number)?;
    let is_operator = cx.caller.kind() == OrganisationKind::Operator;
    let role = if is_operator { CallerRole::Operator } else { CallerRole::Owner };
    let permit = cx.permit(&PolicyFacts::for_role(role))?;
    if let Some(maker) = &filter.maker {
        check_registered(&mut cx, maker).await?;
    }
    let (mut reply, mut change) = (GetBreachScopeResponse::default(), cx.change(&permit));
    let next = if is_operator {
        let (count, next) = BreachCount::load(&mut cx.snapshot, &filter, below).await?;
        let concerned = count.organisations();
        let names = organisations::list_names(&mut cx.snapshot, concerned.iter().map(OrganisationId::as_str));
        reply.organisations = names
            .await?
            .into_iter()
            .map(|(organisation, display_name)| NamedOrganisation { organisation, display_name })
            .collect();
        // Each sees in its log that an operator asked.
        change = concerned.iter().fold(change, Change::add_counterpart);
        reply.breached = count.into_messages();
        next
    } else {
        let scope = [cx.caller.organisation.clone()];
        let (found, next) = query::list_page(&mut cx.snapshot, &scope, &filter, below).await?;
        let readers: Vec<_> = scope.iter().collect();
        let records =
            found.iter().filter_map(|found| wire::exchange_record(found, &readers, RecordFilter::default()));
        reply.exchanges = records.collect();
        reply.organisations = list_named(&mut cx, &reply.exchanges).await?;
        next
    };
    if let Some(below) = next {
        reply.next_page_token = pages.seal(&cx, &below.to_be_bytes())?;
    }
    Ok(change.with_reply(&reply))
}

/// Checks the request: what it is about, and the time range.
fn check_request(m: &GetBreachScopeRequest) -> Result<ExchangeFilter, Refusal> {
    let mut check = Check::new();
    let page_size = check.page_size("page_size", m.page_size, 100, 1_000);
    let filter = ExchangeFilter {
        page_size: page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(100),
        certificate: optional_hash(&mut check, "certificate_sha256", &m.certificate_sha256),
        maker: check.optional_organisation("organisation", &m.organisation),
        system: check.text("system", &m.system, TextRule::line(40)),
        practitioner: optional_hash(&mut check, "practitioner", &m.practitioner),
        from: check.timestamp("from_time", m.from_time.as_ref()),
        to: check.timestamp("to_time", m.to_time.as_ref()),
        ..ExchangeFilter::default()
    };
    if m.certificate_sha256.is_empty() && m.system.is_empty() && m.practitioner.is_empty() {
        check.add_violation("certificate_sha256", ViolationReason::FieldRequired);
    }
    if !m.system.is_empty() {
        // Systems of several organisations can have one name.
        check.required("organisation", &m.organisation);
    }
    wire::check_order(&mut check, filter.from, filter.to);
    check.finish()?;
    Ok(filter)
}

/// Checks that an organisation is registered, because an empty answer would hide a misspelling. Who is registered is in
/// the directory.
async fn check_registered(cx: &mut RequestContext, organisation: &OrganisationId) -> Result<(), Refusal> {
    let mut check = Check::new();
    if organisations::by_id(&mut cx.snapshot, organisation).await?.is_none() {
        check.add_violation("organisation", ViolationReason::OrganisationUnknown);
    }
    Ok(check.finish()?)
}
