//! Arguments of `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The configuration file.
    #[arg(long)]
    pub config: PathBuf,
    /// Folder of the backup: `data` and `keys` are made in it.
    #[arg(long)]
    pub out: PathBuf,
    /// File of the recipients to whom age encrypts the keys, one a line (`age-keygen -y` prints one).
    #[arg(long)]
    pub recipients: PathBuf,
    /// Hours after which a new base is made beside what was added; 0 makes one now.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(0..=8_760))]
    pub base_hours: u64,
    /// Days for which a base with what was added to it is kept. The keys beside it are kept for 35 days at most.
    #[arg(long, default_value_t = 35, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub keep_days: u64,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The configuration file: where it names database and keys, there must be nothing.
    #[arg(long)]
    pub config: PathBuf,
    /// Folder of the backup.
    #[arg(long)]
    pub from: PathBuf,
    /// Identity that opens the keys, a file of `age-keygen`.
    #[arg(long)]
    pub identity: PathBuf,
    /// Name of a folder in `data`, instead of the newest.
    #[arg(long)]
    pub set: Option<String>,
    /// File with the newest checkpoint that anyone has, if the anchor is lost.
    #[arg(long)]
    pub checkpoint: Option<PathBuf>,
    /// Nothing was appended after the backup: the gateway was stopped before it.
    #[arg(long)]
    pub complete: bool,
    /// Database of the lost machine, to tell whose the lost entries are.
    #[arg(long)]
    pub lost_database: Option<PathBuf>,
    /// Check the backup and tell what would be lost; write nothing.
    #[arg(long)]
    pub plan: bool,
}
