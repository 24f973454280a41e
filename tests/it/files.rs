//! Registers as systems write them, sent by the verb that people use, over the wire.

use std::path::{Path, PathBuf};
use std::process::Output;

use ap_gateway::cli::sandbox::{self, world};
use ap_gateway::client::Client;
use ap_gateway::proto::v1::mark::Child;
use ap_gateway::proto::v1::{DeliveryKind, Mark, SubmitMode};
use serde_json::Value;

use super::story::{mark, submission, submit as send};
use super::support::{World, deliveries, gateway};

fn export(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/exports")).join(name)
}

fn mapping(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mappings")).join(name)
}

/// Runs `submit attendance` as one of the world's providers.
fn submit(world: &World, name: &str, file: &Path, more: &[&str]) -> Output {
    let profile = sandbox::profile(world.dir.path(), name);
    let mut verb = gateway();
    verb.args(["submit", "attendance", "--json", "--profile"]).arg(profile).arg(file).args(more);
    verb.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The replies among what was printed, and the findings.
fn printed(output: &Output) -> (Vec<Value>, Vec<Value>) {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let values = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.partition(|value| value.get("return_id").is_some())
}

/// Each line with what became of it.
fn outcomes(output: &Output) -> Vec<(u64, String)> {
    let mut outcomes = Vec::new();
    for reply in printed(output).0 {
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

fn count(output: &Output, outcome: &str) -> usize {
    outcomes(output).iter().filter(|(_, of)| of == outcome).count()
}

async fn registers(client: &Client) -> usize {
    let found = deliveries(client).await;
    found.iter().filter(|delivery| delivery.kind == DeliveryKind::Attendance as i32).count()
}

/// Every fault of the messy register is told with its line, and nothing is stored; asked for the good rows,
/// exactly those are, and sent again they are unchanged and nobody is told.
async fn messy_marks(world: &World) {
    let file = export("messy-marks.csv");
    let expected: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(export("messy-marks.expected.json")).unwrap()).unwrap();
    let found = |output: &Output| {
        let mut findings = printed(output).1;
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
        assert_eq!((code(&refused), found(&refused)), (64, expected.clone()));
        assert!(printed(&refused).0.is_empty());
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains("line 3, row 3, UPN: UPN_CHECK_LETTER"), "{told}");
        assert!(!told.contains("A801200005001") && !told.contains("Mensah"), "{told}");
        assert_eq!((registers(&la).await, registers(&school).await), (0, 0));
    }
    for outcome in ["STORED", "UNCHANGED"] {
        let taken = submit(world, "provider-a", &file, &["--accept-valid"]);
        assert_eq!((code(&taken), found(&taken)), (1, expected.clone()));
        assert_eq!(outcomes(&taken), [2, 7, 14].map(|line| (line, outcome.to_owned())));
        assert_eq!((registers(&la).await, registers(&school).await), (0, 1));
    }
}

/// The same register from another system, in another code page: the same marks, by a mapping alone. The file
/// breaks off once on the way.
fn the_same_register_from_another_system(world: &World) {
    let text = std::fs::read_to_string(export("riverside-marks.csv")).unwrap();
    let half: Vec<&str> = text.lines().take(121).collect();
    let broken_off = world.dir.path().join("broken-off.csv");
    std::fs::write(&broken_off, half.join("\r\n")).unwrap();
    let sent = submit(world, "provider-a", &broken_off, &[]);
    assert_eq!((code(&sent), count(&sent, "STORED")), (0, 120));
    let sent = submit(world, "provider-a", &export("riverside-marks.csv"), &[]);
    assert_eq!((code(&sent), count(&sent, "UNCHANGED"), count(&sent, "STORED")), (0, 120, 120));

    let rewritten = world.dir.path().join("rewritten.csv");
    std::fs::write(&rewritten, rewrite(&text)).unwrap();
    let sent = submit(world, "provider-a", &rewritten, &[]);
    assert_eq!(code(&sent), 64, "no mapping that comes with the gateway reads it");
    let own = mapping("other-mis.toml");
    let sent = submit(world, "provider-a", &rewritten, &["--mapping", own.to_str().unwrap()]);
    assert_eq!(
        (code(&sent), count(&sent, "UNCHANGED")),
        (0, 240),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
}

/// Other column names, order, words and dates, in Windows-1252, which has no letter for some names.
fn rewrite(text: &str) -> Vec<u8> {
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

/// Oakfield's wide register, with letters that its code page lost, and Brightwater's log of evenings and
/// Saturdays.
fn a_wide_register_and_a_tuition_log(world: &World) {
    let sent = submit(world, "provider-b", &export("oakfield-register.csv"), &[]);
    assert_eq!((code(&sent), count(&sent, "STORED")), (0, 180), "{}", String::from_utf8_lossy(&sent.stderr));
    for reply in printed(&sent).0 {
        for result in reply["results"].as_array().unwrap() {
            assert_eq!(result["suggested_code"], "D");
        }
    }
    // The part-time timetable of one child is in no plan.
    let found = printed(&sent).1;
    assert_eq!((&found[0]["reason"], &found[0]["note"]), (&"ENCODING".into(), &"Windows-1252".into()));
    for finding in &found[1..] {
        assert_eq!((&finding["line"], &finding["reason"]), (&2.into(), &"PART_TIME_NOT_AGREED".into()));
    }
    // At four o'clock the lesson of half past four has not begun.
    let sent = submit(world, "provider-c", &export("brightwater-tuition.csv"), &[]);
    let (replies, findings) = printed(&sent);
    assert_eq!((code(&sent), replies.len(), findings.len()), (64, 0, 1));
    assert_eq!(
        (&findings[0]["line"], &findings[0]["column"], &findings[0]["reason"]),
        (&Value::from(10), &Value::from("Date"), &Value::from("SESSION_IN_FUTURE"))
    );
    let sent = submit(world, "provider-c", &export("brightwater-tuition.csv"), &["--accept-valid"]);
    assert_eq!((code(&sent), count(&sent, "STORED")), (1, 13));
}

/// The gateway sees a call at a time; two rows that disagree across calls are found all the same.
fn rows_that_disagree_between_calls(world: &World) {
    let text = std::fs::read_to_string(export("riverside-marks.csv")).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    let mut long = vec![rows[0]];
    for _ in 0..5 {
        long.extend(&rows[1..]);
    }
    let file = world.dir.path().join("long.csv");
    std::fs::write(&file, long.join("\r\n")).unwrap();
    let sent = submit(world, "provider-a", &file, &[]);
    assert_eq!((code(&sent), count(&sent, "UNCHANGED")), (0, 1_200));
    let other = rows[1].replace(",/,", ",O,");
    assert_ne!(other, rows[1]);
    long.push(&other);
    std::fs::write(&file, long.join("\r\n")).unwrap();
    let sent = submit(world, "provider-a", &file, &["--correction-reason", "it was so"]);
    let (replies, findings) = printed(&sent);
    let errors: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    let [error] = errors[..] else { panic!("{errors:?}") };
    assert_eq!((code(&sent), replies.len()), (64, 0));
    assert_eq!((&error["line"], &error["reason"]), (&1_202.into(), &"CONFLICT_IN_BATCH".into()));
}

/// A mark that carries two identifiers is stored only if both name one child.
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
    messy_marks(&world).await;
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
    verb.args(["submit", "attendance", "--profile"]).arg(sandbox::profile(dir.path(), "provider-a"));
    assert_eq!(code(&verb.arg(export("riverside-marks.csv")).output().unwrap()), 69, "nobody answers");
}

#[test]
fn a_preview_shows_what_would_be_sent_and_needs_no_gateway() {
    let preview = |file: PathBuf, more: &[&str]| {
        let output =
            gateway().args(["submit", "attendance", "--preview"]).arg(file).args(more).output().unwrap();
        (code(&output), String::from_utf8(output.stdout).unwrap())
    };
    let (exit, told) = preview(export("oakfield-register.csv"), &[]);
    assert_eq!(exit, 0);
    for line in [
        "Read as a child a row, Windows-1252, cells separated by commas",
        "  DoB: date_of_birth",
        "  30 columns of marks, from 02/11/2026 AM to 20/11/2026 PM",
        "Left out: Sex, NC Year",
        "180 marks of 6 children on 15 days, 2026-11-02 to 2026-11-20; 0 empty cells are no mark",
    ] {
        assert!(told.lines().any(|found| found == line), "{line}\n{told}");
    }
    assert!(!told.contains("McDonald"), "{told}");
    let (exit, told) = preview(export("riverside-marks.csv"), &["--json"]);
    assert_eq!((exit, told.lines().count()), (0, 240));
    let first: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
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
    let register = export("riverside-marks.csv");
    for (file, more, expected) in [
        (write("utf-16.csv", &utf_16), &["--preview"][..], 64),
        (write("other.csv", b"Name,Age\r\nx,1\r\n"), &["--preview"], 64),
        (dir.path().join("none.csv"), &["--preview"], 64),
        (register.clone(), &[], 2),
        (register.clone(), &["--preview", "--mapping", bad_mapping], 78),
        (register, &["--profile", bad_mapping], 78),
    ] {
        let output = gateway().args(["submit", "attendance"]).arg(&file).args(more).output().unwrap();
        assert_eq!(code(&output), expected, "{} {more:?}", file.display());
    }
}
