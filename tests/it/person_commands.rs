//! The commands about persons, run as people run them: `token`, `issuer`, `practitioner` and `audit list`, with their
//! refusals and with an output that cannot be written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ap_gateway::cli::sandbox;
use serde_json::{Value, json};

use super::limits::output;
use super::support::{World, gateway, run};
use super::tokens::TestIssuer;
use super::watch_command::{UnwritableOutput, run_with_output};

const ISS: &str = "https://mis.la-a.example";
pub const RESPONSE_LOST: &str = "the gateway has responded, but the response could not be written";
const TOKEN_ADVICE: &str = "the gateway does not say what is wrong with a token";

/// Runs commands in the folder of a sandbox.
pub struct Shell<'a> {
    pub dir: &'a Path,
}

impl Shell<'_> {
    pub fn command(&self, profile: &str, words: &[&str]) -> Command {
        let mut command = gateway();
        command.args(words).arg("--profile").arg(sandbox::profile_path(self.dir, profile));
        command.current_dir(self.dir);
        command
    }

    /// Runs a command that succeeds; returns its output.
    pub fn succeed(&self, profile: &str, words: &[&str]) -> String {
        run(&mut self.command(profile, words))
    }

    /// Runs a command that succeeds; returns each line of its output as JSON.
    pub fn json(&self, profile: &str, words: &[&str]) -> Vec<Value> {
        let printed = self.succeed(profile, &[words, &["--json"]].concat());
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that fails with an exit code and prints nothing to standard output; returns its message.
    pub fn fail(&self, profile: &str, words: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } = output(&mut self.command(profile, words));
        let message = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{words:?}: {message}");
        message
    }

    /// Writes the token of a person to a file, and returns the file's name.
    pub fn token(&self, profile: &str, (key, iss): (&str, &str), [subject, name, role]: [&str; 3]) -> String {
        let words = ["token", "--issuer-key", key, "--iss", iss, "--subject", subject, "--name", name];
        let file = format!("{subject}-{role}.token");
        let token =
            self.succeed(profile, &[&words[..], &["--role", role, "--purpose", "safeguarding"]].concat());
        std::fs::write(self.dir.join(&file), token).unwrap();
        file
    }

    /// Writes the token of a person of the sandbox's own issuer.
    pub fn sandbox_token(&self, name: &str, person: [&str; 3]) -> String {
        self.token(name, (&format!("certs/{name}-issuer.key"), &sandbox_issuer(name)), person)
    }

    fn make_key(&self, file: &str, options: &[&str]) {
        run(Command::new("openssl").args(options).arg("-out").arg(self.dir.join(file)));
    }
}

fn sandbox_issuer(name: &str) -> String {
    format!("https://{name}.sandbox.ap.example")
}

/// Registers an issuer with a key of each algorithm, and ends a person of it and the issuer itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_registers_an_issuer_and_ends_it_and_its_persons() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    shell.make_key("p256.key", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    shell.make_key("ed25519.key", &["genpkey", "-algorithm", "ED25519"]);
    run(Command::new("openssl")
        .args(["genrsa", "-traditional", "-out"])
        .arg(shell.dir.join("rsa.key"))
        .arg("2048"));
    let keys = ["p256.key", "ed25519.key", "rsa.key"];
    let with_keys: Vec<&str> = keys.iter().flat_map(|key| ["--issuer-key", key]).collect();
    let register = [&["issuer", "register", "--iss", ISS], &with_keys[..]].concat();
    let registered = shell.succeed("la-a", &register);
    assert!(registered.ends_with(&format!("registered {ISS}, version 1\n")), "{registered}");
    let algorithms: Vec<_> = registered.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(algorithms[..3], ["ES256", "EDDSA", "PS256"]);
    // A registration that exists is replaced under its version only.
    assert!(shell.fail("la-a", &register, 1).contains("ALREADY_EXISTS"));
    let stale = [&register[..], &["--etag", "7"]].concat();
    assert!(shell.fail("la-a", &stale, 1).contains("REVISION_MISMATCH"));
    let replaced = shell.json("la-a", &[&register[..], &["--etag", "1"]].concat());
    assert_eq!(replaced[0]["etag"], "2");
    let listed = shell.succeed("la-a", &["issuer", "list"]);
    assert_eq!(listed.matches(ISS).count(), 3, "{listed}");
    assert_eq!(shell.json("la-a", &["issuer", "list"])[0]["issuers"].as_array().unwrap().len(), 2);
    // A token by each key is the same person.
    for (key, role) in keys.iter().zip(["senco", "dsl", "head"]) {
        let token = shell.token("la-a", (key, ISS), ["u-1", "Ash Example", role]);
        shell.succeed("la-a", &["placements", "list", "--token", &token]);
    }
    let other = shell.token("la-a", ("p256.key", ISS), ["u-2", "Kit Example", "senco"]);
    shell.succeed("la-a", &["placements", "list", "--token", &other]);
    let people = shell.json("la-a", &["practitioner", "list"]);
    let named = |name: &str| people.iter().find(|person| person["name"] == name).unwrap();
    let (ash, kit) = (named("Ash Example"), named("Kit Example"));
    assert_eq!((people.len(), &ash["subject"], &ash["issuer"]), (2, &json!("u-1"), &json!(ISS)));
    let pseudonym = ash["practitioner"].as_str().unwrap();
    let count =
        |profile: &str, filter: &[&str]| shell.json(profile, &[&["audit", "list"], filter].concat()).len();
    assert_eq!(count("la-a", &["--practitioner", pseudonym]), 3);
    // The auditor finds them by role and pseudonym too, and learns no name.
    assert_eq!(count("auditor", &["--role", "senco"]), 2);
    assert_eq!(count("auditor", &["--role", "senco", "--practitioner", pseudonym]), 1);
    assert_eq!(count("auditor", &["--role", "senco", "--break-glass"]), 0);
    let table = shell.succeed("auditor", &["audit", "list", "--practitioner", pseudonym]);
    assert!(table.contains(&format!("senco {}", &pseudonym[..8])) && !table.contains("Ash"), "{table}");
    assert!(shell.fail("auditor", &["practitioner", "list"], 1).contains("METHOD_NOT_ALLOWED"));
    // A person ends alone, an issuer with all its persons.
    assert_eq!(shell.succeed("la-a", &["practitioner", "end", pseudonym]), format!("ended {pseudonym}\n"));
    let refused = shell.fail("la-a", &["placements", "list", "--token", "u-1-dsl.token"], 1);
    assert!(refused.contains("TOKEN_INVALID: ") && refused.contains(TOKEN_ADVICE), "{refused}");
    shell.succeed("la-a", &["placements", "list", "--token", &other]);
    assert!(shell.fail("la-a", &["practitioner", "end", pseudonym], 1).contains("STATE_INVALID"));
    assert_eq!(shell.succeed("la-a", &["issuer", "end", "--iss", ISS]), format!("ended {ISS}\n"));
    assert_eq!(shell.fail("la-a", &["placements", "list", "--token", &other], 1), refused);
    assert!(shell.fail("la-a", &["issuer", "end", "--iss", ISS], 1).contains("STATE_INVALID"));
    let listed = shell.succeed("la-a", &["issuer", "list"]);
    assert_eq!((listed.matches("ended").count(), listed.matches("in force").count()), (3, 1), "{listed}");
    let people = shell.succeed("la-a", &["practitioner", "list"]);
    let line = |person: &Value| {
        people.lines().find(|line| line.starts_with(person["practitioner"].as_str().unwrap()))
    };
    assert!(line(ash).unwrap().contains("Ash Example  u-1"), "{people}");
    assert!(line(ash).unwrap().contains("ended") && line(kit).unwrap().contains("in force"), "{people}");
    world.stop().await;
}

/// Checks that every fault of the arguments of `token` is named, and that the gateway refuses every other fault of a token
/// with one text and one exit code.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refused_by_the_command_or_by_the_gateway() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let token = |changes: &[(&str, &str)], code: i32| {
        let (iss, long) = (sandbox_issuer("provider-a"), "x".repeat(201));
        let mut words = vec![
            ("--issuer-key", "certs/provider-a-issuer.key"),
            ("--iss", &iss),
            ("--subject", "jo"),
            ("--name", "Jo Example"),
            ("--role", "dsl"),
            ("--purpose", "safeguarding"),
            ("--minutes", "15"),
        ];
        for word in &mut words {
            let change = changes.iter().find(|(flag, _)| *flag == word.0);
            word.1 = change.map_or(word.1, |(_, value)| if *value == "long" { &long } else { value });
        }
        let words: Vec<&str> = words.into_iter().flat_map(|(flag, value)| [flag, value]).collect();
        shell.fail("provider-a", &[&["token"], &words[..]].concat(), code)
    };
    std::fs::write(shell.dir.join("empty.key"), "").unwrap();
    for file in ["missing.key", "empty.key", "ca.pem", "certs"] {
        let message = token(&[("--issuer-key", file)], 64);
        assert!(message.contains(&format!("{file}: not a private key of P-256")), "{message}");
    }
    for (flag, value) in [
        ("--minutes", "0"),
        ("--minutes", "16"),
        ("--role", "DSL"),
        ("--role", "caretaker"),
        ("--purpose", "curiosity"),
        ("--subject", ""),
        ("--subject", "long"),
        ("--name", "long"),
    ] {
        let message = token(&[(flag, value)], 2);
        assert!(message.contains(&format!("{flag} must ")), "{message}");
    }
    let placed =
        |token: &str, code: i32| shell.fail("provider-a", &["placements", "list", "--token", token], code);
    let person = ["jo", "Jo Example", "dsl"];
    let key = "certs/provider-a-issuer.key";
    // Signed by the right key in the name of another issuer, and for the certificate of another system.
    let wrong_iss = shell.token("provider-a", (key, &sandbox_issuer("school")), person);
    let refused = placed(&wrong_iss, 1);
    assert!(refused.contains("TOKEN_INVALID") && refused.contains(TOKEN_ADVICE), "{refused}");
    let stolen = shell.token("provider-a-old", (key, &sandbox_issuer("provider-a")), person);
    assert_eq!(placed(&stolen, 1), refused);
    let expired = TestIssuer::load(shell.dir, "provider-a").token(shell.dir, "provider-a", |claims| {
        for time in ["iat", "nbf", "exp"] {
            claims[time] = json!(claims[time].as_i64().unwrap() - 931);
        }
    });
    std::fs::write(shell.dir.join("expired.token"), expired).unwrap();
    assert_eq!(placed("expired.token", 1), refused);
    // A file that holds no token is refused before anything is sent.
    std::fs::write(shell.dir.join("large.token"), "x".repeat(10_000)).unwrap();
    std::fs::write(shell.dir.join("lines.token"), "one\ntwo\n").unwrap();
    for file in ["missing.token", "empty.key", "large.token", "lines.token", "certs"] {
        let message = placed(file, 64);
        assert!(message.contains(&format!("{file}: not a file with a token")), "{message}");
    }
    assert_eq!(shell.json("provider-a", &["practitioner", "list"]), Vec::<Value>::new());
    world.stop().await;
}

/// Checks the commands whose effect cannot be repeated, each once with a full and once with a closed output: they fail, and
/// say that the gateway has responded.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_with_an_effect_says_so_when_its_output_fails() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let placement = world.placements("la-a", "provider-a").remove(0);
    let key = "certs/la-a-issuer.key";
    for (number, out) in [(1, UnwritableOutput::Full), (2, UnwritableOutput::ClosedPipe)] {
        let (iss, subject) = (format!("{ISS}/{number}"), format!("u-{number}"));
        let token = shell.sandbox_token("la-a", [&subject, "Ash Example", "dsl"]);
        shell.succeed("la-a", &["placements", "list", "--token", &token]);
        let people = shell.json("la-a", &["practitioner", "list"]);
        let person = people.iter().find(|person| person["subject"] == *subject).unwrap();
        let withhold =
            ["passport", "withhold", &placement, "--lift", "--reason", "none", "--officer", "Ash Example"];
        let commands: [&[&str]; 5] = [
            &["issuer", "register", "--iss", &iss, "--issuer-key", key],
            &["issuer", "end", "--iss", &iss],
            &["practitioner", "end", person["practitioner"].as_str().unwrap()],
            &["passport", "share", &placement, "--version", "1"],
            &[&withhold[..], &["--officer-role", "DSL"]].concat(),
        ];
        for words in commands {
            let json: &[&str] = if number == 1 { &[] } else { &["--json"] };
            let (code, message) = run_with_output(&mut shell.command("la-a", &[words, json].concat()), out);
            assert_eq!(code, Some(69), "{words:?}: {message}");
            assert!(
                message.contains("standard output") && message.contains(RESPONSE_LOST),
                "{words:?}: {message}"
            );
        }
        let issuers = shell.succeed("la-a", &["issuer", "list"]);
        let ended = issuers.lines().find(|line| line.starts_with(&iss)).unwrap();
        assert!(ended.contains("ended"), "{issuers}");
    }
    world.stop().await;
}

/// Returns the commands about persons that may be repeated, for the test of failing outputs.
pub fn repeatable_commands(dir: &Path) -> Vec<(Vec<String>, PathBuf)> {
    let profile = |name: &str| sandbox::profile_path(dir, name);
    let key = dir.join("certs/la-a-issuer.key");
    let token = [
        "token",
        "--iss",
        ISS,
        "--subject",
        "u",
        "--name",
        "Ash",
        "--role",
        "dsl",
        "--purpose",
        "safeguarding",
    ];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        (words(&[&token[..], &["--issuer-key", key.to_str().unwrap()]].concat()), profile("la-a")),
        (words(&["issuer", "list"]), profile("la-a")),
        (words(&["issuer", "list", "--json"]), profile("la-a")),
        (words(&["practitioner", "list"]), profile("la-a")),
        (words(&["audit", "list", "--role", "dsl", "--break-glass"]), profile("auditor")),
    ]
}
