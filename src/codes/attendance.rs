//! Attendance and absence codes of the School Attendance (Pupil Registration) (England) Regulations 2024, reg. 10.
//!
//! It owns which code held on which date and how it counts. It must never turn one code into another: what the home
//! school might enter is only suggested (`suggestion.rs`).

mod table;

use std::fmt;

use crate::calendar::Date;
use AttendanceClass::{
    ApprovedEducationalActivity, AuthorisedAbsence, NotCollected, NotPossible, Present, UnauthorisedAbsence,
};
use table::REGULATIONS;

/// How the Department for Education counts a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttendanceClass {
    /// In school.
    Present,
    /// Counts as attending, elsewhere.
    ApprovedEducationalActivity,
    /// Absent with leave or good reason.
    AuthorisedAbsence,
    /// Absent without.
    UnauthorisedAbsence,
    /// Not a possible attendance: in no rate.
    NotPossible,
    /// Not collected: in no rate.
    NotCollected,
}

impl AttendanceClass {
    /// Whether the session is in the numerator of the attendance rate.
    #[must_use]
    pub fn is_attended(self) -> bool {
        matches!(self, Present | ApprovedEducationalActivity)
    }

    /// Whether the session is an absence.
    #[must_use]
    pub fn is_absent(self) -> bool {
        matches!(self, AuthorisedAbsence | UnauthorisedAbsence)
    }

    /// Whether the session is in the denominator of every rate.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self.is_attended() || self.is_absent()
    }

    /// The name used in tables and exports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Present => "present",
            ApprovedEducationalActivity => "approved_educational_activity",
            AuthorisedAbsence => "authorised_absence",
            UnauthorisedAbsence => "unauthorised_absence",
            NotPossible => "not_possible",
            NotCollected => "not_collected",
        }
    }
}

/// The half of a school day a register is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterSession {
    /// AM.
    Morning,
    /// PM.
    Afternoon,
}

/// Why a code was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// No such code on that date.
    #[error("not an attendance code on that date")]
    Unknown,
    /// Withdrawn before that date.
    #[error("the attendance code was withdrawn on 19 August 2024")]
    Retired,
    /// The code belongs to the other half of the day.
    #[error("the attendance code belongs to the other session")]
    SessionMismatch,
}

impl CodeError {
    /// The reason sent to a caller.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "CODE_UNKNOWN",
            Self::Retired => "CODE_RETIRED",
            Self::SessionMismatch => "CODE_SESSION_MISMATCH",
        }
    }
}

/// One code of the register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttendanceCode {
    /// `/`: present in the morning session.
    PresentMorning,
    /// `\`: present in the afternoon session.
    PresentAfternoon,
    /// `L`: late but arrived before the register closed.
    Late,
    /// `K`: attending education provision arranged by a local authority.
    LocalAuthorityProvision,
    /// `V`: educational visit or trip.
    EducationalVisit,
    /// `P`: approved sporting activity.
    SportingActivity,
    /// `W`: approved work experience.
    WorkExperience,
    /// `B`: any other approved educational activity off site.
    OffSiteActivity,
    /// `D`: dual registered, session scheduled at the other school.
    DualRegistered,
    /// `C`: leave of absence for exceptional circumstances.
    ExceptionalLeave,
    /// `C1`: leave for a regulated performance or employment abroad.
    PerformanceLeave,
    /// `C2`: leave under a temporary part-time timetable.
    PartTimeTimetable,
    /// `M`: leave for a medical or dental appointment.
    MedicalAppointment,
    /// `J1`: leave for an interview for a job or another institution.
    InterviewLeave,
    /// `S`: leave for study for a public examination.
    StudyLeave,
    /// `T`: parent travelling for occupational purposes.
    ParentTravelling,
    /// `R`: religious observance.
    ReligiousObservance,
    /// `I`: illness.
    Illness,
    /// `E`: suspended or permanently excluded with no alternative provision made.
    Excluded,
    /// `Q`: unable to attend because of a lack of access arrangements.
    NoAccessArrangements,
    /// `X`: non-compulsory school age pupil not required to attend.
    NotRequired,
    /// `Y1`: transport normally provided is not available.
    TransportUnavailable,
    /// `Y2`: widespread disruption to travel.
    TravelDisruption,
    /// `Y3`: part of the school premises closed.
    PremisesPartlyClosed,
    /// `Y4`: whole school site unexpectedly closed.
    SiteClosed,
    /// `Y5`: criminal justice detention.
    CriminalJusticeDetention,
    /// `Y6`: public health guidance or law.
    PublicHealth,
    /// `Y7`: any other unavoidable cause.
    OtherUnavoidableCause,
    /// `G`: holiday not granted by the school.
    HolidayNotGranted,
    /// `N`: reason for absence not yet established.
    ReasonNotEstablished,
    /// `O`: absent in other or unknown circumstances.
    OtherAbsence,
    /// `U`: arrived after the register closed.
    ArrivedAfterRegister,
    /// `Z`: prospective pupil not on the admission register.
    ProspectivePupil,
    /// `#`: planned whole school closure.
    PlannedClosure,
    /// `F`: extended family holiday (withdrawn).
    LegacyExtendedHoliday,
    /// `H`: holiday granted by the school (withdrawn).
    LegacyHolidayGranted,
    /// `J`: at an interview (withdrawn).
    LegacyInterview,
    /// `Y`: unable to attend owing to exceptional circumstances (withdrawn).
    LegacyUnableToAttend,
}

impl AttendanceCode {
    /// Every code, the four withdrawn ones last.
    pub const ALL: [Self; 38] = [
        Self::PresentMorning,
        Self::PresentAfternoon,
        Self::Late,
        Self::LocalAuthorityProvision,
        Self::EducationalVisit,
        Self::SportingActivity,
        Self::WorkExperience,
        Self::OffSiteActivity,
        Self::DualRegistered,
        Self::ExceptionalLeave,
        Self::PerformanceLeave,
        Self::PartTimeTimetable,
        Self::MedicalAppointment,
        Self::InterviewLeave,
        Self::StudyLeave,
        Self::ParentTravelling,
        Self::ReligiousObservance,
        Self::Illness,
        Self::Excluded,
        Self::NoAccessArrangements,
        Self::NotRequired,
        Self::TransportUnavailable,
        Self::TravelDisruption,
        Self::PremisesPartlyClosed,
        Self::SiteClosed,
        Self::CriminalJusticeDetention,
        Self::PublicHealth,
        Self::OtherUnavoidableCause,
        Self::HolidayNotGranted,
        Self::ReasonNotEstablished,
        Self::OtherAbsence,
        Self::ArrivedAfterRegister,
        Self::ProspectivePupil,
        Self::PlannedClosure,
        Self::LegacyExtendedHoliday,
        Self::LegacyHolidayGranted,
        Self::LegacyInterview,
        Self::LegacyUnableToAttend,
    ];

    /// The code `text` as it held on `date`; no repair of case or space.
    ///
    /// # Errors
    /// [`CodeError::Retired`] for `F H J Y` from 19 August 2024, [`CodeError::Unknown`] for all else that did not hold.
    pub fn on(text: &str, date: Date) -> Result<Self, CodeError> {
        let code = Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or(CodeError::Unknown)?;
        let day = (date.year(), date.month(), date.day());
        let held = code.row().3;
        if day < held.from {
            Err(CodeError::Unknown)
        } else if held.withdrawn && day >= REGULATIONS {
            Err(CodeError::Retired)
        } else {
            Ok(code)
        }
    }

    /// As [`AttendanceCode::on`], for a mark of `session`.
    ///
    /// # Errors
    /// Those, and [`CodeError::SessionMismatch`].
    pub fn in_session(text: &str, date: Date, session: RegisterSession) -> Result<Self, CodeError> {
        let code = Self::on(text, date)?;
        if code.only_session().is_none_or(|only| only == session) {
            Ok(code)
        } else {
            Err(CodeError::SessionMismatch)
        }
    }

    /// The code as the register writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// What the code means, in the short words of the guidance.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().1
    }

    /// How it counts.
    #[must_use]
    pub fn class(self) -> AttendanceClass {
        self.row().2
    }

    /// Whether it was withdrawn in 2024 and only stands on older registers.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        self.row().3.withdrawn
    }

    /// The one session it may stand in; none if either.
    #[must_use]
    pub fn only_session(self) -> Option<RegisterSession> {
        match self {
            Self::PresentMorning => Some(RegisterSession::Morning),
            Self::PresentAfternoon => Some(RegisterSession::Afternoon),
            _ => None,
        }
    }
}

impl fmt::Display for AttendanceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AttendanceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: &str = include_str!("../../tests/data/attendance-codes.csv");

    #[test]
    fn the_table_is_the_published_one() {
        let mut published = csv::Reader::from_reader(CODES.as_bytes());
        let mut rows = 0;
        for (record, code) in published.records().zip(AttendanceCode::ALL) {
            let record = record.unwrap();
            rows += 1;
            assert_eq!(&record[0], code.as_str());
            assert_eq!(&record[1], code.meaning());
            assert_eq!(&record[2], code.class().as_str());
            let from = Date::parse(&record[3]).unwrap();
            assert_eq!(AttendanceCode::on(&record[0], from), Ok(code));
            assert_eq!(AttendanceCode::on(&record[0], from.plus_days(-1)), Err(CodeError::Unknown));
            assert_eq!(code.is_legacy(), !record[4].is_empty());
            if let Ok(last) = Date::parse(&record[4]) {
                assert_eq!(AttendanceCode::on(&record[0], last), Ok(code));
                assert_eq!(AttendanceCode::on(&record[0], last.plus_days(1)), Err(CodeError::Retired));
            }
        }
        assert_eq!(rows, CODES.lines().count() - 1);
        assert_eq!(AttendanceCode::ALL.iter().filter(|code| !code.is_legacy()).count(), 34);
    }

    #[test]
    fn near_misses_are_unknown() {
        let day = Date::parse("2026-11-20").unwrap();
        for text in ["", "i", "/\\", "Y8", " I", "I ", "II", "X01", "h", "N\u{200b}"] {
            assert_eq!(AttendanceCode::on(text, day), Err(CodeError::Unknown), "{text}");
        }
    }

    #[test]
    fn presence_belongs_to_its_session() {
        let day = Date::parse("2026-11-20").unwrap();
        let read = |text, session| AttendanceCode::in_session(text, day, session);
        assert_eq!(read("\\", RegisterSession::Morning), Err(CodeError::SessionMismatch));
        assert_eq!(read("/", RegisterSession::Afternoon), Err(CodeError::SessionMismatch));
        assert_eq!(read("/", RegisterSession::Morning), Ok(AttendanceCode::PresentMorning));
        assert_eq!(read("K", RegisterSession::Afternoon), Ok(AttendanceCode::LocalAuthorityProvision));
    }
}
