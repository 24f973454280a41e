//! The rules of oversight when a Friday ends: 100,000 placements with a plan and 200 marks each, on SQLite and PostgreSQL.
//! `AP_GATEWAY_BENCH_PLACEMENTS` overrides their number.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::calendar::{Date, Period};
use ap_gateway::cli::bench;
use ap_gateway::cli::bench::fleet::{self, FleetProvider};
use ap_gateway::cli::bench::load::Measurement;
use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::{CheckpointStore, Client};
use ap_gateway::clock::{ManualClock, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{self, Environment, Node};
use ap_gateway::proto::v1::mark::{Child, Statement};
use ap_gateway::proto::v1::passport_block::Content;
use ap_gateway::proto::v1::{
    Cursor, Delivery, DeliveryKind, Mark, Officer, PassportBlock, PassportMeta, PassportSafeguarding, Plan,
    PlanQualification, PutPassportRequest, PutPlanRequest, Session, SettingType, SubmitAttendanceRequest,
    TimetableSlot, WatchDeliveriesRequest, WatchDeliveriesResponse, WatchPosition, Weekday, delivery_service,
    passport_service, placement_service, returns_service,
};
use ap_gateway::store::Database;
use prost::Message;
use prost::bytes::Bytes;
use tokio::task::JoinSet;

use super::postgres::Postgres;
use super::results::{Line, Table};
use super::{POSTGRES_OPTIONS, Scale, World, binary, latency_and_memory, machine};

const DEFAULT_PLACEMENTS: usize = 100_000;
const PROVIDERS: usize = 200;
const MARKS_PER_PLACEMENT: usize = 200;
/// Concurrent calls that put plans, and that submit returns.
const CONCURRENT_PLANS: usize = 32;
const CONCURRENT_RETURNS: usize = 8;
/// When the sandbox's Friday ends in London, and the next one.
const FRIDAYS: [&str; 2] = ["2026-11-21T00:00:01Z", "2026-11-28T00:00:01Z"];
/// The day of the sandbox.
const FRIDAY: &str = "2026-11-20";
/// Open streams while alerts are measured, and the number of these.
const STREAMS: usize = 1_000;
const ALERTS: usize = 50;
/// Time within which an alert must be delivered for the bench to go on.
const MAX_ALERT_TIME: Duration = Duration::from_secs(30);
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
    let (marks, sessions) = (placements * MARKS_PER_PLACEMENT, submit_sessions(&world).await);
    // The others are of timed sessions.
    world.submit_calls(1_000, 8, PROVIDERS, marks.saturating_sub(sessions).div_ceil(1_000) as u64).await;
    table.add_note(format!(
        "{name}: {placements} placements with plans and {marks} marks stored in {} s",
        begun.elapsed().as_secs()
    ));
    let World { dir, server, fleet, scale } = world;
    drop(server);
    override_rules(dir.path());
    let server = bench::spawn_sandbox(&binary(), dir.path(), url_file).unwrap();
    let world = World { dir, server, fleet, scale };
    if EMBEDDED_RULES.contains("[rules.ABSENT_AT_RISK]") {
        let line = Line::new(&mark_to_stream(&world).await, 1);
        table.add(
            &format!("{name}, a mark that raises an alert → stream, {STREAMS} open (goal: 500 ms)"),
            line,
        );
    }
    let World { dir, server, .. } = world;
    drop(server);
    for friday in FRIDAYS {
        let mut evaluation = Command::new("taskset");
        evaluation.args(["--cpu-list", "0,1"]).arg(std::env::current_exe().unwrap());
        let printed = evaluation.arg(EVALUATE).arg(dir.path()).arg(friday).output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let printed = String::from_utf8(printed.stdout).unwrap();
        table.add_note(format!("{name}, {friday}: {} (goal: 60 s, 512 MiB)", printed.trim()));
    }
}

/// Submits a mark for each morning and afternoon of the term so far, as national absence is: of 40 sessions 17 are missed.
/// All absence is authorised, because an absence that nobody explained is evaluated at once. Returns how many were stored.
async fn submit_sessions(world: &World) -> usize {
    let seen = Arc::new(CheckpointStore::default());
    let mut submitting = JoinSet::new();
    for worker in 0..CONCURRENT_RETURNS {
        let providers: Vec<FleetProvider> =
            world.fleet.iter().skip(worker).step_by(CONCURRENT_RETURNS).cloned().collect();
        let (dir, seen) = (world.dir.path().to_owned(), Arc::clone(&seen));
        submitting.spawn(async move {
            let mut stored = 0;
            for provider in providers {
                let client = fleet::connect(&dir, &provider.name, &seen).await.unwrap();
                let first = Date::parse("2026-09-02").unwrap();
                let days = Period::new(first, Date::parse(FRIDAY).unwrap()).unwrap().days();
                for (number, day) in days.filter(|day| !day.is_weekend()).enumerate() {
                    // The morning of the Friday is left for the absences that are alerted.
                    let sessions = if day.to_string() == FRIDAY {
                        &[Session::Pm][..]
                    } else {
                        &[Session::Am, Session::Pm]
                    };
                    let marks = provider.placements.iter().enumerate().flat_map(|(child, placement)| {
                        let code = move |session: Session| {
                            if (child * 7 + number * 2 + session as usize) % 40 < 17 { "M" } else { "/" }
                        };
                        sessions
                            .iter()
                            .map(move |session| mark(placement, &day.to_string(), *session, code(*session)))
                    });
                    let marks: Vec<Mark> = marks.collect();
                    for some in marks.chunks(1_000) {
                        stored += submit(&client, some.to_vec()).await;
                    }
                }
            }
            stored
        });
    }
    submitting.join_all().await.into_iter().sum()
}

fn mark(placement: &str, date: &str, session: Session, code: &str) -> Mark {
    Mark {
        child: Some(Child::PlacementId(placement.to_owned())),
        date: date.to_owned(),
        session: session.into(),
        statement: Some(Statement::Code(code.to_owned())),
        ..Mark::default()
    }
}

/// Submits marks, and returns how many were stored.
async fn submit(provider: &Client, marks: Vec<Mark>) -> usize {
    let request =
        SubmitAttendanceRequest { request_id: request_id(), marks, ..SubmitAttendanceRequest::default() };
    let stored = provider.call(returns_service::SUBMIT_ATTENDANCE, &request).await.unwrap().message.stored;
    usize::try_from(stored).unwrap()
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
        setting_type: SettingType::OtherUnregistered.into(),
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
        request_id: request_id(),
        placement_id: placement.to_owned(),
        plan: Some(plan),
        ..PutPlanRequest::default()
    };
    la.call(placement_service::PUT_PLAN, &request).await.unwrap();
}

/// Measures the time from sending the absence of a child at risk until the commissioner's stream delivers the alert, while
/// the providers have streams open.
async fn mark_to_stream(world: &World) -> Measurement {
    let la = profile::connect(&sandbox::profile_path(world.dir.path(), "la-a")).await.unwrap();
    let at_risk: Vec<(&FleetProvider, &String)> =
        world.fleet.iter().filter_map(|provider| Some((provider, provider.placements.first()?))).collect();
    for (_, placement) in at_risk.iter().take(ALERTS) {
        put_passport(&la, placement).await;
    }
    let (mut open, seen) = (JoinSet::new(), Arc::new(CheckpointStore::default()));
    let mut providers = Vec::new();
    for provider in &world.fleet {
        let client = fleet::connect(world.dir.path(), &provider.name, &seen).await.unwrap();
        for _ in 0..STREAMS.div_ceil(PROVIDERS) {
            let watch = WatchDeliveriesRequest::default();
            let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
            open.spawn(async move { while let Ok(Some(_)) = stream.next(position).await {} });
        }
        providers.push(client);
    }
    let head = latency_and_memory::newest_receipt(world).await.index;
    let cursor = Some(Cursor { index: head, ..Cursor::default() });
    let watch = WatchDeliveriesRequest { cursor, ..WatchDeliveriesRequest::default() };
    let mut stream = la.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    stream.next(position).await.unwrap().unwrap();
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for ((_, placement), provider) in at_risk.iter().zip(&providers).take(ALERTS) {
        let sent = Instant::now();
        assert_eq!(submit(provider, vec![mark(placement, FRIDAY, Session::Am, "O")]).await, 1);
        let is_alert = |delivery: &Delivery| delivery.kind() == DeliveryKind::Alert;
        while !stream.next(position).await.unwrap().unwrap().0.deliveries.iter().any(is_alert) {
            assert!(sent.elapsed() < MAX_ALERT_TIME, "no alert was delivered within {MAX_ALERT_TIME:?}");
        }
        latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
    }
    latencies.sort_unstable();
    Measurement { calls: latencies.len() as u64, elapsed: begun.elapsed(), latencies }
}

fn position(reply: &WatchDeliveriesResponse) -> Bytes {
    WatchPosition { cursor: reply.next.clone(), kinds: vec![] }.encode_to_vec().into()
}

fn request_id() -> String {
    Randomness::system().uuid_v4().hyphenated().to_string()
}

async fn put_passport(la: &Client, placement: &str) {
    let author = Officer { name: "Sam Example".to_owned(), ..Officer::default() };
    let contents = [
        Content::Meta(PassportMeta { authors: vec![author], ..PassportMeta::default() }),
        Content::Safeguarding(PassportSafeguarding { looked_after: true, ..PassportSafeguarding::default() }),
    ];
    let block = |content| PassportBlock { content: Some(content), ..PassportBlock::default() };
    let request = PutPassportRequest {
        request_id: request_id(),
        placement_id: placement.to_owned(),
        blocks: contents.map(block).to_vec(),
        ..PutPassportRequest::default()
    };
    la.call(passport_service::PUT_PASSPORT, &request).await.unwrap();
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
    let location = config.location().unwrap();
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
