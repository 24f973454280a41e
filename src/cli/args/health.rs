//! Arguments of `health`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The configuration file of the node.
    #[arg(long)]
    pub config: PathBuf,
    /// Ask only whether the process can go on, not whether it is ready.
    #[arg(long)]
    pub live: bool,
}
