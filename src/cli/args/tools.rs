//! Arguments of `profile`, `doctor`, `completions` and `man`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::PROFILE_VARIABLE;

/// Commands of `profile`.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Write a profile.
    Make(MakeProfileArgs),
}

/// Arguments of `profile make`.
#[derive(Debug, Args)]
pub struct MakeProfileArgs {
    /// The profile to write (TOML); `-` is standard output.
    pub out: PathBuf,
    /// Address of the gateway, `host:port`, by a name in its certificate.
    #[arg(long)]
    pub endpoint: String,
    /// Certificate of the authority that signed the gateway's certificate (PEM file).
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// This system's certificate, then its intermediates (PEM file).
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// Private key of the certificate (PEM file).
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Verifier key of the gateway's log, or a file that has it.
    #[arg(long)]
    pub log_key: String,
    /// Folder of the checkpoints that the client keeps; by default `NAME-seen` beside the profile.
    #[arg(long, value_name = "FOLDER")]
    pub seen: Option<PathBuf>,
    /// Organisation for which a processor acts.
    #[arg(long, value_name = "ORGANISATION")]
    pub on_behalf_of: Option<String>,
    /// Audience that the gateway expects of tokens of persons.
    #[arg(long, value_name = "URL")]
    pub token_audience: Option<String>,
    /// Replace a profile that exists.
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The profile that is examined (TOML).
    #[arg(long, env = PROFILE_VARIABLE)]
    pub profile: PathBuf,
    /// Print one line of JSON for each check.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages, one for each command; it must exist.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}
