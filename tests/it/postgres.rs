//! PostgreSQL servers for tests and benches, started from the system's binaries.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::limits::output;

/// Runs a command to its end, which must succeed, and returns its standard output.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

/// A PostgreSQL server in a temporary folder. It is stopped when dropped.
pub struct Postgres {
    dir: TempDir,
    options: String,
    pub url_file: PathBuf,
}

impl Postgres {
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts a server with further command-line options.
    pub fn with(options: &str) -> Self {
        let server = Self::empty(options);
        let mut initdb = postgres_binary("initdb");
        run(initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "-D"]).arg(server.data()));
        server.serve();
        server
    }

    /// Reserves a folder and a port for a server, without data.
    fn empty(options: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("ap-gateway-pg").tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
            run(Command::new("chmod").arg("755").arg(dir.path()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options =
            format!("{options} -p {port} -c listen_addresses=127.0.0.1 -k {}", dir.path().display());
        let url_file = dir.path().join("url");
        write_private(&url_file, &format!("postgres://postgres@127.0.0.1:{port}/postgres"));
        Self { dir, options, url_file }
    }

    /// Starts the server and waits until it accepts connections.
    pub fn serve(&self) {
        let log = self.dir.path().join("log");
        let mut start = postgres_binary("pg_ctl");
        run(start.args(["-w", "-o", &self.options, "-l"]).arg(log).arg("-D").arg(self.data()).arg("start"));
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> String {
        std::fs::read_to_string(&self.url_file).unwrap()
    }

    /// Copies the database, to which nobody may be connected, within the server. Returns the URL of the copy.
    pub fn copy_database(&self, name: &str) -> String {
        let url = self.url();
        let base = url.strip_suffix("/postgres").unwrap();
        let sql = format!("CREATE DATABASE {name} TEMPLATE postgres");
        run(postgres_binary("psql").args(["-X", "-d", &format!("{base}/template1"), "-c", &sql]));
        format!("{base}/{name}")
    }

    /// Creates a standby of the server with `pg_basebackup`; the standby is not started.
    pub fn copy(&self) -> Self {
        let copy = Self::empty("");
        let mut backup = postgres_binary("pg_basebackup");
        run(backup.args(["-R", "-c", "fast", "-d", &self.url(), "-D"]).arg(copy.data()));
        copy
    }

    /// Promotes the standby to primary.
    pub fn promote(&self) {
        run(postgres_binary("pg_ctl").args(["-w", "-D"]).arg(self.data()).arg("promote"));
    }

    /// Stops the server after a checkpoint.
    pub fn stop(&self) {
        run(postgres_binary("pg_ctl").args(["-w", "-m", "fast", "-D"]).arg(self.data()).arg("stop"));
    }

    /// Kills the server and all its processes with SIGKILL.
    pub fn kill(&self) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let server = file.lines().next().unwrap();
        let children = run(Command::new("pgrep").args(["-P", server]));
        run(Command::new("kill").args(["-9", server]).args(children.split_whitespace()));
    }

    /// Changes a setting and reloads the configuration.
    pub fn set(&self, name: &str, value: &str) {
        self.ask(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.ask("SELECT pg_reload_conf()");
    }

    /// Requires a password of a role from now on; all other roles need none.
    pub fn require_password(&self, role: &str) {
        let file = self.data().join("pg_hba.conf");
        let rules = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("host all {role} 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
        self.ask("SELECT pg_reload_conf()");
    }

    /// Waits until a synchronous standby is connected.
    pub fn has_standby(&self) {
        let asked = "SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        for wait in 0.. {
            if self.ask(asked).trim() == "1" {
                return;
            }
            assert!(wait < 200, "no synchronous standby is connected");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs SQL, and returns what `psql` prints.
    pub fn ask(&self, sql: &str) -> String {
        run(postgres_binary("psql").args(["-X", "-A", "-t", "-d", &self.url(), "-c", sql]))
    }

    /// Returns the server's own log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }

    /// Stops the server in immediate mode, without a checkpoint, and starts it again.
    pub fn crash(&self) {
        let (data, log) = (self.data(), self.dir.path().join("log"));
        let mut restart = postgres_binary("pg_ctl");
        run(restart.args(["-w", "-m", "immediate", "-l"]).arg(log).arg("-D").arg(data).arg("restart"));
    }

    /// Returns a dump of the database by `pg_dump`.
    pub fn dump(&self) -> String {
        run(postgres_binary("pg_dump").args(["-d", &self.url()]))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        postgres_binary("pg_ctl")
            .args(["-w", "-m", "immediate", "-D"])
            .arg(self.data())
            .arg("stop")
            .output()
            .ok();
    }
}

/// Returns the path of a program of the newest installed PostgreSQL.
pub fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    let newest = versions.map(|version| version.unwrap().path()).max().unwrap();
    newest.join("bin").join(name)
}

/// Returns a command for a PostgreSQL program. As root it uses runuser, because PostgreSQL refuses to run as root.
pub fn postgres_binary(name: &str) -> Command {
    let binary = program(name);
    let mut command = Command::new(if is_root() { Path::new("runuser") } else { &binary });
    if is_root() {
        command.args(["-u", "postgres", "--"]).arg(binary);
    }
    // A server that inherits the pipes would keep them open.
    command.current_dir("/").stdin(std::process::Stdio::null());
    command
}

pub fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}

/// Writes a file with mode 0600.
pub fn write_private(path: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
