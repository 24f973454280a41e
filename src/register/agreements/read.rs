//! `GetAgreement` and `ListAgreements`: reads by the parties.

use uuid::Uuid;

use super::{authorise_party, rows};
use crate::exchange::check::Check;
use crate::exchange::{CallerRole, Change, Decided, PageTokens, PolicyFacts, Refusal, RequestContext};
use crate::proto::v1::{
    AgreementState, GetAgreementRequest, GetAgreementResponse, ListAgreementsRequest, ListAgreementsResponse,
};

/// Returns an agreement with its terms.
pub async fn get(
    mut cx: RequestContext,
    m: GetAgreementRequest,
) -> Result<Decided<GetAgreementResponse>, Refusal> {
    let mut check = Check::new();
    let id = check.uuid("agreement_id", &m.agreement_id);
    check.finish()?;
    let (permit, row) = authorise_party(&mut cx, id).await?;
    let change = with_counterparts(&cx, cx.change(&permit), &row);
    Ok(change.with_reply(&GetAgreementResponse { agreement: Some(row.to_proto()), receipt: None }))
}

/// Lists the agreements of the caller by id.
pub async fn list(
    mut cx: RequestContext,
    m: ListAgreementsRequest,
) -> Result<Decided<ListAgreementsResponse>, Refusal> {
    let mut check = Check::new();
    let page_size = i64::from(check.page_size("page_size", m.page_size, 100, 1_000).unwrap_or(100));
    let state = check.optional_enum::<AgreementState>("state", m.state);
    let party = check.optional_organisation("party", &m.party);
    check.finish()?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let query = ListAgreementsRequest { page_size: 0, page_token: String::new(), ..m.clone() };
    let pages = PageTokens::for_query(&cx, &query);
    let after = pages.start_position(&cx, &m.page_token, Uuid::nil(), |id| Uuid::from_slice(id).ok())?;
    let caller = cx.caller.organisation.clone();
    let rows = rows::list_after(&mut cx.snapshot, &caller, after, page_size).await?;
    let is_full = i64::try_from(rows.len()) == Ok(page_size);
    let next_page_token = match rows.last().filter(|_| is_full) {
        None => String::new(),
        Some(last) => pages.seal(&cx, last.id.as_bytes())?,
    };
    let mut change = cx.change(&permit);
    let mut agreements = Vec::with_capacity(rows.len());
    let is_listed = |row: &&rows::AgreementRow| {
        row.parties.contains(&caller)
            && state.is_none_or(|state| state == row.state)
            && party.as_ref().is_none_or(|party| row.parties.contains(party))
    };
    for row in rows.iter().filter(is_listed) {
        change = with_counterparts(&cx, change, row);
        agreements.push(row.to_proto());
    }
    Ok(change.with_reply(&ListAgreementsResponse { agreements, next_page_token, receipt: None }))
}

/// Adds the other parties to those whom the exchange concerned.
fn with_counterparts(cx: &RequestContext, change: Change, row: &rows::AgreementRow) -> Change {
    let others = row.parties.iter().filter(|party| **party != cx.caller.organisation);
    others.fold(change, Change::add_counterpart)
}
