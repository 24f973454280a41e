//! `GetOversightReport`: which rules the active placements of a commissioner pass, fail, or have no facts for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use uuid::Uuid;

use super::alert_list;
use super::placement_facts::{self, LoadedFacts, PlacementFacts};
use super::provider_facts;
use super::rule_book::{RuleBook, RuleSettings};
use super::rule_id::RuleId;
use super::rules::{self, AnyRule};
use super::subject::Subject;
use super::wire;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{
    CallerRole, Decided, LeafInput, PageTokens, PolicyFacts, RecordRef, Refusal, RequestContext,
};
use crate::placements::{self, Placement};
use crate::proto::v1::{
    GetOversightReportRequest, GetOversightReportResponse, LeafRole, PlacementState, RecordKind,
    ReportedPlacement, ReportedResult, ReportedRule, RuleResult,
};
use crate::store::ValueSet;

/// Ids of placements that one query reads.
const IDS_PER_QUERY: i64 = 500;
/// Maximum number of placements that one call scans for those that the caller commissions.
const MAX_SCANNED_PLACEMENTS: usize = 10_000;
/// Placements of a page in which one cannot be read: they are read one by one.
const DAMAGED_PAGE_SIZE: usize = 20;

/// Maximum number of open alerts about a provider whose sessions are read.
const MAX_ALERTS_OF_PROVIDER: i64 = 100;

/// Open alerts of which the caller was told, by placement and rule: the day by which the cause should have been gone.
type OpenAlerts = BTreeMap<(Uuid, RuleId), Date>;

/// Returns a page of the report.
pub(super) async fn get_oversight_report(
    mut cx: RequestContext,
    m: GetOversightReportRequest,
) -> Result<Decided<GetOversightReportResponse>, Refusal> {
    let size = wire::check_report(&m)?;
    let permit = cx.permit(&PolicyFacts::for_role(CallerRole::Owner))?;
    let book = cx.settings.get().map_or_else(RuleBook::embedded, Arc::clone);
    let query = GetOversightReportRequest::default();
    let pages = PageTokens::for_query(&cx, &query);
    let after = pages.start_position(&cx, &m.page_token, Uuid::nil(), |id| Uuid::from_slice(id).ok())?;
    let (ids, next) = list_commissioned(&mut cx, after, size).await?;
    let (loaded, next) = load_page(&mut cx, (&pages, &book), ids, next).await?;
    let open = list_open_alerts(&mut cx, &book, &loaded).await?;
    let mut response = GetOversightReportResponse {
        rules: book.rules().map(|(id, settings)| reported_rule(id, settings)).collect(),
        ..GetOversightReportResponse::default()
    };
    if let Some(next) = next {
        response.next_page_token = pages.seal(&cx, next.as_bytes())?;
    }
    let mut change = cx.change(&permit);
    for LoadedFacts { placement, key, facts, .. } in loaded.values() {
        let results = book.rules().map(|(id, settings)| {
            let found = result_of(id, settings, (placement, facts), &open, cx.now);
            reported_result(id, found)
        });
        let message = ReportedPlacement {
            placement_id: placement.id.hyphenated().to_string(),
            provider: placement.provider.to_string(),
            provider_reference: placement.provider_reference.clone().unwrap_or_default(),
            results: results.collect(),
        };
        let reply = message.encode_to_vec();
        let record = RecordRef::new(RecordKind::Placement, placement.id, placement.version);
        let (id, role, sender) = (placement.id, LeafRole::Read, &placement.commissioner);
        let part = LeafInput { placement: id, role, record, sender, key, reply: &reply };
        change = change.append_child(&part, &[] as &[Placement]).add_counterpart(&placement.commissioner);
        response.placements.push(message);
    }
    Ok(change.with_reply(&response))
}

async fn list_open_alerts(
    cx: &mut RequestContext,
    book: &RuleBook,
    loaded: &BTreeMap<Uuid, LoadedFacts>,
) -> Result<OpenAlerts, Refusal> {
    let (caller, mut open) = (cx.caller.organisation.clone(), OpenAlerts::default());
    let set = ValueSet::of_ids(loaded.keys());
    for (placement, rule, due) in alert_list::list_open_about(&mut cx.snapshot, &caller, set).await? {
        open.insert((placement, rule), due);
    }
    let providers: BTreeSet<&OrganisationId> =
        loaded.values().map(|loaded| &loaded.placement.provider).collect();
    for provider in providers {
        add_missing_of_provider(cx, (book, loaded), provider, &mut open).await?;
    }
    Ok(open)
}

/// Adds what a provider owes: its alerts are about all children of the caller, so the sessions of their days are read, and
/// each placement has its own.
async fn add_missing_of_provider(
    cx: &mut RequestContext,
    (book, loaded): (&RuleBook, &BTreeMap<Uuid, LoadedFacts>),
    provider: &OrganisationId,
    open: &mut OpenAlerts,
) -> Result<(), Refusal> {
    let (caller, limit) = (cx.caller.organisation.clone(), MAX_ALERTS_OF_PROVIDER);
    let alerts = alert_list::list_open_about_provider(&mut cx.snapshot, &caller, provider, limit).await?;
    let mut by_day = BTreeMap::<(Date, RuleId), BTreeSet<Instant>>::new();
    for (rule, subject, day) in alerts {
        if let Subject::Provider(_, cut_off) = subject {
            by_day.entry((day, rule)).or_default().insert(cut_off);
        }
    }
    for ((day, id), cut_offs) in by_day {
        let Some((AnyRule::OfProvider(rule), settings)) = rules::by_id(id).zip(book.settings(id)) else {
            continue;
        };
        let is_on_page = |placement: &Placement| loaded.contains_key(&placement.id);
        let facts = provider_facts::load_some(cx, (provider, day), (rule, settings), &is_on_page).await?;
        let missing = facts.sessions.iter().filter(|it| it.is_missing && cut_offs.contains(&it.cut_off));
        for session in missing {
            open.entry((session.placement, id)).or_insert(day);
        }
    }
    Ok(())
}

/// Lists the ids of placements that the caller commissions and that are active, behind an id, and the id behind which the
/// next page begins, if there may be more. Those that cannot be read are among them.
async fn list_commissioned(
    cx: &mut RequestContext,
    after: Uuid,
    size: usize,
) -> Result<(Vec<Uuid>, Option<Uuid>), Refusal> {
    let caller = cx.caller.organisation.clone();
    let (mut found, mut seen, mut scanned) = (Vec::new(), after, 0);
    while scanned < MAX_SCANNED_PLACEMENTS {
        let ids =
            placements::rows::list_ids_for_party(&mut cx.snapshot, &caller, seen, IDS_PER_QUERY).await?;
        if ids.is_empty() {
            return Ok((found, None));
        }
        scanned += ids.len();
        for placement in placements::by_ids_with_damaged(&mut cx.snapshot, &ids).await? {
            let (id, is_wanted) = match &placement {
                Ok(placement) => (placement.id, is_reported(placement, cx)),
                Err(damaged) => (damaged.placement, true),
            };
            if is_wanted && found.len() == size {
                return Ok((found, Some(seen)));
            }
            found.extend(is_wanted.then_some(id));
            seen = id;
        }
    }
    Ok((found, Some(seen)))
}

fn is_reported(placement: &Placement, cx: &RequestContext) -> bool {
    placement.commissioner == cx.caller.organisation && placement.state == PlacementState::Active
}

/// Loads the facts of a page. If one of them cannot be read, the page ends before it.
async fn load_page(
    cx: &mut RequestContext,
    (pages, book): (&PageTokens, &RuleBook),
    ids: Vec<Uuid>,
    next: Option<Uuid>,
) -> Result<(BTreeMap<Uuid, LoadedFacts>, Option<Uuid>), Refusal> {
    let (caller, today) = (cx.caller.organisation.clone(), cx.today);
    if let Ok(loaded) = placement_facts::load(cx, (book, today), &caller, &ids).await {
        return Ok((loaded, next));
    }
    let (mut loaded, mut last) = (BTreeMap::new(), None);
    for id in ids.into_iter().take(DAMAGED_PAGE_SIZE) {
        match placement_facts::load(cx, (book, today), &caller, &[id]).await {
            Ok(found) => loaded.extend(found),
            Err(refusal) => {
                pages.end_before_damaged(cx, refusal, (last.is_none(), id, id.as_bytes()))?;
                break;
            }
        }
        last = Some(id);
    }
    Ok((loaded, last))
}

/// Decides what a rule says of an active placement at an instant.
fn result_of(
    id: RuleId,
    settings: &RuleSettings,
    (placement, facts): (&Placement, &PlacementFacts),
    open: &OpenAlerts,
    at: Instant,
) -> (RuleResult, Option<Date>) {
    if settings.from.is_none_or(|from| Date::in_london(at) < from) {
        return (RuleResult::NoFacts, None);
    }
    let (cause, has_facts) = match rules::by_id(id) {
        Some(AnyRule::OfPlacement(rule)) => {
            (rule.evaluate(facts, at, settings).cause, rule.has_facts(facts, at, settings))
        }
        // These find what is due by themselves: what they found is an alert, unless the placement is older.
        Some(AnyRule::Listed(_) | AnyRule::OfDelivery | AnyRule::OfProvider(_)) => {
            (open.get(&(placement.id, id)).copied(), settings.covers(facts.start))
        }
        None => (None, false),
    };
    match (cause, has_facts) {
        (Some(due), _) => (RuleResult::Fail, Some(due)),
        (None, true) => (RuleResult::Pass, None),
        (None, false) => (RuleResult::NoFacts, None),
    }
}

fn reported_rule(id: RuleId, settings: &RuleSettings) -> ReportedRule {
    ReportedRule {
        rule: id.as_str().to_owned(),
        findings: settings.findings.clone(),
        severity: settings.severity.number(),
        from_date: settings.from.map(|from| from.to_string()).unwrap_or_default(),
    }
}

fn reported_result(id: RuleId, (result, due): (RuleResult, Option<Date>)) -> ReportedResult {
    ReportedResult {
        rule: id.as_str().to_owned(),
        result: result as i32,
        due_date: due.map(|due| due.to_string()).unwrap_or_default(),
    }
}
