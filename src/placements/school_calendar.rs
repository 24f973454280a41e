//! `DeclareClosure`, `ListClosures` and `GetTermDates`: closures and term dates of an organisation, for those that share a placement
//! with it. They are methods of `RegisterService`, but only placements tell to whom a closure goes, and who may read
//! another organisation's dates; `register` keeps both records.

use uuid::Uuid;

use super::rows::{self, Placement};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::Check;
use crate::exchange::{
    CallerRole, Change, Decided, PolicyFacts, Reason, Refusal, RequestContext, RoleStatus,
};
use crate::proto::v1::{
    DeclareClosureRequest, DeclareClosureResponse, DeliveryKind, GetTermDatesRequest, GetTermDatesResponse,
    ListClosuresRequest, ListClosuresResponse,
};
use crate::register::closures::{self, ClosureRow};
use crate::register::{moments, terms};
use crate::store::version_key::VersionKey;
use crate::store::{Revision, StoreError};

/// Number of placements that are read with one query.
const PLACEMENTS_PER_QUERY: i64 = 500;

/// Declares a closure of the caller, or changes or withdraws one that it declared.
pub(super) async fn declare_closure(
    mut cx: RequestContext,
    m: DeclareClosureRequest,
) -> Result<Decided<DeclareClosureResponse>, Refusal> {
    let mut closure = closures::parse_declaration(&cx, &m)?;
    let current = match m.closure_id.as_str() {
        "" => None,
        _ => closures::list_closures(&mut cx.snapshot, &closure.organisation)
            .await?
            .into_iter()
            .find(|found| found.id == closure.id),
    };
    let part =
        if current.is_some() || m.closure_id.is_empty() { CallerRole::Owner } else { CallerRole::NoRole };
    let permit = cx.permit(&PolicyFacts::for_role(part))?;
    let before = current.as_ref().map_or(Revision::ABSENT, |current| current.version);
    if before != Revision::ABSENT {
        super::draft::check_etag(&m.etag, before)?;
    }
    closure.version = before.next();
    let mut change = cx.change(&permit).guard(closures::key(closure.id), before).append(&closure);
    change = change.bump(VersionKey::facts(closure.organisation.as_str()));
    change = evaluate_returns(&mut cx, change, (&closure, current.as_ref())).await?;
    for recipient in list_recipients(&mut cx).await? {
        change = change.deliver(&recipient, DeliveryKind::Closure, closure.id, None);
    }
    let reply = DeclareClosureResponse {
        closure_id: closure.id.hyphenated().to_string(),
        etag: closure.version.to_string(),
        receipt: None,
    };
    Ok(change.with_reply(&reply))
}

/// Has the returns evaluated that a closure, its change or its withdrawal may concern: those of today, and those of each past
/// day of what was declared before and is declared now, because a closure may be declared late.
async fn evaluate_returns(
    cx: &mut RequestContext,
    change: Change,
    (closure, before): (&ClosureRow, Option<&ClosureRow>),
) -> Result<Change, StoreError> {
    let (provider, before) = (&closure.organisation, before.unwrap_or(closure));
    let days = (closure.from_date.min(before.from_date), closure.to_date.max(before.to_date));
    let change = moments::evaluate_provider_again(cx, change, provider).await?;
    moments::evaluate_provider_days(cx, change, provider, days).await
}

/// Lists the recipients of a closure: commissioners and schools on roll of the live placements in which the caller is
/// provider or school on roll.
async fn list_recipients(cx: &mut RequestContext) -> Result<Vec<OrganisationId>, StoreError> {
    let caller = cx.caller.organisation.clone();
    let concerned = |placement: &&Placement| {
        placement.role_status() == RoleStatus::Live
            && (placement.provider == caller || placement.schools.contains(&caller))
    };
    let (mut recipients, mut after) = (Vec::new(), Uuid::nil());
    loop {
        let ids = rows::list_ids_for_party(&mut cx.snapshot, &caller, after, PLACEMENTS_PER_QUERY).await?;
        let Some(last) = ids.last() else {
            return Ok(recipients);
        };
        after = *last;
        for placement in rows::by_ids(&mut cx.snapshot, &ids).await?.iter().filter(concerned) {
            for organisation in [&placement.commissioner].into_iter().chain(&placement.schools) {
                if *organisation != caller && !recipients.contains(organisation) {
                    recipients.push(organisation.clone());
                }
            }
        }
    }
}

/// Returns the term dates and closures of the caller, or of an organisation with which it shares a placement.
pub(super) async fn get_term_dates(
    mut cx: RequestContext,
    m: GetTermDatesRequest,
) -> Result<Decided<GetTermDatesResponse>, Refusal> {
    let mut check = Check::new();
    let organisation = check.organisation("organisation", &m.organisation);
    check.finish()?;
    let organisation = organisation.ok_or(Reason::Malformed)?;
    let part = part_in(&mut cx, &organisation).await?;
    let permit = cx.permit(&PolicyFacts::for_role(part))?;
    let closures = closures::list_closures(&mut cx.snapshot, &organisation).await?;
    let reply = GetTermDatesResponse {
        term_dates: terms::list_term_dates(&mut cx.snapshot, &organisation).await?,
        closures: closures.iter().map(ClosureRow::to_proto).collect(),
        receipt: None,
    };
    let change = cx.change(&permit);
    let change = if part == CallerRole::Party { change.add_counterpart(&organisation) } else { change };
    Ok(change.with_reply(&reply))
}

/// Lists the closures of the caller, or of an organisation with which it shares a placement.
pub(super) async fn list_closures(
    mut cx: RequestContext,
    m: ListClosuresRequest,
) -> Result<Decided<ListClosuresResponse>, Refusal> {
    let mut check = Check::new();
    let organisation = check.optional_organisation("organisation", &m.organisation);
    let (from, to) = check.optional_days("from_date", &m.from_date, "to_date", &m.to_date);
    check.finish()?;
    let organisation = organisation.unwrap_or_else(|| cx.caller.organisation.clone());
    let part = part_in(&mut cx, &organisation).await?;
    let permit = cx.permit(&PolicyFacts::for_role(part))?;
    let closures = closures::list_closures(&mut cx.snapshot, &organisation).await?;
    let touches = |closure: &&ClosureRow| {
        from.is_none_or(|from| closure.to_date >= from) && to.is_none_or(|to| closure.from_date <= to)
    };
    let closures = closures.iter().filter(touches).map(ClosureRow::to_proto).collect();
    let change = cx.change(&permit);
    let change = if part == CallerRole::Party { change.add_counterpart(&organisation) } else { change };
    Ok(change.with_reply(&ListClosuresResponse { closures, receipt: None }))
}

/// Returns the caller's part in the calendar of an organisation.
async fn part_in(cx: &mut RequestContext, organisation: &OrganisationId) -> Result<CallerRole, StoreError> {
    if *organisation == cx.caller.organisation {
        return Ok(CallerRole::Owner);
    }
    let is_shared = shares_placement(cx, organisation).await?;
    Ok(if is_shared { CallerRole::Party } else { CallerRole::NoRole })
}

/// Reports whether caller and organisation are or were parties to the same placement.
async fn shares_placement(
    cx: &mut RequestContext,
    organisation: &OrganisationId,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM placement_parties a JOIN placement_parties b ON b.placement = a.placement \
               WHERE a.organisation = $1 AND b.organisation = $2 LIMIT 1";
    let both = vec![cx.caller.organisation.as_str().into(), organisation.as_str().into()];
    Ok(cx.snapshot.fetch_one(sql, both).await?.is_some())
}
