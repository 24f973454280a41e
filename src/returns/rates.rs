//! What a placement's marks come to, as the Department for Education counts: in whole numbers, and nothing
//! where no session was possible.

use super::rows::MarkRow;
use super::rules::Statement;
use crate::calendar::Date;
use crate::codes::attendance::{AttendanceClass, AttendanceCode};
use crate::codes::rates::Rates;
use crate::proto::v1::{AttendanceSummary, SeenMark};

/// Counts what the provider stated. What it saw counts as the code that its words stand for.
#[derive(Default)]
pub struct Count {
    rates: Rates,
    authorised: u32,
    part_time: u32,
}

impl Count {
    /// Counts the marks of a day.
    pub fn add(&mut self, marks: &[MarkRow]) {
        for (class, code) in marks.iter().filter_map(|mark| class(&mark.statement, mark.date)) {
            self.rates.add(class);
            self.authorised += u32::from(class == AttendanceClass::AuthorisedAbsence);
            self.part_time += u32::from(code == Some(AttendanceCode::PartTimeTimetable));
        }
    }

    /// What they come to.
    pub fn summary(&self) -> AttendanceSummary {
        let count = |sessions: u64| u32::try_from(sessions).unwrap_or(u32::MAX);
        let rates = self.rates;
        let beside = Rates { absent: rates.absent.saturating_sub(u64::from(self.part_time)), ..rates };
        AttendanceSummary {
            possible: count(rates.possible),
            attended: count(rates.attended),
            authorised: self.authorised,
            unauthorised: count(rates.absent).saturating_sub(self.authorised),
            part_time: self.part_time,
            attendance: rates.attendance().map(count),
            absence: rates.absence().map(count),
            persistently_absent: rates.persistently_absent(),
            severely_absent: rates.severely_absent(),
            persistently_absent_beside_part_time: beside.persistently_absent(),
        }
    }
}

/// How a mark counts; one that was withdrawn does not.
fn class(statement: &Statement, date: Date) -> Option<(AttendanceClass, Option<AttendanceCode>)> {
    match statement {
        Statement::Code(code) => {
            let code = AttendanceCode::on(code, date).ok()?;
            Some((code.class(), Some(code)))
        }
        Statement::Seen(seen) => match SeenMark::try_from(*seen).ok()? {
            SeenMark::Present | SeenMark::Late => Some((AttendanceClass::Present, None)),
            SeenMark::Absent => Some((AttendanceClass::UnauthorisedAbsence, None)),
            SeenMark::NotExpected => Some((AttendanceClass::NotPossible, None)),
            SeenMark::Unspecified => None,
        },
        Statement::Withdrawn => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_as_its_words_say() {
        let day = Date::parse("2026-11-20").unwrap();
        let seen = |seen: SeenMark| class(&Statement::Seen(seen as i32), day).map(|(class, _)| class);
        assert_eq!(seen(SeenMark::Present), Some(AttendanceClass::Present));
        assert_eq!(seen(SeenMark::Late), Some(AttendanceClass::Present));
        assert_eq!(seen(SeenMark::Absent), Some(AttendanceClass::UnauthorisedAbsence));
        assert_eq!(seen(SeenMark::NotExpected), Some(AttendanceClass::NotPossible));
        assert_eq!(class(&Statement::Withdrawn, day), None);
        // A code of before 2024 counts as it did on its day.
        let legacy = class(&Statement::Code("J".to_owned()), Date::parse("2024-06-03").unwrap());
        assert_eq!(legacy.map(|(class, _)| class), Some(AttendanceClass::ApprovedEducationalActivity));
    }
}
