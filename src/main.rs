//! Binary: parses the arguments and runs one command.

use std::process::ExitCode;

use ap_gateway::cli;

/// mimalloc, because the system allocator took a fifth of the server's time per call.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
