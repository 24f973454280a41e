//! Checks of the configuration and of `init`: text that cannot be parsed, file permissions, early signals, and the
//! certificate of the first operator. What each key takes is in [`super::configuration_keys`].

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ap_gateway::identity::pki::{SandboxAuthority, Validity};

use super::fixtures::current_validity;
use super::serve_process::ServeFolder;
use super::support::{gateway, run};

/// Sets a key to a value or removes it; returns the configuration and the line of the key.
pub fn set_key(good: &str, key: &str, value: Option<&str>) -> (String, usize) {
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
fn a_configuration_that_cannot_be_parsed_is_refused_with_its_line() {
    let folder = ServeFolder::new();
    let good = folder.configuration();
    folder.write("gateway.toml", "listen = ");
    folder.assert_refused(&["gateway.toml line 1"]);
    for (text, words) in [
        (format!("colour = 1\n{good}"), ["gateway.toml line 1", "unknown field `colour`"]),
        (
            set_key(&good, "database.postgres_url_file", Some("\"url\"")).0,
            ["gateway.toml", "exactly one of sqlite and postgres_url_file"],
        ),
    ] {
        folder.write("gateway.toml", &text);
        folder.assert_refused(&words);
    }
    std::fs::remove_file(folder.file_path("gateway.toml")).unwrap();
    folder.assert_refused(&["gateway.toml", "No such file"]);
    folder.write("gateway.toml", &good);
    assert_eq!(folder.run_command("check").0, 0);
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

/// Checks that a file of rules that has no end, or too much, does not keep the start waiting.
#[test]
fn rules_are_read_from_a_file_of_bounded_size() {
    let folder = ServeFolder::new();
    let good = folder.configuration();
    run(Command::new("mkfifo").arg(folder.file_path("pipe")));
    folder.write("long", &"#".repeat((1 << 20) + 1));
    folder.write("fault", "[life]\nescalations = 1\nescalations = 1\n");
    for (file, said) in [
        ("pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("long", "longer than 1 MiB"),
        ("fault", "line 3: life.escalations is there twice"),
    ] {
        folder.write("gateway.toml", &format!("{good}\n[oversight]\nrules = \"{file}\"\n"));
        folder.assert_refused(&["oversight.rules", file, said]);
    }
    folder.write("long", &"#".repeat(1 << 20));
    folder.write("gateway.toml", &format!("{good}\n[oversight]\nrules = \"long\"\n"));
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
    assert!(code == 1 && printed.contains("already holds a log"), "{code} {printed}");
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
    let stranger = SandboxAuthority::new("ap-gateway sandbox", current_validity()).unwrap();
    folder.write_key_pair("stranger", &stranger.issue_client(&[uri], 12, current_validity()).unwrap());
    folder.write_key_pair("revoked", &authority.issue_client(&[uri], 13, current_validity()).unwrap());
    folder.write("ca.crl", &authority.issue_crl(&[13], 9, current_validity()).unwrap());
    for (file, cause) in [
        ("certs/stranger.pem", "no authority of tls.client_ca issued it"),
        ("certs/revoked.pem", "tls.crls revoke it"),
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
    for (file, key) in [("ca.crl", "tls.crls"), ("certs/server.pem", "tls.certificate")] {
        let (path, kept) = (folder.file_path(file), folder.file_path("kept"));
        std::fs::rename(&path, &kept).unwrap();
        let (code, printed) = init("certs/operator.pem");
        assert!(code == 78 && printed.contains(key) && printed.contains(file), "{file}: {code} {printed}");
        assert!(!folder.file_path("fresh").exists(), "{file}: something was created");
        std::fs::rename(&kept, &path).unwrap();
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
