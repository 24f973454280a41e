//! Parses the arguments and calls one verb.

use std::process::ExitCode;

use ap_gateway::cli;

fn main() -> ExitCode {
    cli::main()
}
