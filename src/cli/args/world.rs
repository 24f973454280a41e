//! Arguments of the commands that make an invented world: `sandbox`, `demo` and `bench`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Arguments of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Folder of the sandbox; an existing sandbox is served as it is.
    #[arg(long)]
    pub dir: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Stop the domain's clock at this instant (RFC 3339); only `AdvanceClock` moves it. Without it the domain has this
    /// machine's time, also if an earlier run stopped the clock.
    #[arg(long)]
    pub clock: Option<String>,
    /// Let the domain's clock run from that instant instead.
    #[arg(long, requires = "clock")]
    pub clock_runs: bool,
    /// File with the URL of a PostgreSQL database to use instead of SQLite.
    #[arg(long)]
    pub postgres_url_file: Option<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the sandbox; by default a temporary one, which is removed afterwards.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

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
