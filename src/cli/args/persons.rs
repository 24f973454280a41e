//! Arguments of the commands about persons: `issuer`, `practitioner` and `token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ProfileArgs;
use crate::clock::Instant;

/// Commands of `issuer`.
#[derive(Debug, Subcommand)]
pub enum IssuerCommand {
    /// Register an issuer, or replace its keys.
    Register(RegisterIssuerArgs),
    /// End an issuer: its tokens are refused from then on.
    End(EndIssuerArgs),
    /// List the issuers, with a line for each key.
    List(ProfileArgs),
}

/// Arguments of `issuer register`.
#[derive(Debug, Args)]
pub struct RegisterIssuerArgs {
    /// Name of the issuer: an https URL, which its tokens have as `iss`.
    #[arg(long)]
    pub iss: String,
    /// Private key of the issuer (PEM file), of which the public part is registered; up to eight.
    #[arg(long = "issuer-key", value_name = "FILE", required_unless_present = "jwk")]
    pub keys: Vec<PathBuf>,
    /// Public keys of the issuer, such as an identity provider's: a JWK, or a JWK set of up to eight keys.
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    pub jwk: Option<PathBuf>,
    /// Instant from which tokens by these keys are valid, such as 2026-11-02T09:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    pub from: Option<Instant>,
    /// Instant from which they are no longer valid.
    #[arg(long, value_name = "INSTANT")]
    pub to: Option<Instant>,
    /// Version of the registration that is replaced.
    #[arg(long)]
    pub etag: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `issuer end`.
#[derive(Debug, Args)]
pub struct EndIssuerArgs {
    /// Name of the issuer.
    #[arg(long)]
    pub iss: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `practitioner`.
#[derive(Debug, Subcommand)]
pub enum PractitionerCommand {
    /// List the persons, each with the pseudonym that the log has in its place.
    List(ProfileArgs),
    /// End a person: its tokens are refused from then on.
    End(EndPractitionerArgs),
}

/// Arguments of `practitioner end`.
#[derive(Debug, Args)]
pub struct EndPractitionerArgs {
    /// Pseudonym of the person: 64 hexadecimal digits.
    pub practitioner: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Private key of the issuer (PEM file).
    #[arg(long)]
    pub issuer_key: PathBuf,
    /// Name of the issuer, as it is registered.
    #[arg(long)]
    pub iss: String,
    /// The person, by a name that the issuer never gives to another.
    #[arg(long)]
    pub subject: String,
    /// Name of the person.
    #[arg(long)]
    pub name: String,
    /// Role code, such as `dsl`.
    #[arg(long)]
    pub role: String,
    /// Purpose: `education_provision`, `attendance`, `safeguarding` or `oversight`.
    #[arg(long)]
    pub purpose: String,
    /// Profile with whose certificate the token is used (TOML).
    #[arg(long)]
    pub profile: PathBuf,
    /// Audience of the gateway, if the profile has none.
    #[arg(long)]
    pub audience: Option<String>,
    /// Life of the token in minutes, 1 to 15.
    #[arg(long, default_value_t = 15)]
    pub minutes: u32,
}
