//! Arguments of `passport`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::{OfficerArgs, PlacementArgs, ProfileArgs, PushFileArgs};

/// Commands of `passport`.
#[derive(Debug, Subcommand)]
pub enum PassportCommand {
    /// Put passports of children: `PutPassportRequest`.
    Put(PushFileArgs),
    /// List the versions of this organisation's own passport of a child.
    Versions(PlacementArgs),
    /// Acknowledge that a named person of the provider acted on the newest passport that was shared.
    Acknowledge(AcknowledgePassportArgs),
    /// Read a child's passport, as far as this organisation's system, or the person of `--token`, may.
    Get(GetPassportArgs),
    /// Share the newest version with the placement's provider.
    Share(SharePassportArgs),
    /// Record a decision not to share blocks with the placement's provider, or lift one.
    Withhold(WithholdArgs),
}

/// Arguments of `passport get`.
#[derive(Debug, Args)]
pub struct GetPassportArgs {
    /// UUID of the child's placement.
    pub placement: String,
    /// Organisation that sent the passport; by default this one or, for a provider, the commissioner.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub sender: Option<String>,
    /// Version of this organisation's own passport; by default the newest.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub version: Option<String>,
    // Empty values are refused, because the gateway takes an empty reason for an ordinary read.
    /// Break the glass: read the passports of all senders for this reason, of 20 to 500 characters. Each sender is told.
    #[arg(
        long,
        value_name = "REASON",
        value_parser = NonEmptyStringValueParser::new(),
        requires = "token",
        conflicts_with_all = ["sender", "version"]
    )]
    pub emergency_reason: Option<String>,
    /// A person's life is at risk: the legal basis that is recorded is vital interests.
    #[arg(long, requires = "emergency_reason")]
    pub life_at_risk: bool,
    /// UUID of this emergency, if it is sent again.
    #[arg(
        long,
        value_name = "UUID",
        value_parser = NonEmptyStringValueParser::new(),
        requires = "emergency_reason"
    )]
    pub request_id: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `passport acknowledge`.
#[derive(Debug, Args)]
pub struct AcknowledgePassportArgs {
    /// UUID of the child's placement.
    pub placement: String,
    /// Who acted on it.
    #[command(flatten)]
    pub officer: OfficerArgs,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `passport share`.
#[derive(Debug, Args)]
pub struct SharePassportArgs {
    /// UUID of the placement.
    pub placement: String,
    /// Version that is shared; it must be the newest one.
    #[arg(long)]
    pub version: String,
    /// UUID of the sharing agreement; by default that of the placement.
    #[arg(long)]
    pub agreement: Option<String>,
    /// UUID of this request, if it is sent again.
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `passport withhold`.
#[derive(Debug, Args)]
pub struct WithholdArgs {
    /// UUID of the placement from whose provider blocks are withheld.
    pub placement: String,
    /// Kind of a block that is withheld from now on, such as `safeguarding`; one flag for each.
    #[arg(long = "block", value_name = "KIND", required_unless_present = "lift")]
    pub blocks: Vec<String>,
    /// Withhold nothing any more.
    #[arg(long, conflicts_with = "blocks")]
    pub lift: bool,
    /// Number of the decision that this one replaces, which a person must have read; `withholding` of `passport get` has it.
    #[arg(long, value_name = "ETAG")]
    pub etag: Option<String>,
    /// Reason of the decision.
    #[arg(long)]
    pub reason: String,
    /// Name of the officer who decided. The token of a person of this name attests it.
    #[arg(long, value_name = "NAME")]
    pub officer: String,
    /// Role of the officer, in words.
    #[arg(long, value_name = "ROLE")]
    pub officer_role: String,
    /// UUID of this request, if it is sent again.
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}
