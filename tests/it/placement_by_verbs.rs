//! A whole placement, from the agreement and the referral to the end, by verbs alone: a golden transcript of what people
//! type and read. Ids, digests and times of receipt are masked, because each sandbox makes its own.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;

use super::golden;
use super::person_commands::Shell;
use super::push_command::referral;
use super::support::World;

const GOLDEN: &str = "tests/it/placement_by_verbs.golden";

/// Types commands, and keeps what they print, with each id replaced by a name in the order of its appearance.
struct Transcript<'a> {
    shell: Shell<'a>,
    text: String,
    names: BTreeMap<String, String>,
}

impl Transcript<'_> {
    /// Runs a command that succeeds; returns what it prints.
    fn run(&mut self, profile: &str, words: &[&str]) -> String {
        let printed = self.shell.succeed(profile, words);
        let quoted = words
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
        let typed = quoted.collect::<Vec<_>>().join(" ");
        let shown = self.mask(&format!("{profile}$ ap-gateway {typed}\n{printed}\n"));
        self.text.write_str(&shown).unwrap();
        printed
    }

    /// Returns the value of a line `label: value`.
    fn field(printed: &str, label: &str) -> String {
        let found = printed.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {label} in {printed}")).to_owned()
    }

    fn mask(&mut self, text: &str) -> String {
        // The gateway's own exchanges, such as alerts, make the index of a delivery another in each run.
        let text: String = text.lines().map(mask_index).collect();
        let text = text.as_str();
        let is_id = |word: &&str| {
            let hex = word.bytes().filter(u8::is_ascii_hexdigit).count();
            (word.len() == 36 && hex == 32 && word.matches('-').count() == 4)
                || (word.len() == 64 && hex == 64)
        };
        let mut masked = text.to_owned();
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').filter(is_id)
        {
            let next = format!("<{}>", self.names.len() + 1);
            let name = self.names.entry(word.to_owned()).or_insert(next);
            masked = masked.replace(word, name);
        }
        masked
    }

    fn write(&self, file: &str, content: &serde_json::Value) {
        std::fs::write(self.shell.dir.join(file), content.to_string()).unwrap();
    }
}

/// Masks the index of a line that `deliveries list` prints.
fn mask_index(line: &str) -> String {
    match line.trim_start().split_once("  ").filter(|_| line.contains("  from ")) {
        Some((_, rest)) => format!("#  {rest}\n"),
        None => format!("{line}\n"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_by_verbs_is_its_golden_transcript() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let mut typed = Transcript { shell, text: String::new(), names: BTreeMap::new() };
    typed.write("referral.json", &referral(&world));
    let made = typed.run("la-a", &["referral", "push", "referral.json"]);
    let id = Transcript::field(&made, "placement_id");
    let id = id.as_str();
    typed.run("provider-a", &["deliveries", "list", "--kind", "referral"]);
    typed.run("provider-a", &["referral", "accept", id, "--reference", "KES-1"]);
    typed.write(
        "decision.json",
        &json!({
            "approved": true, "rationale": "the offer meets the need",
            "decided_by": { "name": "Alex Example", "role": "panel chair" }, "decided_on": "2026-09-01",
            "child_view": { "text": "would like to try it" },
            "parent_view": { "not_given_reason": "could not be reached" },
            "options_considered": ["stay with support", "tuition"],
        }),
    );
    typed.run("la-a", &["placement", "decide", id, "decision.json"]);
    let plan = typed.shell.succeed("la-a", &["call", "PutPlan", "--example"]);
    let mut plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    plan["placement_id"] = id.into();
    typed.write("plan.json", &plan);
    typed.run("la-a", &["plan", "push", "plan.json"]);
    typed.write(
        "passport.json",
        &json!({ "placement_id": id, "blocks": [
            { "meta": { "authors": [{ "name": "Sam Example", "role": "AP officer" }], "review_by": "2026-12-18" } },
            { "identity": { "preferred_name": "Wren" } },
            { "medical": { "allergies": "none known", "medication": "none" } },
            { "safety": { "risk_summary": "none known" } },
            { "emergency": { "contacts": [{ "name": "Robin Kestrel", "role": "parent", "telephone": "01632 960001" }] } },
        ] }),
    );
    typed.run("la-a", &["passport", "put", "passport.json"]);
    typed.run("la-a", &["passport", "share", id, "--version", "1"]);
    let officer = ["--officer", "Jo Example", "--officer-role", "safeguarding lead"];
    typed.run("provider-a", &[&["passport", "acknowledge", id], &officer[..]].concat());
    let officer = ["--officer", "Sam Example", "--officer-role", "AP officer"];
    typed.run("la-a", &[&["placement", "start", id, "--date", "2026-09-01"], &officer[..]].concat());
    typed.run("provider-a", &["placement", "show", id]);
    typed.run(
        "la-a",
        &["absence", "expect", id, "--session", "2026-11-16/am", "--code", "M", "--note", "dentist"],
    );
    std::fs::write(
        typed.shell.dir.join("marks.csv"),
        "Reference,Date,Session,Mark\nKES-1,09/11/2026,AM,/\nKES-1,16/11/2026,AM,M\n",
    )
    .unwrap();
    typed.run("provider-a", &["submit", "attendance", "marks.csv"]);
    typed.run("la-a", &["marks", "show", "--placement", id, "--from", "2026-11-02", "--to", "2026-11-20"]);
    typed.run(
        "la-a",
        &["returns", "list", "--from", "2026-11-09", "--to", "2026-11-16", "--state", "received"],
    );
    typed.run(
        "provider-a",
        &[
            "placement",
            "end",
            id,
            "--date",
            "2026-11-20",
            "--reason",
            "reintegrated",
            "--note",
            "did well here",
        ],
    );
    typed.run("la-a", &["placement", "list", "--state", "ended"]);
    golden::check(GOLDEN, &typed.text);
    world.stop().await;
}
