//! A school month on the sandbox, scripted in `tests/data/school-month`: who is told what, and when, is the list there, and
//! nothing is missing or too much. Corrections, late marks, closures, the half-term and the change of the clocks are in it.

mod actions;
mod events;
mod script;

use std::collections::BTreeMap;

use ap_gateway::calendar::{Date, TimeOfDay};
use ap_gateway::clock::{Instant, Randomness};
use tempfile::TempDir;

use super::log_verification::assert_verifies;
use super::support::{Postgres, World};
use actions::Actors;
use events::Names;
use script::Script;

const SCRIPT: &str = include_str!("../../data/school-month/script.txt");
const EXPECTED: &str = include_str!("../../data/school-month/expected.txt");
const RULES: &str = include_str!("../../../src/oversight/rules.toml");
/// The half-term of every organisation of the sandbox.
const HALF_TERM: (&str, &str) = ("2026-10-26", "2026-10-30");
/// When the month begins.
const BEGINNING: &str = "2026-10-12T05:00:00Z";
/// The first day of the rules, in place of that of the embedded rule book: before the month.
const RULES_FROM: (&str, &str) = ("2026-11-02", "2026-10-01");
/// Times of Monday to Friday at which oversight runs, besides those of the steps and the midnight after each day: some of
/// the instants at which a return, or an answer to an alert, is due.
const TIMES: [&str; 8] = ["10:00", "10:30", "11:30", "12:00", "14:00", "14:30", "15:30", "16:00"];
/// What a line of the expected list ends with that is for the month with the flags only.
const ONLY_FLAGGED: &str = " if flagged";

/// The organisations, by short name.
const ORGANISATIONS: [&str; 6] = ["la-a", "la-b", "school", "provider-a", "provider-b", "provider-c"];

/// Lists the instants of the month at which oversight runs, besides those of the steps.
fn instants(script: &Script) -> Vec<Instant> {
    let mut instants = Vec::new();
    let mut day = script.first;
    while day <= script.last {
        let times = TIMES.iter().filter(|_| !day.is_weekend());
        instants.extend(times.map(|time| TimeOfDay::parse(time).unwrap().instant_on(day).unwrap()));
        instants.push(day.end_of_day());
        day = day.next().unwrap();
    }
    instants
}

/// What the month has brought.
struct Outcome {
    /// What each organisation was told, in the order of time.
    events: Vec<String>,
    /// What each organisation received, by short name.
    bytes: BTreeMap<&'static str, Vec<Vec<u8>>>,
    dir: TempDir,
}

/// Runs the month: each step at its instant, and oversight after it, at each instant in between, and when a day begins.
async fn run(postgres: Option<Postgres>, flagged: bool) -> Outcome {
    let world = World::start(TempDir::new().unwrap(), postgres, BEGINNING, &Randomness::system()).await;
    let rules = RULES.replace(&format!("\"{}\"", RULES_FROM.0), &format!("\"{}\"", RULES_FROM.1));
    let world = world.with_rules(&rules, BEGINNING).await;
    let script = script::parse(SCRIPT, HALF_TERM);
    let mut actors = Actors::connect(&world, flagged).await;
    let mut between = instants(&script).into_iter().peekable();
    for step in &script.steps {
        while let Some(at) = between.next_if(|at| *at < step.at) {
            world.advance(&at.to_string());
            world.run_oversight().await;
        }
        world.advance(&step.at.to_string());
        actors.act(step).await;
        world.run_oversight().await;
    }
    for at in between {
        world.advance(&at.to_string());
        world.run_oversight().await;
    }
    let names: Names = actors.placed.iter().map(|(name, placed)| (placed.id.clone(), name.clone())).collect();
    let since = BEGINNING.parse().unwrap();
    let (mut events, mut bytes) = (Vec::new(), BTreeMap::new());
    for name in ORGANISATIONS {
        events.extend(events::of_alerts(&actors.clients[name], name, since, &names).await);
        bytes.insert(name, events::bytes_received(&actors.clients[name], &names).await);
    }
    events.sort();
    drop(actors);
    Outcome { events, bytes, dir: world.stop().await }
}

/// Returns the lines of the expected list for a month, in the order of time. A line that ends with `if flagged` is for the
/// month with the flags only.
fn expected(flagged: bool) -> Vec<String> {
    let lines = EXPECTED.lines().map(|line| line.split('#').next().unwrap());
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines = lines.filter(|line| !line.is_empty() && (flagged || !line.ends_with(ONLY_FLAGGED)));
    let mut lines: Vec<String> = lines.map(|line| line.trim_end_matches(ONLY_FLAGGED).to_owned()).collect();
    lines.sort();
    lines
}

#[track_caller]
fn assert_events(events: &[String], flagged: bool) {
    let expected = expected(flagged);
    let missing: Vec<_> = expected.iter().filter(|line| !events.contains(line)).collect();
    let extra: Vec<_> = events.iter().filter(|line| !expected.contains(line)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:#?}\ntoo much: {extra:#?}");
    assert_eq!(events, expected, "a line comes twice");
}

/// The commissioner alone knows the flags of its passports: for everybody else the month is the same to the byte, with and
/// without them, on either database.
#[tokio::test(flavor = "multi_thread")]
async fn the_month_tells_what_is_expected_and_flags_to_nobody_else() {
    let (flagged, plain) =
        tokio::join!(Box::pin(run(None, true)), Box::pin(run(Some(Postgres::start()), false)));
    assert_events(&flagged.events, true);
    assert_events(&plain.events, false);
    for name in ORGANISATIONS.into_iter().filter(|name| *name != "la-a") {
        assert_eq!(flagged.bytes[name].len(), plain.bytes[name].len(), "{name}");
        for (one, other) in flagged.bytes[name].iter().zip(&plain.bytes[name]) {
            assert_eq!(one, other, "{name}: {} is not {}", one.escape_ascii(), other.escape_ascii());
        }
    }
    assert_verifies(flagged.dir.path()).await;
}

#[test]
fn the_script_is_in_the_month_and_in_order() {
    let script = script::parse(SCRIPT, HALF_TERM);
    assert!(script.steps.is_sorted_by_key(|step| step.at));
    let change = Date::parse("2026-10-25").unwrap();
    assert!(script.first < change && change < script.last, "the clocks change within the month");
}
