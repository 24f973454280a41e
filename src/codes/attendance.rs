//! Attendance and absence codes of the School Attendance (Pupil Registration) (England) Regulations 2024, reg. 10.
//!
//! Owns the dates on which each code is valid, and how it counts. Invariant: no code is turned into another. The code
//! for the home school's register is only suggested (`suggestion.rs`).

mod table;

use std::fmt;

use crate::calendar::Date;
use crate::violation_reason::ViolationReason;
use AttendanceClass::{
    ApprovedEducationalActivity, AuthorisedAbsence, NotCollected, NotPossible, Present, UnauthorisedAbsence,
};

/// First day of the 2024 regulations, 2024-08-19.
const REGULATIONS_2024_START: (i16, i8, i8) = (2024, 8, 19);

/// Class of a session, as the Department for Education counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttendanceClass {
    /// Present at school.
    Present,
    /// Attending an approved educational activity elsewhere; counts as attendance.
    ApprovedEducationalActivity,
    /// Absent with leave or for a good reason.
    AuthorisedAbsence,
    /// Absent without leave and without a good reason.
    UnauthorisedAbsence,
    /// Not a possible attendance; excluded from every rate.
    NotPossible,
    /// Not collected; excluded from every rate.
    NotCollected,
}

impl AttendanceClass {
    /// Returns whether the session is in the numerator of the attendance rate.
    #[must_use]
    pub fn is_attended(self) -> bool {
        matches!(self, Present | ApprovedEducationalActivity)
    }

    /// Returns whether the session is an absence.
    #[must_use]
    pub fn is_absent(self) -> bool {
        matches!(self, AuthorisedAbsence | UnauthorisedAbsence)
    }

    /// Returns whether the session is in the denominator of every rate.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self.is_attended() || self.is_absent()
    }

    /// Returns the name used in tables and exports.
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

/// Half of a school day for which a register is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterSession {
    /// AM.
    Morning,
    /// PM.
    Afternoon,
}

/// Error of an attendance code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttendanceCodeError {
    /// The code does not exist on that date.
    #[error("not an attendance code on that date")]
    Unknown,
    /// The code was withdrawn before that date.
    #[error("the attendance code was withdrawn on 19 August 2024")]
    Retired,
    /// The code belongs to the other half of the day.
    #[error("the attendance code belongs to the other session")]
    SessionMismatch,
}

impl AttendanceCodeError {
    /// Returns the reason name that is sent to a caller.
    #[must_use]
    pub fn reason(self) -> ViolationReason {
        match self {
            Self::Unknown => ViolationReason::CodeUnknown,
            Self::Retired => ViolationReason::CodeRetired,
            Self::SessionMismatch => ViolationReason::CodeSessionMismatch,
        }
    }
}

/// Attendance code of the register.
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
    /// All codes, with the four withdrawn ones last.
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

    /// Parses a code that is valid on `date`. Case and spaces are not corrected.
    ///
    /// # Errors
    /// [`AttendanceCodeError::Retired`] for `F H J Y` from 19 August 2024; [`AttendanceCodeError::Unknown`] for any other text that is not
    /// valid on that date.
    pub fn parse_on(text: &str, date: Date) -> Result<Self, AttendanceCodeError> {
        let code =
            Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or(AttendanceCodeError::Unknown)?;
        let day = (date.year(), date.month(), date.day());
        let period = code.definition().3;
        if day < period.from {
            Err(AttendanceCodeError::Unknown)
        } else if period.withdrawn && day >= REGULATIONS_2024_START {
            Err(AttendanceCodeError::Retired)
        } else {
            Ok(code)
        }
    }

    /// Parses a code that is valid on `date` for a mark of `session`.
    ///
    /// # Errors
    /// Errors of [`AttendanceCode::parse_on`], and [`AttendanceCodeError::SessionMismatch`].
    pub fn parse_in_session(
        text: &str,
        date: Date,
        session: RegisterSession,
    ) -> Result<Self, AttendanceCodeError> {
        let code = Self::parse_on(text, date)?;
        if code.only_session().is_none_or(|only| only == session) {
            Ok(code)
        } else {
            Err(AttendanceCodeError::SessionMismatch)
        }
    }

    /// Returns the code as written in the register.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.definition().0
    }

    /// Returns the meaning of the code, in the short words of the guidance.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.definition().1
    }

    /// Returns the class in which the code counts.
    #[must_use]
    pub fn class(self) -> AttendanceClass {
        self.definition().2
    }

    /// Returns whether the code was withdrawn in 2024 and appears on older registers only.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        self.definition().3.withdrawn
    }

    /// Returns the only session in which the code is allowed; `None` for either.
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
            assert_eq!(AttendanceCode::parse_on(&record[0], from), Ok(code));
            assert_eq!(
                AttendanceCode::parse_on(&record[0], from.plus_days(-1)),
                Err(AttendanceCodeError::Unknown)
            );
            assert_eq!(code.is_legacy(), !record[4].is_empty());
            if let Ok(last) = Date::parse(&record[4]) {
                assert_eq!(AttendanceCode::parse_on(&record[0], last), Ok(code));
                assert_eq!(
                    AttendanceCode::parse_on(&record[0], last.plus_days(1)),
                    Err(AttendanceCodeError::Retired)
                );
            }
        }
        assert_eq!(rows, CODES.lines().count() - 1);
        assert_eq!(AttendanceCode::ALL.iter().filter(|code| !code.is_legacy()).count(), 34);
    }

    #[test]
    fn near_misses_are_unknown() {
        let day = Date::parse("2026-11-20").unwrap();
        for text in ["", "i", "/\\", "Y8", " I", "I ", "II", "X01", "h", "N\u{200b}"] {
            assert_eq!(AttendanceCode::parse_on(text, day), Err(AttendanceCodeError::Unknown), "{text}");
        }
    }

    #[test]
    fn presence_belongs_to_its_session() {
        let day = Date::parse("2026-11-20").unwrap();
        let read = |text, session| AttendanceCode::parse_in_session(text, day, session);
        assert_eq!(read("\\", RegisterSession::Morning), Err(AttendanceCodeError::SessionMismatch));
        assert_eq!(read("/", RegisterSession::Afternoon), Err(AttendanceCodeError::SessionMismatch));
        assert_eq!(read("/", RegisterSession::Morning), Ok(AttendanceCode::PresentMorning));
        assert_eq!(read("K", RegisterSession::Afternoon), Ok(AttendanceCode::LocalAuthorityProvision));
    }
}
