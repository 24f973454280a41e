//! The commands about passports, run for persons: `passport get`, `share` and `withhold`, also in an emergency.

use serde_json::{Value, json};

use super::person_commands::{RESPONSE_LOST, Shell};
use super::support::World;
use super::watch_command::{UnwritableOutput, run_with_output};

/// Reason of an emergency.
const REASON: &str = "A man at the gate says that he may take the child home";

/// Returns the content of a kind of block, if it is among these.
fn find_block<'a>(blocks: &'a Value, kind: &str) -> Option<&'a Value> {
    blocks.as_array().unwrap().iter().find_map(|block| block.get(kind))
}

/// Shares a passport and withholds a block of it for a person, whose token attests the decision.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_shares_a_passport_and_withholds_a_block_of_it() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let placement = world.placements("la-a", "provider-a").remove(0);
    let token = shell.sandbox_token("la-a", ["sam", "Sam Example", "dsl"]);
    let words = ["passport", "share", &placement, "--token", &token, "--version"];
    let share = |version: &'static str| [&words[..], &[version]].concat();
    assert!(shell.fail("la-a", &share("7"), 1).contains("REVISION_MISMATCH"));
    assert_eq!(
        shell.succeed("la-a", &share("1")),
        "shared version 1 of the passport\ntold: Riverside (provider/riverside)\n"
    );
    assert!(
        shell
            .fail("provider-b", &["passport", "share", &placement, "--version", "1"], 1)
            .contains("NOT_FOUND")
    );
    let reason = ["--reason", "a parent may read it", "--officer-role", "AP lead"];
    let words = [&["passport", "withhold", &placement, "--token", &token], &reason[..]].concat();
    let withhold = |more: &[&'static str]| [&words[..], more].concat();
    let get = |name: &str| shell.json(name, &["passport", "get", &placement]).remove(0);
    let has_medical = |passport: &Value| {
        passport["blocks"].as_array().unwrap().iter().any(|it| it.get("medical").is_some())
    };
    assert!(has_medical(&get("provider-a")));
    let named = ["--officer", "Sam Example"];
    let done = shell.succeed(
        "la-a",
        &withhold(&[&named[..], &["--block", "medical", "--block", "safeguarding"]].concat()),
    );
    assert_eq!(done, "withheld from the provider: medical, safeguarding\ntold: nobody else\n");
    // The system does not read all that is withheld, so it gets neither reason nor officer.
    assert_eq!(get("la-a")["withholding"], json!({ "blocks": ["PASSPORT_BLOCK_KIND_MEDICAL"] }));
    let own_words = ["passport", "get", &placement, "--token", &token];
    let get_own = || shell.json("la-a", &own_words).remove(0);
    let own = get_own();
    assert_eq!(own["withholding"]["decided_by"]["attested"], true, "{own}");
    assert_eq!(own["withholding"]["decided_by"]["role_code"], "ROLE_CODE_DSL", "{own}");
    assert!(has_medical(&own) && !has_medical(&get("provider-a")));
    // The same request sent again is the same decision; another person's name is kept and not attested.
    let id = ["--request-id", "6f1c2a34-0000-4000-8000-00000000000a"];
    let lift = [&["--officer", "Kit Example", "--lift", "--etag", "1"], &id[..]].concat();
    let unread = ["--officer", "Kit Example", "--lift"];
    assert!(shell.fail("la-a", &withhold(&unread), 1).contains("REVISION_MISMATCH"));
    for _ in 0..2 {
        assert_eq!(shell.json("la-a", &withhold(&lift))[0]["etag"], "2");
    }
    assert_eq!(get_own()["withholding"]["decided_by"]["name"], "Kit Example");
    assert_eq!(get_own()["withholding"]["decided_by"].get("attested"), None);
    assert!(has_medical(&get("provider-a")));
    // Usage: kinds that do not exist, nothing to withhold, both at once.
    let message = shell.fail("la-a", &withhold(&[&named[..], &["--block", "diary"]].concat()), 2);
    assert!(
        message.contains("--block is one of identity, voice, ") && message.contains("safeguarding"),
        "{message}"
    );
    shell.fail("la-a", &withhold(&named), 2);
    shell.fail("la-a", &withhold(&[&named[..], &["--block", "medical", "--lift"]].concat()), 2);
    let message = shell.fail("la-a", &withhold(&["--officer", "", "--lift"]), 1);
    assert!(message.contains("officer.name"), "{message}");
    let listed =
        shell.json("auditor", &["audit", "list", "--role", "dsl", "--method", "WithholdInformation"]);
    assert_eq!(listed.iter().filter(|exchange| exchange["outcome"] == "OUTCOME_OK").count(), 2);
    world.stop().await;
}

/// Reads a passport as a system and for persons in several roles, and in an emergency, with its refusals.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_what_its_role_needs_and_more_in_an_emergency() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let placement = world.placements("la-a", "provider-a").remove(0);
    let get = ["passport", "get", &placement];
    let person = |name: &str, role: &str| shell.sandbox_token("provider-a", [name, name, role]);
    let (dsl, lead, senco) = (person("jo", "dsl"), person("ash", "placement_lead"), person("kit", "senco"));
    let read = |profile: &str, more: &[&str]| shell.json(profile, &[&get, more].concat()).remove(0);
    let looked_after = |passport: &Value| {
        find_block(&passport["blocks"], "safeguarding").map(|content| content["looked_after"].clone())
    };
    assert_eq!(looked_after(&read("provider-a", &["--token", &dsl])), Some(json!(true)));
    let system = read("provider-a", &[]);
    let by_lead = read("provider-a", &["--token", &lead]);
    assert_eq!((looked_after(&system), &by_lead["blocks"]), (None, &system["blocks"]));
    assert_eq!(by_lead["notices"], system["notices"]);
    // Only the sender chooses a version, among those that there are.
    assert_eq!(read("la-a", &["--version", "1"])["etag"], "1");
    for (profile, version) in [("la-a", "2"), ("provider-a", "1")] {
        let message = shell.fail(profile, &[&get[..], &["--version", version]].concat(), 1);
        assert!(message.contains("NOT_FOUND"), "{message}");
    }
    let emergency = |more: &[&'static str]| [&get[..], &["--emergency-reason"], more].concat();
    let message = shell.fail("provider-a", &emergency(&[REASON]), 2);
    assert!(message.contains("--token"), "{message}");
    shell.fail("provider-a", &[&emergency(&[REASON, "--version", "1"])[..], &["--token", &lead]].concat(), 2);
    shell.fail("provider-a", &[&get[..], &["--life-at-risk", "--token", &lead]].concat(), 2);
    let message = shell.fail("provider-a", &[&emergency(&["help"])[..], &["--token", &lead]].concat(), 1);
    assert!(message.contains("emergency_reason") && !message.contains("help"), "{message}");
    let message = shell.fail("provider-a", &[&emergency(&[REASON])[..], &["--token", &senco]].concat(), 1);
    assert!(
        message.contains("PERSON_REQUIRED") && message.contains("dsl, head, placement_lead"),
        "{message}"
    );
    // An empty value is no ordinary read.
    for option in ["--emergency-reason", "--version", "--sender"] {
        shell.fail("provider-a", &[&get[..], &[option, "", "--token", &lead]].concat(), 2);
    }
    shell.fail("provider-a", &[&get[..], &["--request-id", "1", "--token", &lead]].concat(), 2);
    let words = [&emergency(&[REASON, "--life-at-risk"])[..], &["--token", &lead]].concat();
    let opened = shell.json("provider-a", &words).remove(0);
    let passport = &opened["emergency_passports"][0];
    assert_eq!((&passport["sender"], &passport["etag"]), (&json!("la/330"), &json!("1")));
    assert_eq!(find_block(&passport["blocks"], "safeguarding").unwrap()["looked_after"], true);
    assert_eq!(find_block(&passport["blocks"], "identity"), None);
    // Output that cannot be written: the senders have been told all the same.
    for out in [UnwritableOutput::Full, UnwritableOutput::ClosedPipe] {
        let (code, message) = run_with_output(&mut shell.command("provider-a", &words), out);
        assert_eq!(code, Some(69), "{message}");
        assert!(message.contains(RESPONSE_LOST) && !message.contains(REASON), "{message}");
        // Repeated under the id that it names, it is no second emergency.
        let id = message.split_once("sent with request_id ").unwrap().1.split_once(':').unwrap().0;
        shell.succeed("provider-a", &[&words[..], &["--request-id", id]].concat());
    }
    let received = shell.json("la-a", &["watch", "deliveries", "--once", "--all"]);
    let received = received.iter().filter(|delivery| delivery["kind"] == "DELIVERY_KIND_BREAK_GLASS");
    assert_eq!(received.map(|one| &one["break_glass"]["reason"]).collect::<Vec<_>>(), [REASON; 3]);
    // The auditor of the sender sees who, in which role, and that it was an emergency.
    let listed = shell.json("auditor", &["audit", "list", "--break-glass", "--outcome", "ok"]);
    let roles: Vec<_> = listed.iter().map(|exchange| exchange["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["ROLE_CODE_PLACEMENT_LEAD"; 5]);
    let pseudonym = listed[0]["practitioner"].as_str().unwrap();
    let table =
        shell.succeed("auditor", &["audit", "list", "--practitioner", pseudonym, "--role", "placement-lead"]);
    assert_eq!(table.matches(&format!("placement_lead {pseudonym}")).count(), 6, "{table}");
    assert_eq!(table.matches(" BREAK-GLASS").count(), 5, "{table}");
    let listed = shell.json("auditor", &["audit", "list", "--role", "dsl"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    world.stop().await;
}
