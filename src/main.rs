//! Parses the arguments and calls one verb.

use std::process::ExitCode;

use ap_gateway::cli;

/// The system's own took a fifth of what the server does for a call.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
