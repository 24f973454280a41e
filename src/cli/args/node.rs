//! Arguments of `node` and `migrate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Commands of `node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Give a further node its anchor, from a checkpoint that another node signed; the others go on serving.
    Add(AddNodeArgs),
}

/// Arguments of `node add`.
#[derive(Debug, Args)]
pub struct AddNodeArgs {
    /// The configuration file of the new node.
    #[arg(long)]
    pub config: PathBuf,
    /// A signed checkpoint of the log, as `audit head` prints it; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: PathBuf,
}

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// Print what would be done, and write nothing.
    #[arg(long)]
    pub plan: bool,
}
