//! A stored mark as a reader gets it: with what is suggested to the home school, and without what is not for
//! this reader.

use super::arrangement::resolved;
use super::rows::{AFTER_RESTRICTED, AGREEMENT_LAPSED, LATE, MarkRow, REASON_RESTRICTED, RESTORED};
use super::rules::{Slot, Statement, is_restricted};
use crate::calendar::{Date, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{Part, Refusal};
use crate::placements::Placement;
use crate::proto::v1::{Session, StoredMark};
use crate::seal::ChildKey;

/// Who reads, and when.
pub struct View<'a> {
    reader: &'a OrganisationId,
    closest: bool,
    /// Suggestions as they stand on this day; as they were on receipt where there is none.
    today: Option<(&'a SchoolCalendar, Date)>,
}

impl<'a> View<'a> {
    /// A delivery to a recipient. It is what it was when the sender's exchange was committed, so that its
    /// digest never moves. The reader's part is that of the day to which the content belongs.
    pub fn delivered(placement: &Placement, reader: &'a OrganisationId, day: Date) -> Self {
        let part = placement.reader_on(reader, day);
        let on_roll = placement.is_on_roll(reader, day) && *reader != placement.provider;
        Self { reader, closest: part == Part::Commissioner || on_roll, today: None }
    }

    /// An answer to a reader, today, about a day.
    pub fn today(
        placement: &Placement,
        reader: &'a OrganisationId,
        day: Date,
        calendar: &'a SchoolCalendar,
        today: Date,
    ) -> Self {
        Self { today: Some((calendar, today)), ..Self::delivered(placement, reader, day) }
    }

    /// Reports whether the reader gets this code of this sender: commissioner and home school get every code,
    /// others all that are not restricted.
    pub fn may_have(&self, code: &str, sender: &OrganisationId) -> bool {
        self.closest || self.reader == sender || !is_restricted(code)
    }

    /// Whether the reader may have why a register was amended: that may tell what it held before.
    pub fn may_have_reason(&self, sender: &OrganisationId) -> bool {
        self.closest || self.reader == sender
    }

    /// A revision of a mark.
    pub fn mark(&self, key: &ChildKey, mark: &MarkRow) -> Result<StoredMark, Refusal> {
        let (code, seen) = match &mark.statement {
            Statement::Code(code) => (code.clone(), 0),
            Statement::Seen(seen) => (String::new(), *seen),
            Statement::Withdrawn => (String::new(), 0),
        };
        let (session, start_time) = session(mark.slot);
        let again = if mark.statement == Statement::Withdrawn { "WITHDRAWN" } else { "RESTORED" };
        let bits = [(LATE, "LATE"), (AGREEMENT_LAPSED, "AGREEMENT_LAPSED"), (RESTORED, again)];
        let flags = bits.iter().filter(|(bit, _)| mark.flags & bit != 0).map(|(_, flag)| (*flag).to_owned());
        let suggested = mark.suggested.map(|code| match self.today {
            Some((calendar, today)) => resolved(code, mark.date, calendar, today),
            None => code,
        });
        let mut stored = StoredMark {
            placement_id: mark.placement.hyphenated().to_string(),
            date: mark.date.to_string(),
            session: session as i32,
            start_time,
            end_time: mark.end.map(|end| end.to_string()).unwrap_or_default(),
            seen,
            minutes_late: mark.minutes_late,
            minutes_planned: mark.minutes_planned,
            minutes_attended: mark.minutes_attended,
            revision: u32::try_from(mark.revision).unwrap_or(u32::MAX),
            received_time: Instant::from_micros(mark.received).ok().map(Instant::to_proto),
            return_id: mark.return_id.hyphenated().to_string(),
            submitted_by: mark.sender.as_str().to_owned(),
            suggested_code: suggested.map(|code| code.as_str().to_owned()).unwrap_or_default(),
            flags: flags.collect(),
            ..mark.note(key)?
        };
        if self.may_have(&code, &mark.sender) {
            stored.code = code;
        } else {
            stored.not_possible = true;
            stored.suggested_code.clear();
            (stored.minutes_late, stored.minutes_planned, stored.minutes_attended) = (None, None, None);
        }
        self.cut_texts(mark, &mut stored);
        Ok(stored)
    }

    /// Removes the texts of a revision that is restricted or follows one that is: they may say what that one was.
    /// Decided from the revision's own flags, because a delivery shows only some of the earlier revisions.
    fn cut_texts(&self, mark: &MarkRow, stored: &mut StoredMark) {
        if self.closest || *self.reader == mark.sender {
            return;
        }
        if mark.flags & (AFTER_RESTRICTED | REASON_RESTRICTED) != 0 {
            stored.correction_reason.clear();
        }
        if mark.is_after_restricted() {
            stored.comment.clear();
            stored.site.clear();
        }
    }
}

/// A session as it is sent, with its start where it is a timed one.
pub fn session(slot: Slot) -> (Session, String) {
    match slot.start() {
        Some(start) => (Session::Timed, start.to_string()),
        None if slot == Slot::AM => (Session::Am, String::new()),
        None => (Session::Pm, String::new()),
    }
}
