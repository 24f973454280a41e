//! Sets the moments that are missing when a node starts: of active placements that a rule covers, and of their providers. The
//! exchange of a start sets them under the rules of its day, so a rule that is new, or whose first day is, finds none.
//! Placements and moments are read in pages, and only what is missing is written, so the next start writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::check_context::{ALERT_METHOD, CheckContext, MAX_STEPS};
use super::rule_book::RuleBook;
use super::rules::{PLACEMENT_RULES, PROVIDER_RULES};
use super::subject::Subject;
use crate::calendar::Date;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Change, Permit, Refusal, RequestContext};
use crate::placements::{active, moments};
use crate::register::moments::provider_subject;
use crate::store::Snapshot;
use crate::store::moment::{self, MomentRow};

/// What failures to set missing moments are counted under.
const MISSING_MOMENTS: &str = "missing moments";
/// Placements that one query reads.
const PLACEMENTS_PER_STEP: i64 = 5_000;
/// Maximum number of placements whose moments one exchange sets.
const MAX_GROUP: usize = 200;

impl CheckContext {
    /// Sets the moments that are missing, to now. A failure of some does not affect the others; the next start tries again.
    pub(super) async fn set_missing_moments(&mut self) -> Result<(), Refusal> {
        let (mut after, mut providers) = (active::before_first(), BTreeSet::new());
        for _ in 0..MAX_STEPS {
            self.progress.mark();
            let mut snapshot = Snapshot::new(self.pipeline.log.database());
            let page = active::list_active(&mut snapshot, &after, PLACEMENTS_PER_STEP).await?;
            let Some(last) = page.last else { break };
            after = last;
            let mut by_commissioner = BTreeMap::<OrganisationId, Vec<Uuid>>::new();
            for placement in page.placements {
                match placement {
                    Ok(placement) => {
                        let covered = Covered::by(&self.book, placement.start);
                        if covered.at_its_moments {
                            by_commissioner.entry(placement.commissioner).or_default().push(placement.id);
                        }
                        if covered.at_cut_offs {
                            providers.insert(placement.provider);
                        }
                    }
                    Err(damaged) => {
                        let subject = Subject::Placement(damaged.placement);
                        self.failures.record(MISSING_MOMENTS, &subject, damaged.error.into())?;
                    }
                }
            }
            drop(snapshot);
            for (commissioner, placements) in by_commissioner {
                for group in placements.chunks(MAX_GROUP) {
                    self.set_moments_of_placements(&commissioner, group).await?;
                }
            }
        }
        for provider in providers {
            self.set_moment_of_provider(&provider).await?;
        }
        Ok(())
    }

    async fn set_moments_of_placements(
        &mut self,
        commissioner: &OrganisationId,
        group: &[Uuid],
    ) -> Result<(), Refusal> {
        self.progress.mark();
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let missing = list_missing(&mut snapshot, group).await?;
        drop(snapshot);
        if missing.is_empty() {
            return Ok(());
        }
        let decide = |cx, permit| set_moments(cx, permit, &missing);
        let set = self.pipeline.submit_system_exchange(ALERT_METHOD, commissioner, decide).await;
        set.or_else(|refusal| self.failures.record(MISSING_MOMENTS, commissioner, refusal))
    }

    async fn set_moment_of_provider(&mut self, provider: &OrganisationId) -> Result<(), Refusal> {
        self.progress.mark();
        let subject = provider_subject(provider);
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let present: Option<MomentRow> = snapshot.newest(&moment::key(&subject)).await?;
        drop(snapshot);
        if present.is_some_and(|present| present.due.is_some()) {
            return Ok(());
        }
        let decide = |cx, permit| set_moment(cx, permit, &subject);
        let set = self.pipeline.submit_system_exchange(ALERT_METHOD, provider, decide).await;
        set.or_else(|refusal| self.failures.record(MISSING_MOMENTS, provider, refusal))
    }
}

/// Whether rules cover a placement.
struct Covered {
    /// One that is evaluated at the placement's moments.
    at_its_moments: bool,
    /// One that is evaluated at the provider's cut-offs.
    at_cut_offs: bool,
}

impl Covered {
    fn by(book: &RuleBook, start: Option<Date>) -> Self {
        let covers = |rule| book.settings(rule).is_some_and(|settings| settings.covers(start));
        Self {
            at_its_moments: PLACEMENT_RULES.iter().any(|rule| covers(rule.id())),
            at_cut_offs: PROVIDER_RULES.iter().any(|rule| covers(rule.id())),
        }
    }
}

/// Lists the placements of which no moment is due at any time.
async fn list_missing(snapshot: &mut Snapshot, placements: &[Uuid]) -> Result<Vec<Uuid>, Refusal> {
    let present = moments::load(snapshot, placements).await?;
    let is_missing = |id: &&Uuid| present.get(id).is_none_or(|moment| moment.due.is_none());
    Ok(placements.iter().filter(is_missing).copied().collect())
}

/// Has placements evaluated now that have no moment. `None`: another node has set them.
async fn set_moments(
    mut cx: RequestContext,
    permit: Permit,
    placements: &[Uuid],
) -> Result<Option<Change>, Refusal> {
    let missing = list_missing(&mut cx.snapshot, placements).await?;
    if missing.is_empty() {
        return Ok(None);
    }
    let change = cx.change(&permit);
    Ok(Some(moments::evaluate_now(&mut cx, change, &missing).await?))
}

/// Has a subject evaluated now that has no moment. `None`: another node has set it.
async fn set_moment(
    mut cx: RequestContext,
    permit: Permit,
    subject: &str,
) -> Result<Option<Change>, Refusal> {
    let present: Option<MomentRow> = cx.snapshot.newest(&moment::key(subject)).await?;
    let (guard, moment) = match present {
        Some(present) if present.due.is_some() => return Ok(None),
        Some(present) => present.followed_by(Some(cx.now)),
        None => MomentRow::first(subject.to_owned(), Some(cx.now)),
    };
    Ok(Some(cx.change(&permit).guard(guard.key, guard.version).append(&moment)))
}
