//! Arguments of `exchange`, `breach` and `review`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ProfileArgs;

/// Commands of `exchange`.
#[derive(Debug, Subcommand)]
pub enum ExchangeCommand {
    /// Show one exchange; an operator is shown any, without the children that it was about.
    Show(ShowExchangeArgs),
}

/// Arguments of `exchange show`.
#[derive(Debug, Args)]
pub struct ShowExchangeArgs {
    /// The exchange's id, as a receipt or a refusal has it.
    pub exchange: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `breach`.
#[derive(Debug, Subcommand)]
pub enum BreachCommand {
    /// Say what went out to a certificate, a system or a person, and when the breach must be reported.
    Scope(BreachScopeArgs),
}

/// Arguments of `breach scope`.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group(clap::ArgGroup::new("whose").args(["certificate", "system", "practitioner"]).required(true).multiple(true)))]
pub struct BreachScopeArgs {
    /// SHA-256 of the certificate whose key was stolen: 64 hexadecimal digits.
    #[arg(long, value_name = "SHA256")]
    pub certificate: Option<String>,
    /// System that was broken into, of --organisation.
    #[arg(long, requires = "organisation")]
    pub system: Option<String>,
    /// Person whose token was misused: the pseudonym of 64 hexadecimal digits.
    #[arg(long)]
    pub practitioner: Option<String>,
    /// Organisation whose system or certificate it is, such as provider/riverside.
    #[arg(long)]
    pub organisation: Option<String>,
    /// From the start of this day in London, or from this instant (RFC 3339).
    #[arg(long)]
    pub from: String,
    /// Until the end of this day in London, or before this instant.
    #[arg(long)]
    pub to: String,
    /// Instant at which the controller became aware of the breach; by default now.
    #[arg(long, value_name = "TIME")]
    pub aware: Option<String>,
    /// Write the report to this file as CSV for a spreadsheet, instead of printing a table.
    #[arg(long, conflicts_with = "json")]
    pub csv: Option<PathBuf>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `review`.
#[derive(Debug, Subcommand)]
pub enum ReviewCommand {
    /// List what to review of a month's access: certificates, grants, agreements, refusals and unusual reads.
    Access(ReviewAccessArgs),
}

/// Arguments of `review access`.
#[derive(Debug, Args)]
pub struct ReviewAccessArgs {
    /// The month, such as 2026-11.
    #[arg(long, value_name = "YYYY-MM")]
    pub month: String,
    /// Write the review to this file as CSV for a spreadsheet, instead of printing a table.
    #[arg(long, conflicts_with = "json")]
    pub csv: Option<PathBuf>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}
