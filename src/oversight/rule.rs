//! The interface of a rule of oversight: what a rule decides, and the types in which it does so.

use std::pin::Pin;

use uuid::Uuid;

use super::alerts::AlertRow;
use super::rule_book::{Parameter, PartyRole};
use super::rule_id::RuleId;
use super::subject::{DamagedSubject, Subject};
use crate::calendar::Date;
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::Placement;
use crate::placements::open_item_code::OpenItemCode;
use crate::proto::v1::AlertFigures;
use crate::seal::ChildKey;
use crate::store::proposal::RowWrite;
use crate::store::version_key::VersionKey;
use crate::store::{LogPosition, Revision, Snapshot};

/// Result of a rule's function.
pub type RuleFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A rule of oversight: raises alerts when something is due and finds whether their cause is gone. The alert scheduler
/// does everything else.
///
/// An alert is raised exactly once, also with several nodes: the rule names a key among the versions that it read, and
/// the rows that it writes with the alerts give that key its next version. Of several exchanges with the same guard, one
/// is committed.
pub trait Rule: Send + Sync {
    /// Returns its id, which is stored with its alerts.
    fn id(&self) -> RuleId;

    /// Returns who may be told at most: those who may read everything on which the rule rests. The rule book names some of
    /// them.
    fn may_tell(&self) -> &'static [PartyRole] {
        &PartyRole::ALL
    }

    /// Returns its parameters, which the rule book must hold.
    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    /// Returns the moments at which something may become due.
    fn raises_on(&self) -> &'static [Moment];

    /// Lists subjects about which something is due, after a position, at most `limit` rows. A record that cannot be read
    /// is an error of its own subject. The list may contain a subject twice, and subjects about which nothing is due.
    /// Each run begins at the start of the list, so it must be short when nothing is due: an index of what has not been
    /// checked.
    fn list_due<'a>(
        &'a self,
        snapshot: &'a mut Snapshot,
        now: Instant,
        after: &'a DuePosition,
        limit: i64,
    ) -> RuleFuture<'a, DuePage>;

    /// Decides which alerts about a subject are to be raised now. `None`: nothing is due, or the child's record was
    /// erased. The exchange is committed under guards on [`Grounds::versions_read`].
    fn decide<'a>(
        &'a self,
        cx: &'a mut RequestContext,
        subject: &'a Subject,
    ) -> RuleFuture<'a, Option<Raise>>;

    /// Reads whether the cause of an open alert still holds. `None`: this cannot be decided, because the child's record
    /// was erased; the alert closes.
    fn find_cause<'a>(
        &'a self,
        cx: &'a mut RequestContext,
        alert: &'a AlertRow,
    ) -> RuleFuture<'a, Option<Cause>>;
}

/// A moment at which something may become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A new day begins in London.
    NewDay,
    /// An entry is committed, on this node or another.
    Commit,
}

/// The state in which a moment is a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MomentState {
    /// The day in London.
    pub day: Date,
    /// Number of entries in the log.
    pub log_size: u64,
}

impl MomentState {
    /// Returns whether one of the moments has occurred since a former state; true if there was none.
    #[must_use]
    pub fn has_passed(&self, moments: &[Moment], former: Option<&Self>) -> bool {
        former.is_none_or(|former| {
            moments.iter().any(|moment| match moment {
                Moment::NewDay => self.day != former.day,
                Moment::Commit => self.log_size != former.log_size,
            })
        })
    }
}

/// A position in a rule's list of due subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuePosition {
    /// When it became due, as it is stored; empty at the start.
    pub due: String,
    /// Position in the log, which orders what became due at the same time.
    pub position: LogPosition,
}

impl DuePosition {
    /// The position before the first subject.
    pub const START: Self = Self { due: String::new(), position: LogPosition::START };
}

/// A page of a rule's list of due subjects.
pub struct DuePage {
    /// The subjects.
    pub subjects: Vec<Result<Subject, DamagedSubject>>,
    /// Position of the last; `None` if the page is empty.
    pub last: Option<DuePosition>,
}

/// What a rule decided from, and whom it concerns.
pub struct Grounds {
    /// Key versions that were read. While they are current, the decision holds.
    pub versions_read: Vec<(VersionKey, Revision)>,
    /// The child whose record the exchange concerns; `None` for a subject that is about no child.
    pub child: Option<ChildRecord>,
    /// The placement whose parties may be told; `None` for a subject that belongs to none.
    pub placement: Option<Placement>,
}

impl Grounds {
    /// Returns the grounds of a decision that is about no placement.
    #[must_use]
    pub const fn without_placement(versions_read: Vec<(VersionKey, Revision)>) -> Self {
        Self { versions_read, child: None, placement: None }
    }
}

/// A child's record.
pub struct ChildRecord {
    /// The placement.
    pub placement: Uuid,
    /// The child.
    pub child: Uuid,
    /// The organisation on whose behalf the exchange is committed.
    pub sender: OrganisationId,
    /// Its key of the child.
    pub key: ChildKey,
}

/// Alerts to raise.
pub struct Raise {
    /// What it was decided from.
    pub grounds: Grounds,
    /// Rows that record what was checked, so that it is not due again.
    pub rows: Vec<RowWrite>,
    /// The alerts; empty if what was due turned out to be done.
    pub alerts: Vec<NewAlert>,
}

/// An alert to raise.
pub struct NewAlert {
    /// The open item, if the rule is about one.
    pub item: Option<OpenItemCode>,
    /// Day by which the cause should have been gone.
    pub due_date: Date,
}

/// The cause of an open alert.
pub struct Cause {
    /// Whether it still holds.
    pub holds: bool,
    /// The present figures of an alert that is about no placement.
    pub figures: Option<AlertFigures>,
    /// The earliest day of attendance on which the cause rests; `None` if it rests on none.
    pub rests_on: Option<Date>,
    /// What that was decided from.
    pub grounds: Grounds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_moments_start_a_rule() {
        let day = |text: &str| Date::parse(text).unwrap();
        let former = MomentState { day: day("2026-11-30"), log_size: 7 };
        let (next_day, grown) =
            (MomentState { day: day("2026-12-01"), ..former }, MomentState { log_size: 8, ..former });
        assert!(next_day.has_passed(&[Moment::NewDay], Some(&former)));
        assert!(!next_day.has_passed(&[Moment::Commit], Some(&former)));
        assert!(grown.has_passed(&[Moment::NewDay, Moment::Commit], Some(&former)));
        assert!(!grown.has_passed(&[Moment::NewDay], Some(&former)));
        assert!(former.has_passed(&[Moment::NewDay], None), "a node that starts checks everything");
    }
}
