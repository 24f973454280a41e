//! Arguments of `bench`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Folder of the sandbox; created if it does not exist.
    #[arg(long)]
    pub dir: PathBuf,
    /// File with the URL of a PostgreSQL database, to use instead of SQLite in a new sandbox.
    #[arg(long)]
    pub postgres_url_file: Option<PathBuf>,
    /// Number of providers.
    #[arg(long, default_value_t = 200)]
    pub organisations: usize,
    /// Number of placements of each provider.
    #[arg(long, default_value_t = 5)]
    pub placements: usize,
    /// Number of connections, each of a different provider.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Number of concurrent calls.
    #[arg(long, default_value_t = 64)]
    pub in_flight: usize,
    /// Number of marks in each call.
    #[arg(long, default_value_t = 1)]
    pub marks: usize,
    /// Duration of the measurement, in seconds.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
}
