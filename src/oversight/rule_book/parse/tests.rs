//! Tests of the parser: the embedded file, overrides, and a fault of each kind with its line and key.

use super::*;

fn fault_of(text: &str) -> (usize, String) {
    let fault = RuleBook::with_overrides(text).unwrap_err();
    (fault.line, fault.what)
}

#[test]
fn the_embedded_file_is_valid_and_holds_every_rule() {
    let book = parse(super::super::EMBEDDED, RuleBook::without_rules()).unwrap();
    assert_eq!(book, *RuleBook::embedded());
    let ids: Vec<RuleId> = book.rules().map(|(id, _)| id).collect();
    let mut all = RuleId::ALL.to_vec();
    all.sort_unstable();
    assert_eq!(ids, all);
    for severity in Severity::ALL {
        assert!(book.act_within.contains_key(&severity), "{severity:?}");
    }
    assert_eq!(book.escalations, 2);
}

#[test]
fn a_file_replaces_the_keys_that_it_holds() {
    let text = "[severity.3]\nact_within_school_days = 5\n[rules.OPEN_ITEM_OVERDUE]\nfrom = \"\"\n\
                findings = [\"IC7\"]\nseverity = 2\nrecipients = [\"commissioner\"]\n";
    let (book, embedded) = (RuleBook::with_overrides(text).unwrap(), RuleBook::embedded());
    assert_eq!(book.act_within(Severity::Three), ActWithin::SchoolDays(5));
    assert_eq!(book.act_within(Severity::Two), embedded.act_within(Severity::Two));
    assert_eq!(book.running(RuleId::OpenItemOverdue, Date::MAX), None, "a rule without a date does not run");
    let from = Date::parse("2026-09-01").unwrap();
    let running = |day: Date| embedded.running(RuleId::OpenItemOverdue, day).is_some();
    assert!(running(from) && !running(from.previous().unwrap()));
    assert_eq!(RuleBook::with_overrides("").unwrap(), embedded);
}

#[test]
fn a_fault_names_its_line_and_key() {
    let rule =
        "[rules.OPEN_ITEM_OVERDUE]\nfindings = [\"IC7\"]\nseverity = 3\nrecipients = [\"commissioner\"]\n";
    for (text, line, what) in [
        ("[life\n", 1, "the file is no TOML"),
        ("[life]\nescalations = 1\nescalations = 1\n", 3, "life.escalations is there twice"),
        ("[life]\n[severity.1]\nact_within_school_days = 1\n[life]\n", 4, "life is there twice"),
        ("[severity.01]\nact_within_school_days = 1\n", 1, "severity.01 is not a severity"),
        ("[severity.1]\nact_within_school_days = 201\n", 2, "severity.1.act_within_school_days must be"),
        (
            &format!("{rule}from = \"0000-00-00\"\n"),
            5,
            "rules.OPEN_ITEM_OVERDUE.from must be a day of the years",
        ),
        (&rule.replace("IC7", "XX99"), 2, "rules.OPEN_ITEM_OVERDUE.findings may not hold \"XX99\""),
        (&rule.replace("\"IC7\"", "\"IC7\", \"IC7\""), 2, "rules.OPEN_ITEM_OVERDUE.findings holds IC7 twice"),
        (
            &rule.replace(
                "\"commissioner\"",
                "\"commissioner\",\n{ party = \"commissioner\", after_minutes = 5 }",
            ),
            5,
            "rules.OPEN_ITEM_OVERDUE.recipients holds commissioner twice",
        ),
        ("[live]\n", 1, "live is unknown"),
        ("\n[rules.UNHEARD_OF]\nseverity = 1\n", 2, "rules.UNHEARD_OF is not a rule"),
        ("[severity.4]\nact_within_school_days = 1\n", 1, "severity.4 is not a severity"),
        ("[severity.1]\n", 1, "severity.1 needs exactly one"),
        ("[life]\nescalations = 3\n", 2, "life.escalations must be a whole number from 0 to 2"),
        ("[life]\nschool_hours_to = \"08:00\"\n", 2, "life.school_hours_to must be later"),
        ("[life]\nschool_hours_to = \"8\"\n", 2, "life.school_hours_to is not a time"),
        (&format!("{rule}from = \"2026-02-30\"\n"), 5, "rules.OPEN_ITEM_OVERDUE.from is no such day"),
        (&format!("{rule}escalate = 1\n"), 5, "rules.OPEN_ITEM_OVERDUE.escalate is unknown"),
        (&rule.replace("commissioner", "everybody"), 4, "rules.OPEN_ITEM_OVERDUE.recipients may hold"),
        (
            &rule.replace("\"commissioner\"", "{ party = \"all\", after_minutes = 5 }"),
            4,
            "rules.OPEN_ITEM_OVERDUE.recipients may hold",
        ),
        (
            &rule.replace("\"commissioner\"", "{ party = \"provider\", after_minutes = 0 }"),
            4,
            "rules.OPEN_ITEM_OVERDUE.recipients.after_minutes must be",
        ),
        (
            &rule.replace("\"commissioner\"", "{ party = \"provider\", after_weeks = 1 }"),
            4,
            "rules.OPEN_ITEM_OVERDUE.recipients.after_weeks is unknown",
        ),
        (
            &rule.replace("\"commissioner\"", "{ party = \"provider\" }"),
            4,
            "rules.OPEN_ITEM_OVERDUE.recipients needs exactly one of after_minutes",
        ),
        (&rule.replace('3', "4"), 3, "rules.OPEN_ITEM_OVERDUE.severity must be"),
        (&rule.replace("\"IC7\"", ""), 1, "rules.OPEN_ITEM_OVERDUE needs findings and recipients"),
        (
            &format!("{rule}bundle = \"commissioner\"\n"),
            5,
            "rules.OPEN_ITEM_OVERDUE.bundle is for rules about a placement",
        ),
        (
            &format!("{}bundle = \"school\"\n", rule.replace("OPEN_ITEM_OVERDUE", "PAST_END")),
            5,
            "rules.PAST_END.bundle may be commissioner or provider",
        ),
        (
            "[rules.PAST_END]\nfindings = [\"RC2\"]\nseverity = 2\nbundle = \"commissioner\"\n\
             recipients = [{ party = \"commissioner\", after_minutes = 5 }]\n",
            4,
            "rules.PAST_END.bundle tells everybody at once",
        ),
        (
            &format!("{rule}[rules.OPEN_ITEM_OVERDUE.parameters]\nschool_days = []\n"),
            6,
            "rules.OPEN_ITEM_OVERDUE.parameters.school_days is unknown",
        ),
    ] {
        let (at, said) = fault_of(text);
        assert!(at == line && said.starts_with(what), "{text}: line {at}: {said}");
    }
}

/// Returns the embedded row of a rule with a text in place of another.
fn row_with(rule: &str, text: &str, other: &str) -> String {
    let embedded = super::super::EMBEDDED;
    let begin = embedded.find(&format!("[rules.{rule}]")).unwrap();
    let row: Vec<&str> = embedded[begin..]
        .lines()
        .take_while(|line| !line.starts_with("[rules.") || line.starts_with(&format!("[rules.{rule}")))
        .collect();
    let row = row.join("\n");
    assert!(row.contains(text), "{row}");
    row.replace(text, other)
}

#[test]
fn a_rule_tells_nobody_who_may_not_read_what_it_rests_on() {
    for rule in ["ABSENT_AT_RISK", "TWO_PLACES"] {
        for other in ["provider", "schools", "residence"] {
            let both = format!("\"commissioner\", \"{other}\"");
            let delayed = format!("\"commissioner\", {{ party = \"{other}\", after_minutes = 5 }}");
            for recipients in [both, delayed] {
                let (line, said) = fault_of(&row_with(rule, "\"commissioner\"", &recipients));
                let expected = format!("rules.{rule}.recipients may not hold {other}");
                assert!(line == 5 && said.starts_with(&expected), "{line}: {said}");
            }
        }
    }
    for rule in ["OPEN_ITEM_OVERDUE", "START_WITHOUT_PASSPORT", "NO_AGREEMENT", "TUITION_MISSED"] {
        let (_, said) = fault_of(&row_with(rule, "\"provider\"", "\"schools\""));
        assert!(said.starts_with(&format!("rules.{rule}.recipients may not hold schools")), "{said}");
    }
    RuleBook::with_overrides(&row_with("PAST_END", "\"provider\"", "\"schools\"")).unwrap();
}

#[test]
fn a_parameter_is_within_the_range_that_its_rule_declares() {
    for (rule, text, other, key) in [
        ("RETURN_MISSING", "value = 30", "value = 241", "minutes_after_end.value must be"),
        ("RETURN_MISSING", "value = 720", "value = 99999", "morning_ends_at_minute.value must be"),
        ("NO_QUALIFICATION", "value = 10 ", "value = 12 ", "first_year must not be above last_year"),
        ("NO_QUALIFICATION", "value = 11 ", "value = 15 ", "last_year.value must be"),
    ] {
        let (_, said) = fault_of(&row_with(rule, text, other));
        assert!(said.starts_with(&format!("rules.{rule}.parameters.{key}")), "{said}");
    }
    for (id, settings) in RuleBook::embedded().rules() {
        for Parameter { name, min, max, .. } in rules::parameters(id) {
            assert!(min < max && settings.parameters.contains_key(*name), "{id:?} {name}");
        }
    }
    // The latest cut-off that the ranges allow is on the same day.
    let latest: u32 = rules::parameters(RuleId::ReturnMissing).iter().map(|parameter| parameter.max).sum();
    assert_eq!(latest - 840, 1_439);
}
