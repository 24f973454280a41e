//! Practitioners: the persons who act for an organisation. Entries hold a pseudonym; who it is, is kept once, sealed under
//! a key of the organisation, and told to nobody else.

mod identify;
mod rows;

use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Decided, NextActor, PageTokens, PolicyFacts, Reason, Refusal, RequestContext, WrongState,
};
use crate::proto::v1::{
    EndPractitionerRequest, EndPractitionerResponse, ListPractitionersRequest, ListPractitionersResponse,
    Practitioner,
};
use crate::tlog::Hash;
pub use identify::identify;
pub use rows::{PractitionerRow, key};

/// Lists the persons who acted for the caller, by pseudonym.
pub(super) async fn list(
    mut cx: RequestContext,
    m: ListPractitionersRequest,
) -> Result<Decided<ListPractitionersResponse>, Refusal> {
    let mut check = Check::new();
    let page_size = i64::from(check.page_size("page_size", m.page_size, 100, 1_000).unwrap_or(100));
    check.finish()?;
    let pages = PageTokens::for_query(&cx, &ListPractitionersRequest::default());
    let after = pages.start_position(&cx, &m.page_token, Vec::new(), |at| Some(at.to_vec()))?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let organisation = cx.caller.organisation.clone();
    let rows = rows::list_after(&mut cx.snapshot, &organisation, after, page_size).await?;
    let is_full = i64::try_from(rows.len()) == Ok(page_size);
    let next = rows.last().filter(|_| is_full).map(|row| row.practitioner.clone());
    let seen = rows::seen_last(&mut cx.snapshot, &organisation).await?;
    let mut practitioners = Vec::with_capacity(rows.len());
    for row in rows {
        let identity = row.open(&cx.vault.ring())?;
        let pseudonym = row.pseudonym()?;
        let last_seen = match seen.get(pseudonym.as_bytes().as_slice()) {
            Some(time) => Some(*time),
            None => rows::last_indexed(&mut cx.snapshot, &row).await?,
        };
        practitioners.push(Practitioner {
            practitioner: pseudonym.to_string(),
            issuer: identity.issuer,
            subject: identity.subject,
            name: identity.name,
            last_seen_time: last_seen.map(crate::clock::Instant::to_proto),
            ended: row.ended,
        });
    }
    let next_page_token = next.map_or(Ok(String::new()), |next| pages.seal(&cx, &next))?;
    let reply = ListPractitionersResponse { practitioners, next_page_token, receipt: None };
    Ok(cx.change(&permit).with_reply(&reply))
}

/// Ends a person of the caller: every token that names it is refused from the next commit on.
pub(super) async fn end(
    mut cx: RequestContext,
    m: EndPractitionerRequest,
) -> Result<Decided<EndPractitionerResponse>, Refusal> {
    let mut check = Check::new();
    check.request_id(&m.request_id);
    let pseudonym = check.parsed("practitioner", &m.practitioner, super::certificates::parse_fingerprint);
    check.finish()?;
    let pseudonym = Hash::from(pseudonym.ok_or(Reason::Malformed)?);
    let organisation = cx.caller.organisation.clone();
    let ring = cx.vault.ring();
    let found = rows::by_pseudonym(&mut cx.snapshot, &ring, &organisation, &pseudonym).await?;
    let role = if found.is_some() { CallerRole::Owner } else { CallerRole::NoRole };
    let permit = cx.permit(&PolicyFacts::for_role(role))?;
    let mut row = found.ok_or(Reason::NotFound)?;
    if row.ended {
        let required = Vec::new();
        return Err(WrongState { current: "ENDED", required, next_actor: NextActor::Nobody }.into());
    }
    let change = cx.change(&permit).guard(row.key(), row.version);
    row.version = row.version.next();
    row.ended = true;
    let reply = EndPractitionerResponse { receipt: None };
    Ok(change
        .append(&row)
        .bump(crate::store::version_key::VersionKey::authority(organisation.as_str()))
        .with_reply(&reply))
}
