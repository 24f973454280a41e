//! Time to submit a register file: 20,000 marks of 200 children are checked, sent and answered by the command
//! `submit attendance`, on a sandbox in a separate process. The goal is 3 s. Run it with
//! `cargo bench --bench file`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails at the first unexpected result, and prints its results"
)]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ap_gateway::calendar::Date;
use ap_gateway::cli::bench::{fleet, spawn_sandbox};

const CHILDREN: usize = 200;
const MARKS: usize = 20_000;

fn main() {
    let dir = tempfile::TempDir::new().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_ap-gateway"));
    let server = spawn_sandbox(binary, dir.path(), None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fleet = runtime.block_on(fleet::load_or_create(dir.path(), 1, CHILDREN)).unwrap();
    let provider = fleet.first().unwrap();
    let file = dir.path().join("register.csv");
    std::fs::write(&file, register(&provider.placements)).unwrap();
    let profile = std::fs::read_to_string(dir.path().join("profiles/la-a.toml")).unwrap();
    let profile = profile.replace("certs/la-a", &format!("fleet/{}", provider.name));
    let path = dir.path().join("profiles/fleet.toml");
    std::fs::write(&path, profile.replace("seen/la-a", "seen/fleet")).unwrap();
    for (what, expected) in
        [("sent", format!("{MARKS} new, 0 unchanged")), ("sent again", format!("0 new, {MARKS} unchanged"))]
    {
        let mut verb = Command::new(binary);
        verb.args(["submit", "attendance"]).arg(&file).arg("--profile").arg(&path);
        let began = Instant::now();
        let output = verb.output().unwrap();
        let took = began.elapsed();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.starts_with(&expected), "{printed}");
        println!(
            "{MARKS} marks of {CHILDREN} children checked, {what} and answered in {:.2} s",
            took.as_secs_f64()
        );
    }
    drop(server);
}

/// Builds a register of ten sessions a week for each child, over ten weeks of term.
fn register(placements: &[String]) -> String {
    let mut text = "Placement,Date,Session,Mark,Comment\r\n".to_owned();
    let first = Date::parse("2026-09-07").unwrap();
    let term = (0..75).map(|day| first.plus_days(day)).filter(|day| !day.is_weekend());
    let half_term = |day: &Date| (10, 26) <= (day.month(), day.day()) && (day.month(), day.day()) <= (10, 30);
    let mut marks = 0;
    for day in term.filter(|day| !half_term(day)) {
        for (at, placement) in placements.iter().enumerate() {
            let absent = at % 10 == 0;
            for (session, present) in [("AM", "/"), ("PM", "\\")] {
                let mark = if absent { "I" } else { present };
                let comment = if absent { "rang home" } else { "" };
                let date = format!("{:02}/{:02}/{}", day.day(), day.month(), day.year());
                write!(text, "{placement},{date},{session},{mark},{comment}\r\n").unwrap();
                marks += 1;
            }
        }
    }
    assert_eq!(marks, MARKS);
    text
}
