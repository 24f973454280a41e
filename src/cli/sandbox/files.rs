//! Files of the sandbox: a certificate authority, certificates, configuration, profiles. All secrets in them are
//! generated for this sandbox and are worthless elsewhere.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::Failure;
use crate::client::ProfileFile;
use crate::clock::{Clock, SystemClock};
use crate::identity::PeerCertificate;
use crate::identity::pki::{IssuedCertificate, SandboxAuthority, Validity};

/// Trust domain of the sandbox.
pub const TRUST_DOMAIN: &str = "sandbox.ap.example";

/// Audience of the tokens of the sandbox.
pub const TOKEN_AUDIENCE: &str = "https://sandbox.ap.example";

/// Organisations that have an issuer of tokens, by short name.
pub const ISSUERS: [&str; 3] = ["la-a", "school", "provider-a"];

/// Organisations of the world: short name, organisation id, system, display name.
pub const ORGANISATIONS: [(&str, &str, &str, &str); 9] = [
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

/// Created files that the script needs.
pub struct SandboxFiles {
    /// Certificate of the first operator.
    pub operator: PeerCertificate,
}

/// Writes the configuration. Creates authority and certificates unless the folder has them: two worlds with the same
/// certificates and the same seed have the same log.
///
/// # Errors
/// Exit code 69 when the folder cannot be written, 70 when a certificate cannot be made.
pub fn create(dir: &Path, postgres_url_file: Option<&Path>) -> Result<SandboxFiles, Failure> {
    if !dir.join("ca.pem").exists() {
        issue_certificates(dir)?;
    }
    for name in ISSUERS {
        if !issuer_key(dir, name).exists() {
            let key = SandboxAuthority::new_key().map_err(|error| Failure::bug("an issuer's key", error))?;
            write_file(&dir.join("certs"), &format!("{name}-issuer.key"), &key)?;
        }
    }
    write_file(dir, "gateway.toml", &configuration_toml(postgres_url_file))?;
    let operator = CertificateDer::from_pem_file(dir.join("certs/operator.pem")).ok();
    let operator = operator.and_then(|der| PeerCertificate::parse(&der).ok());
    let operator = operator.ok_or_else(|| Failure::refused("the operator's certificate cannot be read"))?;
    Ok(SandboxFiles { operator })
}

/// Returns the path of the private key of an organisation's issuer.
#[must_use]
pub fn issuer_key(dir: &Path, name: &str) -> PathBuf {
    dir.join("certs").join(format!("{name}-issuer.key"))
}

/// Returns the name of an organisation's issuer.
#[must_use]
pub fn issuer_name(name: &str) -> String {
    format!("https://{name}.{TRUST_DOMAIN}")
}

fn issue_certificates(dir: &Path) -> Result<(), Failure> {
    let now = SystemClock.now().seconds();
    let validity = Validity { from: now - 86_400, to: now + 365 * 86_400 };
    let bug = |error| Failure::bug("the sandbox's certificates", error);
    let authority = SandboxAuthority::new("ap-gateway sandbox", validity).map_err(bug)?;
    write_file(dir, "ca.pem", authority.certificate_pem())?;
    write_file(dir, "ca.key", &authority.key_pem())?;
    write_file(dir, "ca.crl", &authority.issue_crl(&[], 1, validity).map_err(bug)?)?;
    write_key_pair(dir, "server", &authority.issue_server(2).map_err(bug)?)?;
    for ((name, organisation, system, _), serial) in ORGANISATIONS.into_iter().zip(100..) {
        let uri = format!("spiffe://{TRUST_DOMAIN}/{organisation}/{system}");
        let issued = authority.issue_client(&[&uri], serial, validity).map_err(bug)?;
        write_key_pair(dir, name, &issued)?;
    }
    // Second certificate of Riverside, which the demonstration revokes.
    let uri = format!("spiffe://{TRUST_DOMAIN}/provider/riverside/old-register");
    write_key_pair(dir, "provider-a-old", &authority.issue_client(&[&uri], 99, validity).map_err(bug)?)
}

/// Writes a profile for each organisation, for a gateway at the given address.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn write_profiles(dir: &Path, address: SocketAddr) -> Result<(), Failure> {
    let log_key = std::fs::read_to_string(dir.join("log-key"))
        .map_err(|error| Failure::unavailable("the log's key", error))?;
    let names = ORGANISATIONS.iter().map(|(name, ..)| *name).chain(["provider-a-old"]);
    for name in names {
        let file = ProfileFile {
            endpoint: address.to_string(),
            ca: PathBuf::from("../ca.pem"),
            certificate: PathBuf::from(format!("../certs/{name}.pem")),
            key: PathBuf::from(format!("../certs/{name}.key")),
            log_key: log_key.trim().to_owned(),
            seen: PathBuf::from(format!("../seen/{name}")),
            on_behalf_of: (name == "processor").then(|| "provider/riverside".to_owned()),
            token_audience: Some(TOKEN_AUDIENCE.to_owned()),
        };
        let text = toml::to_string(&file).map_err(|error| Failure::bug("a profile", error))?;
        write_file(&dir.join("profiles"), &format!("{name}.toml"), &text)?;
    }
    Ok(())
}

fn configuration_toml(postgres_url_file: Option<&Path>) -> String {
    let database = match postgres_url_file {
        None => "sqlite = \"gateway.sqlite\"".to_owned(),
        Some(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            format!("postgres_url_file = \"{}\"\nsingle_primary = true", path.display())
        }
    };
    format!(
        "listen = \"127.0.0.1:0\"\ntrust_domain = \"{TRUST_DOMAIN}\"\ntoken_audience = \"{TOKEN_AUDIENCE}\"\nreflection = true\n\n\
         [tls]\ncertificate = \"certs/server.pem\"\nkey = \"certs/server.key\"\nclient_ca = \"ca.pem\"\n\
         crls = [\"ca.crl\"]\n\n[database]\n{database}\n\n\
         [log]\nanchor = \"anchor\"\nsigning_key = \"log-signing-key\"\nkey_ring = \"key-ring\"\n\
         commitment_key = \"commitment-key\"\n"
    )
}

fn write_key_pair(dir: &Path, name: &str, issued: &IssuedCertificate) -> Result<(), Failure> {
    write_file(&dir.join("certs"), &format!("{name}.pem"), &issued.certificate_pem)?;
    write_file(&dir.join("certs"), &format!("{name}.key"), &issued.key_pem)
}

/// Writes a file of the sandbox. Only the owner may read a key.
///
/// # Errors
/// Exit code 69 when the folder cannot be written.
pub fn write_file(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
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
