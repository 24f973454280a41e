//! `DeclareClosure` and `GetTermDates`: when a place is open, told to those who share a placement with it. They
//! are methods of `RegisterService`; who shares a placement is known here.

use uuid::Uuid;

use super::rows::{self, Placement};
use crate::codes::organisation::OrganisationId;
use crate::exchange::check::{Check, TextRule};
use crate::exchange::{Action, Cx, Decided, Facts, Part, Reason, Refusal, Standing};
use crate::proto::v1::{
    ClosureKind, DeclareClosureRequest, DeclareClosureResponse, DeliveryKind, GetTermDatesRequest,
    GetTermDatesResponse,
};
use crate::register::closures::{self, ClosureRow};
use crate::register::terms;
use crate::store::StoreError;
use crate::store::key::Key;

/// Days of one closure.
const MAX_DAYS: usize = 366;
/// Placements looked at in one step.
const STEP: i64 = 500;

/// Declares that the caller is shut, or changes or withdraws what it declared.
pub(super) async fn declare_closure(
    mut cx: Cx,
    m: DeclareClosureRequest,
) -> Result<Decided<DeclareClosureResponse>, Refusal> {
    let mut declared = declared(&cx, &m)?;
    let standing = match m.closure_id.as_str() {
        "" => None,
        _ => closures::of(&mut cx.snapshot, &declared.organisation)
            .await?
            .into_iter()
            .find(|closure| closure.id == declared.id),
    };
    let part = if standing.is_some() || m.closure_id.is_empty() { Part::Own } else { Part::None };
    let permit = cx.permit(Action::DeclareClosure, &Facts::own(part))?;
    let before = standing.map_or(0, |standing| standing.version);
    if before > 0 {
        super::draft::same_version(&m.etag, before)?;
    }
    declared.version = before + 1;
    let mut change = cx.change(&permit).guard(closures::key(declared.id), before).write(&declared);
    change = change.bump(Key::facts(declared.organisation.as_str()));
    for recipient in told(&mut cx).await? {
        change = change.deliver(&recipient, DeliveryKind::Closure, declared.id, None);
    }
    let reply = DeclareClosureResponse {
        closure_id: declared.id.hyphenated().to_string(),
        etag: declared.version.to_string(),
        receipt: None,
    };
    Ok(change.reply(&reply))
}

/// A declaration whose shape holds.
fn declared(cx: &Cx, m: &DeclareClosureRequest) -> Result<ClosureRow, Refusal> {
    let mut check = Check::new();
    check.uuid("request_id", &m.request_id);
    let id = check.optional_uuid("closure_id", &m.closure_id);
    let site = check.text("site", &m.site, TextRule::line(200)).unwrap_or_default();
    let days = check.period(("from_date", &m.from_date), ("to_date", &m.to_date), MAX_DAYS);
    let kind = check.enum_value::<ClosureKind>("kind", m.kind);
    if kind.is_some_and(|kind| !closures::fits(kind, &m.reason_code)) {
        check.fault("reason_code", "CODE_NOT_OF_A_CLOSURE");
    }
    check.finish()?;
    Ok(ClosureRow {
        id: id.unwrap_or_else(|| cx.random.uuid_v7(cx.now)),
        version: 1,
        organisation: cx.caller.organisation.clone(),
        site,
        days: days.ok_or(Reason::Malformed)?,
        kind: m.kind,
        code: m.reason_code.clone(),
        withdrawn: m.withdrawn,
        declared: cx.now.micros(),
    })
}

/// Commissioners and schools on roll of the live placements that the caller teaches or has on its roll.
async fn told(cx: &mut Cx) -> Result<Vec<OrganisationId>, StoreError> {
    let caller = cx.caller.organisation.clone();
    let concerned = |placement: &&Placement| {
        placement.standing() == Standing::Live
            && (placement.provider == caller || placement.schools.contains(&caller))
    };
    let (mut told, mut after) = (Vec::new(), Uuid::nil());
    loop {
        let ids = rows::ids_of_party(&mut cx.snapshot, &caller, after, STEP).await?;
        let Some(last) = ids.last() else {
            return Ok(told);
        };
        after = *last;
        for placement in rows::by_ids(&mut cx.snapshot, &ids).await?.iter().filter(concerned) {
            for organisation in [&placement.commissioner].into_iter().chain(&placement.schools) {
                if *organisation != caller && !told.contains(organisation) {
                    told.push(organisation.clone());
                }
            }
        }
    }
}

/// Gives the term dates and closures of the caller, or of one with which it shares a placement.
pub(super) async fn get_term_dates(
    mut cx: Cx,
    m: GetTermDatesRequest,
) -> Result<Decided<GetTermDatesResponse>, Refusal> {
    let mut check = Check::new();
    let organisation = check.organisation("organisation", &m.organisation);
    check.finish()?;
    let organisation = organisation.ok_or(Reason::Malformed)?;
    let part = if organisation == cx.caller.organisation {
        Part::Own
    } else if shares(&mut cx, &organisation).await? {
        Part::Party
    } else {
        Part::None
    };
    let permit = cx.permit(Action::GetTermDates, &Facts::own(part))?;
    let closures = closures::of(&mut cx.snapshot, &organisation).await?;
    let reply = GetTermDatesResponse {
        term_dates: terms::of(&mut cx.snapshot, &organisation).await?,
        closures: closures.iter().map(ClosureRow::message).collect(),
        receipt: None,
    };
    let change = cx.change(&permit);
    let change = if part == Part::Party { change.counterpart(&organisation) } else { change };
    Ok(change.reply(&reply))
}

/// Whether the caller has a part in a placement in which the organisation has one.
async fn shares(cx: &mut Cx, organisation: &OrganisationId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM placement_parties a JOIN placement_parties b ON b.placement = a.placement \
               WHERE a.organisation = $1 AND b.organisation = $2 LIMIT 1";
    let both = vec![cx.caller.organisation.as_str().into(), organisation.as_str().into()];
    Ok(cx.snapshot.fetch_one(sql, both).await?.is_some())
}
