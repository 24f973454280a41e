//! Arguments of `referral`, `placement` and `plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OfficerArgs, ProfileArgs, PushFileArgs};

/// Commands of `referral`.
#[derive(Debug, Subcommand)]
pub enum ReferralCommand {
    /// Refer children to a provider: `CreateReferralRequest`.
    Push(PushFileArgs),
    /// Accept a referral.
    Accept(AcceptReferralArgs),
    /// Decline a referral.
    Decline(DeclineReferralArgs),
}

/// Arguments of `referral accept`.
#[derive(Debug, Args)]
pub struct AcceptReferralArgs {
    /// UUID of the placement.
    pub placement: String,
    /// This provider's own reference of the child, which its registers have.
    #[arg(long)]
    pub reference: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `referral decline`.
#[derive(Debug, Args)]
pub struct DeclineReferralArgs {
    /// UUID of the placement.
    pub placement: String,
    /// Reason: no-place, need-not-met or other.
    #[arg(long)]
    pub reason: String,
    /// Note for the commissioner.
    #[arg(long)]
    pub note: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `placement`.
#[derive(Debug, Subcommand)]
pub enum PlacementCommand {
    /// Show a placement with its child, its plan and what it lacks.
    Show(PlacementArgs),
    /// List the placements to which this organisation is a party.
    List(ListPlacementsArgs),
    /// Record the commissioner's decision: `Decision`.
    Decide(DecidePlacementArgs),
    /// Start a placement.
    Start(StartPlacementArgs),
    /// End a placement.
    End(EndPlacementArgs),
    /// Record a change of schools on roll or of the authority of residence.
    Parties(UpdatePartiesArgs),
}

/// Arguments of a command about one placement.
#[derive(Debug, Args)]
pub struct PlacementArgs {
    /// UUID of the placement.
    pub placement: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `placement list`; a placement must match every filter that is given.
#[derive(Debug, Args)]
pub struct ListPlacementsArgs {
    /// Only placements in this state, such as referred, approved or active.
    #[arg(long)]
    pub state: Option<String>,
    /// Only placements with this provider.
    #[arg(long, value_name = "ORGANISATION")]
    pub provider: Option<String>,
    /// Only placements of this commissioner.
    #[arg(long, value_name = "ORGANISATION")]
    pub commissioner: Option<String>,
    /// Only placements that were active on this day or later.
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// Only placements that were active on this day or earlier.
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `placement decide`.
#[derive(Debug, Args)]
pub struct DecidePlacementArgs {
    /// UUID of the placement.
    pub placement: String,
    /// The decision (JSON); `-` is standard input.
    pub file: PathBuf,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `placement start`.
#[derive(Debug, Args)]
pub struct StartPlacementArgs {
    /// UUID of the placement.
    pub placement: String,
    /// The child's first day.
    #[arg(long, value_name = "DATE")]
    pub date: String,
    /// Who starts it.
    #[command(flatten)]
    pub officer: OfficerArgs,
    /// What is still missing, and is waived: plan, decision or safety-acknowledgement; one flag for each.
    #[arg(long = "missing", value_name = "ITEM", requires = "reason")]
    pub missing: Vec<String>,
    /// Why the child starts without it.
    #[arg(long)]
    pub reason: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `placement end`.
#[derive(Debug, Args)]
pub struct EndPlacementArgs {
    /// UUID of the placement.
    pub placement: String,
    /// The child's last day.
    #[arg(long, value_name = "DATE")]
    pub date: String,
    /// Reason, such as reintegrated, new-school, other-provider, post-16, breakdown, moved or other.
    #[arg(long)]
    pub reason: String,
    /// Where the child goes.
    #[arg(long)]
    pub destination: Option<String>,
    /// Note.
    #[arg(long)]
    pub note: Option<String>,
    /// Reason of the correction of an end that was recorded before.
    #[arg(long)]
    pub correction_reason: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `placement parties`.
#[derive(Debug, Args)]
pub struct UpdatePartiesArgs {
    /// UUID of the placement.
    pub placement: String,
    /// A school on whose roll the child is; one flag for each, none if it is on no roll.
    #[arg(long = "school", value_name = "ORGANISATION")]
    pub schools: Vec<String>,
    /// Local authority in whose area the child lives.
    #[arg(long, value_name = "ORGANISATION")]
    pub residence: String,
    /// First day on which it is so.
    #[arg(long, value_name = "DATE")]
    pub from: String,
    /// Reason of the change.
    #[arg(long)]
    pub reason: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `plan`.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Put plans of placements: `PutPlanRequest`.
    Push(PushFileArgs),
    /// Show the newest plan of a placement.
    Show(PlacementArgs),
}
