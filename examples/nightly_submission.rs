//! Sends a provider's register to a gateway every night: a guide for vendors of such systems.
//!
//! It needs only the feature `client`, which brings no database and no server:
//!
//! ```sh
//! cargo build --example nightly_submission --no-default-features --features client
//! target/debug/examples/nightly_submission world/profiles/provider-a.toml register.csv outbox-2026-11-20
//! ```
//!
//! **The register.** Each line is a mark: `RV-001,2026-11-20,AM,/`. These are the provider's own reference of the
//! placement, the date, the session (`AM` or `PM`) and the statutory code. No mark of a real child belongs in an example.
//!
//! **Requests are stored before they are sent.** `prepare` splits the register into requests, gives each a
//! `request_id`, and writes all of them to the outbox, or none. From then on nothing of a request changes. The gateway
//! recognises a repeated `request_id`, stores the marks once, and returns its first reply again.
//!
//! **Retries.** [`Client::call`] repeats a request whose connection failed, that timed out, or that the gateway asks to
//! send again, with exponential backoff and within [`ClientLimits`]. A job at night may wait longer than a person: this
//! one waits for ten minutes, which is enough for a restart of the gateway.
//!
//! **Receipts.** [`Client::call`] returns a reply only after it has verified the receipt: the log's signed checkpoint
//! includes an entry that commits to exactly this request and this reply. The reply is stored with its receipt, beside
//! the request, as evidence.
//!
//! **The log.** The [`CheckpointStore`] keeps the newest checkpoint in the profile's folder, and each call has the gateway
//! prove that the log continues it. A log that shrank, or that has two trees, is refused from then on; `docs/integrators.md`
//! describes what to do with the evidence.
//!
//! **Resume.** Whatever ended the job, run the same command again: it sends what has no reply yet. A new night has a new
//! outbox. A rejected mark has a reason of `proto/ERRORS.md`; people correct it, and it goes out with the next night.
//! The exit code is 0 when every mark was stored.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints its result")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ap_gateway::client::{CheckpointStore, Client, ClientLimits, Profile, write_atomically};
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::mark::{Child, Statement};
use ap_gateway::proto::v1::returns_service::SUBMIT_ATTENDANCE;
use ap_gateway::proto::v1::{Mark, Session, SubmitAttendanceRequest, SubmitAttendanceResponse, SubmitMode};
use prost::Message;

/// Number of marks per request; the gateway takes up to 1,000.
const MARKS_PER_REQUEST: usize = 100;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("nightly_submission: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [profile, register, outbox] = arguments.as_slice() else {
        return Err("usage: nightly_submission PROFILE REGISTER OUTBOX".into());
    };
    if !outbox.exists() {
        prepare(register, outbox)?;
    }
    let (profile, checkpoints) = Profile::load(profile)?;
    let retry_window = Duration::from_mins(10);
    let limits = ClientLimits { max_attempts: u32::MAX, retry_window, ..ClientLimits::default() };
    let seen = CheckpointStore::open_folder(&checkpoints)?;
    let client = Client::connect_with_limits(&profile, seen, limits).await?;
    let mut rejected = 0;
    for file in (0..).map(|number| request_file(outbox, number)).take_while(|file| file.exists()) {
        let reply = send(&client, &file).await?;
        println!("{}: {} stored, {} unchanged", file.display(), reply.stored, reply.unchanged);
        for result in reply.results.iter().filter(|result| !result.reason.is_empty()) {
            println!("{}: mark {} was rejected: {}", file.display(), result.index, result.reason);
        }
        rejected += reply.rejected;
    }
    if rejected == 0 { Ok(()) } else { Err(format!("{rejected} marks were rejected").into()) }
}

/// Writes the requests of a register to a new outbox: all of them, or none.
fn prepare(register: &Path, outbox: &Path) -> Result<(), Box<dyn Error>> {
    let place = register.display();
    let text = fs::read_to_string(register).map_err(|error| format!("{place}: {error}"))?;
    let at_line = |(line, text)| parse_mark(text).map_err(|fault| format!("{place} line {line}: {fault}"));
    let marks = (1..).zip(text.lines()).map(at_line).collect::<Result<Vec<_>, _>>()?;
    if marks.is_empty() {
        return Err(format!("{place}: there is no mark in it").into());
    }
    let part = outbox.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    for (number, marks) in marks.chunks(MARKS_PER_REQUEST).enumerate() {
        let request = SubmitAttendanceRequest {
            request_id: Randomness::system().uuid_v4().to_string(),
            mode: SubmitMode::AcceptValid.into(),
            marks: marks.to_vec(),
            ..SubmitAttendanceRequest::default()
        };
        write_atomically(&request_file(&part, number), request.encode_to_vec())?;
    }
    Ok(fs::rename(part, outbox)?)
}

fn request_file(outbox: &Path, number: usize) -> PathBuf {
    outbox.join(format!("{number:04}.request"))
}

/// Parses a line of the register.
fn parse_mark(line: &str) -> Result<Mark, &'static str> {
    let cells: Vec<&str> = line.split(',').collect();
    let &[reference, date, session, code] = cells.as_slice() else {
        return Err("not four cells");
    };
    Ok(Mark {
        child: Some(Child::ProviderReference(reference.to_owned())),
        date: date.to_owned(),
        session: Session::from_str_name(&format!("SESSION_{session}")).ok_or("not AM or PM")?.into(),
        statement: Some(Statement::Code(code.to_owned())),
        ..Mark::default()
    })
}

/// Sends a stored request, and stores its reply with the receipt. Returns the stored reply if there is one already.
async fn send(client: &Client, file: &Path) -> Result<SubmitAttendanceResponse, Box<dyn Error>> {
    let reply_file = file.with_extension("reply");
    if reply_file.exists() {
        return Ok(SubmitAttendanceResponse::decode(fs::read(reply_file)?.as_slice())?);
    }
    let request = SubmitAttendanceRequest::decode(fs::read(file)?.as_slice())?;
    let answer = client.call(SUBMIT_ATTENDANCE, &request).await?;
    let reply = SubmitAttendanceResponse { receipt: Some(answer.receipt), ..answer.message };
    write_atomically(&reply_file, reply.encode_to_vec())?;
    Ok(reply)
}
