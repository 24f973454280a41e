//! Checks of the configuration and of `init`: invalid values of every key, file permissions, early signals, and the
//! certificate of the first operator.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ap_gateway::identity::pki::Validity;

use super::fixtures::current_validity;
use super::serve_process::ServeFolder;
use super::support::{gateway, run};

/// A key, an invalid value, and words of the error message.
type InvalidValue = (&'static str, &'static str, &'static [&'static str]);

const WRONG_TYPE: &[&str] = &["expected"];
const EMPTY_PATH: &[&str] = &["must name a file"];
const FILE_MISSING: &[&str] = &["No such file"];
const NOT_A_FILE: &[&str] = &["not a regular file"];
/// Invalid values of every key that is not a number: empty, of the wrong type, missing files, and files of the
/// wrong kind.
const INVALID_VALUES: [InvalidValue; 53] = [
    ("listen", "\"\"", &["socket address"]),
    ("listen", "1", WRONG_TYPE),
    ("listen", "\"localhost\"", &["socket address"]),
    ("trust_domain", "\"\"", &["SPIFFE trust domain"]),
    ("trust_domain", "\"Ap Example\"", &["SPIFFE trust domain"]),
    ("trust_domain", "1", WRONG_TYPE),
    ("reflection", "\"\"", WRONG_TYPE),
    ("migrate_on_start", "1", WRONG_TYPE),
    ("tls.certificate", "\"\"", EMPTY_PATH),
    ("tls.certificate", "1", WRONG_TYPE),
    ("tls.certificate", "\"gone\"", FILE_MISSING),
    ("tls.certificate", "\"certs\"", NOT_A_FILE),
    ("tls.certificate", "\"world.json\"", &["is not PEM"]),
    ("tls.certificate", "\"certs/server.key\"", &["holds no PEM block CERTIFICATE"]),
    ("tls.key", "\"\"", EMPTY_PATH),
    ("tls.key", "1", WRONG_TYPE),
    ("tls.key", "\"gone\"", FILE_MISSING),
    ("tls.key", "\"certs\"", NOT_A_FILE),
    ("tls.key", "\"key-ring\"", &["is not PEM"]),
    ("tls.key", "\"certs/la-a.key\"", &["not the key of tls.certificate"]),
    ("tls.client_ca", "\"\"", EMPTY_PATH),
    ("tls.client_ca", "1", WRONG_TYPE),
    ("tls.client_ca", "\"gone\"", FILE_MISSING),
    ("tls.client_ca", "\"certs\"", NOT_A_FILE),
    ("tls.client_ca", "\"ca.crl\"", &["holds no PEM block CERTIFICATE"]),
    ("tls.crls", "[\"\"]", EMPTY_PATH),
    ("tls.crls", "\"ca.crl\"", WRONG_TYPE),
    ("tls.crls", "[\"gone\"]", FILE_MISSING),
    ("tls.crls", "[\"certs\"]", NOT_A_FILE),
    ("database.sqlite", "\"\"", EMPTY_PATH),
    ("database.sqlite", "1", WRONG_TYPE),
    ("database.sqlite", "\"gone\"", FILE_MISSING),
    ("database.sqlite", "\"certs\"", NOT_A_FILE),
    ("database.sqlite", "\"key-ring\"", &["not a SQLite database"]),
    ("database.single_primary", "\"\"", WRONG_TYPE),
    ("log.signing_key", "\"\"", EMPTY_PATH),
    ("log.signing_key", "\"gone\"", FILE_MISSING),
    ("log.signing_key", "\"certs\"", NOT_A_FILE),
    ("log.signing_key", "\"key-ring\"", &["not understood at line"]),
    ("log.key_ring", "\"\"", EMPTY_PATH),
    ("log.key_ring", "\"gone\"", FILE_MISSING),
    ("log.key_ring", "\"certs\"", NOT_A_FILE),
    ("log.key_ring", "\"log-signing-key\"", &["not understood at line"]),
    ("log.anchor", "\"\"", EMPTY_PATH),
    ("log.anchor", "1", WRONG_TYPE),
    ("log.anchor", "\"certs\"", NOT_A_FILE),
    ("log.signing_key", "1", WRONG_TYPE),
    ("log.key_ring", "1", WRONG_TYPE),
    ("log.commitment_key", "1", WRONG_TYPE),
    ("log.commitment_key", "\"\"", EMPTY_PATH),
    ("log.commitment_key", "\"gone\"", FILE_MISSING),
    ("log.commitment_key", "\"certs\"", NOT_A_FILE),
    ("log.commitment_key", "\"key-ring\"", &["not understood at line"]),
];
/// All required keys.
const REQUIRED_KEYS: [&str; 10] = [
    "listen",
    "trust_domain",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
    "tls.crls",
    "log.anchor",
    "log.signing_key",
    "log.key_ring",
    "log.commitment_key",
];
/// All number keys with their minimum and maximum, as the error messages name them.
const NUMBER_BOUNDS: [(&str, i64, i64); 8] = [
    ("database.fold_after_pages", 100, 1_000_000),
    ("limits.request_bytes", 4_096, 16_777_216),
    ("limits.connections", 1, 1_000_000),
    ("limits.pending_connections", 16, 65_536),
    ("limits.pending_connections_per_address", 1, 65_536),
    ("limits.connections_per_organisation", 1, 1_000_000),
    ("limits.handshake_seconds", 1, 60),
    ("limits.drain_seconds", 1, 300),
];

/// Sets a key to a value or removes it; returns the configuration and the line of the key.
fn set_key(good: &str, key: &str, value: Option<&str>) -> (String, usize) {
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
    let folder = ServeFolder::new();
    let good = folder.configuration();
    let check = |key: &str, value: Option<&str>, words: &[&str]| {
        let (text, line) = set_key(&good, key, value);
        folder.write("gateway.toml", &text);
        let (code, printed) = folder.run_command("check");
        let what = format!("{key} = {value:?}: {printed}");
        assert_eq!(code, 78, "{what}");
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines.len(), 1, "{what}");
        let name = key.rsplit('.').next().unwrap();
        assert!(lines[0].contains(name) && words.iter().all(|word| lines[0].contains(word)), "{what}");
        // An error in the text names its line; an error in a file names its path.
        let place = format!("gateway.toml line {line}: {key}");
        let has_path = lines[0].contains(folder.path().to_str().unwrap());
        assert!(value.is_none() || lines[0].contains(&place) || has_path, "{what}");
    };
    for (key, value, words) in INVALID_VALUES {
        check(key, Some(value), words);
    }
    for key in REQUIRED_KEYS {
        check(key, None, &["missing field"]);
    }
    check("database.sqlite", None, &["exactly one of sqlite and postgres_url_file"]);
    check("database.postgres_url_file", Some("\"url\""), &["exactly one of sqlite and postgres_url_file"]);
    for (key, least, most) in NUMBER_BOUNDS {
        let bounds = format!("from {least} to {most}");
        for value in [least - 1, most + 1, 0, -1, i64::MAX] {
            check(key, Some(&value.to_string()), &["whole number", &bounds]);
        }
        for value in ["\"\"", "\"1000\"", "1000.5", "true", "99999999999999999999"] {
            check(key, Some(value), &["whole number", &bounds]);
        }
        for value in [least, most] {
            folder.write("gateway.toml", &set_key(&good, key, Some(&value.to_string())).0);
            let (code, printed) = folder.run_command("check");
            assert_eq!(code, 0, "{key} = {value}: {printed}");
        }
    }
    // A missing or damaged anchor indicates tampering and is not a configuration error.
    for (value, cause) in
        [("\"gone\"", "the anchor file is missing"), ("\"ca.pem\"", "the anchor file cannot be read")]
    {
        folder.write("gateway.toml", &set_key(&good, "log.anchor", Some(value)).0);
        let (code, printed) = folder.run_command("check");
        assert!(code == 1 && printed.contains("log.anchor (/") && printed.contains(cause), "{printed}");
    }
    folder.write("gateway.toml", "listen = ");
    folder.assert_refused(&["gateway.toml line 1"]);
    folder.write("gateway.toml", &good);
    assert_eq!(folder.run_command("check").0, 0);
}

#[test]
fn the_database_s_url_is_read_from_a_private_file() {
    let folder = ServeFolder::new();
    let good = set_key(&folder.configuration(), "database.sqlite", None).0;
    for (value, words) in [
        ("\"\"", EMPTY_PATH),
        ("1", WRONG_TYPE),
        ("\"gone\"", FILE_MISSING),
        ("\"certs\"", NOT_A_FILE),
        ("\"ca.pem\"", &["chmod 600"]),
    ] {
        let words = [&["postgres_url_file"], words].concat();
        folder.write("gateway.toml", &set_key(&good, "database.postgres_url_file", Some(value)).0);
        folder.assert_refused(&words);
    }
}

#[test]
fn what_others_can_read_is_not_used() {
    let folder = ServeFolder::new();
    for (file, key) in [
        ("certs/server.key", "tls.key"),
        ("log-signing-key", "log.signing_key"),
        ("key-ring", "log.key_ring"),
        ("commitment-key", "log.commitment_key"),
        ("gateway.sqlite", "database.sqlite"),
    ] {
        let path = folder.file_path(file);
        let set = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            set(mode);
            folder.assert_refused(&[key, path.to_str().unwrap(), &format!("mode {mode:04o}"), "chmod 600"]);
        }
        set(0o600);
    }
    assert_eq!(folder.run_command("check").0, 0);
}

/// Checks all umasks, because a umask can leave files readable by others or take rights from the owner.
#[test]
fn what_init_makes_is_private_whatever_the_umask() {
    let folder = ServeFolder::new();
    let good = folder.configuration();
    for umask in ["000", "022", "077"] {
        let folder_made = folder.file_path(&format!("made-{umask}"));
        let name = folder_made.to_str().unwrap();
        let moved = ["gateway.sqlite", "log-signing-key", "key-ring", "commitment-key"]
            .iter()
            .fold(good.clone(), |text, file| {
                text.replace(&format!("\"{file}\""), &format!("\"{name}/{file}\""))
            });
        folder.write("gateway.toml", &moved.replace("\"anchor\"", &format!("\"{name}/anchor\"")));
        let mut init = Command::new("sh");
        init.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(gateway().get_program());
        init.args(["init", "--origin", "ap.example/log", "--config"]).arg(folder.file_path("gateway.toml"));
        run(init.arg("--operator-certificate").arg(folder.file_path("certs/operator.pem")));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder_made).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{} under umask {umask}", entry.path().display());
            found.push(entry.file_name().into_string().unwrap());
        }
        for file in ["anchor", "commitment-key", "gateway.sqlite", "key-ring", "log-signing-key"] {
            assert!(found.iter().any(|found| found == file), "{file} is not among {found:?}");
        }
    }
}

/// Returns the configuration with database, keys and anchor in the folder `fresh`, which does not exist.
fn configuration_of_a_new_gateway(folder: &ServeFolder) -> String {
    ["gateway.sqlite", "log-signing-key", "key-ring", "commitment-key", "anchor"]
        .iter()
        .fold(folder.configuration(), |text, file| {
            text.replace(&format!("\"{file}\""), &format!("\"fresh/{file}\""))
        })
}

#[test]
fn an_init_that_was_refused_is_run_again() {
    let folder = ServeFolder::new();
    let good = configuration_of_a_new_gateway(&folder);
    let init = |origin: &str| {
        let mut init = gateway();
        init.args(["init", "--origin", origin, "--config"]).arg(folder.file_path("gateway.toml"));
        let output =
            init.arg("--operator-certificate").arg(folder.file_path("certs/operator.pem")).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let refused = |origin: &str, cause: &str| {
        let (code, printed) = init(origin);
        assert!(code == 78 && printed.contains(cause) && printed.lines().count() == 1, "{code} {printed}");
    };
    let with_urls = good.replace("sqlite = \"fresh/gateway.sqlite\"", "postgres_url_file = \"urls\"");
    assert_ne!(with_urls, good);
    folder.write("gateway.toml", &with_urls);
    for urls in ["", "localhost"] {
        folder.write("urls", urls);
        std::fs::set_permissions(folder.file_path("urls"), PermissionsExt::from_mode(0o600)).unwrap();
        refused("ap.example/log", "/urls): it must hold a PostgreSQL URL a line: ");
    }
    folder.write("gateway.toml", &good);
    refused("two words", "log.signing_key");
    assert_eq!(init("ap.example/log"), (0, String::new()));
    let (code, printed) = init("ap.example/log");
    assert!(code == 1 && printed.contains("the database already holds a log"), "{code} {printed}");
}

#[test]
fn only_an_operator_s_certificate_is_the_first_operator_s() {
    let folder = ServeFolder::new();
    let authority = folder.authority();
    folder.write("gateway.toml", &configuration_of_a_new_gateway(&folder));
    let uri = "spiffe://sandbox.ap.example/operator/second/console";
    let past = Validity { to: current_validity().from + 3_600, ..current_validity() };
    let future = Validity { from: current_validity().to - 3_600, ..current_validity() };
    folder.write_key_pair(
        "elsewhere",
        &authority
            .issue_client(&["spiffe://other.example/operator/second/console"], 8, current_validity())
            .unwrap(),
    );
    folder.write_key_pair("past", &authority.issue_client(&[uri], 9, past).unwrap());
    folder.write_key_pair("future", &authority.issue_client(&[uri], 10, future).unwrap());
    folder.write_key_pair("usage", &authority.issue_client_with_server_usage(uri, 11).unwrap());
    let init = |file: &str| {
        let mut init = gateway();
        init.args(["init", "--origin", "ap.example/log", "--config"]).arg(folder.file_path("gateway.toml"));
        let output = init.arg("--operator-certificate").arg(folder.file_path(file)).output().unwrap();
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
        let (code, printed) = init(file);
        assert!(code == 78 && printed.contains(cause) && printed.contains(file), "{file}: {code} {printed}");
        assert!(!folder.file_path("fresh").exists(), "no file_path was created");
    }
    let (code, printed) = init("certs/operator.pem");
    assert_eq!(code, 0, "{printed}");
}

/// Checks early signals, because a signal without a handler kills the process.
#[test]
fn signals_right_at_the_start_are_handled() {
    let folder = ServeFolder::new();
    for _ in 0..8 {
        let mut served = folder.serve();
        served.signal("HUP");
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(served.is_running(), "{}", served.log());
        served.signal("TERM");
        assert_eq!(served.wait_for_exit().code(), Some(0));
        let served = folder.serve();
        served.signal("TERM");
        assert_eq!(served.wait_for_exit().code(), Some(0));
    }
}
