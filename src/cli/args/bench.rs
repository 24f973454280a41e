//! The arguments of `bench`.

use std::path::PathBuf;

use clap::Args;

/// Measuring.
#[derive(Debug, Args)]
pub struct Bench {
    /// The folder of the sandbox, which is made where there is none.
    #[arg(long)]
    pub dir: PathBuf,
    /// A file with a PostgreSQL URL, to use instead of SQLite in a new sandbox.
    #[arg(long)]
    pub postgres_url_file: Option<PathBuf>,
    /// Providers.
    #[arg(long, default_value_t = 200)]
    pub organisations: usize,
    /// Placements of each.
    #[arg(long, default_value_t = 5)]
    pub placements: usize,
    /// Connections, each of a provider of its own.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Calls under way at once.
    #[arg(long, default_value_t = 64)]
    pub in_flight: usize,
    /// Marks a call.
    #[arg(long, default_value_t = 1)]
    pub marks: usize,
    /// Seconds.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
}
