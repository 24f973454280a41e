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
    shell.make_key("rsa8.key", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let keys = ["p256.key", "ed25519.key", "rsa.key", "rsa8.key"];
    let with_keys: Vec<&str> = keys.iter().flat_map(|key| ["--issuer-key", key]).collect();
    let register = [&["issuer", "register", "--iss", ISS], &with_keys[..]].concat();
    let registered = shell.succeed("la-a", &register);
    assert!(registered.ends_with(&format!("registered {ISS}, version 1\n")), "{registered}");
    let algorithms: Vec<_> = registered.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(algorithms[..4], ["ES256", "EDDSA", "PS256", "PS256"]);
    // A registration that exists is replaced under its version only.
    assert!(shell.fail("la-a", &register, 1).contains("ALREADY_EXISTS"));
    let stale = [&register[..], &["--etag", "7"]].concat();
    assert!(shell.fail("la-a", &stale, 1).contains("REVISION_MISMATCH"));
    let replaced = shell.json("la-a", &[&register[..], &["--etag", "1"]].concat());
    assert_eq!(replaced[0]["etag"], "2");
    let listed = shell.succeed("la-a", &["issuer", "list"]);
    assert_eq!(listed.matches(ISS).count(), 4, "{listed}");
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
    assert!(table.contains(&format!("senco {pseudonym}")) && !table.contains("Ash"), "{table}");
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
    assert_eq!((listed.matches("ended").count(), listed.matches("in force").count()), (4, 1), "{listed}");
    let people = shell.succeed("la-a", &["practitioner", "list"]);
    let line = |person: &Value| {
        people.lines().find(|line| line.starts_with(person["practitioner"].as_str().unwrap()))
    };
    assert!(line(ash).unwrap().contains("Ash Example  u-1"), "{people}");
    assert!(line(ash).unwrap().contains("ended") && line(kit).unwrap().contains("in force"), "{people}");
    world.stop().await;
}

/// Registers an identity provider by its public keys, which are all that an organisation has of it, and lists keys before,
/// in and after their time.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_provider_is_registered_by_its_public_keys() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    let register = |iss: &str, more: &[&str]| {
        shell.succeed("la-a", &[&["issuer", "register", "--iss", iss, "--jwk", "keys.json"], more].concat())
    };
    let write = |content: &Value| std::fs::write(shell.dir.join("keys.json"), content.to_string()).unwrap();
    // The keys of the sandbox's issuers, as an identity provider publishes them.
    let published = |names: &[&str]| -> Vec<Value> {
        let listed = |name: &&str| shell.json(name, &["issuer", "list"])[0]["issuers"][0]["keys"][0].clone();
        let keys = names.iter().map(listed).map(|key| {
            let mut jwk: Value = serde_json::from_str(key["jwk"].as_str().unwrap()).unwrap();
            jwk["kid"] = key["key_id"].clone();
            jwk["use"] = json!("sig");
            jwk["x5c"] = json!(["A".repeat(5_000)]);
            jwk
        });
        keys.collect()
    };
    let keys = published(&["la-a", "school"]);
    let encryption = json!({"kty": "RSA", "use": "enc", "kid": "e", "n": "AQAB", "e": "AQAB"});
    write(&json!({"keys": [keys[0], encryption, keys[1]]}));
    assert!(register(ISS, &[]).ends_with(&format!("registered {ISS}, version 1\n")));
    let token = shell.token("la-a", ("certs/la-a-issuer.key", ISS), ["u-1", "Ash Example", "dsl"]);
    shell.succeed("la-a", &["placements", "list", "--token", &token]);
    write(&keys[0]);
    let mut states = Vec::new();
    for (name, span) in [
        ("expired", ["--from", "2020-01-01T01:00:00+01:00", "--to", "2020-02-01T00:00:00Z"]),
        ("not-yet", ["--from", "9000-01-01T00:00:00Z", "--to", "9000-02-01T00:00:00Z"]),
        ("in-force", ["--from", "2020-01-01T00:00:00Z", "--to", "9000-02-01T00:00:00Z"]),
    ] {
        let iss = format!("{ISS}/{name}");
        register(&iss, &span);
        let listed = shell.succeed("la-a", &["issuer", "list"]);
        let line = listed.lines().find(|line| line.starts_with(&iss)).unwrap().to_owned();
        assert!(line.contains(span[3]), "{line}");
        states.push(line.replace(&iss, ""));
    }
    for (line, state) in states.iter().zip(["expired", "not yet", "in force"]) {
        assert!(line.contains(state), "{line}");
    }
    let fault = |content: &Value, code: i32| {
        write(content);
        shell.fail("la-a", &["issuer", "register", "--iss", ISS, "--jwk", "keys.json"], code)
    };
    let changed = |name: &str, value: Value| {
        let mut jwk = keys[0].clone();
        jwk[name] = value;
        jwk
    };
    for (content, words) in [
        (json!([]), "neither a JWK nor a JWK set"),
        (json!({"keys": []}), "0 keys for signatures"),
        (json!({"keys": vec![keys[0].clone(); 9]}), "9 keys for signatures"),
        (changed("kid", Value::Null), "key 1: no kid"),
        (changed("kty", json!("oct")), "key 1: not a public JWK"),
        (changed("alg", json!("RS256")), "key 1: its alg is another than "),
        (changed("d", json!("c2VjcmV0")), "key 1: the JWK holds a private key"),
    ] {
        let message = fault(&content, 64);
        assert!(message.contains(&format!("keys.json: {words}")), "{message}");
        assert!(!message.contains("c2VjcmV0"), "{message}");
    }
    let both = ["issuer", "register", "--iss", ISS, "--jwk", "keys.json", "--issuer-key", "k.key"];
    assert!(shell.fail("la-a", &both, 2).contains("cannot be used with"));
    assert!(shell.fail("la-a", &["issuer", "register", "--iss", ISS], 2).contains("--issuer-key"));
    let no_instant = ["issuer", "register", "--iss", ISS, "--jwk", "keys.json", "--to", "tomorrow"];
    assert!(shell.fail("la-a", &no_instant, 2).contains("--to"));
    world.stop().await;
}

/// Checks that every fault of the arguments of `token` is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_nobody_could_use_is_not_made() {
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
    std::fs::write(shell.dir.join("text.key"), "no key").unwrap();
    let one = std::fs::read_to_string(shell.dir.join("certs/provider-a-issuer.key")).unwrap();
    std::fs::write(shell.dir.join("two.key"), one.repeat(2)).unwrap();
    let locked = ["genpkey", "-algorithm", "ED25519", "-aes256", "-pass", "pass:example"];
    shell.make_key("locked.key", &locked);
    shell.make_key("sec1.key", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
    shell.make_key("small.key", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    for (file, fault) in [
        ("missing.key", "No such file or directory"),
        ("certs", "Is a directory"),
        ("empty.key", "an empty file"),
        ("ca.pem", "a certificate, not a private key"),
        ("locked.key", "an encrypted private key"),
        ("two.key", "several private keys"),
        ("text.key", "not a private key of P-256"),
        ("sec1.key", "not a private key of P-256"),
        ("small.key", "not a private key of P-256"),
    ] {
        let message = token(&[("--issuer-key", file)], 64);
        assert!(message.contains(&format!("{file}: {fault}")), "{message}");
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
        ("--name", "Jo\tExample"),
        ("--name", "Jo\nExample"),
        ("--name", "  "),
    ] {
        let message = token(&[(flag, value)], 2);
        assert!(message.contains(&format!("{flag} must ")), "{message}");
    }
    world.stop().await;
}

/// Checks that a file without a token is refused before anything is sent, and that the gateway refuses every fault of a
/// token with one text and one exit code.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refused_by_the_command_or_by_the_gateway() {
    let world = World::sqlite().await;
    let shell = Shell { dir: world.dir.path() };
    std::fs::write(shell.dir.join("empty.token"), "").unwrap();
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
    let header = "eyJhbGciOiJFUzI1NiJ9";
    for (file, content) in [
        ("large.token", format!("{header}.e30.{}", "A".repeat(9_000))),
        ("huge.token", "x".repeat(20_000)),
        ("lines.token", format!("{header}.e30.AAAA\n{header}.e30.AAAA\n")),
        ("word.token", "correct-horse\n".to_owned()),
        ("words.token", "correct.horse.battery\n".to_owned()),
        ("two.token", format!("{header}.e30\n")),
        ("unsigned.token", format!("{header}.e30.\n")),
    ] {
        std::fs::write(shell.dir.join(file), content).unwrap();
    }
    for (file, fault) in [
        ("missing.token", "No such file or directory"),
        ("certs", "Is a directory"),
        ("empty.token", "an empty file"),
        ("large.token", "longer than a token"),
        ("huge.token", "longer than "),
        ("lines.token", "several lines"),
        ("word.token", "not a token"),
        ("words.token", "not a token"),
        ("two.token", "not a token"),
        ("unsigned.token", "not a token"),
    ] {
        let message = placed(file, 64);
        assert!(message.contains(&format!("{file}: {fault}")) && !message.contains("horse"), "{message}");
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
    let person = ["token", "--iss", ISS, "--subject", "u", "--name", "Ash"];
    let token = [&person[..], &["--role", "dsl", "--purpose", "safeguarding"]].concat();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        (words(&[&token[..], &["--issuer-key", key.to_str().unwrap()]].concat()), profile("la-a")),
        (words(&["issuer", "list"]), profile("la-a")),
        (words(&["issuer", "list", "--json"]), profile("la-a")),
        (words(&["practitioner", "list"]), profile("la-a")),
        (words(&["audit", "list", "--role", "dsl", "--break-glass"]), profile("auditor")),
    ]
}
