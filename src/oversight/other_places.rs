//! Where else a child was present: at the providers of its other placements. A child is one by the commissioner's own index
//! of UPNs, so the placements of different commissioners are never compared.
//!
//! The facts of the placement that started later name the other, so that each conflict has one alert. The
//! marks set no moment for it: a moment in the entry of a provider would tell it that the child has another placement. A
//! placement with another one is evaluated whenever a day ends instead.

use std::collections::HashMap;

use uuid::Uuid;

use super::attendance_facts::{AttendedPlacement, LoadedAttendance, Session};
use crate::calendar::Date;
use crate::exchange::{Refusal, RequestContext};
use crate::placements::{self, plan};
use crate::returns::Arrangement;
use crate::returns::mark_facts;
use crate::returns::mark_meaning::MarkMeaning;
use crate::store::{Row, StoreError, ValueSet};

/// Another placement of a child.
struct OtherPlacement {
    id: Uuid,
    child: Uuid,
    commissioner: String,
    provider: String,
    start: Option<Date>,
    end: Option<Date>,
}

/// Adds to the facts of placements where else their children were present on some days.
pub(super) async fn add(
    cx: &mut RequestContext,
    placements: &[AttendedPlacement<'_>],
    days: &HashMap<Uuid, Vec<Date>>,
    loaded: &mut HashMap<Uuid, LoadedAttendance>,
) -> Result<(), Refusal> {
    let children: Vec<Uuid> = placements.iter().map(|attended| attended.placement.child).collect();
    let sql = "SELECT p.id, p.child, p.commissioner, p.provider, p.start_date, p.end_date FROM placements p \
               JOIN current_versions v ON v.key = p.version_key AND v.idx = p.idx AND v.ordinal = p.ordinal \
               WHERE p.child IN SET";
    let rows = cx.snapshot.fetch_in_set(sql, Vec::new(), ValueSet::of_ids(&children)).await?;
    let mut by_child: HashMap<Uuid, Vec<OtherPlacement>> = HashMap::new();
    for row in &rows {
        let other = OtherPlacement::read(row)?;
        by_child.entry(other.child).or_default().push(other);
    }
    for attended in placements {
        let days = days.get(&attended.placement.id).map(Vec::as_slice).unwrap_or_default();
        let others = by_child.get(&attended.placement.child).into_iter().flatten();
        for other in others.filter(|other| other.is_before(attended, days)) {
            let elsewhere = list_present(cx, other, days).await?;
            if let Some(of_placement) = loaded.get_mut(&attended.placement.id) {
                of_placement.facts.has_other_place = true;
                of_placement.facts.elsewhere.extend(elsewhere);
                of_placement.facts.elsewhere.sort_unstable_by_key(|session| (session.date, session.slot));
            }
        }
    }
    Ok(())
}

impl OtherPlacement {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            child: row.get("child")?,
            commissioner: row.get_str("commissioner")?.to_owned(),
            provider: row.get_str("provider")?.to_owned(),
            start: row.get("start_date")?,
            end: row.get("end_date")?,
        })
    }

    /// Returns whether it is a placement of the same commissioner with another provider, which started before, and has one
    /// of the days.
    fn is_before(&self, attended: &AttendedPlacement<'_>, days: &[Date]) -> bool {
        let own = attended.placement;
        let is_other = self.id != own.id && self.provider != own.provider.as_str();
        let started_before =
            self.start.is_some_and(|start| Some((start, self.id)) < own.start_date.map(|it| (it, own.id)));
        is_other
            && self.commissioner == own.commissioner.as_str()
            && started_before
            && days.iter().any(|day| self.has(*day))
    }

    fn has(&self, day: Date) -> bool {
        self.start.is_some_and(|start| start <= day) && self.end.is_none_or(|end| day <= end)
    }
}

/// Lists the sessions of some days in which the child was present at another placement.
async fn list_present(
    cx: &mut RequestContext,
    other: &OtherPlacement,
    days: &[Date],
) -> Result<Vec<Session>, Refusal> {
    let Some(placement) = placements::by_id(&mut cx.snapshot, other.id).await? else { return Ok(Vec::new()) };
    let plan = plan::load_newest(cx, &placement).await?;
    let arrangement = Arrangement::new(&placement, plan.as_ref().map(|(_, plan)| plan));
    let mut keys = Vec::new();
    for day in days.iter().filter(|day| other.has(**day)) {
        let slots = mark_facts::possible_slots(&arrangement, *day);
        keys.extend(slots.map(|slot| mark_facts::session_key(&placement, *day, slot)));
    }
    let marked = mark_facts::list_marked(&mut cx.snapshot, &keys).await?;
    let present = marked.iter().filter(|marked| marked.meaning == MarkMeaning::Present);
    Ok(present.map(Session::of_mark).collect())
}
