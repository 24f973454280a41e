//! Register files of various systems, submitted with `submit attendance`.

use std::path::{Path, PathBuf};
use std::process::Output;

use ap_gateway::cli::sandbox::{self, world};
use ap_gateway::client::Client;
use ap_gateway::proto::v1::mark::Child;
use ap_gateway::proto::v1::{DeliveryKind, Mark, SubmitMode};
use serde_json::Value;

use super::exchange_semantics::{mark, submission, submit as send};
use super::support::{World, deliveries, gateway};

fn export_path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/exports")).join(name)
}

fn mapping_path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mappings")).join(name)
}

/// Runs `submit attendance` as one of the sandbox's providers.
fn submit(world: &World, name: &str, file: &Path, more: &[&str]) -> Output {
    let profile = sandbox::profile_path(world.dir.path(), name);
    let mut verb = gateway();
    verb.args(["submit", "attendance", "--json", "--profile"]).arg(profile).arg(file).args(more);
    verb.output().unwrap()
}

fn exit_code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Splits the JSON lines of the output into replies and findings.
fn replies_and_findings(output: &Output) -> (Vec<Value>, Vec<Value>) {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let values = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.partition(|value| value.get("return_id").is_some())
}

/// Returns the outcome of each line of the file.
fn line_outcomes(output: &Output) -> Vec<(u64, String)> {
    let mut outcomes = Vec::new();
    for reply in replies_and_findings(output).0 {
        let results = reply["results"].as_array().unwrap();
        let lines = reply["lines"].as_array().unwrap();
        assert_eq!(results.len(), lines.len());
        for (result, line) in results.iter().zip(lines) {
            let outcome = result["outcome"].as_str().unwrap().trim_start_matches("MARK_OUTCOME_");
            outcomes.push((line.as_u64().unwrap(), outcome.to_owned()));
        }
    }
    outcomes
}

fn count_outcome(output: &Output, outcome: &str) -> usize {
    line_outcomes(output).iter().filter(|(_, found)| found == outcome).count()
}

async fn count_registers(client: &Client) -> usize {
    let found = deliveries(client).await;
    found.iter().filter(|delivery| delivery.kind == DeliveryKind::Attendance as i32).count()
}

/// Checks that every fault of a register is reported by line and nothing is stored. With `--accept-valid` exactly
/// the valid rows are stored; a repetition is unchanged and is not delivered.
async fn a_messy_register_is_reported_by_line(world: &World) {
    let file = export_path("messy-marks.csv");
    let expected: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(export_path("messy-marks.expected.json")).unwrap())
            .unwrap();
    let found = |output: &Output| {
        let mut findings = replies_and_findings(output).1;
        for finding in &mut findings {
            let finding = finding.as_object_mut().unwrap();
            let column = finding.remove("column").unwrap();
            assert!(!column.as_str().unwrap().is_empty());
            assert_eq!(finding.remove("row"), Some(finding["line"].clone()));
            finding.remove("note");
        }
        findings
    };
    let (la, school) = (world.client("la-a").await, world.client("school").await);
    for more in [&[][..], &["--validate-only"]] {
        let refused = submit(world, "provider-a", &file, more);
        assert_eq!((exit_code(&refused), found(&refused)), (64, expected.clone()));
        assert!(replies_and_findings(&refused).0.is_empty());
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert!(stderr.contains("line 3, row 3, UPN: UPN_CHECK_LETTER"), "{stderr}");
        assert!(!stderr.contains("A801200005001") && !stderr.contains("Mensah"), "{stderr}");
        assert_eq!((count_registers(&la).await, count_registers(&school).await), (0, 0));
    }
    for outcome in ["STORED", "UNCHANGED"] {
        let taken = submit(world, "provider-a", &file, &["--accept-valid"]);
        assert_eq!((exit_code(&taken), found(&taken)), (1, expected.clone()));
        assert_eq!(line_outcomes(&taken), [2, 7, 14].map(|line| (line, outcome.to_owned())));
        assert_eq!((count_registers(&la).await, count_registers(&school).await), (0, 1));
    }
}

/// Checks that the same register from another system, in another code page, gives the same marks with a mapping
/// only. The file is first submitted incomplete.
fn the_same_register_from_another_system(world: &World) {
    let text = std::fs::read_to_string(export_path("riverside-marks.csv")).unwrap();
    let half: Vec<&str> = text.lines().take(121).collect();
    let broken_off = world.dir.path().join("broken-off.csv");
    std::fs::write(&broken_off, half.join("\r\n")).unwrap();
    let sent = submit(world, "provider-a", &broken_off, &[]);
    assert_eq!((exit_code(&sent), count_outcome(&sent, "STORED")), (0, 120));
    let sent = submit(world, "provider-a", &export_path("riverside-marks.csv"), &[]);
    assert_eq!(
        (exit_code(&sent), count_outcome(&sent, "UNCHANGED"), count_outcome(&sent, "STORED")),
        (0, 120, 120)
    );

    let rewritten = world.dir.path().join("rewritten.csv");
    std::fs::write(&rewritten, rewrite_register(&text)).unwrap();
    let sent = submit(world, "provider-a", &rewritten, &[]);
    assert_eq!(exit_code(&sent), 64, "no built-in mapping matches");
    let other_mapping = mapping_path("other-mis.toml");
    let sent = submit(world, "provider-a", &rewritten, &["--mapping", other_mapping.to_str().unwrap()]);
    assert_eq!(
        (exit_code(&sent), count_outcome(&sent, "UNCHANGED")),
        (0, 240),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
}

/// Rewrites a register with other column names, order, words and dates, in Windows-1252, which lacks some letters
/// of the names.
fn rewrite_register(text: &str) -> Vec<u8> {
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heading = [
        "What was entered",
        "Remarks",
        "AM_or_PM",
        "Class",
        "DAY",
        "Late by",
        "pupil  no",
        "Given name",
        "Family name",
        "Born",
    ];
    writer.write_record(heading).unwrap();
    for row in reader.records() {
        let row = row.unwrap();
        let mark = match &row[6] {
            "/" => "Here",
            "\\" => "here PM",
            other => other,
        };
        let dotted = |date: &str| date.replace('/', ".");
        let upn = row[0].to_lowercase();
        writer
            .write_record([
                mark,
                &row[8],
                &row[5],
                "7B",
                &dotted(&row[4]),
                &row[7],
                &upn,
                &row[2],
                &row[1],
                &dotted(&row[3]),
            ])
            .unwrap();
    }
    let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?')).collect()
}

/// Checks Oakfield's wide register, whose code page lost some letters, and Brightwater's log of evenings and
/// Saturdays.
fn a_wide_register_and_a_tuition_log(world: &World) {
    let sent = submit(world, "provider-b", &export_path("oakfield-register.csv"), &[]);
    assert_eq!(
        (exit_code(&sent), count_outcome(&sent, "STORED")),
        (0, 180),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    for reply in replies_and_findings(&sent).0 {
        for result in reply["results"].as_array().unwrap() {
            assert_eq!(result["suggested_code"], "D");
        }
    }
    // The plan of one child has no part-time timetable.
    let found = replies_and_findings(&sent).1;
    assert_eq!((&found[0]["reason"], &found[0]["note"]), (&"ENCODING".into(), &"Windows-1252".into()));
    for finding in &found[1..] {
        assert_eq!((&finding["line"], &finding["reason"]), (&2.into(), &"PART_TIME_NOT_AGREED".into()));
    }
    // At 16:00 the lesson at 16:30 has not begun.
    let sent = submit(world, "provider-c", &export_path("brightwater-tuition.csv"), &[]);
    let (replies, findings) = replies_and_findings(&sent);
    assert_eq!((exit_code(&sent), replies.len(), findings.len()), (64, 0, 1));
    assert_eq!(
        (&findings[0]["line"], &findings[0]["column"], &findings[0]["reason"]),
        (&Value::from(10), &Value::from("Date"), &Value::from("SESSION_IN_FUTURE"))
    );
    let sent = submit(world, "provider-c", &export_path("brightwater-tuition.csv"), &["--accept-valid"]);
    assert_eq!((exit_code(&sent), count_outcome(&sent, "STORED")), (1, 13));
}

/// Checks that contradictory rows are found even if they belong to different calls.
fn rows_that_disagree_between_calls(world: &World) {
    let text = std::fs::read_to_string(export_path("riverside-marks.csv")).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    let mut long = vec![rows[0]];
    for _ in 0..5 {
        long.extend(&rows[1..]);
    }
    let file = world.dir.path().join("long.csv");
    std::fs::write(&file, long.join("\r\n")).unwrap();
    let sent = submit(world, "provider-a", &file, &[]);
    assert_eq!((exit_code(&sent), count_outcome(&sent, "UNCHANGED")), (0, 1_200));
    let other = rows[1].replace(",/,", ",O,");
    assert_ne!(other, rows[1]);
    long.push(&other);
    std::fs::write(&file, long.join("\r\n")).unwrap();
    let sent = submit(world, "provider-a", &file, &["--correction-reason", "it was so"]);
    let (replies, findings) = replies_and_findings(&sent);
    let errors: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    let [error] = errors[..] else { panic!("{errors:?}") };
    assert_eq!((exit_code(&sent), replies.len()), (64, 0));
    assert_eq!((&error["line"], &error["reason"]), (&1_202.into(), &"CONFLICT_IN_BATCH".into()));
}

/// Checks that a mark with two identifiers is stored only if both identify the same child.
async fn identifiers_name_one_child(world: &World) {
    let placed = world::load(world.dir.path()).unwrap().placements;
    let mut placed = placed.iter().filter(|placed| placed.provider == "provider-a");
    let (one, other) = (placed.next().unwrap(), placed.next().unwrap());
    let client = world.client("provider-a").await;
    let sent = |upn: &str, reference: &str| Mark {
        check_upn: upn.to_owned(),
        check_provider_reference: reference.to_owned(),
        ..mark(&one.placement_id, "2026-11-05", "/")
    };
    let named = |child, reference: &str| Mark { child: Some(child), ..sent("", reference) };
    let by_upn = |reference: &str| named(Child::Upn(one.upn.clone()), reference);
    for (mark, fault) in [
        (by_upn(&other.provider_reference), "check_provider_reference"),
        (by_upn("RV-999"), "check_provider_reference"),
        (sent(&other.upn, ""), "check_upn"),
        (sent(&other.upn, &one.provider_reference), "check_upn"),
        (by_upn(&one.provider_reference), ""),
        (sent(&one.upn, &one.provider_reference), ""),
    ] {
        let mut request = submission(vec![mark]);
        (request.validate_only, request.mode) = (true, SubmitMode::AcceptValid as i32);
        let reply = send(&client, &request).await.unwrap().message;
        let result = &reply.results[0];
        let reason = if fault.is_empty() { "" } else { "IDENTIFIERS_DIFFER" };
        assert_eq!((result.field.as_str(), result.reason.as_str()), (fault, reason));
    }
}

async fn all(world: World) {
    identifiers_name_one_child(&world).await;
    a_messy_register_is_reported_by_line(&world).await;
    a_wide_register_and_a_tuition_log(&world);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_taken_on_sqlite() {
    all(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_taken_on_postgresql() {
    all(World::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_alone_reads_another_system_s_file() {
    let world = World::sqlite().await;
    the_same_register_from_another_system(&world);
    rows_that_disagree_between_calls(&world);
    let dir = world.stop().await;
    let mut verb = gateway();
    verb.args(["submit", "attendance", "--profile"]).arg(sandbox::profile_path(dir.path(), "provider-a"));
    assert_eq!(
        exit_code(&verb.arg(export_path("riverside-marks.csv")).output().unwrap()),
        69,
        "no server is running"
    );
}

#[test]
fn a_preview_shows_what_would_be_sent_and_needs_no_gateway() {
    let preview = |file: PathBuf, more: &[&str]| {
        let output =
            gateway().args(["submit", "attendance", "--preview"]).arg(file).args(more).output().unwrap();
        (exit_code(&output), String::from_utf8(output.stdout).unwrap())
    };
    let (exit, stdout) = preview(export_path("oakfield-register.csv"), &[]);
    assert_eq!(exit, 0);
    for line in [
        "Read as a child a row, Windows-1252, cells separated by commas",
        "  DoB: date_of_birth",
        "  30 columns of marks, from 02/11/2026 AM to 20/11/2026 PM",
        "Left out: Sex, NC Year",
        "180 marks of 6 children on 15 days, 2026-11-02 to 2026-11-20; 0 empty cells are no mark",
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line}\n{stdout}");
    }
    assert!(!stdout.contains("McDonald"), "{stdout}");
    let (exit, stdout) = preview(export_path("riverside-marks.csv"), &["--json"]);
    assert_eq!((exit, stdout.lines().count()), (0, 240));
    let first: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["date"], &first["session"], &first["code"]),
        (&"2026-11-02".into(), &"SESSION_AM".into(), &"/".into())
    );
}

#[test]
fn exit_codes_say_whose_fault_it_is() {
    let dir = tempfile::TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let utf_16: Vec<u8> = "\u{feff}UPN,Date".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bad_mapping = write("mapping.toml", b"shape = \"diagonal\"");
    let bad_mapping = bad_mapping.to_str().unwrap();
    let register = export_path("riverside-marks.csv");
    for (file, more, expected) in [
        (write("utf-16.csv", &utf_16), &["--preview"][..], 64),
        (write("other.csv", b"Name,Age\r\nx,1\r\n"), &["--preview"], 64),
        (dir.path().join("none.csv"), &["--preview"], 64),
        (register.clone(), &[], 2),
        (register.clone(), &["--preview", "--mapping", bad_mapping], 78),
        (register, &["--profile", bad_mapping], 78),
    ] {
        let output = gateway().args(["submit", "attendance"]).arg(&file).args(more).output().unwrap();
        assert_eq!(exit_code(&output), expected, "{} {more:?}", file.display());
    }
}
