//! The arguments of every verb.

mod bench;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use bench::Bench;

/// The secure gateway between those who commission alternative provision and those who provide it.
#[derive(Debug, Parser)]
#[command(name = "ap-gateway", version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a new gateway: database, keys, log and anchor; register the first operator.
    Init(Init),
    /// Bring the database's schema up to this release's.
    Migrate(OfConfig),
    /// Check configuration, database, log and anchor without serving.
    Check(OfConfig),
    /// Put a new key into the key ring, which opens and does not seal yet; copy the ring to every node.
    RotateKeys(OfConfig),
    /// Have the new key of the ring seal, once every live node holds it; run it on each node.
    ActivateKey(OfConfig),
    /// Go on as a new log where the database has lost entries that its anchor knows, for good.
    AcceptRollback(AcceptRollback),
    /// Serve; prints `READY host:port` once calls are accepted.
    Serve(OfConfig),
    /// Make a small whole world in a folder, and serve it.
    Sandbox(Sandbox),
    /// Run the main job from end to end on a sandbox, and show it.
    Demo(Demo),
    /// Send a file to the gateway.
    #[command(subcommand)]
    Submit(SubmitVerb),
    /// Send what a commissioner's system holds to the gateway.
    #[command(subcommand)]
    Push(PushVerb),
    /// Person passports.
    #[command(subcommand)]
    Passport(PassportVerb),
    /// Follow what is delivered to this organisation.
    #[command(subcommand)]
    Watch(WatchVerb),
    /// Placements that this organisation has a part in.
    #[command(subcommand)]
    Placements(ListVerb),
    /// The log of exchanges.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Measure a sandbox under the load of many providers.
    Bench(Bench),
}

/// What can be submitted.
#[derive(Debug, Subcommand)]
pub enum SubmitVerb {
    /// A register or a tuition log, as a management information system writes it (CSV).
    Attendance(SubmitAttendance),
    /// A progress return: `SubmitProgressRequest` as protobuf JSON.
    Progress(RequestFile),
}

/// What can be pushed, each a request as protobuf JSON. Without a `request_id` it is sent under one that is kept beside
/// the file, so that the same file sent twice takes effect once.
#[derive(Debug, Subcommand)]
pub enum PushVerb {
    /// A referral: `CreateReferralRequest`.
    Referral(PushFile),
    /// A placement plan: `PutPlanRequest`.
    Plan(PushFile),
    /// A person passport: `PutPassportRequest`.
    Passport(PushFile),
}

/// What can be done with a passport.
#[derive(Debug, Subcommand)]
pub enum PassportVerb {
    /// What this organisation's system may read of a child's passport.
    Get(GetPassport),
}

/// What can be watched.
#[derive(Debug, Subcommand)]
pub enum WatchVerb {
    /// The mailbox.
    Deliveries(WatchDeliveries),
    /// Of the mailbox the alerts, and what became of them.
    Alerts(WatchDeliveries),
}

/// What can be listed.
#[derive(Debug, Subcommand)]
pub enum ListVerb {
    /// One line a placement.
    List(OfProfile),
}

/// What an auditor can do.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Exchanges of the organisations that appointed this auditor, or of one's own.
    List(ListExchanges),
    /// The newest signed checkpoint.
    Head(OfProfile),
    /// Verify the whole log, on a copy of the database or over the wire.
    Verify(Verify),
    /// Write one exchange with its proof to a file that anybody can check.
    Prove(Prove),
    /// Write the log as a tlog-tiles folder.
    Export(Export),
    /// Compare checkpoints that different callers were shown.
    Compare(Compare),
}

/// A verb of the server's side.
#[derive(Debug, Args)]
pub struct OfConfig {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
}

/// Making a new gateway.
#[derive(Debug, Args)]
pub struct Init {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// The name that the log signs under, say `ap.example/log`; for ever.
    #[arg(long)]
    pub origin: String,
    /// PEM file: the certificate of the first operator.
    #[arg(long)]
    pub operator_certificate: PathBuf,
    /// The operator's name as others see it.
    #[arg(long, default_value = "Gateway operator")]
    pub operator_name: String,
}

/// Accepting a rollback.
#[derive(Debug, Args)]
pub struct AcceptRollback {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// The name that the new log signs under; none that a log of this gateway had.
    #[arg(long)]
    pub log: String,
}

/// A small whole world.
#[derive(Debug, Args)]
pub struct Sandbox {
    /// The folder; a second start on the same folder serves what is there.
    #[arg(long)]
    pub dir: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Hold the clock of the domain at this instant (RFC 3339); it moves by `AdvanceClock` only.
    #[arg(long)]
    pub clock: Option<String>,
    /// Let the clock of the domain run on from there instead.
    #[arg(long, requires = "clock")]
    pub clock_runs: bool,
    /// A file with a PostgreSQL URL, to use instead of SQLite.
    #[arg(long)]
    pub postgres_url_file: Option<PathBuf>,
}

/// The main job, shown.
#[derive(Debug, Args)]
pub struct Demo {
    /// A folder to keep the sandbox in; by default one that is removed afterwards.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// A verb of the client's side.
#[derive(Clone, Debug, Args)]
pub struct OfProfile {
    /// The profile: endpoint, CA, certificate, key (TOML).
    #[arg(long)]
    pub profile: PathBuf,
    /// Print protobuf JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Sending a register.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct SubmitAttendance {
    /// The file.
    pub file: PathBuf,
    /// The profile: endpoint, CA, certificate, key (TOML).
    #[arg(long, required_unless_present = "preview")]
    pub profile: Option<PathBuf>,
    /// Print JSON: what was found, a row a line, then the replies.
    #[arg(long)]
    pub json: bool,
    /// Which column holds what (TOML); by default the mapping that comes with the gateway and fits the headings.
    #[arg(long)]
    pub mapping: Option<PathBuf>,
    /// Show what would be sent, and send nothing.
    #[arg(long)]
    pub preview: bool,
    /// Check the file and every row with the gateway, and store nothing.
    #[arg(long, conflicts_with = "preview")]
    pub validate_only: bool,
    /// Store the rows that are good even if others are not.
    #[arg(long)]
    pub accept_valid: bool,
    /// Why marks that were sent before are different now.
    #[arg(long)]
    pub correction_reason: Option<String>,
}

/// Sending a request that a file holds.
#[derive(Debug, Args)]
pub struct RequestFile {
    /// The file (JSON).
    pub file: PathBuf,
    /// The connection.
    #[command(flatten)]
    pub of: OfProfile,
}

/// Sending a request that a file holds, once.
#[derive(Debug, Args)]
pub struct PushFile {
    /// The file (JSON).
    pub file: PathBuf,
    /// Send the file anew, under a new request id, even if it was sent before.
    #[arg(long)]
    pub again: bool,
    /// The connection.
    #[command(flatten)]
    pub of: OfProfile,
}

/// Reading a passport.
#[derive(Debug, Args)]
pub struct GetPassport {
    /// UUID of the child's placement.
    pub placement: String,
    /// The connection.
    #[command(flatten)]
    pub of: OfProfile,
}

/// Following a mailbox.
#[derive(Debug, Args)]
pub struct WatchDeliveries {
    /// The connection.
    #[command(flatten)]
    pub of: OfProfile,
    /// Acknowledge each delivery once it is written and flushed.
    #[arg(long)]
    pub acknowledge: bool,
    /// Stop when everything that is there has come, instead of waiting for more.
    #[arg(long)]
    pub once: bool,
    /// Show everything from the first delivery on, instead of what is new since the last run.
    #[arg(long)]
    pub all: bool,
    /// Seconds for which a lost connection is made again before the verb ends.
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    pub give_up_after: u64,
}

/// Listing exchanges: every filter that is given must match.
#[derive(Debug, Args)]
pub struct ListExchanges {
    /// The connection.
    #[command(flatten)]
    pub of: OfProfile,
    /// Made by this organisation, or concerning it: say la/330.
    #[arg(long)]
    pub organisation: Option<String>,
    /// Made by this system.
    #[arg(long)]
    pub system: Option<String>,
    /// That concern this other organisation too.
    #[arg(long)]
    pub counterpart: Option<String>,
    /// About this placement (UUID).
    #[arg(long)]
    pub placement: Option<String>,
    /// Of this method, say `SubmitAttendance`.
    #[arg(long)]
    pub method: Option<String>,
    /// What became of it: ok, refused, replayed, malformed or failed.
    #[arg(long)]
    pub outcome: Option<String>,
    /// What for: education-provision, attendance, safeguarding or oversight.
    #[arg(long)]
    pub purpose: Option<String>,
    /// From this day in London, or this instant (RFC 3339), on.
    #[arg(long)]
    pub from: Option<String>,
    /// To the end of this day in London, or before this instant.
    #[arg(long)]
    pub to: Option<String>,
    /// Write a spreadsheet to this file instead of a table.
    #[arg(long, conflicts_with = "json")]
    pub csv: Option<PathBuf>,
}

/// Verifying the log.
#[derive(Debug, Args)]
pub struct Verify {
    /// A copy of the database (SQLite); without it the log is verified over the wire.
    #[arg(long, conflicts_with = "profile")]
    pub database: Option<PathBuf>,
    /// The log's verifier key, for --database; of a log that replaced others, with theirs as `check` prints them.
    #[arg(long, requires = "database")]
    pub log_key: Option<String>,
    /// The anchor file, to find a cut tail, for --database.
    #[arg(long, requires = "database")]
    pub anchor: Option<PathBuf>,
    /// The key ring, to check each kept record against its entry, for --database.
    #[arg(long, requires = "database")]
    pub key_ring: Option<PathBuf>,
    /// The profile.
    #[arg(long)]
    pub profile: Option<PathBuf>,
}

/// Proving one exchange.
#[derive(Debug, Args)]
pub struct Prove {
    /// The connection.
    #[command(flatten)]
    pub of: OfProfile,
    /// The exchange's id.
    pub exchange: String,
    /// The file to write (JSON).
    #[arg(long)]
    pub out: PathBuf,
}

/// Exporting the log.
#[derive(Debug, Args)]
pub struct Export {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// The folder to write.
    #[arg(long)]
    pub out: PathBuf,
}

/// Comparing checkpoints.
#[derive(Debug, Args)]
pub struct Compare {
    /// The connection over which consistency is asked for.
    #[command(flatten)]
    pub of: OfProfile,
    /// Folders of checkpoints, as clients keep them.
    pub seen: Vec<PathBuf>,
}
