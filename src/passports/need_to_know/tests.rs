//! The need-to-know table as a golden file, and what holds of every line of it.

use std::collections::BTreeMap;

use super::*;
use crate::golden;

const PARTS: [Part; 8] = [
    Part::Open,
    Part::ProvisionCritical,
    Part::Raised,
    Part::Health,
    Part::Safeguarding,
    Part::NoContact,
    Part::Address,
    Part::YouthJustice,
];

const PURPOSES: [Purpose; 4] =
    [Purpose::EducationProvision, Purpose::Safeguarding, Purpose::Attendance, Purpose::Oversight];

fn roles() -> Vec<RoleCode> {
    (1..).map_while(|number| RoleCode::try_from(number).ok()).collect()
}

/// What an agreement in force between sender and provider can cover; `None` for none in force.
const AGREEMENTS: [(&str, Option<[bool; 3]>); 6] = [
    ("none", None),
    ("PASSPORT without Article 9", Some([false, true, true])),
    ("PASSPORT", Some([true, false, false])),
    ("PASSPORT and Article 10", Some([true, false, true])),
    ("PASSPORT RESTRICTED", Some([true, true, false])),
    ("PASSPORT RESTRICTED and Article 10", Some([true, true, true])),
];

/// Returns the terms of an agreement that names these purposes.
fn terms([article_9, restricted, article_10]: [bool; 3], purposes: Vec<Purpose>) -> AgreementTerms {
    AgreementTerms {
        purposes,
        has_article_9_condition: article_9,
        covers_restricted: restricted,
        has_article_10_condition: article_10,
    }
}

/// Returns every right, by party, state and agreement. The agreement names a purpose, or all others.
fn rights(purpose: Purpose, is_named: bool) -> Vec<([String; 3], ReadingRight)> {
    let purposes: Vec<_> = PURPOSES.into_iter().filter(|named| (*named == purpose) == is_named).collect();
    let mut found = Vec::new();
    for party in ["sender", "provider"] {
        for (state, status) in [("live", RoleStatus::Live), ("ended", RoleStatus::Ended)] {
            for (agreement, covers) in AGREEMENTS {
                let terms = covers.map(|covers| terms(covers, purposes.clone()));
                let right = match party {
                    "sender" => ReadingRight::Sender,
                    _ => ReadingRight::of_recipient(status, terms),
                };
                found.push(([party, state, agreement].map(str::to_owned), right));
            }
        }
    }
    found
}

fn code(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}

/// A line of the table: part, party, state, agreement, purpose, `share_with`; then the system's and the persons' view.
type Line = [String; 8];

fn line_of(
    part: Part,
    (key, right): &([String; 3], ReadingRight),
    (purpose, is_named): (Purpose, bool),
    share_with: &[RoleCode],
) -> Line {
    let system = Reader::system(right.clone()).visibility(part, share_with);
    let mut views: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for role in roles() {
        let reader = Reader { right: right.clone(), person: Some((role, purpose)) };
        let role = code(role.as_str_name(), "ROLE_CODE_");
        views.entry(word(reader.visibility(part, share_with))).or_default().push(role);
    }
    let largest = views.values().map(Vec::len).max();
    let mut persons: Vec<_> = views
        .iter()
        .filter(|(_, roles)| Some(roles.len()) != largest)
        .map(|(view, roles)| format!("{view}: {}", roles.join(" ")))
        .collect();
    let rest = views.iter().find(|(_, roles)| Some(roles.len()) == largest).unwrap();
    persons.push(format!("{}: every other role", rest.0));
    let shared: Vec<_> = share_with.iter().map(|role| code(role.as_str_name(), "ROLE_CODE_")).collect();
    let [party, state, agreement] = key.clone();
    let named = if is_named { "" } else { " not named" };
    let purpose = format!("{}{named}", code(purpose.as_str_name(), "PURPOSE_"));
    let shared = if shared.is_empty() { "nobody".to_owned() } else { shared.join(" ") };
    let system = format!("system {}", word(system));
    [format!("{part:?}"), party, state, agreement, purpose, shared, system, persons.join("; ")]
}

fn word(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Content => "content",
        Visibility::Notice => "notice",
        Visibility::Absent => "absent",
    }
}

/// Merges the lines that differ in one column only: its values are joined, and all of them are `any`.
fn merge(lines: Vec<Line>, column: usize) -> Vec<Line> {
    let mut all: Vec<String> = Vec::new();
    let mut merged: Vec<(Line, Vec<String>)> = Vec::new();
    for mut line in lines {
        let value = std::mem::take(&mut line[column]);
        if !all.contains(&value) {
            all.push(value.clone());
        }
        match merged.iter_mut().find(|(known, _)| *known == line) {
            Some((_, values)) => values.push(value),
            None => merged.push((line, vec![value])),
        }
    }
    let joined = |(mut line, values): (Line, Vec<String>)| {
        line[column] = if values.len() == all.len() { "any".to_owned() } else { values.join(", ") };
        line
    };
    merged.into_iter().map(joined).collect()
}

#[test]
fn the_whole_table() {
    let mut text = String::from(
        "# part | party | placement | agreement in force | purpose, and whether the agreement names it | share_with | \
         system | persons by role\n",
    );
    for part in PARTS {
        let mut lines = Vec::new();
        for purpose in PURPOSES {
            for is_named in [true, false] {
                for right in rights(purpose, is_named) {
                    for share_with in [&[][..], &[RoleCode::PlacementLead, RoleCode::Tutor]] {
                        lines.push(line_of(part, &right, (purpose, is_named), share_with));
                    }
                }
            }
        }
        for column in [5, 4, 3, 2, 1] {
            lines = merge(lines, column);
        }
        for line in lines {
            text += &line.join(" | ");
            text += "\n";
        }
    }
    golden::check("src/passports/need_to_know.golden", &text);
}

#[test]
fn a_system_reads_nothing_restricted_and_a_tutor_no_less_than_a_system() {
    for purpose in PURPOSES {
        for (_, right) in rights(purpose, true).into_iter().chain(rights(purpose, false)) {
            let system = Reader::system(right.clone());
            for part in PARTS.into_iter().filter(|part| part.is_restricted()) {
                assert_ne!(system.visibility(part, &roles()), Visibility::Content);
            }
            // Naming a role does not let it in where it may not read passports at all.
            for role in roles() {
                let person = Reader { right: right.clone(), person: Some((role, purpose)) };
                let gets =
                    PARTS.into_iter().any(|part| person.visibility(part, &[role]) == Visibility::Content);
                assert_eq!(gets, person.reads_passports(), "{role:?} {purpose:?}");
                assert!(!gets || (role_reads_passports(role) && right != ReadingRight::None));
            }
        }
    }
    for (_, right) in rights(Purpose::EducationProvision, true) {
        let person = Some((RoleCode::Tutor, Purpose::EducationProvision));
        let tutor = Reader { right: right.clone(), person };
        for part in PARTS {
            assert_eq!(tutor.visibility(part, &[]), Reader::system(right.clone()).visibility(part, &[]));
        }
    }
}

#[test]
fn a_safeguarding_block_is_cut_to_the_parts_that_the_reader_gets() {
    let block = PassportSafeguarding {
        looked_after: true,
        detail: "detail".to_owned(),
        no_contact: vec!["person".to_owned()],
        address: "address".to_owned(),
        youth_justice: "order".to_owned(),
        ..PassportSafeguarding::default()
    };
    let cut = |role, block: &PassportSafeguarding| {
        let reader = Reader { right: ReadingRight::Sender, person: Some((role, Purpose::Safeguarding)) };
        reader.cut_safeguarding(block)
    };
    assert_eq!(cut(RoleCode::Dsl, &block), Some(block.clone()));
    let of_head = PassportSafeguarding {
        looked_after: true,
        detail: "detail".to_owned(),
        ..PassportSafeguarding::default()
    };
    assert_eq!(cut(RoleCode::Head, &block), Some(of_head));
    let of_yjs =
        PassportSafeguarding { youth_justice: "order".to_owned(), ..PassportSafeguarding::default() };
    assert_eq!(cut(RoleCode::Yjs, &block), Some(of_yjs.clone()));
    assert_eq!(cut(RoleCode::Tutor, &block), None);
    // An empty block would tell that there is another part.
    assert_eq!(cut(RoleCode::Head, &of_yjs), None);
    assert_eq!(cut(RoleCode::Dsl, &PassportSafeguarding::default()), None);
}

#[test]
fn an_emergency_opens_four_parts_to_persons_of_four_roles() {
    let mut opened = BTreeMap::new();
    for purpose in PURPOSES {
        for role in roles() {
            let reader = Reader { right: ReadingRight::Emergency, person: Some((role, purpose)) };
            let parts: Vec<Part> = PARTS
                .into_iter()
                .filter(|part| reader.visibility(*part, &[role]) == Visibility::Content)
                .collect();
            let rest = PARTS.into_iter().filter(|part| !parts.contains(part));
            assert!(rest.map(|part| reader.visibility(part, &[role])).all(|view| view == Visibility::Absent));
            if !parts.is_empty() {
                opened.insert((purpose.as_str_name(), role.as_str_name()), parts);
            }
        }
    }
    let parts = vec![Part::ProvisionCritical, Part::Health, Part::Safeguarding, Part::NoContact];
    let roles = [RoleCode::Dsl, RoleCode::Head, RoleCode::PlacementLead, RoleCode::Health];
    let expected = [Purpose::Safeguarding, Purpose::EducationProvision].into_iter().flat_map(|purpose| {
        let parts = parts.clone();
        roles.map(|role| ((purpose.as_str_name(), role.as_str_name()), parts.clone()))
    });
    assert_eq!(opened, expected.collect());
    for part in PARTS {
        let system = Reader::system(ReadingRight::Emergency);
        assert_eq!(system.visibility(part, &roles), Visibility::Absent);
    }
}
