//! `submit attendance`: reads a whole register, lets the gateway check it, and then sends it.

use std::collections::{HashMap, HashSet};

use tokio::task::JoinSet;

use super::args::SubmitAttendanceArgs;
use super::files::{self, Diagnostic, FileMark, Register, Severity, fault_lines, preview, remark_lines};
use super::{Failure, input, output, print_line, profile};
use crate::client::{Client, ClientError};
use crate::clock::Randomness;
use crate::proto::v1::returns_service as returns;
use crate::proto::v1::{
    Mark, MarkOutcome, MarkResult, SubmitAttendanceRequest, SubmitAttendanceResponse, SubmitMode,
};

/// Maximum number of marks in one call.
const MARKS_PER_CALL: usize = 1_000;
/// Maximum number of concurrent calls.
const MAX_CALLS_IN_FLIGHT: usize = 4;

/// Replies of the gateway to the calls for a list of marks, in order.
pub struct SubmitReplies(pub Vec<SubmitAttendanceResponse>);

impl SubmitReplies {
    /// Returns the number of marks stored as new.
    pub fn stored(&self) -> u32 {
        self.0.iter().map(|reply| reply.stored).sum()
    }

    /// Returns the number of marks that were stored before and are unchanged.
    pub fn unchanged(&self) -> u32 {
        self.0.iter().map(|reply| reply.unchanged).sum()
    }

    /// Returns the number of marks stored as corrections.
    pub fn corrected(&self) -> u32 {
        self.0.iter().map(|reply| reply.corrected).sum()
    }

    /// Returns the result of each mark.
    pub fn results(&self) -> impl Iterator<Item = &MarkResult> {
        self.0.iter().flat_map(|reply| &reply.results)
    }
}

/// Runs `submit attendance`: previews, validates or sends a file.
///
/// # Errors
/// Exit code 64 if a row has a fault and nothing was sent, 1 if some rows were not sent or were rejected; or the
/// client's.
pub async fn attendance(args: &SubmitAttendanceArgs) -> Result<(), Failure> {
    let read = args.files.iter().map(|file| files::read_file(file, args.mapping.as_deref()));
    let registers = read.collect::<Result<Vec<_>, _>>()?;
    let Some(profile) = args.profile.as_ref().filter(|_| !args.preview) else {
        return registers.iter().try_for_each(|register| preview::print_preview(register, args.json));
    };
    // Nothing of a refused file is transmitted, not even for validation, nor of those beside it.
    if let Some(register) = registers.iter().find(|register| register.is_refused()) {
        return Err(Failure::input(format!(
            "nothing was sent:\n{}",
            print_diagnostics(&register.diagnostics, args.json)?.join("\n")
        )));
    }
    let client =
        profile::connect_with_token(profile, args.endpoint.as_deref(), args.token.as_deref()).await?;
    for (file, register) in args.files.iter().zip(&registers) {
        let sent = submit_register(&client, args, register).await;
        let subject = |failure: Failure| failure.with_subject(&input::name_of(file));
        sent.map_err(|failure| if registers.len() > 1 { subject(failure) } else { failure })?;
    }
    Ok(())
}

/// Has the gateway check a register, and sends it as the arguments say.
async fn submit_register(
    client: &Client,
    args: &SubmitAttendanceArgs,
    register: &Register,
) -> Result<(), Failure> {
    let reason = args.correction_reason.as_deref().unwrap_or_default();
    let CheckedRegister { accepted: good, diagnostics: findings } =
        check_register(client, register, reason).await?;
    let faults = print_diagnostics(&findings, args.json)?;
    let bad = !faults.is_empty();
    if args.validate_only || (bad && !args.accept_valid) {
        let summary = format!("{} marks can be sent; nothing was sent", good.len());
        if bad {
            return Err(Failure::input(format!("{summary}:\n{}", faults.join("\n"))));
        }
        print_line(&summary);
        return Ok(());
    }
    let sent = submit_marks(client, &good, reason).await?;
    let rejections = rejected_marks(register, &good, sent.results());
    if args.json {
        print_replies(&good, &sent)?;
    } else {
        print_line(&format!(
            "{} new, {} unchanged, {} corrected, {} lines not sent",
            sent.stored(),
            sent.unchanged(),
            sent.corrected(),
            faults.len() + rejections.len()
        ));
    }
    let not_sent = faults.into_iter().chain(print_diagnostics(&rejections, args.json)?).collect::<Vec<_>>();
    if not_sent.is_empty() { Ok(()) } else { Err(Failure::refused(not_sent.join("\n"))) }
}

/// Prints diagnostics: with `json` all of them, one JSON object on each line; otherwise the warnings and notices, one
/// line for each kind. Returns the text of the faults.
fn print_diagnostics(findings: &[Diagnostic], json: bool) -> Result<Vec<String>, Failure> {
    if json {
        for finding in findings {
            print_line(&serde_json::to_string(finding).map_err(|error| Failure::bug("a finding", error))?);
        }
    } else {
        for remark in remark_lines(findings) {
            print_line(&remark);
        }
    }
    Ok(fault_lines(findings))
}

/// Result of the gateway's check of a file.
pub struct CheckedRegister<'r> {
    /// The marks that it would accept.
    pub accepted: Vec<&'r FileMark>,
    /// Faults of the other rows, and warnings; sorted by row.
    pub diagnostics: Vec<Diagnostic>,
}

/// Lets the gateway check every mark that could be read; nothing is stored.
///
/// # Errors
/// The client's.
pub async fn check_register<'r>(
    client: &Client,
    register: &'r Register,
    reason: &str,
) -> Result<CheckedRegister<'r>, Failure> {
    let rows: Vec<&FileMark> = register.marks.iter().collect();
    let checked = SubmitReplies(submit_in_calls(client, &rows, reason, true).await?);
    let mut findings = register.diagnostics.clone();
    findings.extend(rejected_marks(register, &rows, checked.results()));
    let finding = |row: &FileMark, reason: &str, severity| {
        Diagnostic::for_row(row.line, row.row_number, register.heading_of_field(row, ""), reason)
            .with_severity(severity)
    };
    let (mut good, mut first) = (Vec::new(), HashMap::new());
    for (row, result) in rows.into_iter().zip(checked.results()) {
        if result.outcome() == MarkOutcome::Rejected {
            continue;
        }
        // The gateway detects conflicts within one call; this detects those between calls.
        let Mark { date, session, start_time, .. } = &row.mark;
        let content = without_child(&row.mark);
        let earlier =
            first.entry((&result.placement_id, date, session, start_time)).or_insert_with(|| content.clone());
        if *earlier != content {
            findings.push(finding(row, "CONFLICT_IN_BATCH", Severity::Error));
            continue;
        }
        findings.extend(result.warnings.iter().map(|warning| finding(row, warning, Severity::Warning)));
        good.push(row);
    }
    sort_and_deduplicate(&mut findings);
    Ok(CheckedRegister { accepted: good, diagnostics: findings })
}

/// Sorts diagnostics by row, and removes duplicates that several marks of a row cause.
fn sort_and_deduplicate(findings: &mut Vec<Diagnostic>) {
    findings.sort_by(|one, other| (one.row, &one.reason).cmp(&(other.row, &other.reason)));
    let mut seen = HashSet::new();
    findings.retain(|finding| seen.insert((finding.row, finding.column.clone(), finding.reason.clone())));
}

/// Returns the mark without the child's identifiers: the fields that two rows for one session must have in common.
fn without_child(mark: &Mark) -> Mark {
    Mark {
        child: None,
        check_upn: String::new(),
        check_provider_reference: String::new(),
        date_of_birth: String::new(),
        surname: String::new(),
        forename: String::new(),
        ..mark.clone()
    }
}

fn rejected_marks<'a>(
    register: &Register,
    rows: &[&FileMark],
    results: impl Iterator<Item = &'a MarkResult>,
) -> Vec<Diagnostic> {
    let rejected = rows.iter().zip(results).filter(|(_, result)| result.outcome() == MarkOutcome::Rejected);
    let finding = |(row, result): (&&FileMark, &MarkResult)| {
        Diagnostic::for_row(
            row.line,
            row.row_number,
            register.heading_of_field(row, &result.field),
            &result.reason,
        )
    };
    let mut findings = rejected.map(finding).collect();
    sort_and_deduplicate(&mut findings);
    findings
}

/// Sends marks, to be stored.
///
/// # Errors
/// The client's.
pub async fn submit_marks(
    client: &Client,
    rows: &[&FileMark],
    reason: &str,
) -> Result<SubmitReplies, Failure> {
    Ok(SubmitReplies(submit_in_calls(client, rows, reason, false).await?))
}

/// Prints each reply as protobuf JSON, with the file's line number for each of its results.
fn print_replies(rows: &[&FileMark], sent: &SubmitReplies) -> Result<(), Failure> {
    for (rows, reply) in rows.chunks(MARKS_PER_CALL).zip(&sent.0) {
        let mut reply = output::to_json("SubmitAttendanceResponse", reply)?;
        if let Some(fields) = reply.as_object_mut() {
            fields.insert("lines".to_owned(), rows.iter().map(|row| row.line).collect());
        }
        print_line(&reply.to_string());
    }
    Ok(())
}

/// Sends marks in calls of up to 1,000, of which up to four are concurrent. Returns the replies in order.
async fn submit_in_calls(
    client: &Client,
    rows: &[&FileMark],
    reason: &str,
    validate_only: bool,
) -> Result<Vec<SubmitAttendanceResponse>, Failure> {
    let random = Randomness::system();
    let mut chunks = rows.chunks(MARKS_PER_CALL).enumerate();
    let mut replies: Vec<_> = chunks.clone().map(|_| SubmitAttendanceResponse::default()).collect();
    let (mut in_flight, mut answered) = (JoinSet::new(), 0);
    loop {
        while in_flight.len() < MAX_CALLS_IN_FLIGHT
            && let Some((at, chunk)) = chunks.next()
        {
            let client = client.clone();
            let marks =
                chunk.iter().map(|row| Mark { correction_reason: reason.to_owned(), ..row.mark.clone() });
            let request = SubmitAttendanceRequest {
                request_id: random.uuid_v4().hyphenated().to_string(),
                validate_only,
                mode: SubmitMode::AcceptValid as i32,
                nil_return: false,
                marks: marks.collect(),
            };
            in_flight.spawn(async move { (at, client.call(returns::SUBMIT_ATTENDANCE, &request).await) });
        }
        let Some(finished) = in_flight.join_next().await else { break };
        let (at, reply) = finished.map_err(|error| Failure::bug("a call", error))?;
        let to_failure = |error: ClientError| {
            let note = "send the file again: what was stored stays, and is unchanged";
            if validate_only { error.into() } else { Failure::from(error).with_advice(note) }
        };
        let reply = reply.map_err(to_failure)?.message;
        answered += reply.results.len();
        if rows.len() > MARKS_PER_CALL {
            let done = if validate_only { "checked" } else { "sent" };
            output::print_progress(&format!("{answered} of {} marks {done}", rows.len()));
        }
        if let Some(slot) = replies.get_mut(at) {
            *slot = reply;
        }
    }
    output::print_progress("");
    Ok(replies)
}
