//! Table of the attendance codes: regulation 10 of the 2024 regulations, and the four codes that they withdrew.

use super::AttendanceClass::{
    self, ApprovedEducationalActivity, AuthorisedAbsence, NotCollected, NotPossible, Present,
    UnauthorisedAbsence,
};
use super::{AttendanceCode, REGULATIONS_2024_START};

const SINCE_2013: CodePeriod = CodePeriod { from: (2013, 9, 1), withdrawn: false };
const SINCE_2024: CodePeriod = CodePeriod { from: REGULATIONS_2024_START, withdrawn: false };
const UNTIL_2024: CodePeriod = CodePeriod { from: (2013, 9, 1), withdrawn: true };

/// First day of a code, and whether the regulations of 2024 withdrew it.
#[derive(Clone, Copy)]
pub(super) struct CodePeriod {
    pub(super) from: (i16, i8, i8),
    pub(super) withdrawn: bool,
}

impl AttendanceCode {
    #[expect(clippy::too_many_lines, reason = "one line a code of the regulations")]
    /// Returns text, meaning, class and dates of a code.
    pub(super) fn definition(self) -> (&'static str, &'static str, AttendanceClass, CodePeriod) {
        match self {
            Self::PresentMorning => ("/", "Present in the morning session", Present, SINCE_2013),
            Self::PresentAfternoon => ("\\", "Present in the afternoon session", Present, SINCE_2013),
            Self::Late => ("L", "Late but arrived before the register closed", Present, SINCE_2013),
            Self::LocalAuthorityProvision => (
                "K",
                "Attending education provision arranged by a local authority",
                ApprovedEducationalActivity,
                SINCE_2024,
            ),
            Self::EducationalVisit => {
                ("V", "Educational visit or trip", ApprovedEducationalActivity, SINCE_2013)
            }
            Self::SportingActivity => {
                ("P", "Approved sporting activity", ApprovedEducationalActivity, SINCE_2013)
            }
            Self::WorkExperience => {
                ("W", "Approved work experience", ApprovedEducationalActivity, SINCE_2013)
            }
            Self::OffSiteActivity => (
                "B",
                "Any other approved educational activity off site",
                ApprovedEducationalActivity,
                SINCE_2013,
            ),
            Self::DualRegistered => {
                ("D", "Dual registered, session scheduled at the other school", NotPossible, SINCE_2013)
            }
            Self::ExceptionalLeave => {
                ("C", "Leave of absence for exceptional circumstances", AuthorisedAbsence, SINCE_2013)
            }
            Self::PerformanceLeave => (
                "C1",
                "Leave for a regulated performance or employment abroad",
                AuthorisedAbsence,
                SINCE_2024,
            ),
            Self::PartTimeTimetable => {
                ("C2", "Leave under a temporary part-time timetable", AuthorisedAbsence, SINCE_2024)
            }
            Self::MedicalAppointment => {
                ("M", "Leave for a medical or dental appointment", AuthorisedAbsence, SINCE_2013)
            }
            Self::InterviewLeave => (
                "J1",
                "Leave for an interview for a job or another institution",
                AuthorisedAbsence,
                SINCE_2024,
            ),
            Self::StudyLeave => {
                ("S", "Leave for study for a public examination", AuthorisedAbsence, SINCE_2013)
            }
            Self::ParentTravelling => {
                ("T", "Parent travelling for occupational purposes", AuthorisedAbsence, SINCE_2013)
            }
            Self::ReligiousObservance => ("R", "Religious observance", AuthorisedAbsence, SINCE_2013),
            Self::Illness => ("I", "Illness", AuthorisedAbsence, SINCE_2013),
            Self::Excluded => (
                "E",
                "Suspended or permanently excluded with no alternative provision made",
                AuthorisedAbsence,
                SINCE_2013,
            ),
            Self::NoAccessArrangements => {
                ("Q", "Unable to attend because of a lack of access arrangements", NotPossible, SINCE_2024)
            }
            Self::NotRequired => {
                ("X", "Non-compulsory school age pupil not required to attend", NotPossible, SINCE_2013)
            }
            Self::TransportUnavailable => {
                ("Y1", "Transport normally provided is not available", NotPossible, SINCE_2024)
            }
            Self::TravelDisruption => ("Y2", "Widespread disruption to travel", NotPossible, SINCE_2024),
            Self::PremisesPartlyClosed => {
                ("Y3", "Part of the school premises closed", NotPossible, SINCE_2024)
            }
            Self::SiteClosed => ("Y4", "Whole school site unexpectedly closed", NotPossible, SINCE_2024),
            Self::CriminalJusticeDetention => ("Y5", "Criminal justice detention", NotPossible, SINCE_2024),
            Self::PublicHealth => ("Y6", "Public health guidance or law", NotPossible, SINCE_2024),
            Self::OtherUnavoidableCause => ("Y7", "Any other unavoidable cause", NotPossible, SINCE_2024),
            Self::HolidayNotGranted => {
                ("G", "Holiday not granted by the school", UnauthorisedAbsence, SINCE_2013)
            }
            Self::ReasonNotEstablished => {
                ("N", "Reason for absence not yet established", UnauthorisedAbsence, SINCE_2013)
            }
            Self::OtherAbsence => {
                ("O", "Absent in other or unknown circumstances", UnauthorisedAbsence, SINCE_2013)
            }
            Self::ArrivedAfterRegister => {
                ("U", "Arrived after the register closed", UnauthorisedAbsence, SINCE_2013)
            }
            Self::ProspectivePupil => {
                ("Z", "Prospective pupil not on the admission register", NotCollected, SINCE_2013)
            }
            Self::PlannedClosure => ("#", "Planned whole school closure", NotCollected, SINCE_2013),
            Self::LegacyExtendedHoliday => {
                ("F", "Extended family holiday (withdrawn)", AuthorisedAbsence, UNTIL_2024)
            }
            Self::LegacyHolidayGranted => {
                ("H", "Holiday granted by the school (withdrawn)", AuthorisedAbsence, UNTIL_2024)
            }
            Self::LegacyInterview => {
                ("J", "At an interview (withdrawn)", ApprovedEducationalActivity, UNTIL_2024)
            }
            Self::LegacyUnableToAttend => (
                "Y",
                "Unable to attend owing to exceptional circumstances (withdrawn)",
                NotPossible,
                UNTIL_2024,
            ),
        }
    }
}
