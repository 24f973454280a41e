//! `profile`: writes the profile of a client.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::args::{MakeProfileArgs, ProfileCommand};
use super::super::bundle::read_log_key;
use super::super::{Failure, input, output, print_line};
use crate::client::ProfileFile;

/// End of the name of the folder of checkpoints beside a profile, if no other is named.
const SEEN_SUFFIX: &str = "-seen";

/// Runs a command of `profile`.
///
/// # Errors
/// Exit code 2 for a log key that is none, 64 for a file that cannot be read, 69 if the profile cannot be written.
pub fn run(command: &ProfileCommand) -> Result<(), Failure> {
    let ProfileCommand::Make(args) = command;
    make(args)
}

fn make(args: &MakeProfileArgs) -> Result<(), Failure> {
    let log_key = read_log_key(&args.log_key).map_err(|what| Failure::usage(format!("--log-key: {what}")))?;
    let file = ProfileFile {
        endpoint: args.endpoint.clone(),
        ca: readable(&args.ca)?,
        certificate: readable(&args.certificate)?,
        key: readable(&args.key)?,
        log_key: log_key.to_string(),
        seen: absolute(args.seen.as_deref().unwrap_or(&seen_beside(&args.out)))?,
        on_behalf_of: args.on_behalf_of.clone(),
        token_audience: args.token_audience.clone(),
    };
    let text = toml::to_string(&file).map_err(|error| Failure::bug("a profile", error))?;
    if input::is_standard_input(&args.out) {
        print_line(text.trim_end());
        return output::check_written();
    }
    let unwritten = |error| Failure::unavailable(&args.out.display().to_string(), error);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(args.replace).create_new(!args.replace).truncate(args.replace);
    let mut out = options.open(&args.out).map_err(unwritten)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(unwritten)?;
    print_line(&format!("wrote {}; `doctor --profile {0}` tries it", args.out.display()));
    output::check_written()
}

/// Returns the folder of checkpoints beside a profile: one for each, because a folder belongs to one organisation.
fn seen_beside(profile: &Path) -> PathBuf {
    let named = if input::is_standard_input(profile) { Path::new("profile") } else { profile };
    let mut folder = named.with_extension("").into_os_string();
    folder.push(SEEN_SUFFIX);
    folder.into()
}

/// Returns the absolute path of a file that can be read.
fn readable(file: &Path) -> Result<PathBuf, Failure> {
    std::fs::File::open(file).map_err(|error| Failure::input(format!("{}: {error}", file.display())))?;
    absolute(file)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::unavailable(&path.display().to_string(), error))
}
