//! A term of 1,000 invented placements with the absence of state-funded alternative provision in England, evaluated by the
//! rules about placements as the gateway evaluates them. It prints how many alerts each rule raises a day, and asserts that
//! they are few enough to be read.
//!
//! National figures (DfE, Pupil absence in schools in England, alternative provision): 42.5 % of sessions are missed, 82.7 %
//! of the children miss a tenth of their sessions or more, and 39.2 % half or more. How much of it is explained, and how late
//! plans, reviews, passports and returns are, is not published; what is assumed stands beside each constant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::attendance_facts::{AttendanceFacts, Session, WeeklyTotals, last_friday};
use super::fixtures::{date, two_terms};
use super::life::{self, OnRaise};
use super::placement_facts::PlacementFacts;
use super::plan_facts::{PlanFacts, PlannedWeek};
use super::rule_book::{Bundle, RuleBook};
use super::rule_id::RuleId;
use super::rules::PLACEMENT_RULES;
use crate::calendar::{Date, Period, SchoolCalendar};
use crate::clock::{Instant, Randomness};
use crate::codes::rates::AttendanceRates;
use crate::proto::v1::AlertState;
use crate::returns::SessionSlot;
use crate::returns::mark_meaning::MarkMeaning;

const PLACEMENTS: u64 = 1_000;
/// Goal: alerts of one rule a school day.
const MAX_ALERTS_A_DAY: f64 = 20.0;
/// The commissioners and providers of the placements. A bundled rule raises one alert for each and day.
const COMMISSIONERS: u64 = 6;
const PROVIDERS: u64 = 40;

/// Rules of which an alert for each placement is too many: about 20 a day, and 140 on a Friday. Here the placements of a
/// commissioner share one.
const BUNDLED: [&str; 2] = ["[rules.ABSENT_THIRD_DAY]\n", "[rules.ATTENDANCE_DROP]\n"];
/// Bands of absence: the share of the children in per mille, and the least and greatest share of sessions that they miss.
/// Within a band the shares are spread evenly.
const BANDS: [(u64, u64, u64); 3] = [(173, 0, 96), (435, 105, 470), (392, 540, 1_000)];
/// Reasons of an absence, of 100 spells. Assumed: half are not explained.
const REASONS: [(u64, Reason); 3] = [(48, Reason::Unexplained), (20, Reason::Illness), (32, Reason::Other)];

/// Of 100 children, those whom the commissioner's passport marks as looked after, on a protection plan or missing before.
const AT_RISK: u64 = 12;
/// Of 100 placements, those whose passport is acknowledged before the first day ends; the others' follows in three weeks.
const ACKNOWLEDGED_AT_START: u64 = 85;
/// Of 100 reviews, those of which a plan or a return speaks on the day; the others follow in three weeks.
const REVIEWED_IN_TIME: u64 = 80;
/// Weeks between reviews, and between returns of progress.
const WEEKS_BETWEEN: i32 = 6;
/// Weeks of a placement; of 100 ends, so many are extended or recorded in time, and the others within a week.
const WEEKS_PLACED: i32 = 12;
const ENDED_IN_TIME: u64 = 90;

/// Why a session was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Unexplained,
    Illness,
    Other,
}

/// Draws numbers from a seed.
struct Draw(Randomness);

impl Draw {
    fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound.max(1)
    }

    fn is_of_100(&self, share: u64) -> bool {
        self.below(100) < share
    }

    fn days(&self, most: u64) -> i32 {
        i32::try_from(self.below(most)).unwrap() + 1
    }
}

/// A placement with what happens to it, by day.
struct Placed {
    facts: PlacementFacts,
    commissioner: u64,
    provider: u64,
    /// Its school days, each with the two sessions that were missed or attended.
    days: BTreeMap<Date, [Option<Reason>; 2]>,
    /// Days on which a passport is acknowledged, a plan is put with another end, and a return of progress is received.
    acknowledged: Date,
    plans: BTreeMap<Date, Date>,
    progress: BTreeSet<Date>,
}

impl Placed {
    fn new(number: u64, draw: &Draw, calendar: &SchoolCalendar, last: Date) -> Self {
        // Most started before the term that is counted, a seventh in it.
        let start = if number.is_multiple_of(7) { date("2027-01-05") } else { date("2026-11-02") };
        let start = calendar.add_school_days(start, u32::try_from(draw.below(28)).unwrap());
        let acknowledged =
            if draw.is_of_100(ACKNOWLEDGED_AT_START) { start } else { start.plus_days(draw.days(21)) };
        let reviews = (1..=2).map(|turn| start.plus_days(7 * WEEKS_BETWEEN * turn));
        let returns = (1..=4).map(|turn| start.plus_days(7 * WEEKS_BETWEEN * turn));
        let spoken =
            |due: Date| if draw.is_of_100(REVIEWED_IN_TIME) { due } else { due.plus_days(draw.days(21)) };
        let end = start.plus_days(7 * WEEKS_PLACED);
        let known = if draw.is_of_100(ENDED_IN_TIME) { end } else { end.plus_days(draw.days(7)) };
        let attendance =
            AttendanceFacts { is_at_risk: draw.is_of_100(AT_RISK), ..AttendanceFacts::default() };
        let facts = PlacementFacts {
            attendance,
            plan: plan_facts(draw),
            agreements: vec![agreed(draw)],
            is_live: true,
            is_active: true,
            start: Some(start),
            planned_end: Some(end),
            plan_put: Some(start),
            review_dates: reviews.collect(),
            provider_days: calendar.clone(),
            ..PlacementFacts::default()
        };
        let school_days = Period::new(start, last).into_iter().flat_map(Period::days);
        let school_days: Vec<Date> = school_days.filter(|day| calendar.is_term_day(*day)).collect();
        Self {
            facts,
            commissioner: number % COMMISSIONERS,
            provider: number % PROVIDERS,
            days: absence(number, draw, &school_days),
            acknowledged,
            plans: [(known, last.plus_days(14))].into(),
            progress: returns.map(spoken).collect(),
        }
    }

    /// Adds what happened on a day to the facts.
    fn pass(&mut self, day: Date) {
        self.facts.passport_acknowledged |= self.acknowledged <= day;
        if let Some(end) = self.plans.get(&day) {
            (self.facts.planned_end, self.facts.plan_put) = (Some(*end), Some(day));
        }
        if self.progress.contains(&day) {
            self.facts.progress_received = Some(day);
        }
        self.attend(day);
    }

    /// Adds a day's marks, and on the eve of a Friday the totals.
    fn attend(&mut self, day: Date) {
        let attendance = &mut self.facts.attendance;
        for (slot, missed) in
            [SessionSlot::AM, SessionSlot::PM].into_iter().zip(self.days.get(&day).into_iter().flatten())
        {
            let meaning = match missed {
                None => MarkMeaning::Present,
                Some(Reason::Unexplained) => MarkMeaning::Unexplained,
                Some(Reason::Illness) => MarkMeaning::Illness,
                Some(Reason::Other) => MarkMeaning::OtherAbsence,
            };
            attendance.sessions.push(Session { date: day, slot, meaning, end: None });
            attendance.illness.extend((meaning == MarkMeaning::Illness).then_some(day));
        }
        let friday = Date::in_london(day.end_of_day());
        if last_friday(friday) == friday {
            let (before, last) =
                attendance.sessions.split_at(attendance.sessions.len().saturating_sub(LAST_SESSIONS));
            let since = last.first().map_or(day, |first| first.date.plus_days(-42));
            let before = before.iter().filter(|session| session.date >= since);
            attendance.weekly = Some(WeeklyTotals {
                friday,
                first: friday,
                last: totals(last.iter()),
                before: totals(before),
            });
        }
    }

    fn is_missed_by(&self, least_per_mille: usize) -> bool {
        let missed = self.days.values().flatten().flatten().count();
        1_000 * missed >= least_per_mille * 2 * self.days.len()
    }
}

/// Of 100 plans, those that arrange a full week, and those that name a qualification.
const FULL_WEEKS: u64 = 85;
const WITH_QUALIFICATION: u64 = 85;
/// Of 100 agreements, those that last longer than the term.
const LASTING: u64 = 95;

/// Makes what a plan says. Of 100 children, 60 are in years 10 and 11.
fn plan_facts(draw: &Draw) -> PlanFacts {
    let is_full = draw.is_of_100(FULL_WEEKS);
    let week = PlannedWeek {
        put: None,
        sessions: Some(if is_full { 10 } else { 5 }),
        minutes: Some(if is_full { 1_500 } else { 750 }),
        rest_minutes: Some(0),
        part_time_review: None,
    };
    PlanFacts {
        weeks: vec![week],
        is_non_school: true,
        has_qualification: draw.is_of_100(WITH_QUALIFICATION),
        cohort: Some(if draw.is_of_100(60) { 2016 } else { 2018 }),
    }
}

fn agreed(draw: &Draw) -> Period {
    let last = if draw.is_of_100(LASTING) {
        date("2027-08-31")
    } else {
        date("2027-01-05").plus_days(draw.days(79))
    };
    Period::new(date("2026-09-01"), last).unwrap()
}

/// Sessions that `ATTENDANCE_DROP` compares with those of the six weeks before.
const LAST_SESSIONS: usize = 10;

fn totals<'a>(sessions: impl Iterator<Item = &'a Session>) -> AttendanceRates {
    let mut totals = AttendanceRates::default();
    for session in sessions {
        let attended = u64::from(session.meaning.is_attended());
        totals.merge(AttendanceRates { possible: 1, attended, absent: 1 - attended });
    }
    totals
}

/// Spreads the absence of a child over its days, in spells: the more it misses, the longer they are.
fn absence(number: u64, draw: &Draw, school_days: &[Date]) -> BTreeMap<Date, [Option<Reason>; 2]> {
    // A number's place among all, so that each thousand has the same shares.
    let place = number * 619 % PLACEMENTS;
    let mut first = 0;
    let mut rate = 0;
    for (share, least, greatest) in BANDS {
        if (first..first + share).contains(&place) {
            rate = least + (greatest - least) * (place - first) / share;
        }
        first += share;
    }
    let mut days: Vec<[Option<Reason>; 2]> = vec![[None; 2]; school_days.len()];
    let size = days.len() as u64;
    let mut left = (2 * size * rate + 500) / 1_000;
    while left > 0 {
        let mut drawn = draw.below(100);
        let mut reason = Reason::Other;
        for (share, one) in REASONS {
            if drawn < share {
                reason = one;
                break;
            }
            drawn -= share;
        }
        let (from, length) = (draw.below(size), 1 + draw.below(2 + rate / 60));
        for day in days.iter_mut().skip(usize::try_from(from).unwrap()).take(usize::try_from(length).unwrap())
        {
            for session in day.iter_mut().filter(|session| session.is_none()) {
                if left > 0 {
                    *session = Some(reason);
                    left -= 1;
                }
            }
        }
    }
    school_days.iter().copied().zip(days).collect()
}

/// The newest alert of a rule about a placement.
struct Newest {
    state: AlertState,
    raised: Instant,
    ended: Option<Instant>,
}

/// Alerts that were raised in the term that is counted: by rule and day, those about whom.
type Raised = BTreeMap<RuleId, BTreeMap<Date, Vec<(u64, u64)>>>;

impl Newest {
    /// Decides what is done with the alert of a rule whose cause holds, as the gateway does.
    fn on_raise(
        &self,
        at: Instant,
        (not_again_within, book): (Option<u32>, &RuleBook),
        calendar: &SchoolCalendar,
    ) -> OnRaise {
        match not_again_within {
            Some(days) => {
                life::on_raise_after((self.state, (self.raised, self.ended)), at, (days, book), calendar)
            }
            None => life::on_raise((self.state, self.ended, false), at, book, calendar),
        }
    }
}

/// Evaluates the rules when each day ends, and returns what they raised in the counted days.
fn run(placed: &mut [Placed], counted: Period, book: &RuleBook, calendar: &SchoolCalendar) -> Raised {
    let (mut raised, mut newest) = (Raised::new(), HashMap::<(usize, RuleId), Newest>::new());
    for day in Period::new(date("2026-11-02"), counted.last()).unwrap().days() {
        let (at, today) = (day.end_of_day(), Date::in_london(day.end_of_day()));
        for (number, placed) in placed.iter_mut().enumerate() {
            placed.pass(day);
            let start = placed.facts.start;
            if start.is_none_or(|start| start > day) {
                continue;
            }
            for rule in PLACEMENT_RULES {
                let settings = book.running(rule.id(), today).filter(|rule| rule.covers(start));
                let Some(settings) = settings else { continue };
                let known = newest.get_mut(&(number, rule.id()));
                if rule.evaluate(&placed.facts, at, settings).cause.is_none() {
                    if let Some(open) = known.filter(|known| known.state == AlertState::Open) {
                        (open.state, open.ended) = (AlertState::Closed, Some(at));
                    }
                    continue;
                }
                let not_again = rule.not_again_within().and_then(|name| settings.parameter(name, today));
                if known.is_some_and(|known| known.on_raise(at, (not_again, book), calendar) == OnRaise::Keep)
                {
                    continue;
                }
                let opened = Newest { state: AlertState::Open, raised: at, ended: None };
                newest.insert((number, rule.id()), opened);
                if counted.contains(day) {
                    let of_rule = raised.entry(rule.id()).or_default().entry(day).or_default();
                    of_rule.push((placed.commissioner, placed.provider));
                }
            }
        }
    }
    raised
}

fn ratio(part: usize, whole: usize) -> f64 {
    f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(whole).unwrap())
}

fn place_all(last: Date) -> Vec<Placed> {
    let (calendar, draw) = (two_terms(), Draw(Randomness::seeded(b"national absence")));
    (0..PLACEMENTS).map(|number| Placed::new(number, &draw, &calendar, last)).collect()
}

#[test]
fn the_fixture_has_the_national_absence() {
    let placed = place_all(date("2027-03-25"));
    let sessions = placed.iter().map(|placed| 2 * placed.days.len()).sum();
    let missed = placed.iter().flat_map(|placed| placed.days.values().flatten().flatten()).count();
    let missed = 100.0 * ratio(missed, sessions);
    let share = |least| {
        let those = placed.iter().filter(|placed| placed.is_missed_by(least)).count();
        100.0 * ratio(those, placed.len())
    };
    println!("missed {missed:.1} %, persistently {:.1} %, severely {:.1} %", share(100), share(500));
    assert!((missed - 42.5).abs() < 0.5);
    assert!((share(100) - 82.7).abs() < 0.5 && (share(500) - 39.2).abs() < 0.5);
}

/// Counts the alerts of a day: one for each placement, or for each organisation whose placements share one.
fn count_alerts(about: &[(u64, u64)], bundle: Option<Bundle>) -> usize {
    match bundle {
        None => about.len(),
        Some(Bundle::Commissioner) => about.iter().map(|one| one.0).collect::<BTreeSet<_>>().len(),
        Some(Bundle::Provider) => about.iter().map(|one| one.1).collect::<BTreeSet<_>>().len(),
    }
}

fn bundling_book() -> Arc<RuleBook> {
    let bundled =
        |text: String, rule: &&str| text.replace(rule, &format!("{rule}bundle = \"commissioner\"\n"));
    let text = BUNDLED.iter().fold(include_str!("rules.toml").to_owned(), bundled);
    RuleBook::with_overrides(&text).unwrap()
}

#[test]
fn a_thousand_placements_raise_few_alerts_a_day() {
    let counted = Period::new(date("2027-01-05"), date("2027-03-25")).unwrap();
    let (mut placed, calendar, book) = (place_all(counted.last()), two_terms(), bundling_book());
    let raised = run(&mut placed, counted, &book, &calendar);
    let school_days = counted.days().filter(|day| calendar.is_term_day(*day)).count();
    let (mut total, mut by_rule) = (0.0, Vec::new());
    for (rule, days) in &raised {
        let bundle = book.settings(*rule).and_then(|settings| settings.bundle);
        let alerts = days.values().map(|about| count_alerts(about, bundle)).sum();
        let a_day = ratio(alerts, school_days);
        total += a_day;
        by_rule.push((rule, a_day, ratio(days.values().map(Vec::len).sum(), school_days)));
    }
    assert!(total > 0.0);
    for (rule, a_day, about) in by_rule {
        let share = 100.0 * a_day / total;
        println!(
            "{}: {a_day:.2} alerts a school day ({share:.0} %), about {about:.2} placements",
            rule.as_str()
        );
        assert!(a_day <= MAX_ALERTS_A_DAY, "{}", rule.as_str());
    }
    println!("all: {total:.2} alerts a school day, of {} placements", placed.len());
}
