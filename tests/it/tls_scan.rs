//! What sslyze, a scanner of other makers, finds at the listener of `serve`: TLS 1.3 with a required client certificate
//! and nothing else. testssl.sh is not used: the version that Debian has presents no client certificate.

use std::process::Command;

use serde_json::{Value, json};

use super::limits::output;
use super::serve_process::{ServeFolder, ServeProcess};
use super::support::{installed_tool, run};

/// Scans a process. The exit code is not 0 unless everything that was scanned complies with Mozilla's strictest
/// configuration, "modern". Returns what was found.
fn scan(folder: &ServeFolder, served: &ServeProcess, options: &[&str]) -> Value {
    let out = folder.file_path("scan.json");
    let mut sslyze = Command::new(installed_tool("python/bin/python"));
    // Python warns of a certificate in sslyze's own trust store.
    sslyze.args(["-W", "ignore", "-m", "sslyze", "--quiet", "--sni", "localhost"]).args(options);
    sslyze.arg("--certinfo_ca_file").arg(folder.file_path("ca.pem")).arg("--json_out").arg(&out);
    run(sslyze.arg(served.address.to_string()));
    let found: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(found["invalid_server_strings"], json!([]));
    found["server_scan_results"][0].clone()
}

#[test]
fn sslyze_finds_only_tls_1_3_with_a_client_certificate() {
    let folder = ServeFolder::new();
    // Mozilla's configuration allows a certificate 90 days.
    folder.write_key_pair("server", &folder.authority().issue_server(2).unwrap());
    let served = folder.serve();
    let without = scan(&folder, &served, &["--mozilla_config", "disable"]);
    assert_eq!(without["connectivity_result"]["client_auth_requirement"], "REQUIRED", "{without}");

    let [certificate, key] =
        ["pem", "key"].map(|kind| folder.file_path(&format!("certs/la-a.{kind}")).display().to_string());
    let identity = ["--cert", &certificate, "--key", &key, "--mozilla_config", "modern"];
    let found = scan(&folder, &served, &[&identity[..], &["--early_data", "--resum"]].concat());
    assert_eq!(found["scan_status"], "COMPLETED");
    let results = found["scan_result"].as_object().unwrap();
    let result = |name: &str| {
        assert_eq!(results[name]["status"], "COMPLETED", "{name}");
        &results[name]["result"]
    };
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2"] {
        let suites = result(&format!("{old}_cipher_suites"));
        assert_eq!(suites["is_tls_version_supported"], false, "{old}");
        assert!(!suites["rejected_cipher_suites"].as_array().unwrap().is_empty(), "{old}");
    }
    let accepted = result("tls_1_3_cipher_suites")["accepted_cipher_suites"].as_array().unwrap();
    let mut names: Vec<_> =
        accepted.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    let expected = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    assert_eq!(names, expected);
    for (scanned, field, expected) in [
        ("tls_1_3_early_data", "supports_early_data", json!(false)),
        ("session_resumption", "session_id_resumption_result", json!("SERVER_IS_TLS_1_3_ONLY")),
        ("session_resumption", "tls_ticket_resumption_result", json!("SERVER_IS_TLS_1_3_ONLY")),
        ("tls_compression", "supports_compression", json!(false)),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", json!(false)),
        ("heartbleed", "is_vulnerable_to_heartbleed", json!(false)),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", json!(false)),
        ("robot", "robot_result", json!("NOT_VULNERABLE_RSA_NOT_SUPPORTED")),
    ] {
        assert_eq!(result(scanned)[field], expected, "{scanned}");
    }
    // sslyze tries resumption with TLS 1.2 alone; `listener` does with TLS 1.3.
    let curves = result("elliptic_curves")["supported_curves"].as_array().unwrap();
    let curves: Vec<_> = curves.iter().map(|curve| curve["name"].as_str().unwrap()).collect();
    assert_eq!(curves, ["X25519", "secp256r1", "secp384r1"]);
}

/// An unknown peer could fill the log with lines of the TLS library, which are long and not folded.
#[test]
fn a_server_name_that_is_an_address_leaves_no_line_in_the_log() {
    let folder = ServeFolder::new();
    let served = folder.serve();
    let file = |name: &str| folder.file_path(name);
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &served.address.to_string(), "-servername", "127.0.0.1"]);
    openssl.args(["-verify_return_error", "-alpn", "h2", "-CAfile"]).arg(file("ca.pem"));
    openssl.arg("-cert").arg(file("certs/la-a.pem")).arg("-key").arg(file("certs/la-a.key"));
    let shown = output(&mut openssl);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("ALPN protocol: h2"), "{shown:?}");
    assert_eq!(served.log(), "");
}
