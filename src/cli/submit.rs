//! `submit attendance`: a register with one mark a row, read whole and checked before anything is sent.

use std::path::Path;

use super::args::SubmitAttendance;
use super::register_file::{self, Row};
use super::{Failure, output, profile, say};
use crate::client::Client;
use crate::clock::Randomness;
use crate::proto::v1::returns_service as returns;
use crate::proto::v1::{
    Mark, MarkOutcome, MarkResult, SubmitAttendanceRequest, SubmitAttendanceResponse, SubmitMode,
};

/// Marks of one call.
const MARKS: usize = 1_000;

/// What became of a file.
#[derive(Debug, Default)]
pub struct Sent {
    /// Marks stored as new.
    pub stored: u32,
    /// Marks that were there before.
    pub unchanged: u32,
    /// Marks stored in place of others.
    pub corrected: u32,
    /// Lines that were not stored, each with column and reason.
    pub rejected: Vec<String>,
    /// The returns that were made.
    pub returns: Vec<String>,
}

/// Sends a file.
///
/// # Errors
/// Exit code 64 when a row is at fault and nothing was sent, 1 when rows were rejected; or the client's.
pub async fn attendance(args: &SubmitAttendance) -> Result<(), Failure> {
    let rows = read(&args.file, args.accept_valid)?;
    let client = profile::open(&args.of).await?;
    let reason = args.correction_reason.as_deref().unwrap_or_default();
    if !args.accept_valid {
        let checked = send(&client, &rows, reason, true, args.of.json).await?;
        if !checked.rejected.is_empty() {
            return Err(Failure::input(format!("nothing was sent:\n{}", checked.rejected.join("\n"))));
        }
    }
    let sent = send(&client, &rows, reason, args.validate_only, args.of.json).await?;
    let done = if args.validate_only { "checked, nothing stored" } else { "done" };
    say(&format!(
        "{done}: {} new, {} unchanged, {} corrected, {} rejected",
        sent.stored,
        sent.unchanged,
        sent.corrected,
        sent.rejected.len()
    ));
    if sent.rejected.is_empty() { Ok(()) } else { Err(Failure::refused(sent.rejected.join("\n"))) }
}

/// Reads a file; a row that cannot be read stops everything unless the good ones are wanted.
///
/// # Errors
/// Exit code 64, with every row at fault.
pub fn read(file: &Path, accept_valid: bool) -> Result<Vec<Row>, Failure> {
    let (rows, faults) = register_file::read(file)?;
    if !faults.is_empty() && !accept_valid {
        return Err(Failure::input(format!("nothing was sent:\n{}", faults.join("\n"))));
    }
    for fault in faults {
        say(&fault);
    }
    Ok(rows)
}

/// Sends rows in calls of up to 1,000 marks, or has them checked.
///
/// # Errors
/// The client's.
pub async fn send(
    client: &Client,
    rows: &[Row],
    correction_reason: &str,
    validate_only: bool,
    json: bool,
) -> Result<Sent, Failure> {
    let (mut sent, random) = (Sent::default(), Randomness::system());
    for part in rows.chunks(MARKS) {
        let marks = part
            .iter()
            .map(|row| Mark { correction_reason: correction_reason.to_owned(), ..row.mark.clone() });
        let request = SubmitAttendanceRequest {
            request_id: random.uuid_v4().hyphenated().to_string(),
            validate_only,
            mode: SubmitMode::AcceptValid as i32,
            nil_return: false,
            marks: marks.collect(),
        };
        let reply = client.call(returns::SUBMIT_ATTENDANCE, &request).await?.message;
        if json && !validate_only {
            output::json("SubmitAttendanceResponse", &reply)?;
        }
        add(&mut sent, part, reply);
    }
    Ok(sent)
}

fn add(sent: &mut Sent, part: &[Row], reply: SubmitAttendanceResponse) {
    sent.stored += reply.stored;
    sent.unchanged += reply.unchanged;
    sent.corrected += reply.corrected;
    sent.returns.push(reply.return_id);
    for MarkResult { index, outcome, reason, field, .. } in reply.results {
        if outcome == MarkOutcome::Rejected as i32 {
            let line = part.get(index as usize).map_or(0, |row| row.line);
            sent.rejected.push(format!("line {line}: {field}: {reason}"));
        }
    }
}
