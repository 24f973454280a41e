//! `serve` with a real configuration, as an operator runs it: a folder, a process, its log.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ap_gateway::identity::pki::{Authority, Issued};

use super::postgres::write_private;
use super::process::Sandbox;
use super::stage::{authority, lately};
use super::support::{gateway, run};
use super::wire::{Answer, Wire, frame, tls};

/// Rounds in which something is waited for, 50 ms each.
pub const ROUNDS: usize = 400;
/// A method that la-a may call without a message.
pub const READ: &str = "/apgateway.v1.PlacementService/ListPlacements";

/// A folder with a configuration, keys and a log, which `serve` can serve.
pub struct Folder(Sandbox);

/// A process that serves a folder; killed when it is dropped.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Folder {
    pub fn new() -> Self {
        Self(Sandbox::new())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file that only its owner can read; those beside it in the folder are replaced at once.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.file("new");
        write_private(&new, text);
        std::fs::rename(new, self.file(name)).unwrap();
    }

    pub fn configuration(&self) -> String {
        std::fs::read_to_string(self.file("gateway.toml")).unwrap()
    }

    /// The authority of the folder's certificates.
    pub fn authority(&self) -> Authority {
        authority(self.path())
    }

    /// Writes a certificate and its key for a caller.
    pub fn pair(&self, name: &str, issued: &Issued) {
        self.write(&format!("certs/{name}.pem"), &issued.certificate);
        self.write(&format!("certs/{name}.key"), &issued.key);
    }

    /// Trusts a second authority too, whose list stands in `other.crl`, and gives it and a caller of its own.
    pub fn with_another_authority(&self, name: &str) -> Authority {
        let other = Authority::new(name, lately()).unwrap();
        self.write("both.pem", &[&self.authority(), &other].map(Authority::certificate).concat());
        self.write("other.crl", &other.crl(&[], 1, lately()).unwrap());
        let uri = "spiffe://sandbox.ap.example/provider/riverside/register";
        self.pair("other", &other.client(&[uri], 7, lately()).unwrap());
        let text = self.configuration().replace("client_ca = \"ca.pem\"", "client_ca = \"both.pem\"");
        self.write("gateway.toml", &text.replace("[\"ca.crl\"]", "[\"ca.crl\", \"other.crl\"]"));
        other
    }

    /// Runs a verb on the folder's configuration until it ends; code 124 when it does not.
    pub fn run(&self, verb: &str) -> (i32, String) {
        let mut command = Command::new("timeout");
        command
            .arg("20")
            .arg(gateway().get_program())
            .arg(verb)
            .arg("--config")
            .arg(self.file("gateway.toml"));
        let output = command.output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(told).unwrap())
    }

    /// Neither `check` nor `serve` takes the folder: both end with code 78 and one line that says all of this.
    pub fn is_refused(&self, words: &[&str]) {
        for verb in ["check", "serve"] {
            let (code, told) = self.run(verb);
            assert_eq!(code, 78, "{verb} {words:?}: {told}");
            let line = told.lines().find(|line| line.starts_with("ap-gateway: ")).unwrap_or_default();
            for word in words {
                assert!(line.contains(word), "{verb}, {word:?} is not in: {told}");
            }
        }
    }

    /// Serves the folder.
    pub fn serve(&self) -> Served {
        let log = self.file("serve.log");
        let mut command = gateway();
        command.arg("serve").arg("--config").arg(self.file("gateway.toml"));
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("READY ") else {
            panic!("{line}{}", std::fs::read_to_string(&log).unwrap());
        };
        Served { address: address.parse().unwrap(), child, log }
    }

    /// Connects as one of the folder's callers.
    pub async fn connect(&self, served: &Served, name: &str) -> Result<Wire, String> {
        let [certificate, key] = ["pem", "key"].map(|kind| self.file(&format!("certs/{name}.{kind}")));
        Wire::open(served.address, tls(&self.file("ca.pem"), Some((&certificate, &key)))).await
    }

    /// What one call on a new connection is answered.
    pub async fn call(&self, served: &Served, name: &str, path: &str) -> Result<Answer, String> {
        self.connect(served, name).await?.send(path, &[], frame(&[])).await
    }

    /// Waits until a call on a new connection is answered so.
    pub async fn until_told(&self, served: &Served, name: &str, expected: &str) {
        let mut last = String::new();
        for _ in 0..ROUNDS {
            last = match self.call(served, name, READ).await {
                Ok(answer) => answer.told(),
                Err(error) => error,
            };
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} is not told {expected}, but {last}: {}", served.log());
    }
}

impl Served {
    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until a line of its log says this, and gives how many do.
    pub async fn logged(&self, words: &str) -> usize {
        for _ in 0..ROUNDS {
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

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self) -> ExitStatus {
        for _ in 0..ROUNDS {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it did not end: {}", self.log());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

/// Waits until a connection has been cut.
pub async fn until_cut(wire: &Wire) {
    for _ in 0..ROUNDS {
        if wire.is_closed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the connection was not cut");
}
