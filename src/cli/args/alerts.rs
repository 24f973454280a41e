//! Arguments of the commands about alerts.

use clap::{Args, Subcommand};

use super::ProfileArgs;

/// Commands of `alerts`.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// List alerts, the most urgent first.
    List(ListAlertsArgs),
    /// Resolve an open alert with what a named officer did.
    Resolve(ResolveAlertArgs),
}

/// Arguments of `alerts list`; an alert must match every filter that is given.
#[derive(Debug, Args)]
pub struct ListAlertsArgs {
    /// Alerts of this rule, such as `PAST_END`.
    #[arg(long)]
    pub rule: Option<String>,
    /// Alerts of this severity; 1 is the most urgent.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=3))]
    pub severity: Option<i32>,
    /// Alerts in this state.
    #[arg(long, value_parser = ["open", "resolved", "closed"])]
    pub state: Option<String>,
    /// Alerts about this placement (UUID).
    #[arg(long)]
    pub placement: Option<String>,
    /// Order: by urgency, or in the order in which this organisation was told.
    #[arg(long, value_parser = ["urgency", "received"], default_value = "urgency")]
    pub order: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ProfileArgs,
}

/// Arguments of `alerts resolve`.
#[derive(Debug, Args)]
pub struct ResolveAlertArgs {
    /// UUID of the alert.
    pub alert: String,
    /// What was done.
    #[arg(long)]
    pub note: String,
    /// Name of the officer who resolves it. The token of a person of this name attests it.
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
