//! Arguments of `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ProfileArgs;

/// Commands of `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List exchanges of the organisations that appointed this auditor, or of this organisation.
    List(ListExchangesArgs),
    /// Print the newest signed checkpoint.
    Head(ProfileArgs),
    /// Verify the whole log on a copy of the database, or its consistency over the network.
    Verify(VerifyArgs),
    /// Write one exchange with its inclusion proof to a file that anyone can verify.
    Prove(ProveArgs),
    /// Verify a bundle that `prove` wrote, and print the entry that it proves.
    Check(CheckBundleArgs),
    /// Write the log as a tlog-tiles folder.
    Export(ExportArgs),
    /// Verify that checkpoints that different callers received belong to one log.
    Compare(CompareArgs),
}

/// Arguments of `audit list`; an exchange must match every filter that is given.
#[derive(Debug, Args)]
pub struct ListExchangesArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
    /// Exchanges that this organisation made or that concern it, such as la/330.
    #[arg(long)]
    pub organisation: Option<String>,
    /// Exchanges that this system made.
    #[arg(long)]
    pub system: Option<String>,
    /// Exchanges that also concern this other organisation.
    #[arg(long)]
    pub counterpart: Option<String>,
    /// Exchanges about this placement (UUID).
    #[arg(long)]
    pub placement: Option<String>,
    /// Exchanges about this kind of record, such as passport, plan or attendance.
    #[arg(long)]
    pub kind: Option<String>,
    /// Exchanges about this version of a record.
    #[arg(long, value_name = "VERSION")]
    pub record_version: Option<u32>,
    /// Exchanges of this method, such as `SubmitAttendance`.
    #[arg(long)]
    pub method: Option<String>,
    /// Outcome: ok, refused, replayed, malformed or failed.
    #[arg(long)]
    pub outcome: Option<String>,
    /// Exchanges that were refused for this reason, such as `AGREEMENT_NOT_IN_FORCE`.
    #[arg(long)]
    pub reason: Option<String>,
    /// Exchanges of this certificate: its SHA-256, 64 hexadecimal digits.
    #[arg(long, value_name = "SHA256")]
    pub certificate: Option<String>,
    /// Purpose: education-provision, attendance, safeguarding or oversight.
    #[arg(long)]
    pub purpose: Option<String>,
    /// Exchanges in which this person acted, by the pseudonym of 64 hexadecimal digits.
    #[arg(long)]
    pub practitioner: Option<String>,
    /// Exchanges in which a person acted in this role, such as `dsl`.
    #[arg(long)]
    pub role: Option<String>,
    /// Exchanges that asked to read passports in an emergency.
    #[arg(long)]
    pub break_glass: bool,
    /// Exchanges from the start of this day in London, or from this instant (RFC 3339).
    #[arg(long)]
    pub from: Option<String>,
    /// Exchanges until the end of this day in London, or before this instant.
    #[arg(long)]
    pub to: Option<String>,
    /// Write the exchanges to this file as CSV for a spreadsheet, instead of printing a table.
    #[arg(long, conflicts_with = "json")]
    pub csv: Option<PathBuf>,
}

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Copy of the database (SQLite); without it the log is verified over the network.
    #[arg(long, conflicts_with = "profile")]
    pub database: Option<PathBuf>,
    /// Verifier key of the log, or a file that has it, for --database; if the log replaced others, the whole line that
    /// `check` prints.
    #[arg(long, requires = "database")]
    pub log_key: Option<String>,
    /// Anchor file, to detect entries missing from the end, for --database.
    #[arg(long, requires = "database")]
    pub anchor: Option<PathBuf>,
    /// Key ring, to check records about children and the wrapped keys, for --database.
    #[arg(long, requires = "database")]
    pub key_ring: Option<PathBuf>,
    /// Commitment key, to check all other rows, for --database; it opens no data.
    #[arg(long, requires = "database")]
    pub commitment_key: Option<PathBuf>,
    /// Profile, to verify over the network (TOML).
    #[arg(long)]
    pub profile: Option<PathBuf>,
}

/// Arguments of `audit prove`.
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
    /// The exchange's id.
    pub exchange: String,
    /// The file to write (JSON).
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `audit check`.
#[derive(Debug, Args)]
pub struct CheckBundleArgs {
    /// The bundle (JSON).
    pub bundle: PathBuf,
    /// Verifier key of the log, or a file that has it; if the log replaced others, the whole line that `check` prints.
    #[arg(long)]
    pub log_key: String,
}

/// Arguments of `audit export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// The folder to write.
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `audit compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The connection over which consistency proofs are requested.
    #[command(flatten)]
    pub connection: ProfileArgs,
    /// Folders of checkpoints that clients stored.
    pub seen: Vec<PathBuf>,
}
