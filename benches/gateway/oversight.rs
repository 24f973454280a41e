//! The rules of oversight when a Friday ends: 100,000 placements with a plan and 200 marks each, on SQLite and PostgreSQL.
//! `AP_GATEWAY_BENCH_PLACEMENTS` overrides their number.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use ap_gateway::cli::bench::fleet::FleetProvider;
use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::Client;
use ap_gateway::clock::{ManualClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Environment, Node};
use ap_gateway::proto::v1::{
    Plan, PlanQualification, PutPlanRequest, Session, SettingType, TimetableSlot, Weekday, placement_service,
};
use ap_gateway::store::Database;
use tokio::task::JoinSet;

use super::postgres::Postgres;
use super::results::Table;
use super::{POSTGRES_OPTIONS, Scale, World, machine};

const DEFAULT_PLACEMENTS: usize = 100_000;
const PROVIDERS: usize = 200;
const MARKS_PER_PLACEMENT: usize = 200;
/// Concurrent calls that put plans.
const CONCURRENT_PLANS: usize = 32;
/// When the sandbox's Friday ends in London, and the next one.
const FRIDAYS: [&str; 2] = ["2026-11-21T00:00:01Z", "2026-11-28T00:00:01Z"];
/// Rules that would find each placement of the fleet: none has a passport or a progress return, and each started with open
/// items.
const WITHOUT: [&str; 3] = ["OPEN_ITEM_OVERDUE", "START_WITHOUT_PASSPORT", "PROGRESS_MISSING"];
const EMBEDDED_RULES: &str = include_str!("../../src/oversight/rules.toml");
/// The first day of the embedded rules, and one before the placements started.
const FIRST_DAYS: [&str; 2] = ["2026-11-02", "2026-08-01"];
/// Subcommand of this bench: evaluates what is due in a sandbox's folder.
pub const EVALUATE: &str = "evaluate-moments";

pub async fn run() {
    machine::print();
    let placements = std::env::var("AP_GATEWAY_BENCH_PLACEMENTS").ok();
    let placements = placements.and_then(|number| number.parse().ok()).unwrap_or(DEFAULT_PLACEMENTS);
    let mut table = Table::default();
    measure(&mut table, placements, None).await;
    let server = Postgres::with(POSTGRES_OPTIONS);
    measure(&mut table, placements, Some(&server.url_file)).await;
}

/// Fills a store by calls, so that its rows are those of a real one, and evaluates the ends of two Fridays in a process of
/// their own, on two cores.
async fn measure(table: &mut Table, placements: usize, url_file: Option<&Path>) {
    let name = if url_file.is_some() { "PostgreSQL" } else { "SQLite" };
    let (begun, each) = (Instant::now(), placements.div_ceil(PROVIDERS));
    let world = World::new(Scale { placements: each, ..Scale::FULL }, url_file).await;
    put_plans(&world).await;
    let marks = placements * MARKS_PER_PLACEMENT;
    world.submit_calls(1_000, 8, PROVIDERS, marks.div_ceil(1_000) as u64).await;
    table.add_note(format!(
        "{name}: {placements} placements with plans and {marks} marks stored in {} s",
        begun.elapsed().as_secs()
    ));
    let World { dir, server, .. } = world;
    drop(server);
    override_rules(dir.path());
    for friday in FRIDAYS {
        let mut evaluation = Command::new("taskset");
        evaluation.args(["--cpu-list", "0,1"]).arg(std::env::current_exe().unwrap());
        let printed = evaluation.arg(EVALUATE).arg(dir.path()).arg(friday).output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let printed = String::from_utf8(printed.stdout).unwrap();
        table.add_note(format!("{name}, {friday}: {} (goal: 60 s, 512 MiB)", printed.trim()));
    }
}

/// Puts a plan with a full timetable for each placement.
async fn put_plans(world: &World) {
    let la = Arc::new(profile::connect(&sandbox::profile_path(world.dir.path(), "la-a")).await.unwrap());
    let mut putting = JoinSet::new();
    for worker in 0..CONCURRENT_PLANS {
        let providers: Vec<FleetProvider> =
            world.fleet.iter().skip(worker).step_by(CONCURRENT_PLANS).cloned().collect();
        let la = Arc::clone(&la);
        putting.spawn(async move {
            for placement in providers.iter().flat_map(|provider| &provider.placements) {
                put_plan(&la, placement).await;
            }
        });
    }
    putting.join_all().await;
}

async fn put_plan(la: &Client, placement: &str) {
    let days = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    let slots = days.into_iter().flat_map(|day| [(day, Session::Am), (day, Session::Pm)]);
    let slot = |(weekday, session): (Weekday, Session)| TimetableSlot {
        weekday: weekday.into(),
        session: session.into(),
        minutes_planned: 150,
        ..TimetableSlot::default()
    };
    let plan = Plan {
        setting_type: SettingType::Unregistered.into(),
        start_date: "2026-09-01".to_owned(),
        planned_end_date: "2027-07-16".to_owned(),
        review_dates: vec!["2026-12-11".to_owned(), "2027-03-12".to_owned()],
        timetable: slots.map(slot).collect(),
        qualifications: vec![PlanQualification {
            title: "GCSE English".to_owned(),
            ..PlanQualification::default()
        }],
        ..Plan::default()
    };
    let request = PutPlanRequest {
        request_id: Randomness::system().uuid_v4().hyphenated().to_string(),
        placement_id: placement.to_owned(),
        plan: Some(plan),
        ..PutPlanRequest::default()
    };
    la.call(placement_service::PUT_PLAN, &request).await.unwrap();
}

/// Has the rules run for placements that started in September, except those that would find each of the fleet.
fn override_rules(dir: &Path) {
    let mut rules = String::new();
    for section in EMBEDDED_RULES.split_inclusive("\n\n") {
        let is_left = WITHOUT.iter().any(|rule| section.contains(&format!("[rules.{rule}")));
        let dated = section.replace(FIRST_DAYS[0], FIRST_DAYS[1]);
        rules.push_str(if is_left { section } else { &dated });
    }
    std::fs::write(dir.join("rules.toml"), rules).unwrap();
    let configuration = dir.join("gateway.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, format!("{text}\n[oversight]\nrules = \"rules.toml\"\n")).unwrap();
}

/// Evaluates what is due in a folder at an instant, and prints the time, the number of moments and the peak of memory.
pub async fn evaluate(dir: &str, at: &str) {
    let config = Config::load(&Path::new(dir).join("gateway.toml")).unwrap();
    let tls = gateway::tls(&config).unwrap();
    let location = config.database.location().unwrap();
    let environment = Environment {
        clock: Arc::new(ManualClock::new(at.parse().unwrap())),
        system_clock: Arc::new(SystemClock),
        random: Randomness::system(),
    };
    let node = Node::open(config, environment).await.unwrap();
    let database = Database::open(&location).await.unwrap();
    let count = async |sql: &'static str| -> i64 {
        let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap().unwrap();
        row.get("count").unwrap()
    };
    let (moments, alerts) = ("SELECT COUNT(*) AS count FROM moments", "SELECT COUNT(*) AS count FROM alerts");
    let before = (count(moments).await, count(alerts).await);
    let begun = Instant::now();
    node.raise_alerts_once(tls).await;
    let took = begun.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!(
        "{:.1} s, {} moments evaluated or set, {} alerts raised, peak of memory {peak}",
        took.as_secs_f64(),
        count(moments).await - before.0,
        count(alerts).await - before.1
    );
    database.close().await;
    node.close().await;
}
