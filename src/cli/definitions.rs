//! `completions` and `man`: both come from the definitions of the commands.

use clap::CommandFactory;

use super::args::{Arguments, CompletionsArgs, ManArgs};
use super::{Failure, output, print_line};

/// Name of the program in completions and pages.
const PROGRAM: &str = "ap-gateway";

/// Prints the completions of a shell.
///
/// # Errors
/// Exit code 69 if standard output cannot be written.
pub fn print_completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), PROGRAM, &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::bug("completions", error))?;
    print_line(script.trim_end());
    output::check_written()
}

/// Writes a manual page for each command to a folder.
///
/// # Errors
/// Exit code 69 if a page cannot be written.
pub fn write_man_pages(args: &ManArgs) -> Result<(), Failure> {
    clap_mangen::generate_to(Arguments::command(), &args.out)
        .map_err(|error| Failure::unavailable(&args.out.display().to_string(), error))?;
    print_line(&format!("wrote the pages to {}", args.out.display()));
    output::check_written()
}
