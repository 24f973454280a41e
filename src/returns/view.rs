//! Redaction of marks and statements for a reader: converts a stored mark to the message that the reader gets, without
//! restricted codes and texts, and with the code that is suggested to the home school.

use super::arrangement::apply_reason_deadline;
use super::flags::MarkFlags;
use super::rows::MarkRow;
use super::rules::{MarkStatement, SessionSlot, is_restricted};
use crate::calendar::{Date, SchoolCalendar};
use crate::clock::Instant;
use crate::codes::organisation::OrganisationId;
use crate::exchange::{CallerRole, Refusal};
use crate::placements::Placement;
use crate::proto::v1::{Session, StoredMark};
use crate::seal::ChildKey;

/// A reader's rights to see restricted codes, and the day for which suggestions are shown.
pub struct ReaderView<'a> {
    reader: &'a OrganisationId,
    /// Whether the reader is commissioner or home school, and so sees restricted codes.
    sees_restricted: bool,
    /// The day as of which suggestions are shown; None shows them as they were on receipt.
    today: Option<(&'a SchoolCalendar, Date)>,
}

impl<'a> ReaderView<'a> {
    /// Creates the view for a delivery. The content is as of the commit of the sender's exchange, so that its digest
    /// never changes. The reader's rights are those of the content's day.
    pub fn for_delivery(placement: &Placement, reader: &'a OrganisationId, day: Date) -> Self {
        let part = placement.reading_role_on(reader, day);
        let on_roll = placement.is_on_roll(reader, day) && *reader != placement.provider;
        Self { reader, sees_restricted: part == CallerRole::Commissioner || on_roll, today: None }
    }

    /// Creates the view for a read on `today` of content of `day`.
    pub fn today(
        placement: &Placement,
        reader: &'a OrganisationId,
        day: Date,
        calendar: &'a SchoolCalendar,
        today: Date,
    ) -> Self {
        Self { today: Some((calendar, today)), ..Self::for_delivery(placement, reader, day) }
    }

    /// Returns whether the reader may see this code of this sender. Commissioner, home school and the sender see every
    /// code; others see the codes that are not restricted.
    pub fn may_see_code(&self, code: &str, sender: &OrganisationId) -> bool {
        self.sees_restricted || self.reader == sender || !is_restricted(code)
    }

    /// Returns whether the reader may see why the sender amended its register. The reason may reveal the earlier code.
    pub fn may_see_reason(&self, sender: &OrganisationId) -> bool {
        self.sees_restricted || self.reader == sender
    }

    /// Converts a revision of a mark to the message for the reader.
    pub fn to_stored_mark(&self, key: &ChildKey, mark: &MarkRow) -> Result<StoredMark, Refusal> {
        let (code, seen) = match mark.statement()? {
            MarkStatement::Code(code) => (code, 0),
            MarkStatement::Seen(seen) => (String::new(), seen),
            MarkStatement::Withdrawn => (String::new(), 0),
        };
        let (session, start_time) = session_to_proto(mark.slot);
        let suggested = mark.suggested.map(|code| match self.today {
            Some((calendar, today)) => apply_reason_deadline(code, mark.date, calendar, today),
            None => code,
        });
        let mut stored = StoredMark {
            placement_id: mark.placement.hyphenated().to_string(),
            date: mark.date.to_string(),
            session: session as i32,
            start_time,
            end_time: mark.end_time.map(|end| end.to_string()).unwrap_or_default(),
            seen,
            minutes_late: mark.minutes_late,
            minutes_planned: mark.minutes_planned,
            minutes_attended: mark.minutes_attended,
            revision: mark.revision.to_u32(),
            received_time: Instant::from_micros(mark.received).ok().map(Instant::to_proto),
            return_id: mark.return_id.hyphenated().to_string(),
            submitted_by: mark.sender.as_str().to_owned(),
            suggested_code: suggested.map(|code| code.as_str().to_owned()).unwrap_or_default(),
            flags: mark.flags.names(mark.is_withdrawn()),
            ..mark.note(key)?
        };
        if self.may_see_code(&code, &mark.sender) {
            stored.code = code;
        } else {
            stored.not_possible = true;
            stored.suggested_code.clear();
            (stored.minutes_late, stored.minutes_planned, stored.minutes_attended) = (None, None, None);
        }
        self.redact_texts(mark, &mut stored);
        Ok(stored)
    }

    /// Removes the texts of a revision that is restricted or follows a restricted one: they may reveal its code.
    /// The revision's own flags decide, because a delivery shows only some of the earlier revisions.
    fn redact_texts(&self, mark: &MarkRow, stored: &mut StoredMark) {
        if self.sees_restricted || *self.reader == mark.sender {
            return;
        }
        if mark.flags.intersects(MarkFlags::AFTER_RESTRICTED | MarkFlags::REASON_RESTRICTED) {
            stored.correction_reason.clear();
        }
        if mark.is_after_restricted() {
            stored.comment.clear();
            stored.site.clear();
        }
    }
}

/// Returns the protobuf session of a slot, and the start time of a timed session (else an empty string).
pub fn session_to_proto(slot: SessionSlot) -> (Session, String) {
    match slot.start() {
        Some(start) => (Session::Timed, start.to_string()),
        None if slot == SessionSlot::AM => (Session::Am, String::new()),
        None => (Session::Pm, String::new()),
    }
}
