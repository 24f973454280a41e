//! Marks as facts for the rules of oversight, read for several placements with a few queries: the sessions of some days,
//! totals over some weeks, the illness of a year, and the statements that explain an absence.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::arrangement::Arrangement;
use super::mark_meaning::MarkMeaning;
use super::register_statements::{self, StatementKind};
use super::rows::mark_key;
use super::rules::{MarkStatement, SessionSlot};
use crate::calendar::{Date, TimeOfDay};
use crate::codes::attendance::AttendanceCode;
use crate::codes::organisation::OrganisationId;
use crate::codes::rates::AttendanceRates;
use crate::placements::Placement;
use crate::store::version_key::VersionKey;
use crate::store::{Revision, Row, Snapshot, StoreError, ValueSet};

/// Maximum number of keys in a query that counts.
const MAX_KEYS_PER_QUERY: usize = 16_000;

/// A session with its current mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedSession {
    /// The placement.
    pub placement: Uuid,
    /// Day.
    pub date: Date,
    /// Session.
    pub slot: SessionSlot,
    /// What the mark says.
    pub meaning: MarkMeaning,
    /// End of a timed session, if the mark has one.
    pub end: Option<TimeOfDay>,
    /// Revision of the mark.
    pub revision: Revision,
    /// The return that sent it.
    pub return_id: Uuid,
}

/// A session of a placement.
pub type SessionOf = (Uuid, Date, SessionSlot);

/// Returns the sessions that a placement can have on a day: morning, afternoon, and the timed sessions of its timetable.
pub fn possible_slots(arrangement: &Arrangement, date: Date) -> impl Iterator<Item = SessionSlot> + '_ {
    let weekday = date.days_since_monday();
    let of_day = arrangement.sessions.iter().filter(move |planned| planned.weekday == weekday);
    let timed = of_day.map(|planned| planned.slot).filter(|slot| slot.start().is_some());
    [SessionSlot::AM, SessionSlot::PM].into_iter().chain(timed)
}

/// Returns the key of a session's mark.
#[must_use]
pub fn session_key(placement: &Placement, date: Date, slot: SessionSlot) -> VersionKey {
    mark_key(date, &placement.provider, placement.id, slot)
}

/// Lists the current marks under these keys, also those that were withdrawn, in no order.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_marked(
    snapshot: &mut Snapshot,
    keys: &[VersionKey],
) -> Result<Vec<MarkedSession>, StoreError> {
    let sql = "SELECT m.placement, m.date, m.slot, m.code, m.seen, m.end_time, m.revision, m.return_id \
               FROM current_versions v JOIN marks m ON m.idx = v.idx AND m.ordinal = v.ordinal WHERE v.key";
    let rows = snapshot.fetch_by_keys(sql, keys).await?;
    rows.iter().map(read_session).collect()
}

fn read_session(row: &Row) -> Result<MarkedSession, StoreError> {
    let statement = MarkStatement::from_columns(row.get("code")?, row.get("seen")?);
    let date = row.get("date")?;
    let statement = statement.ok_or_else(|| StoreError::corrupt("marks", "code"))?;
    Ok(MarkedSession {
        placement: row.get("placement")?,
        date,
        slot: row.get("slot")?,
        meaning: MarkMeaning::from_statement(&statement, date),
        end: row.get("end_time")?,
        revision: row.get("revision")?,
        return_id: row.get("return_id")?,
    })
}

/// Counts the possible sessions and those attended, by placement, among the current marks under these keys. It is counted
/// in the database, because several weeks of many placements are a hundred times the rows that a rule needs.
///
/// # Errors
/// See [`StoreError`].
pub async fn count_attendance(
    snapshot: &mut Snapshot,
    keys: &[VersionKey],
) -> Result<HashMap<Uuid, AttendanceRates>, StoreError> {
    let mut counts: HashMap<Uuid, AttendanceRates> = HashMap::new();
    for keys in keys.chunks(MAX_KEYS_PER_QUERY) {
        let keys = ValueSet::Blobs(keys.iter().map(|key| key.as_bytes().to_vec()).collect());
        for row in &snapshot.fetch_in_set(COUNT_BY_PLACEMENT, Vec::new(), keys).await? {
            let count = |name| Ok::<_, StoreError>(row.get::<i64>(name)?.unsigned_abs());
            let (attended, absent) = (count("attended")?, count("absent")?);
            let counted = AttendanceRates { possible: attended + absent, attended, absent };
            counts.entry(row.get("placement")?).or_default().merge(counted);
        }
    }
    Ok(counts)
}

/// The codes are those of the classes in `codes/attendance.rs`, which a test compares; `seen` is `SeenMark`.
const COUNT_BY_PLACEMENT: &str = "SELECT m.placement, \
    COUNT(CASE WHEN m.code IN ('/','\\','L','K','V','P','W','B','J') OR m.seen IN (1,2) THEN 1 END) AS attended, \
    COUNT(CASE WHEN m.code IN ('C','C1','C2','M','J1','S','T','R','I','E','G','N','O','U','F','H') \
    OR m.seen = 3 THEN 1 END) AS absent \
    FROM current_versions v JOIN marks m ON m.idx = v.idx AND m.ordinal = v.ordinal \
    WHERE v.key IN SET GROUP BY m.placement";

/// Lists the sessions from a day on that have, or had, code I in a mark, or in the register of commissioner or school. The
/// current one may differ: [`list_ill`] finds out.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_once_ill(
    snapshot: &mut Snapshot,
    placements: &[Uuid],
    from: Date,
) -> Result<BTreeSet<SessionOf>, StoreError> {
    // The conditions are those of the partial indexes: the marks of other codes are not read.
    let mut sessions = BTreeSet::new();
    for sql in [
        "SELECT placement, date, slot FROM marks WHERE date >= $1 AND code = 'I' AND placement IN SET",
        "SELECT placement, date, slot FROM statements \
         WHERE date >= $1 AND code = 'I' AND kind = 1 AND placement IN SET",
    ] {
        let arguments = vec![from.to_string().into()];
        for row in &snapshot.fetch_in_set(sql, arguments, ValueSet::of_ids(placements)).await? {
            sessions.insert((row.get("placement")?, row.get("date")?, row.get("slot")?));
        }
    }
    Ok(sessions)
}

/// Lists those of a placement's sessions that count as illness: by the current mark, or by the register of the
/// commissioner or a school on roll.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_ill(
    snapshot: &mut Snapshot,
    placement: &Placement,
    sessions: &[(Date, SessionSlot)],
) -> Result<BTreeSet<(Date, SessionSlot)>, StoreError> {
    let keys: Vec<_> = sessions.iter().map(|(date, slot)| session_key(placement, *date, *slot)).collect();
    let marked = list_marked(snapshot, &keys).await?;
    let is_ill = |marked: &&MarkedSession| marked.meaning == MarkMeaning::Illness;
    let mut ill: BTreeSet<_> =
        marked.iter().filter(is_ill).map(|marked| (marked.date, marked.slot)).collect();
    let statements = list_stated(snapshot, &[StatementKind::Confirmed], placement, sessions).await?;
    let statements = statements.into_iter().filter(|(.., meaning)| *meaning == MarkMeaning::Illness);
    ill.extend(statements.map(|(date, slot, _)| (date, slot)));
    Ok(ill)
}

/// Lists those of a placement's sessions for which commissioner or school on roll state that the child attended, had a good
/// reason or was not to come: in their register, or in a notice of expected absence.
///
/// # Errors
/// See [`StoreError`].
pub async fn list_explained(
    snapshot: &mut Snapshot,
    placement: &Placement,
    sessions: &[(Date, SessionSlot)],
) -> Result<BTreeSet<(Date, SessionSlot)>, StoreError> {
    let kinds = [StatementKind::Confirmed, StatementKind::NotExpected];
    let statements = list_stated(snapshot, &kinds, placement, sessions).await?;
    let explains = |meaning| meaning != MarkMeaning::Unexplained;
    Ok(statements
        .into_iter()
        .filter(|(.., meaning)| explains(*meaning))
        .map(|(date, slot, _)| (date, slot))
        .collect())
}

/// Lists what commissioner and schools on roll state about sessions now.
async fn list_stated(
    snapshot: &mut Snapshot,
    kinds: &[StatementKind],
    placement: &Placement,
    sessions: &[(Date, SessionSlot)],
) -> Result<Vec<(Date, SessionSlot, MarkMeaning)>, StoreError> {
    let by: Vec<&OrganisationId> = [&placement.commissioner].into_iter().chain(&placement.schools).collect();
    let mut keys = Vec::with_capacity(kinds.len() * sessions.len() * by.len());
    for (date, slot) in sessions {
        for kind in kinds {
            let key = |by: &&OrganisationId| {
                register_statements::statement_key(*kind, placement.id, *date, *slot, by)
            };
            keys.extend(by.iter().map(key));
        }
    }
    let statements = register_statements::list_current(snapshot, &keys).await?;
    let read = |row: register_statements::StatementRow| {
        let code = AttendanceCode::parse_on(&row.code?, row.date).ok()?;
        Some((row.date, row.slot, MarkMeaning::of_code(code)))
    };
    Ok(statements.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counted_codes_are_those_of_the_classes() {
        let lists: Vec<Vec<&'static str>> = COUNT_BY_PLACEMENT
            .split("m.code IN (")
            .skip(1)
            .map(|rest| {
                rest.split(')').next().unwrap().split(',').map(|code| code.trim_matches('\'')).collect()
            })
            .collect();
        let [attended, absent] = &lists[..] else { panic!("two lists") };
        let codes = |is_in: fn(AttendanceCode) -> bool| {
            let mut codes: Vec<_> = AttendanceCode::ALL
                .into_iter()
                .filter(|code| is_in(*code))
                .map(AttendanceCode::as_str)
                .collect();
            codes.sort_unstable();
            codes
        };
        let sorted = |list: &Vec<&'static str>| {
            let mut sorted = list.clone();
            sorted.sort_unstable();
            sorted
        };
        assert_eq!(sorted(attended), codes(|code| code.class().is_attended()));
        assert_eq!(sorted(absent), codes(|code| code.class().is_absent()));
    }
}
