//! What the home school might enter for a session the provider marked (Working together to improve school
//! attendance, 2024; regulation 10).
//!
//! A suggestion only: the register is the school's. It must never suggest what would hide a child who is not being
//! taught, so a part-time timetable needs its plan and online learning is no attendance.

use super::attendance::AttendanceCode;

/// What a provider sends for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderMark {
    /// A register code.
    Statutory(AttendanceCode),
    /// What was seen at the door.
    Seen(Seen),
}

/// What a provider saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The child came.
    Present,
    /// The child came late.
    Late,
    /// The child did not come; why is not known.
    Absent,
    /// Nobody expected the child in this session.
    NotExpected,
}

/// Who arranged the placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrangedBy {
    /// A local authority (Education Act 1996 s.19; Children and Families Act 2014 s.42, s.61).
    LocalAuthority,
    /// The school or its trust.
    School,
}

/// What is known of the place and the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts of a placement")]
pub struct Circumstances {
    /// Who arranged the placement.
    pub arranged_by: ArrangedBy,
    /// The child is on some school's admission register beside the provider.
    pub on_a_roll: bool,
    /// The provider is a school where the child is dual registered, and the session is scheduled there.
    pub dual_registered: bool,
    /// The session was taught online to a child at home.
    pub online_at_home: bool,
    /// The plan holds a part-time timetable with the parents' agreement and an end date.
    pub part_time_agreed: bool,
}

/// The code the home school might enter; none where the school alone can know, or no register exists.
#[must_use]
pub fn suggest_home_code(mark: ProviderMark, place: Circumstances) -> Option<AttendanceCode> {
    if !place.on_a_roll {
        return None;
    }
    if place.dual_registered {
        return Some(AttendanceCode::DualRegistered);
    }
    if place.online_at_home {
        return part_time(place);
    }
    match mark {
        ProviderMark::Seen(Seen::NotExpected) => part_time(place),
        ProviderMark::Seen(Seen::Absent) => Some(AttendanceCode::ReasonNotEstablished),
        ProviderMark::Seen(Seen::Present | Seen::Late) => {
            Some(attended(AttendanceCode::OffSiteActivity, place))
        }
        ProviderMark::Statutory(code) => from_code(code, place),
    }
}

fn from_code(code: AttendanceCode, place: Circumstances) -> Option<AttendanceCode> {
    use AttendanceCode as C;
    match code {
        C::PresentMorning
        | C::PresentAfternoon
        | C::Late
        | C::LocalAuthorityProvision
        | C::OffSiteActivity => Some(attended(C::OffSiteActivity, place)),
        C::WorkExperience | C::SportingActivity | C::EducationalVisit => Some(attended(code, place)),
        C::ReasonNotEstablished | C::OtherAbsence => Some(C::ReasonNotEstablished),
        C::Illness => Some(C::Illness),
        C::PartTimeTimetable => part_time(place),
        _ => None,
    }
}

fn attended(by_school: AttendanceCode, place: Circumstances) -> AttendanceCode {
    match place.arranged_by {
        ArrangedBy::LocalAuthority => AttendanceCode::LocalAuthorityProvision,
        ArrangedBy::School => by_school,
    }
}

fn part_time(place: Circumstances) -> Option<AttendanceCode> {
    place.part_time_agreed.then_some(AttendanceCode::PartTimeTimetable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Date;

    fn place(arranged_by: ArrangedBy) -> Circumstances {
        Circumstances {
            arranged_by,
            on_a_roll: true,
            dual_registered: false,
            online_at_home: false,
            part_time_agreed: false,
        }
    }

    fn suggested(mark: &str, place: Circumstances) -> String {
        let mark = match mark {
            "present" => ProviderMark::Seen(Seen::Present),
            "late" => ProviderMark::Seen(Seen::Late),
            "absent" => ProviderMark::Seen(Seen::Absent),
            "not expected" => ProviderMark::Seen(Seen::NotExpected),
            code => {
                ProviderMark::Statutory(AttendanceCode::on(code, Date::parse("2026-11-20").unwrap()).unwrap())
            }
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
            assert_eq!(suggested(mark, Circumstances { dual_registered: true, ..school }), "D");
            assert_eq!(
                suggested(mark, Circumstances { on_a_roll: false, dual_registered: true, ..school }),
                ""
            );
            assert_eq!(suggested(mark, Circumstances { online_at_home: true, ..school }), "");
            let agreed = Circumstances { online_at_home: true, part_time_agreed: true, ..school };
            assert_eq!(suggested(mark, agreed), "C2");
        }
        assert_eq!(suggested("not expected", Circumstances { part_time_agreed: true, ..school }), "C2");
        assert_eq!(suggested("absent", Circumstances { part_time_agreed: true, ..school }), "N");
    }
}
