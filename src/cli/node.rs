//! `node add`: gives a further node of a PostgreSQL database its anchor, while the other nodes serve.

use std::path::Path;

use super::args::{AddNodeArgs, NodeCommand};
use super::{Failure, input, print_line};
use crate::config::Config;
use crate::gateway;

/// Largest file of a checkpoint, in bytes.
const MAX_CHECKPOINT_FILE_BYTES: u64 = 4 << 10;

/// Runs a command of `node`.
///
/// # Errors
/// Those of the command.
pub async fn run(command: &NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Add(args) => add(args).await,
    }
}

/// Makes the anchor of a new node from a checkpoint of its log. Everything that can be refused is tried before.
///
/// # Errors
/// Exit code 1 if the database is SQLite's, the node has an anchor, the checkpoint is damaged or of another log, or the
/// database does not hold what the checkpoint covers; 64 if the file cannot be read; 69 and 78 as for `check`.
async fn add(args: &AddNodeArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    if config.database.sqlite.is_some() {
        return Err(Failure::refused(
            "database.sqlite: a SQLite database has one node; several share a PostgreSQL database",
        ));
    }
    let anchor = &config.log.anchor;
    // A symbolic link that leads nowhere is in the way too.
    if anchor.symlink_metadata().is_ok() {
        let what =
            "this node has an anchor already, and nothing was changed: serve it, or move the file away";
        return Err(Failure::refused(format!("log.anchor ({}): {what}", anchor.display())));
    }
    let note = read_checkpoint(&args.checkpoint)?;
    gateway::tls(&config)?;
    let added = gateway::add_node(&config, &note).await?;
    print_line(&format!(
        "the anchor of this node holds the checkpoint of {} entries; the log has {}: serve the node",
        added.anchored, added.entries
    ));
    Ok(())
}

/// Reads a signed note. `audit head` prints it with one line end; an editor may have left more.
fn read_checkpoint(file: &Path) -> Result<String, Failure> {
    let bytes = input::read_bytes(file, MAX_CHECKPOINT_FILE_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::refused(format!("{}: it is not a signed checkpoint, which is text", input::name_of(file)))
    })?;
    Ok(format!("{}\n", text.trim_end()))
}
