//! What is read of a bundle: its placements, and of which of them the cause still holds.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use uuid::Uuid;

use super::alerts::{self, AlertRow};
use super::placement_facts;
use super::placement_rule::PlacementRule;
use super::rule::{Cause, Grounds};
use super::rule_book::RuleBook;
use super::rule_id::RuleId;
use super::subject::Subject;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext};
use crate::placements;
use crate::proto::v1::AlertFigures;
use crate::store::StoreError;

/// Placements whose facts are loaded at once.
const PLACEMENTS_PER_LOAD: usize = 200;

/// Counts the children of placements.
pub(super) async fn figures(
    cx: &mut RequestContext,
    members: &BTreeSet<Uuid>,
) -> Result<AlertFigures, Refusal> {
    let ids: Vec<Uuid> = members.iter().copied().collect();
    if ids.is_empty() {
        return Ok(AlertFigures::default());
    }
    let placements = placements::rows::by_ids(&mut cx.snapshot, &ids).await?;
    let children: BTreeSet<Uuid> = placements.iter().map(|placement| placement.child).collect();
    Ok(AlertFigures {
        children: u32::try_from(children.len()).unwrap_or(u32::MAX),
        placement_ids: ids.iter().map(|id| id.hyphenated().to_string()).collect(),
        ..AlertFigures::default()
    })
}

/// Reads the figures of an alert that is about no placement.
///
/// # Errors
/// [`StoreError::Corrupt`] for an alert without figures.
pub(super) fn figures_of(alert: &AlertRow) -> Result<AlertFigures, StoreError> {
    let corrupt = || StoreError::corrupt("alerts", "figures");
    AlertFigures::decode(alert.figures.as_deref().ok_or_else(corrupt)?).map_err(|_| corrupt())
}

/// Reads the placements of a bundle.
pub(super) fn placements_of(alert: &AlertRow) -> Result<BTreeSet<Uuid>, StoreError> {
    let ids = figures_of(alert)?.placement_ids.into_iter();
    ids.map(|id| Uuid::parse_str(&id).map_err(|_| StoreError::corrupt("alerts", "figures"))).collect()
}

/// Reads of which placements of a bundle the cause still holds.
pub(super) async fn find_cause(
    cx: &mut RequestContext,
    alert: &AlertRow,
    (rule, book): (&dyn PlacementRule, &RuleBook),
) -> Result<Cause, Refusal> {
    let settings = book.settings(alert.rule).ok_or_else(|| StoreError::corrupt("alerts", "rule"))?;
    let ids: Vec<Uuid> = placements_of(alert)?.into_iter().collect();
    let mut by_commissioner = BTreeMap::<OrganisationId, Vec<Uuid>>::new();
    for placement in placements::rows::by_ids(&mut cx.snapshot, &ids).await? {
        by_commissioner.entry(placement.commissioner).or_default().push(placement.id);
    }
    let at = alert.not_before_opening(cx.now);
    let (mut remaining, mut versions_read) = (BTreeSet::new(), Vec::new());
    for (commissioner, ids) in by_commissioner {
        for ids in ids.chunks(PLACEMENTS_PER_LOAD) {
            let day = Date::in_london(at);
            let loaded = placement_facts::load(cx, (book, day), &commissioner, ids).await?;
            let subjects = ids.iter().map(|id| Subject::Placement(*id));
            let newest = alerts::newest_about_each(&mut cx.snapshot, subjects).await?;
            for (id, mut loaded) in loaded {
                let third_day = newest.get(&(Subject::Placement(id), RuleId::AbsentThirdDay));
                loaded.facts.add_alert(third_day);
                versions_read.extend(loaded.versions_read);
                versions_read.extend(third_day.map(|alert| (alerts::key(alert.id), alert.version)));
                if rule.evaluate(&loaded.facts, at, settings).cause.is_some() {
                    remaining.insert(id);
                }
            }
        }
    }
    let figures = figures(cx, &remaining).await?;
    let grounds = Grounds::without_placement(versions_read);
    Ok(Cause { holds: !remaining.is_empty(), figures: Some(figures), rests_on: None, grounds })
}
