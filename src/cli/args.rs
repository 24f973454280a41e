//! Command-line arguments of every command (clap).

mod agreement;
mod alerts;
mod audit;
mod backup;
mod breach;
mod call;
mod health;
mod node;
mod org;
mod passport;
mod persons;
mod placement;
mod returns;
mod tools;
#[cfg(feature = "world")]
mod world;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use agreement::{
    AgreementArgs, AgreementCommand, ClosureCommand, DeclareClosureArgs, FilesArgs, ListAgreementsArgs,
    ListClosuresArgs, SignAgreementArgs, TermsCommand,
};
pub use alerts::{AlertsCommand, ListAlertsArgs, ResolveAlertArgs};
pub use audit::{
    AuditCommand, CheckBundleArgs, CompareArgs, ExportArgs, ListExchangesArgs, ProveArgs, VerifyArgs,
};
pub use backup::{BackupArgs, RestoreArgs};
pub use breach::{
    BreachCommand, BreachScopeArgs, ExchangeCommand, ReviewAccessArgs, ReviewCommand, ShowExchangeArgs,
};
pub use call::CallArgs;
pub use health::HealthArgs;
pub use node::{AddNodeArgs, MigrateArgs, NodeCommand};
pub use org::{
    CertCommand, EndGrantArgs, GrantAuditorArgs, GrantCommand, GrantProcessorArgs, ListOrgsArgs, OrgArgs,
    OrgCommand, OrgStateArgs, RegisterCertArgs, RegisterOrgArgs, RenameOrgArgs, RevokeCertArgs,
};
pub use passport::{
    AcknowledgePassportArgs, GetPassportArgs, PassportCommand, SharePassportArgs, WithholdArgs,
};
pub use persons::{
    EndIssuerArgs, EndPractitionerArgs, IssuerCommand, PractitionerCommand, RegisterIssuerArgs, TokenArgs,
};
pub use placement::{
    AcceptReferralArgs, DecidePlacementArgs, DeclineReferralArgs, EndPlacementArgs, ListPlacementsArgs,
    PlacementArgs, PlacementCommand, PlanCommand, ReferralCommand, StartPlacementArgs, UpdatePartiesArgs,
};
pub use returns::{
    AbsenceCommand, DaysArgs, DeliveriesCommand, DeliveryStatusArgs, ExpectAbsenceArgs, ListDeliveriesArgs,
    ListReturnsArgs, MarksCommand, ProgressCommand, ReturnsCommand, ShowMarksArgs, ShowReturnsArgs,
    VoidReturnArgs,
};
pub use tools::{CompletionsArgs, DoctorArgs, MakeProfileArgs, ManArgs, ProfileCommand};
#[cfg(feature = "world")]
pub use world::{BenchArgs, DemoArgs, SandboxArgs};

/// Environment variable with the profile of the commands that call a gateway.
pub const PROFILE_VARIABLE: &str = "AP_GATEWAY_PROFILE";
/// Environment variable with an address in place of the profile's.
pub const ENDPOINT_VARIABLE: &str = "AP_GATEWAY_ENDPOINT";

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
    /// Further nodes of a PostgreSQL database.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Migrate the database's schema to this release, or print what that would do.
    Migrate(MigrateArgs),
    /// Check configuration, database, log and anchor without serving.
    Check(ConfigArgs),
    /// Add a new key to the key ring, which opens but does not seal yet; then copy the ring to every node.
    RotateKeys(ConfigArgs),
    /// Make the new key of the ring seal, if every live node has it; run it on each node.
    ActivateKey(ConfigArgs),
    /// Back up database and keys while a node serves; run every minute, it adds what is new.
    Backup(BackupArgs),
    /// Restore a backup into empty places, and tell what is lost.
    Restore(RestoreArgs),
    /// Start a new log on a database that has irrecoverably lost entries that its anchor recorded.
    AcceptRollback(AcceptRollbackArgs),
    /// Serve; prints `READY host:port` once calls are accepted.
    Serve(ConfigArgs),
    /// Ask a serving node on this machine whether it is ready; the exit code is for probes.
    Health(HealthArgs),
    /// Print when each organisation called and collected last, and what waits for it; for the operator.
    Status(ProfileArgs),
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
    /// Alerts of which this organisation was told.
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Reports about the placements that this organisation commissions.
    #[command(subcommand)]
    Report(ReportCommand),
    /// Organisations in the register.
    #[command(subcommand)]
    Org(OrgCommand),
    /// Certificates of an organisation.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Sharing agreements.
    #[command(subcommand)]
    Agreement(AgreementCommand),
    /// What processors and auditors may do for this organisation.
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Term dates.
    #[command(subcommand)]
    Terms(TermsCommand),
    /// Days on which an organisation is closed.
    #[command(subcommand)]
    Closure(ClosureCommand),
    /// Referrals, and the answers to them.
    #[command(subcommand)]
    Referral(ReferralCommand),
    /// Placements, from the decision to the end.
    #[command(subcommand)]
    Placement(PlacementCommand),
    /// Plans of placements.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Attendance returns: what was due, what came, what is missing.
    #[command(subcommand)]
    Returns(ReturnsCommand),
    /// Attendance marks.
    #[command(subcommand)]
    Marks(MarksCommand),
    /// Notices that a child is not expected.
    #[command(subcommand)]
    Absence(AbsenceCommand),
    /// Progress returns.
    #[command(subcommand)]
    Progress(ProgressCommand),
    /// The mailbox, and what became of what was sent.
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// Placements to which this organisation is a party; `placement` has more.
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
    /// One exchange of the log.
    #[command(subcommand)]
    Exchange(ExchangeCommand),
    /// What went out in a breach.
    #[command(subcommand)]
    Breach(BreachCommand),
    /// Reviews that an organisation makes regularly.
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Profiles of clients.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Examine a profile and the way to the gateway, and say what to do.
    Doctor(DoctorArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Write a manual page for each command.
    Man(ManArgs),
    /// Call any method of the gateway with requests as protobuf JSON, or print a filled request.
    Call(CallArgs),
    /// Measure the throughput of a sandbox under the load of many providers.
    #[cfg(feature = "world")]
    Bench(BenchArgs),
}

/// Commands of `submit`.
#[derive(Debug, Subcommand)]
pub enum SubmitCommand {
    /// A register or a tuition log, as a management information system writes it (CSV or .xlsx).
    Attendance(SubmitAttendanceArgs),
    /// Progress returns: `SubmitProgressRequest` as protobuf JSON.
    Progress(FilesArgs),
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

/// Commands of `report`.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// The findings of the review that the active placements pass, fail, or have no facts for.
    Findings(ProfileArgs),
}

/// Commands of `placements`.
#[derive(Debug, Subcommand)]
pub enum ListCommand {
    /// List the placements, one on each line.
    List(ListPlacementsArgs),
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
    #[arg(long, env = PROFILE_VARIABLE)]
    pub profile: PathBuf,
    /// Address of the gateway, `host:port`, instead of the profile's.
    #[arg(long, env = ENDPOINT_VARIABLE)]
    pub endpoint: Option<String>,
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
    /// The files (CSV, or the first sheet of an .xlsx); `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The profile: endpoint, CA, certificate, key (TOML).
    #[arg(long, env = PROFILE_VARIABLE, required_unless_present = "preview")]
    pub profile: Option<PathBuf>,
    /// Address of the gateway, `host:port`, instead of the profile's.
    #[arg(long, env = ENDPOINT_VARIABLE)]
    pub endpoint: Option<String>,
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

/// Officer whom a command names.
#[derive(Debug, Args)]
pub struct OfficerArgs {
    /// Name of the officer. The token of a person of this name attests it.
    #[arg(long, value_name = "NAME")]
    pub officer: String,
    /// Role of the officer, in words.
    #[arg(long, value_name = "ROLE")]
    pub officer_role: String,
}

/// Arguments of a command that sends requests from files, each of which takes effect once.
#[derive(Debug, Args)]
pub struct PushFileArgs {
    /// The files (JSON, each with one request); `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Send each file again under a new request id, even if it was sent before.
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
