//! Golden transcripts of problematic register files: the output of the command for each file, and its exit code.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ap_gateway::cli::sandbox;

use super::golden;
use super::support::{World, deliveries, gateway};

/// The files, each with the expected exit code of its submission.
const CASES: [(&str, i32); 16] = [
    ("am-and-pm-columns", 0),
    ("apostrophe-prefix", 0),
    ("fourteen-marks-a-week", 0),
    ("heading-only", 64),
    ("minutes-late-zero", 0),
    ("p-for-present", 0),
    ("semicolons", 0),
    ("session-words", 0),
    ("sims-dash", 64),
    ("title-rows", 0),
    ("trailing-cells-left-off", 0),
    ("two-mark-columns", 64),
    ("unclosed-quote-other-children", 64),
    ("upn-and-ref-disagree", 64),
    ("us-dates", 64),
    ("weds-column-dropped", 0),
];

fn cases_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases")
}

/// Runs the command on a file, appends its output to the transcript, and returns the exit code.
fn run_submit(world: &World, transcript: &mut String, name: &str, more: &[&str]) -> i32 {
    let profile = sandbox::profile_path(world.dir.path(), "provider-a");
    let file = format!("{name}.csv");
    let mut command = gateway();
    command.current_dir(cases_folder()).args(["submit", "attendance", &file]).args(more);
    if !more.contains(&"--preview") {
        command.arg("--profile").arg(profile);
    }
    let output = command.output().unwrap();
    let code = output.status.code().unwrap();
    writeln!(transcript, "$ ap-gateway submit attendance {file} {}", more.join(" ")).unwrap();
    for (mark, lines) in [("", &output.stdout), ("! ", &output.stderr)] {
        for line in std::str::from_utf8(lines).unwrap().lines() {
            writeln!(transcript, "{}", format!("{mark}{line}").trim_end()).unwrap();
        }
    }
    writeln!(transcript, "exit code {code}\n").unwrap();
    code
}

async fn count_deliveries(world: &World) -> usize {
    let (la, school) = (world.client("la-a").await, world.client("school").await);
    deliveries(&la).await.len() + deliveries(&school).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn register_files_that_went_wrong_are_their_golden_transcripts() {
    let world = World::sqlite().await;
    // Some files contain marks of the same session; a later file corrects it.
    let why = ["--correction-reason", "as the register has it"];
    for (name, expected) in CASES {
        let mut transcript = String::new();
        let before = count_deliveries(&world).await;
        let shown = run_submit(&world, &mut transcript, name, &["--preview"]);
        let sent = run_submit(&world, &mut transcript, name, &why);
        assert_eq!(sent, expected, "{transcript}");
        if expected == 0 {
            assert_eq!(shown, 0, "{transcript}");
        } else {
            let valid = run_submit(&world, &mut transcript, name, &[why[0], why[1], "--accept-valid"]);
            assert_ne!(valid, 0, "{transcript}");
            assert_eq!(count_deliveries(&world).await, before, "{transcript}");
        }
        golden::check(&format!("tests/data/cases/{name}.golden"), &transcript);
    }
    let files = std::fs::read_dir(cases_folder()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(files.filter(|path| path.extension().is_some_and(|end| end == "csv")).count(), CASES.len());
    world.stop().await;
}
