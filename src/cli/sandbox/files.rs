//! The sandbox's files: an authority, certificates, configuration, profiles. All secrets in them are made
//! on the spot and are worth nothing elsewhere.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::Failure;
use super::super::profile::ProfileFile;
use crate::clock::{Clock, SystemClock};
use crate::identity::PeerCertificate;
use crate::identity::pki::{Authority, Issued, Validity};

/// The trust domain of the sandbox.
pub const TRUST_DOMAIN: &str = "sandbox.ap.example";

/// Everyone in the world: short name, organisation id, system, name as others see it.
pub const CAST: [(&str, &str, &str, &str); 9] = [
    ("operator", "operator/gateway", "console", "Gateway operator"),
    ("la-a", "la/330", "ap-casework", "Local authority A"),
    ("la-b", "la/331", "ap-casework", "Local authority B"),
    ("school", "school/134567", "mis", "Northfield School"),
    ("provider-a", "provider/riverside", "register", "Riverside"),
    ("provider-b", "school/145678", "mis", "Oakfield AP Academy"),
    ("provider-c", "provider/brightwater", "tuition-log", "Brightwater Tuition"),
    ("auditor", "auditor/northgate", "audit", "Northgate Audit"),
    ("processor", "processor/registerworks", "cloud-mis", "Registerworks"),
];

/// What was made that the script needs.
pub struct Made {
    /// The first operator's certificate.
    pub operator: PeerCertificate,
}

/// Makes the configuration, and authority and certificates unless the folder holds some already: two worlds
/// with the same certificates and the same seed have the same log.
///
/// # Errors
/// Exit code 69 when the folder cannot be written, 70 when a certificate cannot be made.
pub fn make(dir: &Path, postgres_url_file: Option<&Path>) -> Result<Made, Failure> {
    if !dir.join("ca.pem").exists() {
        issue(dir)?;
    }
    write(dir, "gateway.toml", &configuration(postgres_url_file))?;
    let operator = CertificateDer::from_pem_file(dir.join("certs/operator.pem")).ok();
    let operator = operator.and_then(|der| PeerCertificate::parse(&der).ok());
    let operator =
        operator.ok_or_else(|| Failure::refused("the operator's certificate is not one of ours"))?;
    Ok(Made { operator })
}

fn issue(dir: &Path) -> Result<(), Failure> {
    let now = SystemClock.now().seconds();
    let validity = Validity { from: now - 86_400, to: now + 365 * 86_400 };
    let bug = |error| Failure::bug("the sandbox's certificates", error);
    let authority = Authority::new("ap-gateway sandbox", validity).map_err(bug)?;
    write(dir, "ca.pem", authority.certificate())?;
    write(dir, "ca.key", &authority.key())?;
    write(dir, "ca.crl", &authority.crl(&[], 1, validity).map_err(bug)?)?;
    pair(dir, "server", &authority.server(2).map_err(bug)?)?;
    for ((name, organisation, system, _), serial) in CAST.into_iter().zip(100..) {
        let uri = format!("spiffe://{TRUST_DOMAIN}/{organisation}/{system}");
        let issued = authority.client(&[&uri], serial, validity).map_err(bug)?;
        pair(dir, name, &issued)?;
    }
    // A second certificate of Riverside's, for the demonstration to revoke.
    let uri = format!("spiffe://{TRUST_DOMAIN}/provider/riverside/old-register");
    pair(dir, "provider-a-old", &authority.client(&[&uri], 99, validity).map_err(bug)?)
}

/// Writes a profile for everyone, for a gateway at this address.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn profiles(dir: &Path, address: SocketAddr) -> Result<(), Failure> {
    let log_key = std::fs::read_to_string(dir.join("log-key"))
        .map_err(|error| Failure::unavailable("the log's key", error))?;
    let names = CAST.iter().map(|(name, ..)| *name).chain(["provider-a-old"]);
    for name in names {
        let file = ProfileFile {
            endpoint: address.to_string(),
            ca: PathBuf::from("../ca.pem"),
            certificate: PathBuf::from(format!("../certs/{name}.pem")),
            key: PathBuf::from(format!("../certs/{name}.key")),
            log_key: log_key.trim().to_owned(),
            seen: PathBuf::from(format!("../seen/{name}")),
            on_behalf_of: (name == "processor").then(|| "provider/riverside".to_owned()),
        };
        let text = toml::to_string(&file).map_err(|error| Failure::bug("a profile", error))?;
        write(&dir.join("profiles"), &format!("{name}.toml"), &text)?;
    }
    Ok(())
}

fn configuration(postgres_url_file: Option<&Path>) -> String {
    let database = match postgres_url_file {
        None => "sqlite = \"gateway.sqlite\"".to_owned(),
        Some(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            format!("postgres_url_file = \"{}\"\nsingle_primary = true", path.display())
        }
    };
    format!(
        "listen = \"127.0.0.1:0\"\ntrust_domain = \"{TRUST_DOMAIN}\"\nreflection = true\n\n\
         [tls]\ncertificate = \"certs/server.pem\"\nkey = \"certs/server.key\"\nclient_ca = \"ca.pem\"\n\
         crls = [\"ca.crl\"]\n\n[database]\n{database}\n\n\
         [log]\nanchor = \"anchor\"\nsigning_key = \"log-signing-key\"\nkey_ring = \"key-ring\"\n"
    )
}

fn pair(dir: &Path, name: &str, issued: &Issued) -> Result<(), Failure> {
    write(&dir.join("certs"), &format!("{name}.pem"), &issued.certificate)?;
    write(&dir.join("certs"), &format!("{name}.key"), &issued.key)
}

/// Writes a file of the sandbox, a key for its owner only.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(dir).and_then(|()| {
        let mut options = std::fs::OpenOptions::new();
        let mode = if Path::new(name).extension().is_some_and(|extension| extension == "key") {
            0o600
        } else {
            0o644
        };
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(dir.join(name))?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    });
    written.map_err(|error| Failure::unavailable("a file of the sandbox", error))
}
