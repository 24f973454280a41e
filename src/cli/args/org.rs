//! Arguments of `org`, `cert` and `grant`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OfficerArgs, ProfileArgs};

/// Commands of `org`.
#[derive(Debug, Subcommand)]
pub enum OrgCommand {
    /// Register an organisation with its first certificate (operators).
    Register(RegisterOrgArgs),
    /// Show an organisation with its certificates.
    Show(OrgArgs),
    /// List the registered organisations.
    List(ListOrgsArgs),
    /// Change the name of an organisation (operators).
    Rename(RenameOrgArgs),
    /// Suspend an organisation: it receives nothing from then on (operators).
    Suspend(OrgStateArgs),
    /// Restore an organisation that was suspended (operators).
    Restore(OrgStateArgs),
}

/// Arguments of `org register`.
#[derive(Debug, Args)]
pub struct RegisterOrgArgs {
    /// Id of the organisation, such as provider/riverside.
    pub organisation: String,
    /// Its name.
    #[arg(long)]
    pub name: String,
    /// Its first certificate (PEM file).
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// Its unique reference number in Get Information about Schools.
    #[arg(long)]
    pub urn: Option<String>,
    /// Its UK provider reference number.
    #[arg(long)]
    pub ukprn: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of a command about one organisation.
#[derive(Debug, Args)]
pub struct OrgArgs {
    /// Id of the organisation; by default the caller's own.
    pub organisation: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `org list`.
#[derive(Debug, Args)]
pub struct ListOrgsArgs {
    /// Only this kind: la, school, provider, partner, auditor, processor or operator.
    #[arg(long)]
    pub kind: Option<String>,
    /// List certificates and versions too (operators).
    #[arg(long, conflicts_with = "kind")]
    pub full: bool,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `org rename`.
#[derive(Debug, Args)]
pub struct RenameOrgArgs {
    /// Id of the organisation.
    pub organisation: String,
    /// Its new name.
    pub name: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `org suspend` and `org restore`.
#[derive(Debug, Args)]
pub struct OrgStateArgs {
    /// Id of the organisation.
    pub organisation: String,
    /// Why; the organisation and the operators are told.
    #[arg(long)]
    pub reason: String,
    /// Who decided it.
    #[command(flatten)]
    pub officer: OfficerArgs,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `cert`.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Register further certificates of an organisation.
    Register(RegisterCertArgs),
    /// List the certificates of an organisation.
    List(OrgArgs),
    /// Revoke a certificate, from its next exchange on.
    Revoke(RevokeCertArgs),
}

/// Arguments of `cert register`.
#[derive(Debug, Args)]
pub struct RegisterCertArgs {
    /// The certificates (PEM files, each with one); `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `cert revoke`.
#[derive(Debug, Args)]
pub struct RevokeCertArgs {
    /// SHA-256 of the certificate: 64 hexadecimal digits, as `cert list` prints it.
    pub sha256: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `grant`.
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// Let a processor call methods for this organisation.
    Processor(GrantProcessorArgs),
    /// Appoint an auditor, who may read the log of this organisation's exchanges.
    Auditor(GrantAuditorArgs),
    /// List the grants that this organisation gave or was given.
    List(ProfileArgs),
    /// End a grant.
    End(EndGrantArgs),
}

/// Arguments of `grant processor`.
#[derive(Debug, Args)]
pub struct GrantProcessorArgs {
    /// Id of the processor, such as processor/registerworks.
    pub processor: String,
    /// A method that it may call, such as `SubmitAttendance`; one flag for each.
    #[arg(long = "method", value_name = "METHOD", required = true)]
    pub methods: Vec<String>,
    /// First day.
    #[arg(long, value_name = "DATE")]
    pub from: String,
    /// Last day; by default none.
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `grant auditor`.
#[derive(Debug, Args)]
pub struct GrantAuditorArgs {
    /// Id of the auditor, such as auditor/northgate.
    pub auditor: String,
    /// First day.
    #[arg(long, value_name = "DATE")]
    pub from: String,
    /// Last day; by default none.
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `grant end`.
#[derive(Debug, Args)]
pub struct EndGrantArgs {
    /// UUID of the grant.
    pub grant: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}
