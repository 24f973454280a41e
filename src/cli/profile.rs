//! Connects with the profile that a command names.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Failure;
use super::args::ProfileArgs;
use super::key_files::read_token;
use crate::client::{CheckpointStore, Client, ClientError, Profile};
use crate::identity::PeerCertificate;

/// Connects with the profile that the arguments name.
///
/// # Errors
/// Exit code 78 if the profile is invalid, 69 if the gateway cannot be reached.
pub async fn connect_from_args(args: &ProfileArgs) -> Result<Client, Failure> {
    connect_with_token(&args.profile, args.endpoint.as_deref(), args.token.as_deref()).await
}

/// Connects with a profile file, to another address than the profile's if one is given, and sends the token in a file, if
/// there is one, with every call.
///
/// # Errors
/// As [`connect_from_args`]; exit code 64 if the file holds no token.
pub async fn connect_with_token(
    profile: &Path,
    endpoint: Option<&str>,
    token: Option<&Path>,
) -> Result<Client, Failure> {
    let token = token.map(read_token).transpose()?;
    let client = connect_to(profile, endpoint).await?;
    match token {
        None => Ok(client),
        Some(token) => client.with_token(&token).map_err(|_| Failure::input("the token is not one line")),
    }
}

/// Connects with a profile file.
///
/// # Errors
/// As [`connect_from_args`].
pub async fn connect(path: &Path) -> Result<Client, Failure> {
    connect_to(path, None).await
}

async fn connect_to(path: &Path, endpoint: Option<&str>) -> Result<Client, Failure> {
    let (mut profile, seen) = load(path)?;
    if let Some(endpoint) = endpoint {
        endpoint.clone_into(&mut profile.endpoint);
    }
    let seen =
        CheckpointStore::open_folder(&seen).map_err(|error| Failure::configuration(error.to_string()))?;
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
    Profile::load(path).map_err(|error| match error {
        ClientError::Profile(what) => Failure::configuration(what),
        error => error.into(),
    })
}
