//! Profiles: TOML files with the endpoint and the credentials for client commands. Paths are relative to the file's
//! folder.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::args::ProfileArgs;
use crate::client::{CheckpointStore, Client, Profile};
use crate::identity::PeerCertificate;

/// Content of a profile file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// `host:port`.
    pub endpoint: String,
    /// PEM file: the CA of the gateway's certificate.
    pub ca: PathBuf,
    /// PEM file: the client's certificate.
    pub certificate: PathBuf,
    /// PEM file: the private key of the certificate.
    pub key: PathBuf,
    /// Verifier key of the gateway's log; after an accepted rollback, the whole line that `accept-rollback` prints.
    pub log_key: String,
    /// Folder of the checkpoints that the client received; created if it does not exist.
    pub seen: PathBuf,
    /// Organisation that a processor acts for.
    pub on_behalf_of: Option<String>,
}

/// Connects with the profile that the arguments name.
///
/// # Errors
/// Exit code 78 if the profile is invalid, 69 if the gateway cannot be reached.
pub async fn connect_from_args(args: &ProfileArgs) -> Result<Client, Failure> {
    connect(&args.profile).await
}

/// Connects with a profile file.
///
/// # Errors
/// As [`connect_from_args`].
pub async fn connect(path: &Path) -> Result<Client, Failure> {
    let (profile, seen) = load(path)?;
    let seen = CheckpointStore::open_folder(&seen)
        .map_err(|error| Failure::configuration(format!("{}: {error}", seen.display())))?;
    Ok(Client::connect(&profile, seen).await?)
}

/// Returns the folder of a profile's cursors, next to the folder of its checkpoints, and the organisation that the
/// profile acts for.
///
/// # Errors
/// Exit code 78 if the profile or its certificate cannot be read.
pub fn cursor_folder_and_organisation(path: &Path) -> Result<(PathBuf, String), Failure> {
    let (profile, seen) = load(path)?;
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

/// Returns the key of the gateway's first log. It identifies the gateway, because it does not change when the log is
/// replaced.
///
/// # Errors
/// Exit code 78 if the profile cannot be read.
pub fn first_log_key(path: &Path) -> Result<String, Failure> {
    let (profile, _) = load(path)?;
    Ok(profile.log_key.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Loads a profile file; returns the profile and the folder of its checkpoints.
///
/// # Errors
/// Exit code 78 if the file cannot be read or is not a profile.
pub fn load(path: &Path) -> Result<(Profile, PathBuf), Failure> {
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
