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
        ("[life\n", 1, "the file"),
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
