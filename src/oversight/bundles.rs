//! Bundles: the placements of one organisation in which a rule found a cause on a day share one alert. Each party that is
//! told of one of them has an alert of its own, with those of which it is told. A placement joins the bundle of the day on
//! which its cause is found, and leaves it when the cause is gone; the bundle ends with the last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message;
use uuid::Uuid;

use super::alert_changes::{self, Notice, Opening, open_or_reopen};
use super::alerts::{self, AlertRow};
use super::bundle_facts::{figures, placements_of};
use super::life::{self, OnRaise};
use super::recipients::{self, About};
use super::rule::{Grounds, NewAlert};
use super::rule_book::{Bundle, RuleBook};
use super::rule_id::RuleId;
use super::subject::Subject;
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::change::row_write;
use crate::exchange::{Change, Refusal, RequestContext};
use crate::placements::Placement;
use crate::proto::v1::{AlertState, DeliveryKind};
use crate::register::terms;
use crate::store::moment::MomentRow;
use crate::store::version_key::VersionKey;
use crate::store::{Revision, StoreError};

/// How long ago a bundle may have ended that is looked at again, in days: longer than the school days after which a
/// resolved alert is opened again.
const DAYS_LOOKED_BACK: u64 = 60;

/// What rules found of placements in one exchange.
#[derive(Default)]
pub(super) struct Findings {
    of_rules: BTreeMap<RuleId, Vec<FoundCause>>,
    /// What the rules read.
    versions_read: Vec<(VersionKey, Revision)>,
}

/// What a rule found of a placement.
struct FoundCause {
    placement: Placement,
    /// The day by which the cause should have been gone, if it holds.
    cause: Option<Date>,
    /// Whether it joins the bundle of the day, if it is in none.
    joins: bool,
    /// The earliest day of attendance on which the cause rests; `None` if it rests on none.
    rests_on: Option<Date>,
}

impl Findings {
    /// Adds what a rule found of a placement: its cause, whether the placement joins the bundle of the day, and the earliest
    /// day of attendance on which the cause rests.
    pub(super) fn add(
        &mut self,
        rule: RuleId,
        grounds: &Grounds,
        (cause, joins, rests_on): (Option<Date>, bool, Option<Date>),
    ) {
        let Some(placement) = grounds.placement.clone() else { return };
        self.of_rules.entry(rule).or_default().push(FoundCause { placement, cause, joins, rests_on });
        self.versions_read.extend(grounds.versions_read.iter().cloned());
    }
}

/// Decides the bundles of all rules from what they found of placements. Their rows are in no child's leaf.
pub(super) async fn decide(
    cx: &mut RequestContext,
    mut change: Change,
    (book, at): (&RuleBook, Instant),
    Findings { of_rules, versions_read }: Findings,
) -> Result<Change, Refusal> {
    let mut notices = Vec::new();
    for (rule, found) in of_rules {
        let Some((settings, bundle)) = book.settings(rule).and_then(|known| Some((known, known.bundle?)))
        else {
            continue;
        };
        let mut groups = BTreeMap::<OrganisationId, Vec<FoundCause>>::new();
        for one in found {
            let organisation = match bundle {
                Bundle::Commissioner => &one.placement.commissioner,
                Bundle::Provider => &one.placement.provider,
            };
            groups.entry(organisation.clone()).or_default().push(one);
        }
        for (organisation, found) in groups {
            let calendar = terms::load_calendar(&mut cx.snapshot, &organisation).await?;
            let calendar = &calendar;
            let opening = Opening::by_life(rule, (settings, book), at, calendar);
            let mut group = Group::load(cx, (opening, bundle), &organisation).await?;
            for one in &found {
                group.add_or_remove(one, opening);
            }
            change = group.write(cx, change, opening, &mut notices).await?;
        }
    }
    if notices.is_empty() {
        return Ok(change);
    }
    let rows = notices.iter().map(|notice| row_write(&notice.alert)).collect();
    let grounds = Grounds::without_placement(versions_read);
    Ok(alert_changes::write_and_deliver(change, &grounds, &notices, rows))
}

/// The bundles of a rule about the placements of one organisation.
struct Group {
    /// Subject of the bundles of today.
    subject: Subject,
    /// The bundles that are open or ended a short time ago, each with its placements, and how many those were.
    bundles: Vec<(AlertRow, BTreeSet<Uuid>, usize)>,
    /// Placements that are new in a bundle of today, by the organisation that is told.
    new: BTreeMap<OrganisationId, BTreeMap<Uuid, Date>>,
}

impl Group {
    async fn load(
        cx: &mut RequestContext,
        (opening, bundle): (Opening<'_>, Bundle),
        organisation: &OrganisationId,
    ) -> Result<Self, Refusal> {
        let day = Date::in_london(opening.at);
        let (subject, prefix) = match bundle {
            Bundle::Commissioner => {
                (Subject::Commissioner(organisation.clone(), day), format!("commissioner/{organisation}/"))
            }
            Bundle::Provider => {
                let begin = day.previous().map_or(Instant::MIN, Date::end_of_day);
                (Subject::Provider(organisation.clone(), begin), format!("provider/{organisation}/"))
            }
        };
        let since = opening.at.minus(Duration::from_secs(DAYS_LOOKED_BACK * 86_400));
        // Days and instants are of characters before the tilde.
        let range = (&*prefix, &*format!("{prefix}~"));
        let rows = alerts::list_about(&mut cx.snapshot, opening.rule, range, since).await?;
        let mut bundles = Vec::with_capacity(rows.len());
        for row in rows {
            let members = placements_of(&row)?;
            let count = members.len();
            bundles.push((row, members, count));
        }
        Ok(Self { subject, bundles, new: BTreeMap::new() })
    }

    /// Adds a placement whose cause holds for each party that is not told of it yet, and removes one whose cause is gone.
    fn add_or_remove(&mut self, found: &FoundCause, opening: Opening<'_>) {
        let id = found.placement.id;
        let Some(due_date) = found.cause else {
            for (row, members, _) in &mut self.bundles {
                if row.state == AlertState::Open {
                    members.remove(&id);
                }
            }
            return;
        };
        if !found.joins {
            return;
        }
        let at = (opening.at, opening.at, opening.calendar);
        let about = Subject::Placement(found.placement.id);
        let about = About { placement: Some(&found.placement), subject: &about, rests_on: found.rests_on };
        for party in recipients::list_parties(&opening.settings.recipients, about, at) {
            let is_told = self.bundles.iter().any(|(row, members, _)| {
                let ended = (row.state, row.ended_at(), false);
                row.organisation.as_ref() == Some(&party)
                    && members.contains(&id)
                    && life::on_raise(ended, opening.at, opening.book, opening.calendar) == OnRaise::Keep
            });
            if !is_told {
                self.new.entry(party).or_default().insert(id, due_date);
            }
        }
    }

    /// Writes what has changed: bundles that placements left, and those of today with new ones.
    async fn write(
        self,
        cx: &mut RequestContext,
        mut change: Change,
        opening: Opening<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<Change, Refusal> {
        let Self { subject, bundles, mut new } = self;
        for (row, mut members, count) in bundles {
            let is_open = row.state == AlertState::Open;
            let organisation = row.organisation.clone();
            let joining =
                organisation.filter(|_| is_open && row.subject == subject).and_then(|to| new.remove(&to));
            let is_told = joining.is_some();
            if !is_told && members.len() == count {
                continue;
            }
            cx.snapshot.record_read(alerts::key(row.id), row.version);
            members.extend(joining.into_iter().flatten().map(|(id, _)| id));
            if members.is_empty() {
                let notice;
                (change, notice) = alert_changes::closing(cx, change, row, None).await?;
                notices.push(notice);
                continue;
            }
            let figures = Some(figures(cx, &members).await?.encode_to_vec());
            let to = if is_told { row.organisation.clone() } else { None };
            let alert = AlertRow { figures, ..row.next() };
            notices.push(Notice { kind: DeliveryKind::Alert, alert, recipients: to.into_iter().collect() });
        }
        for (organisation, members) in new {
            let opened = open(cx, opening, &subject, (&organisation, &members)).await?;
            change = alert_changes::schedule_moment(cx, change, opening, &opened).await?;
            change = guard_name(cx, change, opening, (&subject, &organisation)).await?;
            let recipients = vec![organisation];
            notices.push(Notice { kind: DeliveryKind::Alert, alert: opened, recipients });
        }
        Ok(change)
    }
}

/// Opens the bundle of today for an organisation, again if one of today has ended.
async fn open(
    cx: &mut RequestContext,
    opening: Opening<'_>,
    subject: &Subject,
    (organisation, members): (&OrganisationId, &BTreeMap<Uuid, Date>),
) -> Result<AlertRow, Refusal> {
    let about = (None, Some(organisation));
    let newest = alerts::newest_about(&mut cx.snapshot, opening.rule, subject, about).await?;
    let due_date = members.values().min().copied().unwrap_or_else(|| Date::in_london(opening.at));
    let new = NewAlert { item: None, due_date };
    // One that was resolved was so for other placements, so it is opened again like one that was closed.
    let newest = newest.map(|newest| AlertRow { state: AlertState::Closed, ..newest });
    let again = open_or_reopen(cx, opening, (subject, &new, newest));
    let opened = again.ok_or_else(|| StoreError::corrupt("alerts", "state"))?;
    let figures = Some(figures(cx, &members.keys().copied().collect()).await?.encode_to_vec());
    Ok(AlertRow { organisation: Some(organisation.clone()), figures, ..opened })
}

/// Guards the name of a bundle, so that of several exchanges that would open it at once one does.
async fn guard_name(
    cx: &mut RequestContext,
    change: Change,
    opening: Opening<'_>,
    (subject, organisation): (&Subject, &OrganisationId),
) -> Result<Change, Refusal> {
    let name = format!("bundle/{}/{organisation}/{subject}", opening.rule.as_str());
    let (guard, moment) = MomentRow::schedule(&mut cx.snapshot, name, None).await?;
    Ok(change.guard(guard.key, guard.version).append(&moment))
}
