//! Harness for `serve` with a real configuration: a folder, a process and its log.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ap_gateway::cli::sandbox;
use ap_gateway::identity::pki::{IssuedCertificate, SandboxAuthority};
use rustls::ClientConfig;

use super::fixtures::{current_validity, load_authority};
use super::postgres::write_private;
use super::process::Sandbox;
use super::support::{gateway, run};
use super::wire::{Answer, Wire, frame, tls};

/// Maximum number of polls, 50 ms apart.
pub const MAX_POLLS: usize = 400;
/// A method that la-a may call with an empty message.
pub const LIST_PLACEMENTS: &str = "/apgateway.v1.PlacementService/ListPlacements";

/// A folder with configuration, keys and database that `serve` can serve.
pub struct ServeFolder(Sandbox);

/// A `serve` process. It is killed when dropped.
pub struct ServeProcess {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl ServeFolder {
    pub fn new() -> Self {
        Self(Sandbox::new())
    }

    /// Creates a folder whose database is in a PostgreSQL server.
    pub fn on_postgres(url_file: &Path) -> Self {
        Self(Sandbox::on_postgres(url_file))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the id of a placement with a provider of the sandbox.
    pub fn placement(&self, provider: &str) -> String {
        let placements = sandbox::world::load(self.path()).unwrap().placements;
        placements.into_iter().find(|placed| placed.provider == provider).unwrap().placement_id
    }

    /// Returns the sandbox of the folder, for queries while no process serves it.
    pub fn sandbox(&self) -> &Sandbox {
        &self.0
    }

    pub fn file_path(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file with mode 0600 by an atomic rename.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.file_path("new");
        write_private(&new, text);
        std::fs::rename(new, self.file_path(name)).unwrap();
    }

    pub fn configuration(&self) -> String {
        std::fs::read_to_string(self.file_path("gateway.toml")).unwrap()
    }

    /// Returns the CA of the folder's certificates.
    pub fn authority(&self) -> SandboxAuthority {
        load_authority(self.path())
    }

    /// Writes the certificate and key of a caller.
    pub fn write_key_pair(&self, name: &str, issued: &IssuedCertificate) {
        self.write(&format!("certs/{name}.pem"), &issued.certificate_pem);
        self.write(&format!("certs/{name}.key"), &issued.key_pem);
    }

    /// Adds a second CA with its revocation list `other.crl` and a caller certificate `other`, and returns the CA.
    pub fn trust_second_authority(&self, name: &str) -> SandboxAuthority {
        let other = SandboxAuthority::new(name, current_validity()).unwrap();
        self.write("both.pem", &[&self.authority(), &other].map(SandboxAuthority::certificate_pem).concat());
        self.write("other.crl", &other.issue_crl(&[], 1, current_validity()).unwrap());
        let uri = "spiffe://sandbox.ap.example/provider/riverside/register";
        self.write_key_pair("other", &other.issue_client(&[uri], 7, current_validity()).unwrap());
        let text = self.configuration().replace("client_ca = \"ca.pem\"", "client_ca = \"both.pem\"");
        self.write("gateway.toml", &text.replace("[\"ca.crl\"]", "[\"ca.crl\", \"other.crl\"]"));
        other
    }

    /// Runs a command on the folder's configuration to its end; the exit code is 124 when it does not end in time.
    pub fn run_command(&self, verb: &str) -> (i32, String) {
        let mut command = Command::new("timeout");
        command
            .arg("20")
            .arg(gateway().get_program())
            .arg(verb)
            .arg("--config")
            .arg(self.file_path("gateway.toml"));
        let output = command.output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
    }

    /// Asserts that `check` and `serve` refuse the folder: exit code 78 and one line that contains all the words.
    pub fn assert_refused(&self, words: &[&str]) {
        for verb in ["check", "serve"] {
            let (code, printed) = self.run_command(verb);
            assert_eq!(code, 78, "{verb} {words:?}: {printed}");
            let line = printed.lines().find(|line| line.starts_with("ap-gateway: ")).unwrap_or_default();
            for word in words {
                assert!(line.contains(word), "{verb}, {word:?} is not in: {printed}");
            }
        }
    }

    /// Starts `serve` and waits for READY.
    pub fn serve(&self) -> ServeProcess {
        self.start(gateway())
    }

    /// Starts `serve` with the given command and waits for READY.
    pub fn start(&self, mut command: Command) -> ServeProcess {
        let log = self.file_path("serve.log");
        command.arg("serve").arg("--config").arg(self.file_path("gateway.toml"));
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("READY ") else {
            panic!("{line}{}", std::fs::read_to_string(&log).unwrap());
        };
        ServeProcess { address: address.parse().unwrap(), child, log }
    }

    /// Returns the TLS configuration of one of the folder's callers.
    pub fn tls(&self, name: &str) -> ClientConfig {
        let [certificate, key] = ["pem", "key"].map(|kind| self.file_path(&format!("certs/{name}.{kind}")));
        tls(&self.file_path("ca.pem"), Some((&certificate, &key)))
    }

    /// Connects with the certificate of one of the folder's callers.
    pub async fn connect(&self, served: &ServeProcess, name: &str) -> Result<Wire, String> {
        Wire::open(served.address, self.tls(name)).await
    }

    /// Makes one call on a new connection.
    pub async fn call(&self, served: &ServeProcess, name: &str, path: &str) -> Result<Answer, String> {
        self.connect(served, name).await?.send(path, &[], frame(&[])).await
    }

    /// Waits until a call on a new connection gets the expected result.
    pub async fn wait_until_answered(&self, served: &ServeProcess, name: &str, expected: &str) {
        let mut last = String::new();
        for _ in 0..MAX_POLLS {
            last = match self.call(served, name, LIST_PLACEMENTS).await {
                Ok(answer) => answer.reason(),
                Err(error) => error,
            };
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} does not get {expected}, but {last}: {}", served.log());
    }
}

impl ServeProcess {
    /// Returns the log of the process.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Returns the path of its log.
    pub fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    /// Waits until the log contains the words, and returns how often.
    pub async fn wait_for_log(&self, words: &str) -> usize {
        for _ in 0..MAX_POLLS {
            match self.log().matches(words).count() {
                0 => tokio::time::sleep(Duration::from_millis(50)).await,
                times => return times,
            }
        }
        panic!("{words:?} was not logged: {}", self.log());
    }

    pub fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()));
    }

    /// Returns the resident memory of the process (`proc(5)`: field 2 of `statm`, in pages of 4 KiB).
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
    }

    /// Lets the peak of resident memory begin anew (`proc(5)`: `clear_refs`).
    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Returns the peak of resident memory.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns how many file descriptors the process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the process has exited.
    pub fn wait_for_exit(mut self) -> ExitStatus {
        for _ in 0..MAX_POLLS {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the process did not exit: {}", self.log());
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

/// Waits until the server has closed a connection.
pub async fn wait_until_closed(wire: &Wire) {
    for _ in 0..MAX_POLLS {
        if wire.is_closed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the connection was not closed");
}
