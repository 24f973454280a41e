//! Edits of a database that `audit verify` must find and name. Those of the first kind are made from the schema: every
//! column and row of every table. Those of the second kind change an answer, consistently in every table. Operational
//! tables, of which nothing is proved, are shown to have no part in any response. All on both databases.

/// Prints a line of a report, which the test harness shows with `--nocapture` or when the test fails.
macro_rules! say {
    ($($text:tt)*) => { crate::edits::print_line(&format!($($text)*)) };
}

mod answers;
pub mod copies;
pub mod filled;
mod generate;
mod judge;
mod operational;
mod prepared;
pub mod schema;

use std::collections::BTreeSet;
use std::time::Instant;

use ap_gateway::clock::Randomness;
use ap_gateway::gateway;
use ap_gateway::store::{Database, DatabaseLocation, TableClass};

use self::answers::answer_edits;
use self::copies::{EditedCopy, tables_of};
use self::filled::{FilledDatabase, KINDS, MIN_ENTRIES, count_rows, distinct_values};
use self::generate::{Edit, edits_of};
use self::judge::{Report, Verifier};
use self::prepared::{prepared_edits, rewrapped_keys};
use super::schema::MIGRATIONS;
use super::support::Postgres;

/// Number of edits that a run without `AP_GATEWAY_TEST_EDITS` makes on each database.
const DEFAULT_EDITS: usize = 200;
/// Minimum number of rows of every table.
const MIN_ROWS: i64 = 3;
/// Tables that may have fewer rows, each with the reason.
const TABLES_WITH_FEWER_ROWS: [(&str, &str); 3] = [
    ("disposed_placements", "no method disposes of a child yet"),
    ("disposed_rows", "no method disposes of a row yet"),
    ("index_progress", "it has one row"),
];
/// Edits that `audit verify` does not find or name yet: by table, and by column or by a part of what is done. `*` stands
/// for all.
const NOT_VERIFIED: &[(&str, &str)] = &[
    // Named as a fault of `callers`.
    ("index_progress", "*"),
];
/// Edits of answers that `audit verify` does not find yet, by their names.
const ANSWERS_NOT_VERIFIED: &[&str] = &[];

#[expect(clippy::print_stdout, reason = "the report of a test is its output")]
fn print_line(line: &str) {
    println!("{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_is_found_on_sqlite() {
    every_edit_is_found(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_is_found_on_postgresql() {
    // Nothing here is about a crash, and without syncs a table is set back sooner.
    every_edit_is_found(Some(Postgres::start())).await;
}

/// Makes the database once and edits copies of it in each of the three ways.
async fn every_edit_is_found(postgres: Option<Postgres>) {
    let started = Instant::now();
    let filled = FilledDatabase::create(postgres).await;
    say!("the database was made in {:.1?}", started.elapsed());
    let faults = [
        edits_from_the_schema(&filled).await,
        changed_answers(&filled).await,
        operational::differing_responses(&filled).await,
    ];
    say!("all in {:.1?}", started.elapsed());
    let faults = faults.concat();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Makes edits of every column and returns those that are not found or named.
async fn edits_from_the_schema(filled: &FilledDatabase) -> Vec<String> {
    let copy = EditedCopy::create(filled, "edited").await;
    assert_every_table_has_rows(&copy.location).await;
    let verifier = Verifier::new(filled.dir.path());
    let untouched = verifier.verify(&copy.location).await;
    assert!(untouched.is_empty(), "{untouched:?}");
    let edits = chosen_edits(&copy).await;
    let (mut report, started) = (Report::default(), Instant::now());
    report.judge_edits(&copy, &verifier, edits).await;
    let missed = report.print();
    copy.close().await;
    say!("judged in {:.1?}", started.elapsed());
    missed
}

async fn assert_every_table_has_rows(location: &DatabaseLocation) {
    let database = Database::open(location).await.unwrap();
    let mut short = Vec::new();
    for table in gateway::tables() {
        let count = count_rows(&database, table.name).await;
        let is_excused = TABLES_WITH_FEWER_ROWS.iter().any(|(name, _)| *name == table.name);
        if count < MIN_ROWS && !is_excused {
            short.push(format!("{} has {count} rows", table.name));
        }
    }
    for (table, column, values) in KINDS {
        let found = distinct_values(&database, table, column).await;
        for missing in values.iter().filter(|value| !found.contains(value)) {
            short.push(format!("{table} has no row whose {column} is {missing}"));
        }
    }
    assert_eq!(short, [""; 0]);
    assert!(count_rows(&database, "entries").await >= MIN_ENTRIES);
    database.close().await;
}

/// Returns the edits of every table that is verified: all of them if `AP_GATEWAY_TEST_EDITS` is `all`, otherwise as
/// many as it says, drawn from the seed `AP_GATEWAY_TEST_SEED`.
async fn chosen_edits(copy: &EditedCopy) -> Vec<Edit> {
    let database = Database::open(&copy.location).await.unwrap();
    let tables = schema::read_tables(&database).await;
    database.close().await;
    let operational = gateway::tables().into_iter().filter(|table| table.class == TableClass::Operational);
    let operational: BTreeSet<&str> = operational.map(|table| table.name).collect();
    assert!(operational.contains(MIGRATIONS));
    let mut edits: Vec<Edit> = (tables.iter())
        .filter(|table| !operational.contains(table.name.as_str()))
        .flat_map(edits_of)
        .filter(|edit| !is_exempt(edit))
        .collect();
    let wanted = std::env::var("AP_GATEWAY_TEST_EDITS").unwrap_or_default();
    if wanted == "all" {
        return edits;
    }
    let wanted = wanted.parse().unwrap_or(DEFAULT_EDITS);
    let seed = std::env::var("AP_GATEWAY_TEST_SEED").unwrap_or_else(|_| {
        let mut seed = [0; 4];
        Randomness::system().fill(&mut seed);
        u32::from_be_bytes(seed).to_string()
    });
    say!("{wanted} of {} edits, AP_GATEWAY_TEST_SEED={seed}", edits.len());
    let random = Randomness::seeded(seed.as_bytes());
    let mut chosen = Vec::new();
    while chosen.len() < wanted && !edits.is_empty() {
        let mut number = [0; 4];
        random.fill(&mut number);
        let at = usize::try_from(u32::from_be_bytes(number)).unwrap() % edits.len();
        chosen.push(edits.swap_remove(at));
    }
    chosen
}

fn is_exempt(edit: &Edit) -> bool {
    NOT_VERIFIED.iter().any(|(table, part)| {
        let is_meant = *part == edit.column || (edit.column.is_empty() && edit.what.contains(part));
        (*table == "*" || *table == edit.table) && (*part == "*" || is_meant)
    })
}

/// Makes the edits that change an answer, and returns those that verify.
async fn changed_answers(filled: &FilledDatabase) -> Vec<String> {
    let copy = EditedCopy::create(filled, "answers").await;
    let (verifier, dir) = (Verifier::new(filled.dir.path()), filled.dir.path());
    let mut edits = answer_edits();
    edits.extend(prepared_edits(&copy.location, dir).await);
    assert!(edits.len() >= 20);
    let mut faults = Vec::new();
    for edit in &edits {
        if let Err(error) = copy.apply(&edit.statements).await {
            panic!("{}: {error}", edit.what);
        }
        let findings = verifier.verify(&copy.location).await;
        copy.set_back(&tables_of(&edit.statements)).await;
        let changed = tables_of(&edit.statements);
        let named = findings.iter().find(|finding| changed.contains(finding.table.as_str()));
        match (named, findings.first()) {
            (Some(finding), _) => say!("found: {}: {finding}", edit.what),
            _ if ANSWERS_NOT_VERIFIED.contains(&&*edit.what) => {}
            (None, Some(first)) => faults.push(format!("wrongly named: {}: {first}", edit.what)),
            (None, None) => faults.push(format!("verified: {}", edit.what)),
        }
    }
    copy.apply(&rewrapped_keys(&copy.location, dir).await).await.unwrap();
    for finding in verifier.verify(&copy.location).await {
        faults.push(format!("keys that were wrapped again: {finding}"));
    }
    copy.close().await;
    faults
}
