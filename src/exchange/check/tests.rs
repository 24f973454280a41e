//! Tests of the readers, and of violations as callers receive them.

use super::*;
use crate::calendar::Date;
use crate::codes::uln::UlnError;
use crate::codes::urn::EstablishmentNumberError;
use crate::codes::{Ukprn, Uln, Urn};
use crate::violation_reason::ViolationReason;

fn reason_of<T>(read: impl FnOnce(&mut Check) -> Option<T>) -> &'static str {
    let mut check = Check::new();
    let value = read(&mut check);
    let violations = check.finish().err().unwrap_or_default();
    assert!(violations.first.len() <= 1);
    assert!(violations.is_empty() || value.is_none());
    violations.first.first().map_or("", |violation| violation.reason.name())
}

#[test]
fn identifiers_b1_to_b16() {
    for (reason, values) in [
        ("FIELD_REQUIRED", &[""][..]),
        (
            "UPN_FORMAT",
            &[
                "B80120000500",
                "B8012000050011",
                "I801200005001",
                "b801200005001",
                " B80120000500",
                "B80120000５001",
            ],
        ),
        ("UPN_CHECK_LETTER", &["A801200005001"]),
        ("UPN_TEMPORARY", &["M80120000500A"]),
        ("UPN_LA_UNKNOWN", &["E000200005001"]),
        ("", &["B801200005001"]),
    ] {
        for value in values {
            assert_eq!(reason_of(|check| check.permanent_upn("upn", value)), reason, "{value}");
        }
    }
    let uln = |sent| {
        reason_of(|check| check.parsed("uln", sent, |sent| Uln::parse(sent).map_err(UlnError::reason)))
    };
    for value in ["100000004", "10000000430", "1000000044", "9999999999"] {
        assert_eq!(uln(value), "ULN_CHECK_DIGIT");
    }
    assert_eq!(uln("1000000043"), "");
    let urn = |sent| {
        reason_of(|check| {
            check.parsed("urn", sent, |sent| Urn::parse(sent).map_err(EstablishmentNumberError::reason))
        })
    };
    let ukprn = |sent| {
        reason_of(|check| {
            check.parsed("u", sent, |sent| Ukprn::parse(sent).map_err(EstablishmentNumberError::reason))
        })
    };
    assert_eq!(
        (urn("12345"), urn("1234567"), ukprn("20001234")),
        ("URN_FORMAT", "URN_FORMAT", "UKPRN_FORMAT")
    );
    for (reason, values) in [
        ("", &["0192f3b0-7c1e-7d3a-9f00-1a2b3c4d5e6f"][..]),
        (
            "ID_FORMAT",
            &[
                "00000000-0000-0000-0000-000000000000",
                "0192F3B0-7C1E-7D3A-9F00-1A2B3C4D5E6F",
                "{0192f3b0-7c1e-7d3a-9f00-1a2b3c4d5e6f}",
                "0192f3b0-7c1e-7d3a-9f00-1a2b3c4d5e6",
                "0192f3b0-7c1e-7d3a-9f00-1a2b3c4d5e6f0",
                "0192f3b07c1e7d3a9f001a2b3c4d5e6f",
                "../../x",
                "%2e%2e",
                "a\0b",
                "a/b",
                "' OR 1=1--",
            ],
        ),
        ("FIELD_LENGTH", &[&"a".repeat(1 << 20)]),
    ] {
        for value in values {
            assert_eq!(reason_of(|check| check.uuid("id", value)), reason);
        }
    }
}

#[test]
fn dates_numbers_and_lists_b17_to_b37() {
    let date = |sent| reason_of(|check| check.date("date", sent));
    assert_eq!(
        (date("2027-02-29"), date("2026-2-3"), date("10000-01-01")),
        ("DATE_INVALID", "DATE_FORMAT", "DATE_RANGE")
    );
    let today = Date::parse("2026-11-20").unwrap();
    for (sent, reason) in [
        ("2026-11-21", "DOB_RANGE"),
        ("2022-11-21", "DOB_RANGE"),
        ("2022-11-20", ""),
        ("2000-11-21", ""),
        ("2000-11-20", "DOB_RANGE"),
    ] {
        assert_eq!(reason_of(|check| check.date_of_birth("dob", sent, today)), reason, "{sent}");
    }
    for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (253_402_300_800, 0)] {
        let sent = prost_types::Timestamp { seconds, nanos };
        assert_eq!(reason_of(|check| check.timestamp("at", Some(&sent))), "TIMESTAMP_RANGE");
    }
    assert_eq!(reason_of(|check| check.timestamp("at", None)), "FIELD_REQUIRED");
    for (sent, reason) in [
        (0, "ENUM_REQUIRED"),
        (999, "ENUM_UNKNOWN"),
        (-1, "ENUM_UNKNOWN"),
        (i32::MAX, "ENUM_UNKNOWN"),
        (2, ""),
    ] {
        assert_eq!(
            reason_of(|check| check.enum_value::<prost_types::field::Cardinality>("kind", sent)),
            reason
        );
    }
    for (sent, reason) in [(0, "MINUTES_RANGE"), (-5, "MINUTES_RANGE"), (10_000, "MINUTES_RANGE"), (12, "")] {
        assert_eq!(reason_of(|check| check.minutes("minutes_late", sent, 1..=600)), reason);
    }
    for (sent, reason) in [
        (f64::NAN, "NUMBER_RANGE"),
        (f64::INFINITY, "NUMBER_RANGE"),
        (-0.0, "NUMBER_RANGE"),
        (100.0001, "NUMBER_RANGE"),
        (0.0, ""),
        (100.0, ""),
    ] {
        assert_eq!(reason_of(|check| check.score("score", sent, 0.0..=100.0)), reason);
    }
    assert_eq!(reason_of(|check| check.int_range("count", (1_i64 << 53) + 1, 0..=1 << 53)), "NUMBER_RANGE");
    assert_eq!(reason_of(|check| check.int_range("count", u64::MAX, 0..=1 << 53)), "NUMBER_RANGE");
    assert_eq!(reason_of(|check| check.list_len("flags", 501, 500).then_some(())), "LIST_TOO_LONG");
    assert_eq!(reason_of(|check| check.page_size("page_size", -1, 50, 1_000)), "PAGE_SIZE");
    let mut check = Check::new();
    assert_eq!(check.page_size("page_size", 0, 50, 1_000), Some(50));
    assert_eq!(check.page_size("page_size", 1_000_000_000, 50, 1_000), Some(1_000));
}

#[test]
fn texts_b39_to_b52() {
    let marks = format!("a{}", "\u{301}".repeat(1_000));
    let long = "a".repeat(10_001);
    for (reason, texts) in [
        ("TEXT_CONTROL_CHAR", &["a\0b", "a\u{1b}[31m", "a\u{85}b", "a\u{7f}"][..]),
        ("TEXT_BIDI_CONTROL", &["a\u{202e}b", "\u{2066}a", "a\u{200f}"]),
        (
            "TEXT_INVISIBLE",
            &["a\u{200d}", "\u{200c}a", "a \u{200d}b", "a\u{feff}b", "a\u{200b}b", "a\u{e0041}"],
        ),
        ("TEXT_COMBINING", &[&marks]),
        ("TEXT_UNASSIGNED", &["a\u{e000}", "a\u{378}", "a\u{10fffe}"]),
        ("FIELD_LENGTH", &[&long]),
        ("FIELD_REQUIRED", &["", "   ", "\u{a0}"]),
        (
            "",
            &[
                "line\nline",
                "' OR 1=1--",
                "<script>",
                "{{7*7}}",
                "${jndi:ldap://x}",
                "%n%s",
                "=HYPERLINK(\"x\")",
                "+1",
                "-1",
                "@SUM",
                "a\tb",
                "a\rb",
                "＝1",
                "good 👍🏽 day",
                "👨‍👩‍👧",
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
                "क्‍ष",
            ],
        ),
    ] {
        for text in texts {
            let read = reason_of(|check| check.text("notes", text, TextRule::notes(10_000).required()));
            assert_eq!(read, reason, "{text:?}");
        }
    }
    assert_eq!(reason_of(|check| check.text("name", "a\nb", TextRule::line(100))), "TEXT_CONTROL_CHAR");
    assert_eq!(reason_of(|check| check.text("name", "  ", TextRule::line(100))), "");
}

#[test]
fn names_b42_to_b50() {
    let hundred = "a".repeat(100);
    for name in [
        "O’Brien",
        "O'Brien",
        "Nguyễn",
        "Ó Séaghdha",
        "李",
        "X",
        &hundred,
        "Anne-Marie",
        "St. John",
        "ʻOkina",
        "محمد",
        "Muñoz 2nd",
        "Jose\u{301}",
        "",
    ] {
        assert_eq!(reason_of(|check| check.text("n", name, TextRule::legal_name(100))), "", "{name}");
    }
    for name in ["Zoë 😀", "😀", "...", "12", "❤", "Nguy?n"] {
        assert_eq!(
            reason_of(|check| check.text("n", name, TextRule::legal_name(100))),
            "TEXT_NOT_A_NAME",
            "{name}"
        );
    }
    assert_eq!(
        reason_of(|check| check.text("n", "  ", TextRule::legal_name(100).required())),
        "FIELD_REQUIRED"
    );
    for name in ["Nguy?n", "Si\u{fffd}n", "?"] {
        assert_eq!(reason_of(|check| check.text("n", name, TextRule::claimed_name(100))), "");
    }
    assert_eq!(Check::new().text("n", "Jose\u{301}", TextRule::legal_name(100)).as_deref(), Some("José"));
}

#[test]
fn contacts_b49() {
    for (sent, reason) in [
        ("SW1A1A", "POSTCODE_FORMAT"),
        ("SW1A 1AA", ""),
        ("SW1A1AA", ""),
        ("M1 1AE", ""),
        ("sw1a", "POSTCODE_FORMAT"),
        ("", ""),
    ] {
        assert_eq!(reason_of(|check| check.postcode("p", sent)), reason, "{sent}");
    }
    for (sent, reason) in [
        ("020 7946 0000", ""),
        ("+44 (0)20 7946 0000", ""),
        ("0800 FLOWERS", "PHONE_FORMAT"),
        ("12", "PHONE_FORMAT"),
    ] {
        assert_eq!(reason_of(|check| check.phone("p", sent)), reason, "{sent}");
    }
    for (sent, reason) in [
        ("a.b@example.org", ""),
        ("a.example.org", "EMAIL_FORMAT"),
        ("@example.org", "EMAIL_FORMAT"),
        ("a@b", "EMAIL_FORMAT"),
    ] {
        assert_eq!(reason_of(|check| check.email("e", sent)), reason, "{sent}");
    }
}

#[test]
fn paths_name_the_place() {
    let mut check = Check::new();
    check.add_violation("upn", ViolationReason::UpnFormat);
    {
        let mut mark = check.enter("marks").index(1);
        mark.date("date", "x");
        mark.enter("child").uuid("id", "");
        mark.add_violation("", ViolationReason::ConflictInBatch);
    }
    check.enter("plan").add_violation("goals", ViolationReason::ListTooLong);
    let violations = check.finish().unwrap_err();
    let fields: Vec<_> = violations.first.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["upn", "marks[1].date", "marks[1].child.id", "marks[1]", "plan.goals"]);
    assert_eq!(violations.first[1].reason.text(), "not a date written as YYYY-MM-DD");
}

#[test]
fn a_row_is_apart_and_fifty_are_kept() {
    let mut check = Check::new();
    for index in 0..1_000 {
        let (_, row) = check
            .read_row("marks", index, |row| row.date("date", if index == 7 { "2026-11-20" } else { "x" }));
        assert_eq!(row.is_empty(), index == 7);
        assert_eq!(
            row.first.first().map(|v| v.field.clone()),
            (index != 7).then(|| format!("marks[{index}].date"))
        );
        check.absorb(row);
    }
    assert_eq!(check.count(), 999);
    let violations = check.finish().unwrap_err();
    assert_eq!((violations.first.len(), violations.omitted), (50, 949));
}
