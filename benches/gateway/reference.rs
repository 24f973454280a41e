//! The alternative that a user would otherwise run: PostgreSQL over mTLS with pgaudit, into which pgbench inserts
//! the row of one mark per transaction from 64 clients, without receipt, tree, sealing or rules.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ap_gateway::cli::bench::load::Measurement;
use ap_gateway::cli::sandbox::files;
use ap_gateway::clock::{Clock, SystemClock};
use ap_gateway::identity::pki::{SandboxAuthority, Validity};

use super::postgres::{self, Postgres};
use super::results::Line;

/// The migration that creates the gateway's table of marks.
const RETURNS_MIGRATION: &str = include_str!("../../src/store/migrations/postgres/0004_returns.sql");
/// The pgbench script that inserts the row of one mark, with new ids and a new time each.
const INSERT_SCRIPT: &str = "\\set minute random(360, 1319)
INSERT INTO marks (idx, ordinal, placement, date, slot, revision, return_id, seen, end_time, flags, received, \
child, sender) VALUES (nextval('places'), 0, uuid_send(gen_random_uuid()), '2026-11-20', 16 + :minute, 1, \
uuid_send(gen_random_uuid()), 1, :minute + 2, 0, 1795190400000000 + :minute, uuid_send(gen_random_uuid()), \
'provider/fleet-00001');
";

/// Panics with advice if the package of pgaudit is not installed, before anything is measured.
pub fn check_pgaudit() {
    let folder = postgres::run(Command::new(postgres::program("pg_config")).arg("--sharedir"));
    let control = Path::new(folder.trim()).join("extension/pgaudit.control");
    assert!(control.exists(), "pgaudit is missing: apt-get install postgresql-15-pgaudit");
}

/// Starts the server, inserts for `duration`, and stops it.
pub fn run(options: &str, duration: Duration) -> Line {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let server = start(dir, options);
    let columns =
        RETURNS_MIGRATION.split_once("CREATE TABLE marks (").unwrap().1.split_once("\n);").unwrap().0;
    let made = format!("CREATE EXTENSION pgaudit; CREATE SEQUENCE places; CREATE TABLE marks ({columns}\n);");
    postgres::run(client("psql", dir, &server).args(["-v", "ON_ERROR_STOP=1", "-c", &made]));
    let spoken = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND client_dn IS NOT NULL";
    let spoken = postgres::run(client("psql", dir, &server).args(["-Atc", spoken]));
    assert_eq!(spoken.trim(), "TLSv1.3");
    files::write_file(dir, "insert", INSERT_SCRIPT).unwrap();
    let printed = postgres::run(
        client("pgbench", dir, &server)
            .args(["-n", "-M", "prepared", "-c", "64", "-j", "2", "-f", "insert", "-l", "--log-prefix=log"])
            .args(["-T", &duration.as_secs().to_string()]),
    );
    let tps = printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    let rate: f64 = tps.unwrap().parse().unwrap();
    let latencies = latencies(dir);
    let audited = server.log().matches("AUDIT: SESSION").count();
    assert!(audited >= latencies.len(), "{audited} of {} inserts were audited", latencies.len());
    let elapsed = Duration::from_secs_f64(latencies.len() as f64 / rate);
    Line::new(&Measurement { calls: latencies.len() as u64, elapsed, latencies }, 1)
}

/// Starts PostgreSQL with durable commits, TLS with client certificates only, and every write in its audit log.
fn start(dir: &Path, options: &str) -> Postgres {
    write_certificates(dir);
    files::write_file(dir, "hba", "hostssl all all 127.0.0.1/32 cert clientcert=verify-full map=bench\n")
        .unwrap();
    files::write_file(dir, "ident", "bench \"ap-gateway client\" postgres\n").unwrap();
    let option = |(setting, name): (&str, &str)| format!(" -c {setting}={}", dir.join(name).display());
    let files = [
        ("ssl_cert_file", "server.pem"),
        ("ssl_key_file", "server.key"),
        ("ssl_ca_file", "ca.pem"),
        ("hba_file", "hba"),
        ("ident_file", "ident"),
    ];
    Postgres::with(&format!(
        "{options} -c fsync=on -c synchronous_commit=on -c ssl=on{} -c shared_preload_libraries=pgaudit \
         -c pgaudit.log=write",
        files.map(option).concat()
    ))
}

/// Returns a command for a program that connects with the client certificate and verifies the server's.
fn client(name: &str, dir: &Path, server: &Postgres) -> Command {
    let url = std::fs::read_to_string(&server.url_file).unwrap();
    let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let mut command = Command::new(postgres::program(name));
    command.current_dir(dir);
    command.env("PGHOST", "localhost").env("PGHOSTADDR", "127.0.0.1").env("PGPORT", port);
    command.env("PGUSER", "postgres").env("PGDATABASE", "postgres").env("PGSSLMODE", "verify-full");
    for (variable, name) in [("ROOTCERT", "ca.pem"), ("CERT", "client.pem"), ("KEY", "client.key")] {
        command.env(format!("PGSSL{variable}"), dir.join(name));
    }
    command
}

/// Writes certificates of server and client as in a sandbox. The server's key must belong to its user.
fn write_certificates(dir: &Path) {
    let now = SystemClock.now().seconds();
    let validity = Validity { from: now - 86_400, to: now + 86_400 };
    let authority = SandboxAuthority::new("bench", validity).unwrap();
    files::write_file(dir, "ca.pem", authority.certificate_pem()).unwrap();
    let client = authority.issue_client(&[], 3, validity).unwrap();
    for (name, issued) in [("server", authority.issue_server(2).unwrap()), ("client", client)] {
        files::write_file(dir, &format!("{name}.pem"), &issued.certificate_pem).unwrap();
        files::write_file(dir, &format!("{name}.key"), &issued.key_pem).unwrap();
    }
    if postgres::is_root() {
        postgres::run(Command::new("chown").arg("postgres").arg(dir.join("server.key")));
        postgres::run(Command::new("chmod").arg("755").arg(dir));
    }
}

/// Reads the latencies from the logs of pgbench, one file per thread; the third field is the time in microseconds.
fn latencies(dir: &Path) -> Vec<u32> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("log."));
    let texts: Vec<String> = logs.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let mut latencies: Vec<u32> =
        lines.map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect();
    latencies.sort_unstable();
    latencies
}
