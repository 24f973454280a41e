//! The start: every key of the configuration with what is no value for it, files that others can read, signals that come
//! early, and who may be the first operator.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ap_gateway::identity::pki::Validity;

use super::served::Folder;
use super::stage::lately;
use super::support::{gateway, run};

/// A key, a value that is none, and words of the line that says so.
type Case = (&'static str, &'static str, &'static [&'static str]);

const TYPE: &[&str] = &["expected"];
const NO_PATH: &[&str] = &["must name a file"];
const GONE: &[&str] = &["No such file"];
const FOLDER: &[&str] = &["not a plain file"];
/// Every key that is not a number: empty, of the wrong type, missing, and of the wrong kind.
const CASES: [Case; 48] = [
    ("listen", "\"\"", &["socket address"]),
    ("listen", "1", TYPE),
    ("listen", "\"localhost\"", &["socket address"]),
    ("trust_domain", "\"\"", &["SPIFFE trust domain"]),
    ("trust_domain", "\"Ap Example\"", &["SPIFFE trust domain"]),
    ("trust_domain", "1", TYPE),
    ("reflection", "\"\"", TYPE),
    ("migrate_on_start", "1", TYPE),
    ("tls.certificate", "\"\"", NO_PATH),
    ("tls.certificate", "1", TYPE),
    ("tls.certificate", "\"gone\"", GONE),
    ("tls.certificate", "\"certs\"", FOLDER),
    ("tls.certificate", "\"world.json\"", &["is not PEM"]),
    ("tls.certificate", "\"certs/server.key\"", &["holds no PEM block CERTIFICATE"]),
    ("tls.key", "\"\"", NO_PATH),
    ("tls.key", "1", TYPE),
    ("tls.key", "\"gone\"", GONE),
    ("tls.key", "\"certs\"", FOLDER),
    ("tls.key", "\"key-ring\"", &["is not PEM"]),
    ("tls.key", "\"certs/la-a.key\"", &["not the key of tls.certificate"]),
    ("tls.client_ca", "\"\"", NO_PATH),
    ("tls.client_ca", "1", TYPE),
    ("tls.client_ca", "\"gone\"", GONE),
    ("tls.client_ca", "\"certs\"", FOLDER),
    ("tls.client_ca", "\"ca.crl\"", &["holds no PEM block CERTIFICATE"]),
    ("tls.crls", "[\"\"]", NO_PATH),
    ("tls.crls", "\"ca.crl\"", TYPE),
    ("tls.crls", "[\"gone\"]", GONE),
    ("tls.crls", "[\"certs\"]", FOLDER),
    ("database.sqlite", "\"\"", NO_PATH),
    ("database.sqlite", "1", TYPE),
    ("database.sqlite", "\"gone\"", GONE),
    ("database.sqlite", "\"certs\"", FOLDER),
    ("database.sqlite", "\"key-ring\"", &["not a SQLite database"]),
    ("database.single_primary", "\"\"", TYPE),
    ("log.signing_key", "\"\"", NO_PATH),
    ("log.signing_key", "\"gone\"", GONE),
    ("log.signing_key", "\"certs\"", FOLDER),
    ("log.signing_key", "\"key-ring\"", &["not understood at line"]),
    ("log.key_ring", "\"\"", NO_PATH),
    ("log.key_ring", "\"gone\"", GONE),
    ("log.key_ring", "\"certs\"", FOLDER),
    ("log.key_ring", "\"log-signing-key\"", &["not understood at line"]),
    ("log.anchor", "\"\"", NO_PATH),
    ("log.anchor", "1", TYPE),
    ("log.anchor", "\"certs\"", FOLDER),
    ("log.signing_key", "1", TYPE),
    ("log.key_ring", "1", TYPE),
];
/// Every key that has to be there.
const NEEDED: [&str; 9] = [
    "listen",
    "trust_domain",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "tls.crls",
    "log.anchor",
    "log.signing_key",
    "log.key_ring",
];
/// Every number with its bounds, as the errors name them.
const NUMBERS: [(&str, i64, i64); 6] = [
    ("database.fold_after_pages", 100, 1_000_000),
    ("limits.request_bytes", 4_096, 16_777_216),
    ("limits.connections", 1, 1_000_000),
    ("limits.connections_per_organisation", 1, 1_000_000),
    ("limits.handshake_seconds", 1, 60),
    ("limits.drain_seconds", 1, 300),
];

/// A configuration with a key set to a value, or left out, and the line on which it is.
fn with(good: &str, key: &str, value: Option<&str>) -> (String, usize) {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let (mut lines, mut now) = (Vec::new(), "");
    let header = |section: &str| format!("[{section}]");
    let set = value.map(|value| format!("{name} = {value}"));
    for line in good.lines() {
        if now == section && line.split(' ').next() == Some(name) {
            continue;
        }
        if let Some(begun) = line.strip_prefix('[') {
            now = begun.trim_end_matches(']');
        }
        lines.push(line.to_owned());
    }
    let at = if section.is_empty() {
        0
    } else if let Some(at) = lines.iter().position(|line| *line == header(section)) {
        at + 1
    } else {
        lines.push(header(section));
        lines.len()
    };
    if let Some(set) = set {
        lines.insert(at, set);
    }
    (lines.join("\n"), at + 1)
}

#[test]
fn every_key_refuses_what_is_no_value_for_it() {
    let folder = Folder::new();
    let good = folder.configuration();
    let check = |key: &str, value: Option<&str>, words: &[&str]| {
        let (text, line) = with(&good, key, value);
        folder.write("gateway.toml", &text);
        let (code, told) = folder.run("check");
        let what = format!("{key} = {value:?}: {told}");
        assert_eq!(code, 78, "{what}");
        let said: Vec<_> = told.lines().collect();
        assert_eq!(said.len(), 1, "{what}");
        let name = key.rsplit('.').next().unwrap();
        assert!(said[0].contains(name) && words.iter().all(|word| said[0].contains(word)), "{what}");
        // What is wrong in the text has its line; what is wrong with a file has its path.
        let place = format!("gateway.toml line {line}: {key}");
        let has_path = said[0].contains(folder.path().to_str().unwrap());
        assert!(value.is_none() || said[0].contains(&place) || has_path, "{what}");
    };
    for (key, value, words) in CASES {
        check(key, Some(value), words);
    }
    for key in NEEDED {
        check(key, None, &["missing field"]);
    }
    check("database.sqlite", None, &["exactly one of sqlite and postgres_url_file"]);
    check("database.postgres_url_file", Some("\"url\""), &["exactly one of sqlite and postgres_url_file"]);
    for (key, least, most) in NUMBERS {
        let bounds = format!("from {least} to {most}");
        for value in [least - 1, most + 1, 0, -1, i64::MAX] {
            check(key, Some(&value.to_string()), &["whole number", &bounds]);
        }
        for value in ["\"\"", "\"1000\"", "1000.5", "true", "99999999999999999999"] {
            check(key, Some(value), &["whole number", &bounds]);
        }
        for value in [least, most] {
            folder.write("gateway.toml", &with(&good, key, Some(&value.to_string())).0);
            let (code, told) = folder.run("check");
            assert_eq!(code, 0, "{key} = {value}: {told}");
        }
    }
    // An anchor that is gone or damaged is a sign of tampering, and no fault of the configuration.
    for (value, cause) in
        [("\"gone\"", "the anchor file is missing"), ("\"ca.pem\"", "the anchor file cannot be read")]
    {
        folder.write("gateway.toml", &with(&good, "log.anchor", Some(value)).0);
        let (code, told) = folder.run("check");
        assert!(code == 1 && told.contains("log.anchor (/") && told.contains(cause), "{told}");
    }
    folder.write("gateway.toml", "listen = ");
    folder.is_refused(&["gateway.toml line 1"]);
    folder.write("gateway.toml", &good);
    assert_eq!(folder.run("check").0, 0);
}

#[test]
fn the_database_s_url_is_read_from_a_private_file() {
    let folder = Folder::new();
    let good = with(&folder.configuration(), "database.sqlite", None).0;
    for (value, words) in [
        ("\"\"", NO_PATH),
        ("1", TYPE),
        ("\"gone\"", GONE),
        ("\"certs\"", FOLDER),
        ("\"ca.pem\"", &["chmod 600"]),
    ] {
        let words = [&["postgres_url_file"], words].concat();
        folder.write("gateway.toml", &with(&good, "database.postgres_url_file", Some(value)).0);
        folder.is_refused(&words);
    }
}

#[test]
fn what_others_can_read_is_not_used() {
    let folder = Folder::new();
    for (file, key) in [
        ("certs/server.key", "tls.key"),
        ("log-signing-key", "log.signing_key"),
        ("key-ring", "log.key_ring"),
        ("gateway.sqlite", "database.sqlite"),
    ] {
        let path = folder.file(file);
        let set = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            set(mode);
            folder.is_refused(&[key, path.to_str().unwrap(), &format!("mode {mode:04o}"), "chmod 600"]);
        }
        set(0o600);
    }
    assert_eq!(folder.run("check").0, 0);
}

/// A umask can leave files open to everybody, or without a right for their owner.
#[test]
fn what_init_makes_is_private_whatever_the_umask() {
    let folder = Folder::new();
    let good = folder.configuration();
    for umask in ["000", "022", "077"] {
        let folder_made = folder.file(&format!("made-{umask}"));
        let name = folder_made.to_str().unwrap();
        let moved =
            ["gateway.sqlite", "log-signing-key", "key-ring"].iter().fold(good.clone(), |text, file| {
                text.replace(&format!("\"{file}\""), &format!("\"{name}/{file}\""))
            });
        folder.write("gateway.toml", &moved.replace("\"anchor\"", &format!("\"{name}/anchor\"")));
        let mut init = Command::new("sh");
        init.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(gateway().get_program());
        init.args(["init", "--origin", "ap.example/log", "--config"]).arg(folder.file("gateway.toml"));
        run(init.arg("--operator-certificate").arg(folder.file("certs/operator.pem")));
        let mut found = 0;
        for entry in std::fs::read_dir(&folder_made).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{} under umask {umask}", entry.path().display());
            found += 1;
        }
        assert!(found >= 4, "{found}");
    }
}

#[test]
fn only_an_operator_s_certificate_is_the_first_operator_s() {
    let folder = Folder::new();
    let own = folder.authority();
    let good = folder.configuration();
    let fresh = |text: &str, file: &str| text.replace(&format!("\"{file}\""), &format!("\"fresh/{file}\""));
    let fresh = ["gateway.sqlite", "log-signing-key", "key-ring", "anchor"]
        .iter()
        .fold(good, |text, file| fresh(&text, file));
    folder.write("gateway.toml", &fresh);
    let uri = "spiffe://sandbox.ap.example/operator/second/console";
    let past = Validity { to: lately().from + 3_600, ..lately() };
    let future = Validity { from: lately().to - 3_600, ..lately() };
    folder.pair(
        "elsewhere",
        &own.client(&["spiffe://other.example/operator/second/console"], 8, lately()).unwrap(),
    );
    folder.pair("past", &own.client(&[uri], 9, past).unwrap());
    folder.pair("future", &own.client(&[uri], 10, future).unwrap());
    folder.pair("usage", &own.client_without_usage(uri, 11).unwrap());
    let init = |file: &str| {
        let mut init = gateway();
        init.args(["init", "--origin", "ap.example/log", "--config"]).arg(folder.file("gateway.toml"));
        let output = init.arg("--operator-certificate").arg(folder.file(file)).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (file, cause) in [
        ("certs/la-a.pem", "it is not an operator's"),
        ("certs/elsewhere.pem", "its trust domain is not the configuration's"),
        ("certs/past.pem", "it expired at"),
        ("certs/future.pem", "it is not valid before"),
        ("certs/usage.pem", "not for TLS client authentication"),
        ("certs/operator.key", "holds no PEM block CERTIFICATE"),
        ("gone.pem", "No such file"),
    ] {
        let (code, told) = init(file);
        assert!(code == 78 && told.contains(cause) && told.contains(file), "{file}: {code} {told}");
        assert!(!folder.file("fresh").exists(), "nothing was made");
    }
    let (code, told) = init("certs/operator.pem");
    assert_eq!(code, 0, "{told}");
}

/// A signal without a handler would kill the process.
#[test]
fn signals_right_at_the_start_are_heard() {
    let folder = Folder::new();
    for _ in 0..8 {
        let mut served = folder.serve();
        served.signal("HUP");
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(served.is_running(), "{}", served.log());
        served.signal("TERM");
        assert_eq!(served.ended().code(), Some(0));
        let served = folder.serve();
        served.signal("TERM");
        assert_eq!(served.ended().code(), Some(0));
    }
}
