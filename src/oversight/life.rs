//! The life of an alert, as a pure function of its facts, an instant and the rule book: when it is escalated, and when
//! it is opened again.
//!
//! OPEN is escalated when its act-by instant passes and nobody acted on it. RESOLVED is opened again if its cause still
//! holds some school days later. A cause that holds again soon after the alert was CLOSED opens it again too; that is
//! decided when the rule raises it ([`on_raise`]).

use super::act_by::{act_by, end_of_school_days};
use super::rule_book::RuleBook;
use super::severity::Severity;
use crate::calendar::SchoolCalendar;
use crate::clock::Instant;
use crate::proto::v1::AlertState;

/// What is known of an alert.
#[derive(Clone, Copy, Debug)]
pub struct AlertFacts {
    /// State.
    pub state: AlertState,
    /// Severity.
    pub severity: Severity,
    /// How often it was escalated since it was opened.
    pub level: u32,
    /// Until when somebody must act on it.
    pub act_by: Instant,
    /// When it ended; `None` while it is open.
    pub ended: Option<Instant>,
    /// Whether somebody acted on it since it was opened.
    pub is_acted_on: bool,
    /// Whether its cause holds.
    pub cause_holds: bool,
    /// Whether a party is to be told by now that was not told.
    pub is_telling_due: bool,
    /// When a further party is to be told.
    pub next_telling: Option<Instant>,
}

/// What is done with an alert at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Those who are told later, and whose time has come, are told.
    Tell,
    /// It goes up by a level, with a new instant by which somebody must act.
    Escalate(Instant),
    /// It is open again, with the instant by which somebody must act.
    Reopen(Instant),
}

/// Decides what is done with an alert at an instant, and when it is looked at next if nothing happens before.
#[must_use]
pub fn decide(
    alert: &AlertFacts,
    at: Instant,
    book: &RuleBook,
    calendar: &SchoolCalendar,
) -> (Step, Option<Instant>) {
    let new_act_by = || act_by(at, book.act_within(alert.severity), book.school_hours, calendar);
    let earliest = |act_by: Option<Instant>| [alert.next_telling, act_by].into_iter().flatten().min();
    match (alert.state, alert.ended) {
        (AlertState::Open, _) if alert.is_telling_due && alert.cause_holds => {
            (Step::Tell, earliest(Some(alert.act_by).filter(|act_by| *act_by >= at)))
        }
        (AlertState::Open, _) if at < alert.act_by => (Step::Keep, earliest(Some(alert.act_by))),
        (AlertState::Open, _)
            if alert.cause_holds && !alert.is_acted_on && alert.level < book.escalations =>
        {
            let act_by = new_act_by();
            (Step::Escalate(act_by), earliest((alert.level + 1 < book.escalations).then_some(act_by)))
        }
        (AlertState::Open, _) => (Step::Keep, alert.next_telling),
        (AlertState::Resolved, Some(ended)) => {
            let check = end_of_school_days(ended, book.reopen_resolved_after_school_days, calendar);
            if at < check {
                (Step::Keep, Some(check))
            } else if alert.cause_holds {
                let act_by = new_act_by();
                (Step::Reopen(act_by), Some(act_by))
            } else {
                (Step::Keep, None)
            }
        }
        _ => (Step::Keep, None),
    }
}

/// What a rule that finds a cause does with the newest alert that it raised about the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRaise {
    /// Nothing: the alert is open, or its resolution is still to be checked.
    Keep,
    /// The alert is opened again.
    Reopen,
    /// Another alert is raised.
    New,
}

/// Decides what a rule that finds a cause at an instant does with the newest alert that it raised about the subject:
/// its state, when it ended, and whether the cause is another than that of which it was raised. What was resolved was
/// resolved of its own cause, so another one opens the alert again at once.
#[must_use]
pub fn on_raise(
    (state, ended, is_another): (AlertState, Option<Instant>, bool),
    at: Instant,
    book: &RuleBook,
    calendar: &SchoolCalendar,
) -> OnRaise {
    let until = |days| ended.map(|ended| end_of_school_days(ended, days, calendar));
    let is_within = |days| until(days).is_some_and(|until| at <= until);
    match state {
        AlertState::Open => OnRaise::Keep,
        AlertState::Resolved if !is_another && is_within(book.reopen_resolved_after_school_days) => {
            OnRaise::Keep
        }
        AlertState::Resolved | AlertState::Closed if is_within(book.reopen_closed_within_school_days) => {
            OnRaise::Reopen
        }
        _ => OnRaise::New,
    }
}

/// Decides the same for a rule that says itself how many school days after an alert it raises another one: the state of the
/// newest, when it was raised, and when it ended. It is not opened again; only a resolution whose cause still holds when it
/// is checked opens it again, so before that check no other one is raised.
#[must_use]
pub fn on_raise_after(
    (state, (raised, ended)): (AlertState, (Instant, Option<Instant>)),
    at: Instant,
    (days, book): (u32, &RuleBook),
    calendar: &SchoolCalendar,
) -> OnRaise {
    let is_checked_later = on_raise((state, ended, false), at, book, calendar) == OnRaise::Keep;
    if is_checked_later || at <= end_of_school_days(raised, days, calendar) {
        OnRaise::Keep
    } else {
        OnRaise::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oversight::fixtures::{at, date, two_terms};

    fn open(act_by: Instant) -> AlertFacts {
        AlertFacts {
            state: AlertState::Open,
            severity: Severity::Two,
            level: 0,
            act_by,
            ended: None,
            is_acted_on: false,
            cause_holds: true,
            is_telling_due: false,
            next_telling: None,
        }
    }

    fn step(alert: &AlertFacts, now: Instant) -> (Step, Option<Instant>) {
        decide(alert, now, &RuleBook::embedded(), &two_terms())
    }

    #[test]
    fn an_open_alert_is_escalated_twice_at_its_instants_unless_somebody_acted() {
        let act_by = date("2026-11-19").end_of_day();
        let before = Instant::from_micros(act_by.micros() - 1).unwrap();
        assert_eq!(step(&open(act_by), before), (Step::Keep, Some(act_by)));
        // The instant ends Thursday; two school days later is Monday.
        let second = date("2026-11-23").end_of_day();
        assert_eq!(step(&open(act_by), act_by), (Step::Escalate(second), Some(second)));
        let third = date("2026-11-25").end_of_day();
        let once = AlertFacts { level: 1, ..open(second) };
        assert_eq!(step(&once, second), (Step::Escalate(third), None));
        assert_eq!(step(&AlertFacts { level: 2, ..open(third) }, third), (Step::Keep, None));
        assert_eq!(step(&AlertFacts { is_acted_on: true, ..open(act_by) }, act_by), (Step::Keep, None));
        assert_eq!(step(&AlertFacts { cause_holds: false, ..open(act_by) }, act_by), (Step::Keep, None));
    }

    #[test]
    fn those_who_are_told_later_are_told_while_the_alert_is_open() {
        let (act_by, telling) = (at("2026-11-20 12:00"), at("2026-11-19 12:00"));
        let waiting = AlertFacts { next_telling: Some(telling), ..open(act_by) };
        assert_eq!(step(&waiting, at("2026-11-19 11:59")), (Step::Keep, Some(telling)));
        let due = AlertFacts { is_telling_due: true, ..open(act_by) };
        assert_eq!(step(&due, telling), (Step::Tell, Some(act_by)));
        assert_eq!(step(&AlertFacts { cause_holds: false, ..due }, telling), (Step::Keep, Some(act_by)));
        let acted_on = AlertFacts { is_acted_on: true, ..due };
        assert_eq!(step(&acted_on, telling), (Step::Tell, Some(act_by)), "whatever the others did");
        // At the same instant they are told first; the escalation, which is due still, follows.
        assert_eq!(step(&due, act_by), (Step::Tell, Some(act_by)));
        assert_eq!(step(&due, at("2026-11-23 12:00")), (Step::Tell, None));
        let later =
            AlertFacts { is_acted_on: true, next_telling: Some(at("2026-11-24 12:00")), ..open(act_by) };
        assert_eq!(step(&later, act_by), (Step::Keep, Some(at("2026-11-24 12:00"))));
    }

    #[test]
    fn an_alert_of_severity_1_is_escalated_within_school_hours() {
        let urgent = AlertFacts { severity: Severity::One, ..open(at("2026-11-20 14:30")) };
        let monday = at("2026-11-23 10:00");
        assert_eq!(step(&urgent, at("2026-11-20 14:30")), (Step::Escalate(monday), Some(monday)));
    }

    #[test]
    fn a_resolved_alert_is_checked_five_school_days_later() {
        let ended = Some(at("2026-11-18 10:00"));
        let alert = AlertFacts { state: AlertState::Resolved, ended, ..open(at("2026-11-18 11:00")) };
        let check = date("2026-11-25").end_of_day();
        assert_eq!(step(&alert, at("2026-11-18 10:00")), (Step::Keep, Some(check)));
        let act_by = date("2026-11-27").end_of_day();
        assert_eq!(step(&alert, check), (Step::Reopen(act_by), Some(act_by)));
        assert_eq!(step(&AlertFacts { cause_holds: false, ..alert }, check), (Step::Keep, None));
        let closed = AlertFacts { state: AlertState::Closed, ..alert };
        assert_eq!(step(&closed, check), (Step::Keep, None), "a closed alert is opened by its rule alone");
    }

    #[test]
    fn a_cause_that_holds_again_soon_opens_the_alert_again() {
        let raise = |state, ended: Option<&str>, now: &str| {
            on_raise((state, ended.map(at), false), at(now), &RuleBook::embedded(), &two_terms())
        };
        assert_eq!(raise(AlertState::Open, None, "2026-11-18 10:00"), OnRaise::Keep);
        let ended = Some("2026-09-07 10:00");
        for (state, now, expected) in [
            (AlertState::Closed, "2026-09-07 10:01", OnRaise::Reopen),
            (AlertState::Closed, "2026-10-05 23:59", OnRaise::Reopen),
            (AlertState::Closed, "2026-10-06 00:01", OnRaise::New),
            (AlertState::Resolved, "2026-09-14 23:59", OnRaise::Keep),
            (AlertState::Resolved, "2026-09-15 00:01", OnRaise::Reopen),
            (AlertState::Resolved, "2026-10-06 00:01", OnRaise::New),
        ] {
            assert_eq!(raise(state, ended, now), expected, "{state:?} {now}");
        }
    }

    #[test]
    fn another_cause_opens_a_resolved_alert_at_once() {
        let raise = |state, now: &str| {
            let facts = (state, Some(at("2026-09-07 10:00")), true);
            on_raise(facts, at(now), &RuleBook::embedded(), &two_terms())
        };
        assert_eq!(raise(AlertState::Open, "2026-09-07 10:01"), OnRaise::Keep);
        assert_eq!(raise(AlertState::Resolved, "2026-09-07 10:01"), OnRaise::Reopen);
        assert_eq!(raise(AlertState::Resolved, "2026-10-05 23:59"), OnRaise::Reopen);
        assert_eq!(raise(AlertState::Resolved, "2026-10-06 00:01"), OnRaise::New);
    }

    #[test]
    fn a_rule_that_says_when_raises_another_alert_after_its_school_days() {
        let raise = |state, ended: Option<&str>, now: &str| {
            let times = (at("2026-09-07 10:00"), ended.map(at));
            on_raise_after((state, times), at(now), (20, &RuleBook::embedded()), &two_terms())
        };
        for state in [AlertState::Closed, AlertState::Resolved] {
            let ended = Some("2026-09-08 10:00");
            assert_eq!(raise(state, ended, "2026-09-14 10:00"), OnRaise::Keep);
            assert_eq!(raise(state, ended, "2026-10-05 23:59"), OnRaise::Keep);
            assert_eq!(raise(state, ended, "2026-10-06 00:01"), OnRaise::New);
        }
        assert_eq!(raise(AlertState::Open, None, "2026-10-06 00:01"), OnRaise::Keep);
        // Resolved on Friday 2 October: until its check, when Friday 9 October ends, it stands for the cause.
        let ended = Some("2026-10-02 10:00");
        assert_eq!(raise(AlertState::Resolved, ended, "2026-10-06 00:01"), OnRaise::Keep);
        assert_eq!(raise(AlertState::Resolved, ended, "2026-10-10 00:00"), OnRaise::Keep);
        assert_eq!(raise(AlertState::Resolved, ended, "2026-10-10 00:01"), OnRaise::New);
        assert_eq!(raise(AlertState::Closed, ended, "2026-10-06 00:01"), OnRaise::New);
    }
}
