//! Databases that a gateway cannot use: each fault of server, role, URL or file is one line with its cause at the start
//! and in `check`, and no line contains the password. `PgBouncer` serves in session mode.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::limits::output;
use super::postgres::write_private;
use super::process::Process;
use super::startup_checks::serve_briefly;
use super::support::{Postgres, gateway, is_root, run};

/// The password of every role, which no line may contain.
const PASSWORD: &str = "geheim-7";

/// A gateway on PostgreSQL that no process serves, with a role for each fault.
struct Stopped {
    postgres: Postgres,
    dir: TempDir,
}

impl Stopped {
    fn new(postgres: Postgres) -> Self {
        let dir = TempDir::new().unwrap();
        let options = [Path::new("--postgres-url-file"), &postgres.url_file].map(Path::as_os_str);
        drop(Process::start(gateway(), dir.path(), &options));
        let stopped = Self { postgres, dir };
        stopped.postgres.ask(&format!(
            "CREATE ROLE gateway LOGIN PASSWORD '{PASSWORD}'; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO gateway"
        ));
        stopped
    }

    /// Returns the URL of the role `gateway`, with a password.
    fn url(&self, password: &str) -> String {
        self.postgres.url().replace("//postgres@", &format!("//gateway:{password}@"))
    }

    fn use_urls(&self, urls: &str) {
        let file = self.dir.path().join("urls");
        write_private(&file, urls);
        let config = self.dir.path().join("gateway.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let lines = text.lines().map(|line| match line.split_once(" = ") {
            Some(("postgres_url_file", _)) => format!("postgres_url_file = \"{}\"", file.display()),
            _ => line.to_owned(),
        });
        std::fs::write(config, lines.collect::<Vec<_>>().join("\n")).unwrap();
    }

    /// Asserts that `check` and `serve` end with a code and one line that contains the words.
    fn assert_refused(&self, expected: i32, words: &[&str]) {
        let check = output(gateway().arg("check").arg("--config").arg(self.dir.path().join("gateway.toml")));
        let check = (check.status.code().unwrap(), String::from_utf8(check.stderr).unwrap());
        for (code, printed) in [check, serve_briefly(self.dir.path())] {
            assert_eq!((code, printed.lines().count()), (expected, 1), "{words:?}: {printed}");
            assert!(words.iter().all(|word| printed.contains(word)), "{words:?}: {printed}");
            assert!(!printed.contains(PASSWORD), "{printed}");
        }
    }

    fn assert_checked(&self) {
        let check = output(gateway().arg("check").arg("--config").arg(self.dir.path().join("gateway.toml")));
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}

/// SQL that makes a fault, SQL that mends it, the exit code, and words of the line.
type SqlFault = (&'static str, &'static str, i32, &'static [&'static str]);

const KEY: &str = "database.postgres_url_file (/";
const SQL_FAULTS: [SqlFault; 11] = [
    (
        "REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM gateway",
        "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO gateway",
        78,
        &[KEY, "the role gateway lacks the right INSERT on the table entries"],
    ),
    (
        "REVOKE INSERT ON marks FROM gateway",
        "GRANT INSERT ON marks TO gateway",
        78,
        &[KEY, "the role gateway lacks the right INSERT on the table marks"],
    ),
    (
        "REVOKE UPDATE ON current_versions FROM gateway",
        "GRANT UPDATE ON current_versions TO gateway",
        78,
        &[KEY, "the role gateway lacks the right UPDATE on the table current_versions"],
    ),
    (
        "REVOKE SELECT ON _sqlx_migrations FROM gateway",
        "GRANT SELECT ON _sqlx_migrations TO gateway",
        78,
        &["the database refused", "SQLSTATE 42501: permission denied for table _sqlx_migrations"],
    ),
    (
        "ALTER ROLE gateway SET default_transaction_read_only = on",
        "ALTER ROLE gateway RESET default_transaction_read_only",
        78,
        &[KEY, "default_transaction_read_only is on for the role gateway"],
    ),
    (
        "ALTER ROLE gateway SET search_path = elsewhere",
        "CREATE SCHEMA elsewhere AUTHORIZATION gateway",
        78,
        &[KEY, "search_path (elsewhere) names no schema that exists"],
    ),
    (
        "SELECT 1",
        "ALTER ROLE gateway RESET search_path",
        78,
        &[KEY, "the gateway's tables are in the schema public, which is not in search_path (elsewhere)"],
    ),
    (
        "UPDATE _sqlx_migrations SET success = false WHERE version = 3",
        "UPDATE _sqlx_migrations SET success = true",
        78,
        &["migration 3", "was begun and not finished"],
    ),
    (
        "ALTER TABLE marks RENAME TO marks_elsewhere",
        "ALTER TABLE marks_elsewhere RENAME TO marks",
        78,
        &[KEY, "the table marks is missing", "by half"],
    ),
    (
        "ALTER ROLE gateway CONNECTION LIMIT 1",
        "ALTER ROLE gateway CONNECTION LIMIT -1",
        69,
        &["no connection is free on the server", "SQLSTATE 53300: too many connections for role"],
    ),
    (
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
        "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
        78,
        &[KEY, "may not connect to the database", "SQLSTATE 42501"],
    ),
];

#[test]
fn each_fault_of_a_postgresql_server_is_a_line_of_its_own() {
    let stopped = Stopped::new(Postgres::start());
    stopped.use_urls(&stopped.url(PASSWORD));
    stopped.assert_checked();
    for (fault, mended, code, words) in SQL_FAULTS {
        stopped.postgres.ask(fault);
        stopped.assert_refused(code, words);
        stopped.postgres.ask(mended);
    }
    stopped.assert_checked();
    stopped
        .postgres
        .ask("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    stopped.postgres.ask("CREATE DATABASE empty TEMPLATE template0");
    stopped.postgres.require_password("gateway");
    let url = stopped.url(PASSWORD);
    let database = |name: &str| format!("{}/{name}", url.strip_suffix("/postgres").unwrap());
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let unused = format!("postgres://gateway:{PASSWORD}@127.0.0.1:{unused}/postgres");
    let url_key: &[&str] = &[KEY, "it must hold a PostgreSQL URL a line"];
    for (urls, code, words) in [
        (stopped.url("geheim-8"), 78, &[KEY, "refuses the user or the password (SQLSTATE 28P01: "][..]),
        (url.replace("gateway:", "nobody:"), 78, &[KEY, "SQLSTATE 28000: role \"nobody\" does not exist"]),
        (database("gone"), 78, &[KEY, "the server has no such database (SQLSTATE 3D000: "]),
        (database("latin"), 78, &[KEY, "the encoding of the database is LATIN1, and it must be UTF8"]),
        (database("empty"), 78, &["the database holds no gateway: run init"]),
        (format!("{url}?sslmode=require"), 78, &[KEY, "TLS to the server cannot be set up"]),
        (unused, 69, &["the database could not be reached"]),
        (String::new(), 78, &[url_key, &["it is empty"]].concat()),
        (
            url.replace("postgres://", "mysql://"),
            78,
            &[url_key, &["URL 1: it must begin with postgres://"]].concat(),
        ),
        (
            format!("{url}?sslmod=require"),
            78,
            &[url_key, &["URL 1: the parameter sslmod is unknown"]].concat(),
        ),
    ] {
        stopped.use_urls(&urls);
        stopped.assert_refused(code, words);
    }
    stopped.use_urls(&url);
    stopped.assert_checked();
}

/// A `PgBouncer` in front of a server. It is killed when dropped.
struct Bouncer {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Bouncer {
    fn start(postgres: &Postgres, pool_mode: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("ap-gateway-bouncer").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = postgres.url();
        let server = server.rsplit_once(':').unwrap().1.split('/').next().unwrap();
        let file = dir.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n\
             default_pool_size = 20\nadmin_users = postgres\n"
        );
        // `auth_type = any` logs every client in as the user of the server's connection.
        let text = text.replace(&format!("port={server}"), &format!("port={server} user=postgres"));
        std::fs::write(&file, text).unwrap();
        let mut command = if is_root() {
            run(Command::new("chmod").arg("-R").arg("a+rX").arg(dir.path()));
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "/usr/sbin/pgbouncer"]);
            command
        } else {
            Command::new("/usr/sbin/pgbouncer")
        };
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child =
            command.current_dir("/").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let bouncer = Self { child: child.spawn().unwrap(), port, dir };
        for _wait in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return bouncer;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}", std::fs::read_to_string(bouncer.dir.path().join("log")).unwrap());
    }

    fn url(&self) -> String {
        format!("postgres://gateway:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // runuser passes SIGTERM on to its child.
        Command::new("kill").arg(self.child.id().to_string()).output().ok();
        self.child.wait().ok();
    }
}

#[test]
fn pgbouncer_serves_in_session_mode_only() {
    let stopped = Stopped::new(Postgres::start());
    for pool_mode in ["transaction", "statement"] {
        let bouncer = Bouncer::start(&stopped.postgres, pool_mode);
        stopped.use_urls(&bouncer.url());
        stopped.assert_refused(78, &[KEY, "shares sessions among connections", "set pool_mode = session"]);
    }
    let bouncer = Bouncer::start(&stopped.postgres, "session");
    stopped.use_urls(&bouncer.url());
    stopped.assert_checked();
    let (code, printed) = serve_briefly(stopped.dir.path());
    assert_eq!(code, 124, "it does not serve: {printed}");
    assert!(!printed.contains("WARN") && !printed.contains("ERROR"), "{printed}");
}

fn foreign_database(dir: &Path) -> PathBuf {
    let file = dir.join("foreign.sqlite");
    run(Command::new("sqlite3")
        .arg(&file)
        .arg("CREATE TABLE recipes (id INTEGER); INSERT INTO recipes VALUES (7)"));
    run(Command::new("chmod").arg("600").arg(&file));
    file
}

#[test]
fn another_program_s_sqlite_file_is_refused_by_name_and_left_as_it_is() {
    let sandbox = super::process::Sandbox::new();
    let config = sandbox.path().join("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let foreign = foreign_database(sandbox.path());
    let changed = text.replace("gateway.sqlite", "foreign.sqlite");
    std::fs::write(&config, &changed).unwrap();
    let before = std::fs::read(&foreign).unwrap();
    let refused = |verb: &str, options: &[&str], words: &[&str]| {
        let output = output(gateway().arg(verb).arg("--config").arg(&config).args(options));
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), printed.lines().count()), (Some(78), 1), "{verb}: {printed}");
        assert!(words.iter().all(|word| printed.contains(word)), "{verb}: {words:?}: {printed}");
    };
    let words =
        ["database.sqlite (/", "foreign.sqlite): it is another program's database: it has the table recipes"];
    let certificate = sandbox.path().join("certs/operator.pem");
    let init = ["--origin", "ap.example/log-2", "--operator-certificate", certificate.to_str().unwrap()];
    for (verb, options) in
        [("check", &[][..]), ("serve", &[]), ("migrate", &[]), ("activate-key", &[]), ("init", &init)]
    {
        refused(verb, options, &words);
        assert!(std::fs::read(&foreign).unwrap() == before, "{verb} wrote to it");
    }
    // An empty file is an empty database.
    std::fs::write(&foreign, "").unwrap();
    for verb in ["check", "serve"] {
        refused(verb, &[], &["the database holds no gateway: run init"]);
    }
}
