//! Totals of attendance over weeks, and the illness of a school year, for the facts about attendance.

use std::collections::HashMap;

use uuid::Uuid;

use super::attendance_facts::{
    AttendedPlacement, LoadedAttendance, Needed, Session, WeeklyTotals, school_year_start,
};
use crate::calendar::{Date, Period};
use crate::codes::rates::AttendanceRates;
use crate::exchange::RequestContext;
use crate::returns::SessionSlot;
use crate::returns::mark_facts;
use crate::store::StoreError;

/// Returns the first of the last sessions before a day, and their totals; `None` if there are fewer.
fn last_before(sessions: &[Session], day: Date, count: usize) -> Option<(Session, AttendanceRates)> {
    let before = sessions.iter().rev().filter(|session| session.date < day).take(count);
    let (mut first, mut totals) = (None, AttendanceRates::default());
    for session in before {
        first = Some(*session);
        let attended = u64::from(session.meaning.is_attended());
        totals.merge(AttendanceRates { possible: 1, attended, absent: 1 - attended });
    }
    first.filter(|_| count > 0 && totals.possible == count as u64).map(|first| (first, totals))
}

/// Adds the totals as of the last Friday.
pub(super) async fn add_weekly_totals(
    cx: &mut RequestContext,
    placements: &[AttendedPlacement<'_>],
    needed: &Needed,
    loaded: &mut HashMap<Uuid, LoadedAttendance>,
) -> Result<(), StoreError> {
    let Some(count) = needed.last_sessions else { return Ok(()) };
    let (mut keys, mut last) = (Vec::new(), HashMap::new());
    for attended in placements {
        let id = attended.placement.id;
        let found =
            loaded.get(&id).and_then(|loaded| last_before(&loaded.facts.sessions, needed.friday, count));
        // Without an absence there is no drop, whatever was before.
        let Some((first, totals)) = found.filter(|(_, totals)| totals.absent > 0) else { continue };
        let start = attended.placement.start_date.unwrap_or(first.date);
        let first_day = first.date.plus_days(-7 * needed.weeks_before).max(start);
        last.insert(id, (first_day, totals));
        let weeks_before = Period::new(first_day, first.date);
        for day in weeks_before.into_iter().flat_map(Period::days).filter(|day| attended.is_day(*day)) {
            let slots = mark_facts::possible_slots(&attended.arrangement, day);
            let before = slots.filter(|slot| (day, *slot) < (first.date, first.slot));
            keys.extend(before.map(|slot| mark_facts::session_key(attended.placement, day, slot)));
        }
    }
    let before = mark_facts::count_attendance(&mut cx.snapshot, &keys).await?;
    for (id, (first, last)) in last {
        let before = before.get(&id).copied().unwrap_or_default();
        if let Some(of_placement) = loaded.get_mut(&id) {
            of_placement.facts.weekly = Some(WeeklyTotals { friday: needed.friday, first, last, before });
        }
    }
    Ok(())
}

/// Adds the illness of the school year, for placements in which it may be enough for an alert.
pub(super) async fn add_illness(
    cx: &mut RequestContext,
    placements: &[AttendedPlacement<'_>],
    needed: &Needed,
    loaded: &mut HashMap<Uuid, LoadedAttendance>,
) -> Result<(), StoreError> {
    let Some(sessions) = needed.ill_sessions else { return Ok(()) };
    let (ids, from): (Vec<Uuid>, _) =
        (placements.iter().map(|attended| attended.placement.id).collect(), school_year_start(needed.day));
    let once_ill = mark_facts::list_once_ill(&mut cx.snapshot, &ids, from).await?;
    let mut by_placement: HashMap<Uuid, Vec<(Date, SessionSlot)>> = HashMap::new();
    for (placement, date, slot) in once_ill {
        by_placement.entry(placement).or_default().push((date, slot));
    }
    for attended in placements {
        let id = attended.placement.id;
        let Some(once_ill) = by_placement.get(&id).filter(|once_ill| once_ill.len() >= sessions) else {
            continue;
        };
        let ill = mark_facts::list_ill(&mut cx.snapshot, attended.placement, once_ill).await?;
        let days = ill.into_iter().map(|(date, _)| date).filter(|date| attended.is_day(*date));
        if let Some(of_placement) = loaded.get_mut(&id) {
            of_placement.facts.illness = days.collect();
        }
    }
    Ok(())
}
