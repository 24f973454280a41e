//! What a placement's marks come to, as the Department for Education counts: in whole numbers, and nothing
//! where no session was possible.

use super::rows::MarkRow;
use super::rules::Statement;
use crate::codes::attendance::{AttendanceClass, AttendanceCode};
use crate::codes::rates::Rates;
use crate::proto::v1::{AttendanceSummary, SeenMark};

/// Counts what the provider stated. What it saw counts as the code that its words stand for.
pub fn summary<'a>(marks: impl IntoIterator<Item = &'a MarkRow>) -> AttendanceSummary {
    let (mut rates, mut authorised, mut part_time) = (Rates::default(), 0, 0);
    for mark in marks {
        let Some((class, code)) = class(mark) else { continue };
        rates.add(class);
        authorised += u32::from(class == AttendanceClass::AuthorisedAbsence);
        part_time += u32::from(code == Some(AttendanceCode::PartTimeTimetable));
    }
    let count = |sessions: u64| u32::try_from(sessions).unwrap_or(u32::MAX);
    let beside = Rates { absent: rates.absent.saturating_sub(u64::from(part_time)), ..rates };
    AttendanceSummary {
        possible: count(rates.possible),
        attended: count(rates.attended),
        authorised,
        unauthorised: count(rates.absent) - authorised,
        part_time,
        attendance: rates.attendance().map(count),
        absence: rates.absence().map(count),
        persistently_absent: rates.persistently_absent(),
        severely_absent: rates.severely_absent(),
        persistently_absent_beside_part_time: beside.persistently_absent(),
    }
}

/// How a mark counts; one that was withdrawn does not.
fn class(mark: &MarkRow) -> Option<(AttendanceClass, Option<AttendanceCode>)> {
    match &mark.statement {
        Statement::Code(code) => {
            let code = AttendanceCode::on(code, mark.date).ok()?;
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
