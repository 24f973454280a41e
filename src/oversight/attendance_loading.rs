//! Reads what the rules about attendance need to know: the marks of the last school days, what explains an absence, totals of
//! weeks, illness, tuition and other places.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::attendance_facts::{
    AttendanceFacts, AttendedPlacement, LoadedAttendance, Needed, Session, days_of_absence,
};
use super::rule_book::RuleBook;
use super::{attendance_totals, other_places, tuition_facts};
use crate::calendar::Date;
use crate::exchange::{Refusal, RequestContext};
use crate::passports;
use crate::returns::SessionSlot;
use crate::returns::mark_facts::{self, MarkedSession};
use crate::returns::mark_meaning::MarkMeaning;
use crate::store::version_key::VersionKey;
use crate::store::{Revision, StoreError};

/// How many school days are read back, in steps: the next step is taken for placements that have too few sessions in the
/// days before. These bound what is read and are no thresholds.
const READ_BACK_SCHOOL_DAYS: [usize; 3] = [10, 25, 60];
/// The marks of a placement that were read: the days, and the mark of each session that has one.
#[derive(Default)]
struct ReadMarks {
    days: BTreeSet<Date>,
    marks: BTreeMap<(Date, SessionSlot), MarkedSession>,
}

/// Loads the facts of placements, of which each is active, on a day.
///
/// # Errors
/// [`Reason::Failed`](crate::exchange::Reason::Failed) when what is stored does not open.
pub(super) async fn load(
    cx: &mut RequestContext,
    book: &RuleBook,
    placements: &[AttendedPlacement<'_>],
    day: Date,
) -> Result<HashMap<Uuid, LoadedAttendance>, Refusal> {
    let needed = Needed::on(day, book);
    let read = read_back(cx, placements, &needed).await?;
    let mut loaded = HashMap::new();
    for attended in placements {
        let Some(read) = read.get(&attended.placement.id) else { continue };
        let facts = AttendanceFacts {
            sessions: read.expected_sessions(),
            part_time: attended.arrangement.part_time_period,
            is_tuition: attended.arrangement.is_tuition,
            ..AttendanceFacts::default()
        };
        loaded.insert(attended.placement.id, LoadedAttendance { facts, versions_read: Vec::new() });
    }
    for attended in placements {
        let id = attended.placement.id;
        let Some((of_placement, read)) = loaded.get_mut(&id).zip(read.get(&id)) else { continue };
        explain(cx, attended, &mut of_placement.facts.sessions, needed.third_day).await?;
        if of_placement.facts.newest_unexplained().is_some() {
            of_placement.versions_read = read.versions_since_absence(attended, &of_placement.facts, &needed);
            let child = (&attended.placement.commissioner, attended.placement.child);
            of_placement.facts.is_at_risk = passports::is_at_risk(cx, attended.key, child).await?;
        }
        if of_placement.facts.is_tuition {
            let missed = read.returns_of_absences();
            of_placement.facts.acted_on = tuition_facts::acted_on(cx, attended.placement, &missed).await?;
        }
    }
    attendance_totals::add_weekly_totals(cx, placements, &needed, &mut loaded).await?;
    attendance_totals::add_illness(cx, placements, &needed, &mut loaded).await?;
    let days = read.iter().map(|(id, read)| (*id, read.days.iter().copied().collect())).collect();
    other_places::add(cx, placements, &days, &mut loaded).await?;
    Ok(loaded)
}

/// Reads the marks of the last school days of each placement, in steps.
async fn read_back(
    cx: &mut RequestContext,
    placements: &[AttendedPlacement<'_>],
    needed: &Needed,
) -> Result<HashMap<Uuid, ReadMarks>, StoreError> {
    let mut read: HashMap<Uuid, ReadMarks> = HashMap::new();
    let mut until = 0;
    for step in READ_BACK_SCHOOL_DAYS {
        let mut keys = Vec::new();
        for attended in placements {
            let of_placement = read.entry(attended.placement.id).or_default();
            if until > 0 && of_placement.has_enough(needed) {
                continue;
            }
            for day in attended.days_back(needed.day).skip(until).take(step - until) {
                of_placement.days.insert(day);
                let slots = mark_facts::possible_slots(&attended.arrangement, day);
                keys.extend(slots.map(|slot| mark_facts::session_key(attended.placement, day, slot)));
            }
        }
        if keys.is_empty() {
            break;
        }
        for marked in mark_facts::list_marked(&mut cx.snapshot, &keys).await? {
            let of_placement = read.entry(marked.placement).or_default();
            of_placement.marks.insert((marked.date, marked.slot), marked);
        }
        until = step;
    }
    Ok(read)
}

impl ReadMarks {
    fn expected_sessions(&self) -> Vec<Session> {
        let expected = self.marks.values().filter(|marked| marked.meaning.is_possible());
        expected.map(Session::of_mark).collect()
    }

    /// Returns whether the sessions that were read suffice for the rules.
    fn has_enough(&self, needed: &Needed) -> bool {
        let before =
            self.marks.values().filter(|marked| marked.meaning.is_possible() && marked.date < needed.friday);
        before.count() >= needed.last_sessions.unwrap_or(0).max(READ_BACK_SCHOOL_DAYS[0])
    }

    /// Returns the versions of the sessions since the absence that the third day counts, of which each can end it: those
    /// without a mark too.
    fn versions_since_absence(
        &self,
        attended: &AttendedPlacement<'_>,
        facts: &AttendanceFacts,
        needed: &Needed,
    ) -> Vec<(VersionKey, Revision)> {
        let days = facts.days_of_absence();
        let from = days.iter().rev().take(needed.third_day).next_back().copied();
        let mut versions = Vec::new();
        for day in self.days.range(from.unwrap_or(needed.day)..) {
            for slot in mark_facts::possible_slots(&attended.arrangement, *day) {
                let revision =
                    self.marks.get(&(*day, slot)).map_or(Revision::ABSENT, |marked| marked.revision);
                versions.push((mark_facts::session_key(attended.placement, *day, slot), revision));
            }
        }
        versions
    }

    /// Returns the returns that sent the absences since the newest attended session.
    fn returns_of_absences(&self) -> Vec<Uuid> {
        let expected = self.marks.values().rev().filter(|marked| marked.meaning.is_possible());
        let mut returns: Vec<_> = expected
            .take_while(|marked| !marked.meaning.is_attended())
            .map(|marked| marked.return_id)
            .collect();
        returns.sort_unstable();
        returns.dedup();
        returns
    }
}

/// Applies what commissioner and schools state about the unexplained absences at the end of the sessions. Only as many days
/// are read as the third day counts: an absence before them ends nothing.
async fn explain(
    cx: &mut RequestContext,
    attended: &AttendedPlacement<'_>,
    sessions: &mut [Session],
    third_day: usize,
) -> Result<(), StoreError> {
    let days = days_of_absence(sessions);
    let from = days.iter().rev().take(third_day).next_back().copied();
    let is_absence = |session: &Session| session.meaning == MarkMeaning::Unexplained;
    let is_read = |session: &&Session| is_absence(session) && from.is_none_or(|from| session.date >= from);
    let absences: Vec<_> = sessions.iter().rev().take_while(is_read).map(|it| (it.date, it.slot)).collect();
    if absences.is_empty() {
        return Ok(());
    }
    let explained = mark_facts::list_explained(&mut cx.snapshot, attended.placement, &absences).await?;
    for session in sessions.iter_mut().filter(|session| explained.contains(&(session.date, session.slot))) {
        session.meaning = MarkMeaning::OtherAbsence;
    }
    Ok(())
}
