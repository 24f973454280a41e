//! Profiles: how a client verb reaches a gateway, and as whom. A TOML file; paths start at its folder.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::args::OfProfile;
use crate::client::{Client, Profile, Seen};
use crate::identity::PeerCertificate;

/// A profile as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// `host:port`.
    pub endpoint: String,
    /// PEM: the CA of the gateway's certificate.
    pub ca: PathBuf,
    /// PEM: the client's certificate.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// The key that verifies the gateway's log; after an accepted rollback the whole line that it prints.
    pub log_key: String,
    /// Folder of the checkpoints that were seen; made where there is none.
    pub seen: PathBuf,
    /// The organisation that a processor acts for.
    pub on_behalf_of: Option<String>,
}

/// Connects as a profile says.
///
/// # Errors
/// Exit code 78 for the profile, 69 when the gateway cannot be reached.
pub async fn open(of: &OfProfile) -> Result<Client, Failure> {
    connect(&of.profile).await
}

/// Connects as a profile file says.
///
/// # Errors
/// As [`open`].
pub async fn connect(path: &Path) -> Result<Client, Failure> {
    let (profile, seen) = read(path)?;
    let seen = Seen::in_folder(&seen)
        .map_err(|error| Failure::configuration(format!("{}: {error}", seen.display())))?;
    Ok(Client::connect(&profile, seen).await?)
}

/// Finds where a profile's verbs keep their state, beside the folder of the checkpoints, and the organisation that
/// the profile acts for.
///
/// # Errors
/// Exit code 78.
pub fn state(path: &Path) -> Result<(PathBuf, String), Failure> {
    let (profile, seen) = read(path)?;
    let mut folder = seen.into_os_string();
    folder.push("-cursors");
    let organisation = if let Some(organisation) = profile.on_behalf_of {
        organisation
    } else {
        let certificate = CertificateDer::from_pem_file(&profile.certificate).ok();
        let certificate = certificate.and_then(|der| PeerCertificate::parse(&der).ok());
        let unusable = || Failure::configuration(format!("{} cannot be used", profile.certificate.display()));
        certificate.ok_or_else(unusable)?.organisation().as_str().to_owned()
    };
    Ok((folder.into(), organisation))
}

/// Returns the key of the gateway's first log, which stays when another log replaces that: no other gateway has it.
///
/// # Errors
/// Exit code 78.
pub fn first_log(path: &Path) -> Result<String, Failure> {
    let (profile, _) = read(path)?;
    Ok(profile.log_key.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Reads a profile file: the profile, and the folder of the checkpoints that were seen.
///
/// # Errors
/// Exit code 78.
pub fn read(path: &Path) -> Result<(Profile, PathBuf), Failure> {
    let unreadable = |what: String| Failure::configuration(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let file: ProfileFile = toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let profile = Profile {
        endpoint: file.endpoint,
        ca: folder.join(file.ca),
        certificate: folder.join(file.certificate),
        key: folder.join(file.key),
        log_key: file.log_key,
        on_behalf_of: file.on_behalf_of,
    };
    Ok((profile, folder.join(&file.seen)))
}
