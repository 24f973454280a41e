//! The verbs of the register, as operators and organisations type them: each says what was done, its id and who was told.

use serde_json::json;

use super::fixtures::{current_validity, issue_certificate};
use super::person_commands::Shell;
use super::support::World;

/// Returns the first word of the row of a table in which a text stands.
fn first_cell(table: &str, text: &str) -> String {
    let row =
        table.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in {table}"));
    row.split_whitespace().next().unwrap().to_owned()
}

/// Brings an organisation on, renames, suspends and restores it, and registers and revokes its certificates.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_brings_an_organisation_on() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    for (name, serial) in [("quay-register", 801), ("quay-second", 802)] {
        let system = format!("provider/quay/{}", name.trim_start_matches("quay-"));
        issue_certificate(shell.dir, name, &system, serial, current_validity());
    }
    let register = ["org", "register", "provider/quay", "--name", "Quay Centre", "--certificate"];
    let made = shell.succeed("operator", &[&register[..], &["certs/quay-register.pem"]].concat());
    assert!(made.starts_with("registered provider/quay as Quay Centre, with certificate "), "{made}");
    assert!(made.contains("\ntold: "), "{made}");
    let cert = shell.succeed("operator", &["cert", "register", "certs/quay-second.pem"]);
    let listed = shell.succeed("operator", &["cert", "list", "provider/quay"]);
    assert_eq!((listed.lines().count(), listed.matches("registered").count()), (3, 2), "{listed}");
    let sha256 = first_cell(&listed, " second ");
    assert!(cert.contains(&sha256), "{cert}");
    let revoked = shell.succeed("operator", &["cert", "revoke", &sha256]);
    assert!(revoked.starts_with(&format!("revoked certificate {sha256}\n")), "{revoked}");
    let because = ["--reason", "it closed", "--officer", "Kit Example", "--officer-role", "service manager"];
    for (words, done) in [
        (vec!["org", "rename", "provider/quay", "Quay Tutors"], "renamed provider/quay to Quay Tutors"),
        ([&["org", "suspend", "provider/quay"], &because[..]].concat(), "suspended provider/quay"),
        ([&["org", "restore", "provider/quay"], &because[..]].concat(), "restored provider/quay"),
    ] {
        let printed = shell.succeed("operator", &words);
        assert!(printed.starts_with(done) && printed.contains("told: "), "{printed}");
    }
    let shown = shell.succeed("operator", &["org", "show", "provider/quay"]);
    assert!(shown.contains("name: Quay Tutors\nstate: active\n") && shown.contains("revoked"), "{shown}");
    let listed = shell.succeed("operator", &["org", "list", "--full"]);
    assert!(listed.contains("Quay Tutors"), "{listed}");
    let listed = shell.succeed("la-a", &["org", "list", "--kind", "provider"]);
    assert!(listed.contains("Quay Tutors") && !listed.contains("la/330"), "{listed}");
    let own = shell.json("provider-a", &["org", "show"]);
    assert_eq!(own[0]["organisation"]["organisation"], "provider/riverside");
    let refused = shell.fail("la-a", &["org", "rename", "provider/quay", "Mine"], 1);
    assert!(refused.contains("NOT_FOUND"), "{refused}");
    assert!(
        shell.fail("operator", &["cert", "register", "world.json"], 64).contains("no certificate in PEM")
    );
    world.stop().await;
}

/// Proposes, reads, signs and ends an agreement; another's is not found.
#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_is_read_before_it_is_signed() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let terms = json!({ "agreement": {
        "parties": ["la/330", "school/145678"], "data_classes": ["DATA_CLASS_REFERRAL"],
        "purposes": ["PURPOSE_EDUCATION_PROVISION"], "article_6": "ARTICLE6_PUBLIC_TASK",
        "from_date": "2026-11-01", "to_date": "2027-08-31", "review_by": "2027-07-01",
    } });
    std::fs::write(shell.dir.join("terms.json"), terms.to_string()).unwrap();
    let proposed = shell.succeed("la-a", &["agreement", "propose", "terms.json"]);
    let id = proposed.lines().find_map(|line| line.strip_prefix("agreement_id: ")).unwrap();
    assert!(proposed.contains("(school/145678)"), "{proposed}");
    let read = shell.succeed("provider-b", &["agreement", "show", id]);
    let sha256 = read.lines().find_map(|line| line.strip_prefix("terms sha256: ")).unwrap();
    assert!(read.contains("data: referral\n") && read.contains("state: proposed\n"), "{read}");
    let other = shell.fail("provider-b", &["agreement", "sign", id, "--terms", &"0".repeat(64)], 1);
    assert!(other.contains("TERMS_CHANGED"), "{other}");
    let signed = shell.succeed("provider-b", &["agreement", "sign", id, "--terms", sha256]);
    assert!(signed.starts_with(&format!("signed agreement {id}, which is in force\ntold: ")), "{signed}");
    let listed =
        shell.succeed("provider-b", &["agreement", "list", "--state", "in-force", "--with", "la/330"]);
    assert!(listed.contains(id), "{listed}");
    assert!(
        shell
            .fail("provider-b", &["agreement", "list", "--state", "new"], 2)
            .contains("proposed, in-force, ended")
    );
    assert!(shell.fail("provider-c", &["agreement", "show", id], 1).contains("NOT_FOUND"));
    let ended = shell.succeed("la-a", &["agreement", "end", id]);
    assert!(ended.starts_with(&format!("ended agreement {id}\n")), "{ended}");
    world.stop().await;
}

/// Gives and ends grants, and puts and shows term dates and closures.
#[tokio::test(flavor = "multi_thread")]
async fn grants_terms_and_closures_have_verbs() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let grant =
        ["grant", "processor", "processor/registerworks", "--method", "GetPlacement", "--from", "2026-11-01"];
    let given = shell.succeed("la-a", &grant);
    assert!(given.contains(": processor/registerworks may call GetPlacement\n"), "{given}");
    let auditor = ["grant", "auditor", "auditor/northgate", "--from", "2026-11-01", "--to", "2026-12-31"];
    shell.succeed("provider-a", &auditor);
    let listed = shell.succeed("la-a", &["grant", "list"]);
    let id = first_cell(&listed, "GetPlacement");
    assert!(shell.succeed("la-a", &["grant", "end", &id]).starts_with(&format!("ended grant {id}\n")));
    let ended = shell.succeed("la-a", &["grant", "list"]);
    assert!(ended.lines().any(|line| line.starts_with(&id) && line.contains(" ended ")), "{ended}");
    let dates = json!({ "term_dates": {
        "academic_year": 2027, "terms": [{ "first": "2027-09-02", "last": "2027-12-17" }],
        "inset_days": ["2027-09-02"],
    } });
    std::fs::write(shell.dir.join("terms.json"), dates.to_string()).unwrap();
    shell.succeed("provider-a", &["terms", "put", "terms.json"]);
    let shown = shell.succeed("la-a", &["terms", "show", "provider/riverside"]);
    assert!(shown.contains("2027-09-02 to 2027-12-17") && shown.contains("inset day"), "{shown}");
    let declare = ["closure", "declare", "--from", "2026-12-01", "--kind", "unexpected", "--code", "Y4"];
    let declared = shell.succeed("provider-a", &declare);
    assert!(declared.contains(", version 1: 2026-12-01 to 2026-12-01\ntold: "), "{declared}");
    let listed = shell.succeed("la-a", &["closure", "list", "provider/riverside", "--from", "2026-12-01"]);
    let id = first_cell(&listed, "Y4");
    let withdraw = [&declare[..], &["--correct", &id, "--etag", "1", "--withdraw"]].concat();
    assert!(shell.succeed("provider-a", &withdraw).contains("withdrew closure"));
    let listed = shell.succeed("provider-a", &["closure", "list"]);
    assert!(listed.contains("withdrawn"), "{listed}");
    world.stop().await;
}
