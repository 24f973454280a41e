//! Suggestion of the home school's code for a session that the provider marked (Working together to improve school
//! attendance, 2024; regulation 10).
//!
//! The register remains the school's. Invariant: no suggestion may hide a child who is not being taught. So a part-time
//! timetable needs its plan, and online learning is no attendance.

use super::attendance::AttendanceCode;

/// Mark that a provider sends for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderMark {
    /// Attendance code.
    Statutory(AttendanceCode),
    /// Observation at the provider's site.
    Observed(Observation),
}

/// Observation by a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The child attended.
    Present,
    /// The child attended late.
    Late,
    /// The child was absent for an unknown reason.
    Absent,
    /// The child was not expected in this session.
    NotExpected,
}

/// Kind of organisation that arranged the placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrangedBy {
    /// A local authority (Education Act 1996 s.19; Children and Families Act 2014 s.42, s.61).
    LocalAuthority,
    /// The school or its trust.
    School,
}

/// Circumstances of the placement and the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts of a placement")]
pub struct SessionCircumstances {
    /// Kind of organisation that arranged the placement.
    pub arranged_by: ArrangedBy,
    /// The child is on the admission register of a school other than the provider.
    pub on_school_roll: bool,
    /// The provider is a school where the child is dual registered, and the session is scheduled there.
    pub dual_registered: bool,
    /// The session was taught online to a child at home.
    pub online_at_home: bool,
    /// The plan holds a part-time timetable with the parents' agreement and an end date.
    pub part_time_agreed: bool,
}

/// Returns the code that the home school might enter. Returns `None` when only the school can know the code, or when
/// there is no register.
#[must_use]
pub fn suggest_home_code(mark: ProviderMark, circumstances: SessionCircumstances) -> Option<AttendanceCode> {
    if !circumstances.on_school_roll {
        return None;
    }
    if circumstances.dual_registered {
        return Some(AttendanceCode::DualRegistered);
    }
    if circumstances.online_at_home {
        return part_time_code(circumstances);
    }
    match mark {
        ProviderMark::Observed(Observation::NotExpected) => part_time_code(circumstances),
        ProviderMark::Observed(Observation::Absent) => Some(AttendanceCode::ReasonNotEstablished),
        ProviderMark::Observed(Observation::Present | Observation::Late) => {
            Some(attended_code(AttendanceCode::OffSiteActivity, circumstances))
        }
        ProviderMark::Statutory(code) => suggest_for_code(code, circumstances),
    }
}

fn suggest_for_code(code: AttendanceCode, circumstances: SessionCircumstances) -> Option<AttendanceCode> {
    use AttendanceCode as C;
    match code {
        C::PresentMorning
        | C::PresentAfternoon
        | C::Late
        | C::LocalAuthorityProvision
        | C::OffSiteActivity => Some(attended_code(C::OffSiteActivity, circumstances)),
        C::WorkExperience | C::SportingActivity | C::EducationalVisit => {
            Some(attended_code(code, circumstances))
        }
        C::ReasonNotEstablished | C::OtherAbsence => Some(C::ReasonNotEstablished),
        C::Illness => Some(C::Illness),
        C::PartTimeTimetable => part_time_code(circumstances),
        _ => None,
    }
}

fn attended_code(by_school: AttendanceCode, circumstances: SessionCircumstances) -> AttendanceCode {
    match circumstances.arranged_by {
        ArrangedBy::LocalAuthority => AttendanceCode::LocalAuthorityProvision,
        ArrangedBy::School => by_school,
    }
}

fn part_time_code(circumstances: SessionCircumstances) -> Option<AttendanceCode> {
    circumstances.part_time_agreed.then_some(AttendanceCode::PartTimeTimetable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Date;

    fn place(arranged_by: ArrangedBy) -> SessionCircumstances {
        SessionCircumstances {
            arranged_by,
            on_school_roll: true,
            dual_registered: false,
            online_at_home: false,
            part_time_agreed: false,
        }
    }

    fn suggested(mark: &str, place: SessionCircumstances) -> String {
        let mark = match mark {
            "present" => ProviderMark::Observed(Observation::Present),
            "late" => ProviderMark::Observed(Observation::Late),
            "absent" => ProviderMark::Observed(Observation::Absent),
            "not expected" => ProviderMark::Observed(Observation::NotExpected),
            code => ProviderMark::Statutory(
                AttendanceCode::parse_on(code, Date::parse("2026-11-20").unwrap()).unwrap(),
            ),
        };
        suggest_home_code(mark, place).map(|code| code.to_string()).unwrap_or_default()
    }

    #[test]
    fn by_who_arranged_it() {
        for (mark, authority, school) in [
            ("present", "K", "B"),
            ("late", "K", "B"),
            ("/", "K", "B"),
            ("\\", "K", "B"),
            ("L", "K", "B"),
            ("W", "K", "W"),
            ("P", "K", "P"),
            ("V", "K", "V"),
            ("absent", "N", "N"),
            ("N", "N", "N"),
            ("O", "N", "N"),
            ("I", "I", "I"),
            ("not expected", "", ""),
            ("C2", "", ""),
            ("C", "", ""),
            ("Y5", "", ""),
        ] {
            assert_eq!(suggested(mark, place(ArrangedBy::LocalAuthority)), authority, "{mark}");
            assert_eq!(suggested(mark, place(ArrangedBy::School)), school, "{mark}");
        }
    }

    #[test]
    fn by_the_place() {
        let school = place(ArrangedBy::School);
        for mark in ["present", "absent", "I", "not expected"] {
            assert_eq!(suggested(mark, SessionCircumstances { dual_registered: true, ..school }), "D");
            assert_eq!(
                suggested(
                    mark,
                    SessionCircumstances { on_school_roll: false, dual_registered: true, ..school }
                ),
                ""
            );
            assert_eq!(suggested(mark, SessionCircumstances { online_at_home: true, ..school }), "");
            let agreed = SessionCircumstances { online_at_home: true, part_time_agreed: true, ..school };
            assert_eq!(suggested(mark, agreed), "C2");
        }
        assert_eq!(
            suggested("not expected", SessionCircumstances { part_time_agreed: true, ..school }),
            "C2"
        );
        assert_eq!(suggested("absent", SessionCircumstances { part_time_agreed: true, ..school }), "N");
    }
}
