//! Attendance totals and rates of a placement's marks, by the rules of the Department for Education. Rates are in
//! hundredths of a percent; there is no rate if no session was possible.

use super::rows::MarkRow;
use super::rules::MarkStatement;
use crate::calendar::Date;
use crate::codes::attendance::{AttendanceClass, AttendanceCode};
use crate::codes::rates::AttendanceRates;
use crate::proto::v1::{AttendanceSummary, SeenMark};
use crate::store::StoreError;

/// A counter of marks by attendance class. A plain observation (`SeenMark`) counts as the corresponding code.
#[derive(Default)]
pub struct AttendanceCount {
    rates: AttendanceRates,
    authorised: u32,
    part_time: u32,
}

impl AttendanceCount {
    /// Adds marks.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a mark without a valid statement.
    pub fn add(&mut self, marks: &[MarkRow]) -> Result<(), StoreError> {
        for mark in marks {
            let Some((class, code)) = classify(&mark.statement()?, mark.date) else { continue };
            self.rates.add(class);
            self.authorised += u32::from(class == AttendanceClass::AuthorisedAbsence);
            self.part_time += u32::from(code == Some(AttendanceCode::PartTimeTimetable));
        }
        Ok(())
    }

    /// Returns totals and rates.
    pub fn summary(&self) -> AttendanceSummary {
        let count = |sessions: u64| u32::try_from(sessions).unwrap_or(u32::MAX);
        let rates = self.rates;
        let beside =
            AttendanceRates { absent: rates.absent.saturating_sub(u64::from(self.part_time)), ..rates };
        AttendanceSummary {
            possible: count(rates.possible),
            attended: count(rates.attended),
            authorised: self.authorised,
            unauthorised: count(rates.absent).saturating_sub(self.authorised),
            part_time: self.part_time,
            attendance: rates.attendance_hundredths().map(count),
            absence: rates.absence_hundredths().map(count),
            persistently_absent: rates.is_persistently_absent(),
            severely_absent: rates.is_severely_absent(),
            persistently_absent_beside_part_time: beside.is_persistently_absent(),
        }
    }
}

/// Returns the class of a mark and its code, if it has one; None for a withdrawn mark, which does not count.
fn classify(statement: &MarkStatement, date: Date) -> Option<(AttendanceClass, Option<AttendanceCode>)> {
    match statement {
        MarkStatement::Code(code) => {
            let code = AttendanceCode::parse_on(code, date).ok()?;
            Some((code.class(), Some(code)))
        }
        MarkStatement::Seen(seen) => match SeenMark::try_from(*seen).ok()? {
            SeenMark::Present | SeenMark::Late => Some((AttendanceClass::Present, None)),
            SeenMark::Absent => Some((AttendanceClass::UnauthorisedAbsence, None)),
            SeenMark::NotExpected => Some((AttendanceClass::NotPossible, None)),
            SeenMark::Unspecified => None,
        },
        MarkStatement::Withdrawn => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_as_its_words_say() {
        let day = Date::parse("2026-11-20").unwrap();
        let seen = |seen: SeenMark| classify(&MarkStatement::Seen(seen as i32), day).map(|(class, _)| class);
        assert_eq!(seen(SeenMark::Present), Some(AttendanceClass::Present));
        assert_eq!(seen(SeenMark::Late), Some(AttendanceClass::Present));
        assert_eq!(seen(SeenMark::Absent), Some(AttendanceClass::UnauthorisedAbsence));
        assert_eq!(seen(SeenMark::NotExpected), Some(AttendanceClass::NotPossible));
        assert_eq!(classify(&MarkStatement::Withdrawn, day), None);
        // A code from before August 2024 counts by the rules of its day.
        let legacy = classify(&MarkStatement::Code("J".to_owned()), Date::parse("2024-06-03").unwrap());
        assert_eq!(legacy.map(|(class, _)| class), Some(AttendanceClass::ApprovedEducationalActivity));
    }
}
