//! The check of open alerts: closes those whose cause is gone.

use std::collections::{BTreeSet, HashMap};

use prost::Message;
use uuid::Uuid;

use super::alert_changes;
use super::alerts::{self, AlertRow};
use super::cause;
use super::check_context::{ALERT_METHOD, CheckContext, MAX_STEPS, ROWS_PER_STEP};
use super::rule_id::RuleId;
use crate::exchange::Refusal;
use crate::store::version_key::VersionKey;
use crate::store::{LogPosition, Revision, Snapshot};

/// Open alerts as the last check found them.
pub(super) struct OpenAlerts {
    /// Position of the oldest open alert: all alerts that were raised before it have ended.
    oldest: LogPosition,
    /// The key versions, by open alert, under which its cause was found to hold.
    versions: HashMap<Uuid, Vec<(VersionKey, Revision)>>,
}

impl Default for OpenAlerts {
    fn default() -> Self {
        Self { oldest: LogPosition::START, versions: HashMap::new() }
    }
}

impl OpenAlerts {
    /// Closes the open alerts whose cause is gone. Only alerts whose key versions changed are checked again.
    pub(super) async fn close_obsolete(&mut self, context: &mut CheckContext) -> Result<(), Refusal> {
        let mut snapshot = Snapshot::new(context.pipeline.log.database());
        let (mut from, mut oldest) = (self.oldest, None);
        let keys: BTreeSet<&VersionKey> = self.versions.values().flatten().map(|(key, _)| key).collect();
        let now = snapshot.current_versions(keys).await?;
        drop(snapshot);
        let mut seen = HashMap::new();
        for _ in 0..MAX_STEPS {
            // A snapshot of its own for each page, because none is held while the checks below wait for theirs.
            let mut snapshot = Snapshot::new(context.pipeline.log.database());
            let open = alerts::list_open(&mut snapshot, from, ROWS_PER_STEP).await?;
            drop(snapshot);
            let is_full = i64::try_from(open.len()).unwrap_or(i64::MAX) == ROWS_PER_STEP;
            for (position, alert) in open {
                oldest.get_or_insert(position);
                from = position.next();
                let alert = match alert {
                    Ok(alert) => alert,
                    Err(damaged) => {
                        let (subject, error) = (damaged.subject.subject, damaged.subject.error);
                        context.failures.record(
                            damaged.rule.map_or("", RuleId::as_str),
                            &subject,
                            error.into(),
                        )?;
                        continue;
                    }
                };
                let before = self.versions.remove(&alert.id);
                let unchanged = before.filter(|before| {
                    before.iter().all(|(key, at)| now.get(key).unwrap_or(&Revision::ABSENT) == at)
                });
                if let Some(unchanged) = unchanged {
                    seen.insert(alert.id, unchanged);
                    continue;
                }
                context.progress.mark();
                match context.check_open_alert(&alert).await {
                    Ok(versions) => {
                        context.failures.clear(alert.rule.as_str(), &alert.subject);
                        seen.extend(versions.map(|versions| (alert.id, versions)));
                    }
                    Err(refusal) => context.failures.record(alert.rule.as_str(), &alert.subject, refusal)?,
                }
            }
            if !is_full {
                break;
            }
        }
        self.versions = seen;
        self.oldest = oldest.unwrap_or(from);
        Ok(())
    }
}

impl CheckContext {
    /// Closes an alert whose cause is gone, or whose child's record was erased, and returns `None`. Otherwise returns the
    /// key versions under which the cause was found to hold.
    async fn check_open_alert(
        &self,
        alert: &AlertRow,
    ) -> Result<Option<Vec<(VersionKey, Revision)>>, Refusal> {
        let mut snapshot = Snapshot::new(self.pipeline.log.database());
        let Some(controller) = alert.controller(&mut snapshot).await? else { return Ok(None) };
        drop(snapshot);
        let mut view = self.pipeline.system_read_context(ALERT_METHOD, &controller);
        let cause = cause::find(&mut view, alert, &self.book).await?;
        drop(view);
        if let Some(cause) = cause.filter(|cause| cause.holds)
            && cause.figures.as_ref().map(Message::encode_to_vec) == alert.figures
        {
            return Ok(Some(cause.grounds.versions_read));
        }
        let decide = |cx, permit| alert_changes::close_alert(cx, permit, &self.book, alert);
        self.pipeline.submit_system_exchange(ALERT_METHOD, &controller, decide).await?;
        Ok(None)
    }
}
