//! Command-line arguments of every command (clap).

mod passport;
mod persons;
#[cfg(feature = "world")]
mod world;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use passport::{GetPassportArgs, PassportCommand, SharePassportArgs, WithholdArgs};
pub use persons::{
    EndIssuerArgs, EndPractitionerArgs, IssuerCommand, PractitionerCommand, RegisterIssuerArgs, TokenArgs,
};
#[cfg(feature = "world")]
pub use world::{BenchArgs, DemoArgs, SandboxArgs};

/// Secure gateway between commissioners and providers of alternative provision.
#[derive(Debug, Parser)]
#[command(name = "ap-gateway", version, about)]
pub struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new gateway: database, keys, log and anchor; register the first operator.
    Init(InitArgs),
    /// Migrate the database's schema to this release.
    Migrate(ConfigArgs),
    /// Check configuration, database, log and anchor without serving.
    Check(ConfigArgs),
    /// Add a new key to the key ring, which opens but does not seal yet; then copy the ring to every node.
    RotateKeys(ConfigArgs),
    /// Make the new key of the ring seal, if every live node has it; run it on each node.
    ActivateKey(ConfigArgs),
    /// Start a new log on a database that has irrecoverably lost entries that its anchor recorded.
    AcceptRollback(AcceptRollbackArgs),
    /// Serve; prints `READY host:port` once calls are accepted.
    Serve(ConfigArgs),
    /// Create a gateway with example organisations and data in a folder, and serve it.
    #[cfg(feature = "world")]
    Sandbox(SandboxArgs),
    /// Demonstrate the main workflows from end to end on a sandbox.
    #[cfg(feature = "world")]
    Demo(DemoArgs),
    /// Send a file to the gateway.
    #[command(subcommand)]
    Submit(SubmitCommand),
    /// Send a record of a commissioner's system to the gateway.
    #[command(subcommand)]
    Push(PushCommand),
    /// Person passports.
    #[command(subcommand)]
    Passport(PassportCommand),
    /// Follow the deliveries to this organisation.
    #[command(subcommand)]
    Watch(WatchCommand),
    /// Placements to which this organisation is a party.
    #[command(subcommand)]
    Placements(ListCommand),
    /// Issuers of tokens for the persons of this organisation.
    #[command(subcommand)]
    Issuer(IssuerCommand),
    /// Persons of this organisation who acted with a token.
    #[command(subcommand)]
    Practitioner(PractitionerCommand),
    /// Make a token for a person, signed with an issuer's key.
    Token(TokenArgs),
    /// The log of exchanges.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Measure the throughput of a sandbox under the load of many providers.
    #[cfg(feature = "world")]
    Bench(BenchArgs),
}

/// Commands of `submit`.
#[derive(Debug, Subcommand)]
pub enum SubmitCommand {
    /// A register or a tuition log, as a management information system writes it (CSV).
    Attendance(SubmitAttendanceArgs),
    /// A progress return: `SubmitProgressRequest` as protobuf JSON.
    Progress(RequestFileArgs),
}

/// Commands of `push`, each with a request as protobuf JSON. A request without a `request_id` gets one that is stored
/// next to the file, so that the same file sent twice takes effect once.
#[derive(Debug, Subcommand)]
pub enum PushCommand {
    /// A referral: `CreateReferralRequest`.
    Referral(PushFileArgs),
    /// A placement plan: `PutPlanRequest`.
    Plan(PushFileArgs),
    /// A person passport: `PutPassportRequest`.
    Passport(PushFileArgs),
}

/// Commands of `watch`.
#[derive(Debug, Subcommand)]
pub enum WatchCommand {
    /// The mailbox.
    Deliveries(WatchDeliveriesArgs),
    /// Alerts in the mailbox, and their ends.
    Alerts(WatchDeliveriesArgs),
}

/// Commands of `placements`.
#[derive(Debug, Subcommand)]
pub enum ListCommand {
    /// List the placements, one on each line.
    List(ProfileArgs),
}

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

/// Arguments of a command that reads the server's configuration.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// Origin of the log's signed checkpoints, such as `ap.example/log`; it cannot be changed later.
    #[arg(long)]
    pub origin: String,
    /// Certificate of the first operator (PEM file).
    #[arg(long)]
    pub operator_certificate: PathBuf,
    /// Display name of the operator.
    #[arg(long, default_value = "Gateway operator")]
    pub operator_name: String,
}

/// Arguments of `accept-rollback`.
#[derive(Debug, Args)]
pub struct AcceptRollbackArgs {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// Origin of the new log's signed checkpoints; it must differ from those of all earlier logs of this gateway.
    #[arg(long)]
    pub log: String,
}

/// Arguments of a command that connects to a gateway.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// The profile: endpoint, CA, certificate, key (TOML).
    #[arg(long)]
    pub profile: PathBuf,
    /// Print protobuf JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// File with the token of the person for whom the command is run.
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
}

/// Arguments of `submit attendance`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct SubmitAttendanceArgs {
    /// The file.
    pub file: PathBuf,
    /// The profile: endpoint, CA, certificate, key (TOML).
    #[arg(long, required_unless_present = "preview")]
    pub profile: Option<PathBuf>,
    /// Print JSON: one line for each diagnostic, then the replies.
    #[arg(long)]
    pub json: bool,
    /// Mapping of columns to fields (TOML file); by default the built-in mapping that fits the headings.
    #[arg(long)]
    pub mapping: Option<PathBuf>,
    /// Show what would be sent, and send nothing.
    #[arg(long)]
    pub preview: bool,
    /// Let the gateway check every row, and store nothing.
    #[arg(long, conflicts_with = "preview")]
    pub validate_only: bool,
    /// Store the valid rows even if others have faults.
    #[arg(long)]
    pub accept_valid: bool,
    /// Reason for the changes to marks that were sent before.
    #[arg(long)]
    pub correction_reason: Option<String>,
    /// File with the token of the person for whom the command is run.
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
}

/// Arguments of a command that sends a request from a file.
#[derive(Debug, Args)]
pub struct RequestFileArgs {
    /// The file (JSON).
    pub file: PathBuf,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of a `push` command.
#[derive(Debug, Args)]
pub struct PushFileArgs {
    /// The file (JSON).
    pub file: PathBuf,
    /// Send the file again under a new request id, even if it was sent before.
    #[arg(long)]
    pub again: bool,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of a `watch` command.
#[derive(Debug, Args)]
pub struct WatchDeliveriesArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
    /// Acknowledge each delivery once it is written and flushed.
    #[arg(long)]
    pub acknowledge: bool,
    /// Stop after the deliveries that are available, instead of waiting for more.
    #[arg(long)]
    pub once: bool,
    /// Start at the first delivery, instead of where the last run ended.
    #[arg(long)]
    pub all: bool,
    /// Seconds for which the command tries to reconnect before it fails.
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    pub give_up_after: u64,
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
    /// Exchanges of this method, such as `SubmitAttendance`.
    #[arg(long)]
    pub method: Option<String>,
    /// Outcome: ok, refused, replayed, malformed or failed.
    #[arg(long)]
    pub outcome: Option<String>,
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
