//! Arguments of `agreement`, `terms` and `closure`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OrgArgs, ProfileArgs, PushFileArgs};

/// Commands of `agreement`.
#[derive(Debug, Subcommand)]
pub enum AgreementCommand {
    /// Propose sharing agreements, which counts as this organisation's signature: `ProposeAgreementRequest`.
    Propose(PushFileArgs),
    /// Show the terms of an agreement, with the SHA-256 that `sign` takes.
    Show(AgreementArgs),
    /// List the agreements of this organisation.
    List(ListAgreementsArgs),
    /// Sign an agreement whose terms were read.
    Sign(SignAgreementArgs),
    /// End an agreement: it permits no new sharing.
    End(AgreementArgs),
}

/// Arguments of a command about one agreement.
#[derive(Debug, Args)]
pub struct AgreementArgs {
    /// UUID of the agreement.
    pub agreement: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `agreement list`.
#[derive(Debug, Args)]
pub struct ListAgreementsArgs {
    /// Only agreements in this state: proposed, in-force or ended.
    #[arg(long)]
    pub state: Option<String>,
    /// Only agreements with this organisation.
    #[arg(long, value_name = "ORGANISATION")]
    pub with: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `agreement sign`.
#[derive(Debug, Args)]
pub struct SignAgreementArgs {
    /// UUID of the agreement.
    pub agreement: String,
    /// SHA-256 of the terms that were read: 64 hexadecimal digits, as `agreement show` prints it.
    #[arg(long, value_name = "SHA256")]
    pub terms: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `terms`.
#[derive(Debug, Subcommand)]
pub enum TermsCommand {
    /// Replace this organisation's term dates of an academic year: `PutTermDatesRequest`.
    Put(PushFileArgs),
    /// Show the term dates of an organisation.
    Show(OrgArgs),
}

/// Commands of `closure`.
#[derive(Debug, Subcommand)]
pub enum ClosureCommand {
    /// Declare a closure of this organisation, or correct or withdraw one.
    Declare(DeclareClosureArgs),
    /// List the closures of an organisation.
    List(ListClosuresArgs),
}

/// Arguments of `closure declare`.
#[derive(Debug, Args)]
pub struct DeclareClosureArgs {
    /// First day that is closed.
    #[arg(long, value_name = "DATE")]
    pub from: String,
    /// Last day; by default the first.
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// Kind: planned or unexpected.
    #[arg(long)]
    pub kind: String,
    /// Attendance code that registers hold: # or Y3 if planned, Y2, Y3, Y4 or Y6 if unexpected.
    #[arg(long)]
    pub code: String,
    /// Site that is closed; by default all.
    #[arg(long)]
    pub site: Option<String>,
    /// UUID of an earlier closure that this corrects.
    #[arg(long, value_name = "CLOSURE", requires = "etag")]
    pub correct: Option<String>,
    /// Version of that closure.
    #[arg(long, requires = "correct")]
    pub etag: Option<String>,
    /// Withdraw that closure, because it was declared in error.
    #[arg(long, requires = "correct")]
    pub withdraw: bool,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `closure list`.
#[derive(Debug, Args)]
pub struct ListClosuresArgs {
    /// Id of the organisation; by default the caller's own.
    pub organisation: Option<String>,
    /// Closures from this day on.
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// Closures until this day.
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of a command that sends requests from files, without an id that is stored beside them.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// The files (JSON); `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}
