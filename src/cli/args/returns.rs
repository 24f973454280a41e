//! Arguments of `returns`, `marks`, `absence`, `progress` and `deliveries`.

use clap::{Args, Subcommand};

use super::agreement::FilesArgs;
use super::{PlacementArgs, ProfileArgs, WatchDeliveriesArgs};

/// Commands of `returns`.
#[derive(Debug, Subcommand)]
pub enum ReturnsCommand {
    /// List the returns that were due, each with its state.
    List(ListReturnsArgs),
    /// Show the returns of one placement.
    Show(ShowReturnsArgs),
    /// List the returns that are missing.
    Missing(DaysArgs),
    /// Withdraw a return that was sent in error.
    Void(VoidReturnArgs),
}

/// Arguments of a command about some days.
#[derive(Debug, Args)]
pub struct DaysArgs {
    /// First day.
    #[arg(long, value_name = "DATE")]
    pub from: String,
    /// Last day; by default the first.
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `returns list`.
#[derive(Debug, Args)]
pub struct ListReturnsArgs {
    /// Only returns in this state: received, late, missing, due, closed or not-expected; one flag for each.
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<String>,
    /// The days.
    #[command(flatten)]
    pub days: DaysArgs,
}

/// Arguments of `returns show`.
#[derive(Debug, Args)]
pub struct ShowReturnsArgs {
    /// UUID of the placement.
    pub placement: String,
    /// The days.
    #[command(flatten)]
    pub days: DaysArgs,
}

/// Arguments of `returns void`.
#[derive(Debug, Args)]
pub struct VoidReturnArgs {
    /// UUID of the return.
    pub return_id: String,
    /// Reason, which goes to those who received the return.
    #[arg(long)]
    pub reason: String,
    /// Only this part of a return in parts.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub part: u32,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `marks`.
#[derive(Debug, Subcommand)]
pub enum MarksCommand {
    /// Show the marks of a placement or, for a day or a week, those of all placements.
    Show(ShowMarksArgs),
    /// Confirm what a register holds: `ConfirmMarksRequest`.
    Confirm(FilesArgs),
}

/// Arguments of `marks show`.
#[derive(Debug, Args)]
pub struct ShowMarksArgs {
    /// UUID of the placement; without it the marks of all placements, on at most seven days.
    #[arg(long)]
    pub placement: Option<String>,
    /// The days.
    #[command(flatten)]
    pub days: DaysArgs,
}

/// Commands of `absence`.
#[derive(Debug, Subcommand)]
pub enum AbsenceCommand {
    /// Tell the provider that a child is not expected.
    Expect(ExpectAbsenceArgs),
}

/// Arguments of `absence expect`.
#[derive(Debug, Args)]
pub struct ExpectAbsenceArgs {
    /// UUID of the placement.
    pub placement: String,
    /// A session, such as 2026-11-24/am; one flag for each.
    #[arg(long = "session", value_name = "DATE/SESSION", required = true)]
    pub sessions: Vec<String>,
    /// Attendance code of the reason.
    #[arg(long, required_unless_present = "withdraw")]
    pub code: Option<String>,
    /// Note for the provider.
    #[arg(long)]
    pub note: Option<String>,
    /// Withdraw the notice: the child is expected.
    #[arg(long, conflicts_with = "code")]
    pub withdraw: bool,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Commands of `progress`.
#[derive(Debug, Subcommand)]
pub enum ProgressCommand {
    /// Send progress returns: `SubmitProgressRequest`.
    Submit(FilesArgs),
    /// Show the progress returns of a placement (JSON).
    Show(PlacementArgs),
}

/// Commands of `deliveries`.
#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// List what the mailbox holds.
    List(ListDeliveriesArgs),
    /// Follow the mailbox.
    Watch(WatchDeliveriesArgs),
    /// Show who received an object that this organisation sent, and how far each is.
    Status(DeliveryStatusArgs),
}

/// Arguments of `deliveries list`.
#[derive(Debug, Args)]
pub struct ListDeliveriesArgs {
    /// Only deliveries of this kind, such as referral, attendance or passport; one flag for each.
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `deliveries status`.
#[derive(Debug, Args)]
pub struct DeliveryStatusArgs {
    /// UUID of the object: a placement, return, agreement or closure.
    pub object: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}
