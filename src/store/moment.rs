//! Moments: the instants at which the gateway must evaluate something by itself. Each subject has at most one that is due:
//! the exchange of a fact sets it, and the exchange that evaluates the subject replaces it, with the next instant if there
//! is one. The subject's key is the guard of both, so a moment is evaluated once, on whatever node.

use super::position::Revision;
use super::proposal::Guard;
use super::snapshot::Snapshot;
use super::sql::{Row, StoreError, Value};
use super::version_key::{KeyFamily, VersionKey};
use crate::clock::Instant;
use crate::{record, select};

record! {
    /// A version of a subject's moment.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MomentRow in "moments" as m, 44, Committed, NoChild {
        /// What is evaluated: its kind, a slash, its id.
        pub subject: String,
        /// Version, from 1.
        pub version: Revision,
        /// When it is evaluated; `None` once nothing is due any more.
        pub due: Option<Instant>,
    }
    written {
        version_key: VersionKey = |row| key(&row.subject);
    }
    versions = |row| vec![(key(&row.subject), row.version)];
}

impl MomentRow {
    /// Reads the moment of a subject if it is due at an instant, with the instant since when. `None`: nothing is due, for
    /// example because another node evaluated it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn read_due(
        snapshot: &mut Snapshot,
        subject: &str,
        now: Instant,
    ) -> Result<Option<(Self, Instant)>, StoreError> {
        let newest: Option<Self> = snapshot.newest(&key(subject)).await?;
        Ok(newest.and_then(|moment| moment.due.filter(|due| *due <= now).map(|due| (moment, due))))
    }

    /// Makes the next version of a subject's moment, and the guard under which it is written.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn schedule(
        snapshot: &mut Snapshot,
        subject: String,
        due: Option<Instant>,
    ) -> Result<(Guard, Self), StoreError> {
        let (key, version) = (key(&subject), snapshot.current_version(&key(&subject)).await?);
        Ok((Guard { key, version }, Self { subject, version: version.next(), due }))
    }

    /// Makes the first version of a subject's moment, and the guard under which it is written.
    #[must_use]
    pub fn first(subject: String, due: Option<Instant>) -> (Guard, Self) {
        let guard = Guard { key: key(&subject), version: Revision::ABSENT };
        (guard, Self { subject, version: Revision::FIRST, due })
    }

    /// Makes the version of a subject's moment that is due at an instant, unless it is due before, and the guard under
    /// which that holds. One that is due by now keeps its instant, but gets a new version: another node may be evaluating
    /// it at this time, from what was known before this change.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn bring_forward(
        snapshot: &mut Snapshot,
        subject: String,
        (now, due): (Instant, Instant),
    ) -> Result<(Guard, Option<Self>), StoreError> {
        let key = key(&subject);
        let present: Option<Self> = snapshot.newest(&key).await?;
        let version = present.as_ref().map_or(Revision::ABSENT, |present| present.version);
        let before = present.and_then(|present| present.due).filter(|present| *present <= due);
        let is_ahead = before.is_some_and(|before| before > now);
        let due = Some(before.unwrap_or(due));
        let next = (!is_ahead).then(|| Self { subject, version: version.next(), due });
        Ok((Guard { key, version }, next))
    }

    /// Makes the version that follows the evaluation of this moment at an instant, and the guard under which it is written.
    /// A next instant that is not later is none, because the subject would be evaluated without end: the days after the
    /// last that the calendar knows end when that one does.
    #[must_use]
    pub fn evaluated_at(&self, at: Instant, next: Option<Instant>) -> (Guard, Self) {
        self.followed_by(next.filter(|next| *next > at))
    }

    /// Makes the version of the moment that follows this one, and the guard under which it is written.
    #[must_use]
    pub fn followed_by(&self, due: Option<Instant>) -> (Guard, Self) {
        let guard = Guard { key: key(&self.subject), version: self.version };
        (guard, Self { subject: self.subject.clone(), version: self.version.next(), due })
    }
}

/// Returns the key of a subject's moment.
#[must_use]
pub fn key(subject: &str) -> VersionKey {
    VersionKey::new(KeyFamily::Moment).text(subject)
}

/// A position in a list of moments.
#[derive(Clone, Copy, Debug)]
pub struct MomentPosition {
    /// When the moment is due, in microseconds since 1970 UTC.
    pub due: i64,
    /// The index of its entry.
    pub index: i64,
    /// Its ordinal.
    pub ordinal: i64,
}

/// Lists moments that are due after one instant and until another, with their positions, in the order of their
/// instants, behind a position, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_due(
    snapshot: &mut Snapshot,
    after: MomentPosition,
    until: Instant,
    limit: i64,
) -> Result<Vec<(MomentPosition, String)>, StoreError> {
    let sql = select!(
        MomentRow,
        "JOIN current_versions v ON v.key = m.version_key AND v.idx = m.idx AND v.ordinal = m.ordinal \
         WHERE m.due <= $1 AND (m.due, m.idx, m.ordinal) > ($2, $3, $4) ORDER BY m.due, m.idx, m.ordinal LIMIT $5"
    );
    let arguments =
        vec![until.micros().into(), after.due.into(), after.index.into(), after.ordinal.into(), limit.into()];
    read_positions(snapshot, sql, arguments).await
}

/// Reads the present moments of subjects behind a key, in the order of their keys, at most `limit`; lists those that are due
/// until an instant. Returns the last key that was read too, `None` if there is none. Unlike [`list_due`] it passes no
/// version that was replaced, of which there are the more the longer the log is.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_present(
    snapshot: &mut Snapshot,
    after: &VersionKey,
    until: Instant,
    limit: i64,
) -> Result<(Vec<(MomentPosition, String)>, Option<VersionKey>), StoreError> {
    let sql = "SELECT v.key, m.due, m.idx, m.ordinal, m.subject FROM current_versions v \
               JOIN moments m ON m.idx = v.idx AND m.ordinal = v.ordinal \
               WHERE v.key > $1 AND v.key < $2 ORDER BY v.key LIMIT $3";
    let end = VersionKey::new(KeyFamily::Moment).bytes(&[u8::MAX]);
    let arguments = vec![after.as_bytes().into(), end.as_bytes().into(), limit.into()];
    let rows = snapshot.fetch(sql, arguments).await?;
    let mut found = Vec::new();
    for row in &rows {
        let due: Option<i64> = row.get("due")?;
        if due.is_some_and(|due| due <= until.micros()) {
            found.push((MomentPosition::read(row)?, row.get("subject")?));
        }
    }
    let last = rows.last().map(|row| row.get("key")).transpose()?;
    Ok((found, last))
}

/// Reads the present moments of the subjects between two of the same length, both included, the last first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_between(
    snapshot: &mut Snapshot,
    (first, last): (&str, &str),
    limit: i64,
) -> Result<Vec<MomentRow>, StoreError> {
    let sql = select!(
        MomentRow,
        "JOIN current_versions v ON v.idx = m.idx AND v.ordinal = m.ordinal \
         WHERE v.key BETWEEN $1 AND $2 ORDER BY v.key DESC LIMIT $3"
    );
    let (first, last) = (key(first), key(last));
    snapshot.select(sql, vec![first.as_bytes().into(), last.as_bytes().into(), limit.into()]).await
}

/// Lists moments that were set behind a position of the log and are due until an instant, in the order of the log, at
/// most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_set(
    snapshot: &mut Snapshot,
    after: MomentPosition,
    until: Instant,
    limit: i64,
) -> Result<Vec<(MomentPosition, String)>, StoreError> {
    let sql = select!(
        MomentRow,
        "JOIN current_versions v ON v.key = m.version_key AND v.idx = m.idx AND v.ordinal = m.ordinal \
         WHERE m.due <= $1 AND (m.idx, m.ordinal) > ($2, $3) ORDER BY m.idx, m.ordinal LIMIT $4"
    );
    let arguments = vec![until.micros().into(), after.index.into(), after.ordinal.into(), limit.into()];
    read_positions(snapshot, sql, arguments).await
}

async fn read_positions(
    snapshot: &mut Snapshot,
    sql: &'static str,
    arguments: Vec<Value>,
) -> Result<Vec<(MomentPosition, String)>, StoreError> {
    let rows = snapshot.fetch(sql, arguments).await?;
    rows.iter().map(|row| Ok((MomentPosition::read(row)?, row.get("subject")?))).collect()
}

impl MomentPosition {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { due: row.get("due")?, index: row.get("idx")?, ordinal: row.get("ordinal")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Date;

    #[test]
    fn nothing_follows_the_last_day_of_the_calendar() {
        let end = Date::MAX.end_of_day();
        let (_, moment) = MomentRow::first("placement/1".to_owned(), Some(end));
        for later in [0, 1, 86_400_000_000] {
            let at = Instant::from_micros(end.micros() + later).unwrap();
            let next = Date::in_london(at).end_of_day();
            assert!(next <= at, "the calendar clamps");
            assert_eq!(moment.evaluated_at(at, Some(next)).1.due, None);
        }
        let before = Instant::from_micros(end.micros() - 1).unwrap();
        let (guard, next) = moment.evaluated_at(before, Some(end));
        assert_eq!(
            (next.due, next.version, guard.version),
            (Some(end), Revision::FIRST.next(), Revision::FIRST)
        );
    }
}
