//! The script of the school month: a text that people read, parsed into steps in the order of time.

use ap_gateway::calendar::{Date, TimeOfDay};
use ap_gateway::clock::Instant;

/// The heading of the steps that are done on each school day.
const EVERY_SCHOOL_DAY: &str = "every school day";

/// One step: at an instant, somebody does something.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// The day in London.
    pub day: Date,
    /// Who: a short name of the sandbox.
    pub who: String,
    /// What: a verb and its words.
    pub what: Vec<String>,
}

/// A line of the script below its heading.
struct Line {
    time: TimeOfDay,
    who: String,
    what: Vec<String>,
}

/// The script: its first and last day, and its steps.
pub struct Script {
    pub first: Date,
    pub last: Date,
    pub steps: Vec<Step>,
}

/// Parses a script. A day is `2026-10-12 Monday`; the lines below it are `09:00 who verb words`. The lines below `every
/// school day` are done on each Monday to Friday outside the half-term, unless the same organisation registers the session,
/// or is silent, in a line of the day.
pub fn parse(text: &str, half_term: (&str, &str)) -> Script {
    let (mut daily, mut days): (Vec<Line>, Vec<(Date, Vec<Line>)>) = (Vec::new(), Vec::new());
    let mut in_daily = false;
    for line in text.lines() {
        let line = line.split('#').next().unwrap().trim_end();
        if line.is_empty() {
            continue;
        }
        if line == EVERY_SCHOOL_DAY {
            in_daily = true;
        } else if !line.starts_with(' ') {
            let (date, weekday) = line.split_once(' ').unwrap_or_else(|| panic!("no weekday: {line}"));
            let date = Date::parse(date).unwrap();
            assert_eq!(weekday, weekday_of(date), "{line}");
            assert!(days.last().is_none_or(|(last, _)| *last < date), "{line} is out of order");
            in_daily = false;
            days.push((date, Vec::new()));
        } else {
            let lines = if in_daily { &mut daily } else { &mut days.last_mut().unwrap().1 };
            lines.push(parse_line(line));
        }
    }
    let (first, last) = (days[0].0, days.last().unwrap().0);
    let holidays = [half_term.0, half_term.1].map(|day| Date::parse(day).unwrap());
    let mut steps = Vec::new();
    let mut day = first;
    while day <= last {
        let own = days.iter().find(|(date, _)| *date == day).map_or(&[][..], |(_, lines)| &lines[..]);
        let is_school_day = !day.is_weekend() && !(holidays[0]..=holidays[1]).contains(&day);
        let usual = daily.iter().filter(|line| is_school_day && !own.iter().any(|own| replaces(own, line)));
        steps.extend(own.iter().chain(usual).map(|line| step(day, line)));
        day = day.next().unwrap();
    }
    steps.sort_by_key(|step| step.at);
    Script { first, last, steps }
}

fn parse_line(line: &str) -> Line {
    let mut words = line.split_whitespace().map(str::to_owned);
    let time = TimeOfDay::parse(&words.next().unwrap()).unwrap();
    Line { time, who: words.next().unwrap(), what: words.collect() }
}

/// Returns whether a line of a day takes the place of a daily one: it registers, or leaves out, the same session.
fn replaces(own: &Line, daily: &Line) -> bool {
    let is_register = matches!(own.what[0].as_str(), "registers" | "is-silent");
    is_register && own.who == daily.who && daily.what[0] == "registers" && own.what[1] == daily.what[1]
}

fn step(day: Date, line: &Line) -> Step {
    let at = line.time.instant_on(day).unwrap();
    Step { at, day, who: line.who.clone(), what: line.what.clone() }
}

fn weekday_of(date: Date) -> &'static str {
    const NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    NAMES[usize::try_from(date.days_since_monday()).unwrap()]
}

/// Returns the word after a word, such as the date after `until`.
pub fn word_after<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    words.iter().skip_while(|word| *word != name).nth(1).map(String::as_str)
}
