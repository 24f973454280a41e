//! Profiles: address and credentials for a gateway, as TOML files. Paths are relative to the file's folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ClientError;

/// Address and credentials for a gateway.
#[derive(Clone, Debug)]
pub struct Profile {
    /// `host:port`.
    pub endpoint: String,
    /// PEM file: CA certificate that signed the server's certificate.
    pub ca: PathBuf,
    /// PEM file: certificate of the client, then its intermediates.
    pub certificate: PathBuf,
    /// PEM file: private key of the client.
    pub key: PathBuf,
    /// Verifier key of the log (`name+hash+key`). The keys of logs that it replaced precede it, each with the number of
    /// entries that were kept. Required, because receipts cannot be verified without it.
    pub log_key: String,
    /// Organisation for which a processor acts.
    pub on_behalf_of: Option<String>,
    /// Audience that the gateway expects of tokens.
    pub token_audience: Option<String>,
}

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
    /// Audience that the gateway expects of the tokens of persons; `token` needs it.
    pub token_audience: Option<String>,
}

impl Profile {
    /// Loads a profile file; returns the profile and the folder of its checkpoints.
    ///
    /// # Errors
    /// [`ClientError::Profile`] if the file cannot be read or is not a profile.
    pub fn load(path: &Path) -> Result<(Self, PathBuf), ClientError> {
        let unreadable = |what: String| ClientError::Profile(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let file: ProfileFile =
            toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let profile = Self {
            endpoint: file.endpoint,
            ca: folder.join(file.ca),
            certificate: folder.join(file.certificate),
            key: folder.join(file.key),
            log_key: file.log_key,
            on_behalf_of: file.on_behalf_of,
            token_audience: file.token_audience,
        };
        Ok((profile, folder.join(&file.seen)))
    }
}
