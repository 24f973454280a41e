//! `submit attendance`: a register, read whole and checked whole before anything is sent.

use std::collections::{HashMap, HashSet};

use tokio::task::JoinSet;

use super::args::SubmitAttendance;
use super::files::{self, Finding, Register, Row, Severity, faults, preview, remarks};
use super::{Failure, output, profile, say};
use crate::client::{Client, ClientError};
use crate::clock::Randomness;
use crate::proto::v1::returns_service as returns;
use crate::proto::v1::{
    Mark, MarkOutcome, MarkResult, SubmitAttendanceRequest, SubmitAttendanceResponse, SubmitMode,
};

/// Marks of one call.
const MARKS: usize = 1_000;
/// Calls in flight at once.
const CALLS: usize = 4;

/// What became of rows: the gateway's replies, in order.
pub struct Sent(pub Vec<SubmitAttendanceResponse>);

impl Sent {
    /// Marks stored as new.
    pub fn stored(&self) -> u32 {
        self.0.iter().map(|reply| reply.stored).sum()
    }

    /// Marks that were there before.
    pub fn unchanged(&self) -> u32 {
        self.0.iter().map(|reply| reply.unchanged).sum()
    }

    /// Marks stored in place of others.
    pub fn corrected(&self) -> u32 {
        self.0.iter().map(|reply| reply.corrected).sum()
    }

    /// What became of each row.
    pub fn results(&self) -> impl Iterator<Item = &MarkResult> {
        self.0.iter().flat_map(|reply| &reply.results)
    }
}

/// Sends a file.
///
/// # Errors
/// Exit code 64 when a row is at fault and nothing was sent, 1 when rows were rejected; or the client's.
pub async fn attendance(args: &SubmitAttendance) -> Result<(), Failure> {
    let register = files::read(&args.file, args.mapping.as_deref())?;
    let Some(profile) = args.profile.as_ref().filter(|_| !args.preview) else {
        return preview::show(&register, args.json);
    };
    // Of a file that is refused, nothing leaves this machine.
    if register.is_refused() {
        return Err(Failure::input(format!(
            "nothing was sent:\n{}",
            told(&register.findings, args.json)?.join("\n")
        )));
    }
    let client = profile::connect(profile).await?;
    let reason = args.correction_reason.as_deref().unwrap_or_default();
    let Checked { good, findings } = check(&client, &register, reason).await?;
    let faults = told(&findings, args.json)?;
    let bad = !faults.is_empty();
    if args.validate_only || (bad && !args.accept_valid) {
        let sums = format!("{} marks can be sent; nothing was sent", good.len());
        if bad {
            return Err(Failure::input(format!("{sums}:\n{}", faults.join("\n"))));
        }
        say(&sums);
        return Ok(());
    }
    let sent = send(&client, &good, reason).await?;
    let left = rejected(&register, &good, sent.results());
    if args.json {
        print(&good, &sent)?;
    } else {
        say(&format!(
            "{} new, {} unchanged, {} corrected, {} lines not sent",
            sent.stored(),
            sent.unchanged(),
            sent.corrected(),
            faults.len() + left.len()
        ));
    }
    let left = faults.into_iter().chain(told(&left, args.json)?).collect::<Vec<_>>();
    if left.is_empty() { Ok(()) } else { Err(Failure::refused(left.join("\n"))) }
}

/// Prints findings: for scripts all, a JSON object each; for people warnings and notices, a line for each kind.
/// Returns the faults in words.
fn told(findings: &[Finding], json: bool) -> Result<Vec<String>, Failure> {
    if json {
        for finding in findings {
            say(&serde_json::to_string(finding).map_err(|error| Failure::bug("a finding", error))?);
        }
    } else {
        for remark in remarks(findings) {
            say(&remark);
        }
    }
    Ok(faults(findings))
}

/// What the gateway says of a file before it is sent.
pub struct Checked<'r> {
    /// The rows that it would take.
    pub good: Vec<&'r Row>,
    /// The others, and what is worth a second look; by line.
    pub findings: Vec<Finding>,
}

/// Has the gateway check every row that can be read; nothing is stored.
///
/// # Errors
/// The client's.
pub async fn check<'r>(
    client: &Client,
    register: &'r Register,
    reason: &str,
) -> Result<Checked<'r>, Failure> {
    let rows: Vec<&Row> = register.rows.iter().collect();
    let checked = Sent(calls(client, &rows, reason, true).await?);
    let mut findings = register.findings.clone();
    findings.extend(rejected(register, &rows, checked.results()));
    let finding = |row: &Row, reason: &str, severity| {
        Finding::of_row(row.line, row.number, register.column(row, ""), reason).weighing(severity)
    };
    let (mut good, mut first) = (Vec::new(), HashMap::new());
    for (row, result) in rows.into_iter().zip(checked.results()) {
        if result.outcome() == MarkOutcome::Rejected {
            continue;
        }
        // The gateway finds conflicts within a call; these are between calls.
        let Mark { date, session, start_time, .. } = &row.mark;
        let said = said(&row.mark);
        let earlier =
            first.entry((&result.placement_id, date, session, start_time)).or_insert_with(|| said.clone());
        if *earlier != said {
            findings.push(finding(row, "CONFLICT_IN_BATCH", Severity::Error));
            continue;
        }
        findings.extend(result.warnings.iter().map(|warning| finding(row, warning, Severity::Warning)));
        good.push(row);
    }
    in_order(&mut findings);
    Ok(Checked { good, findings })
}

/// Sorts findings by row; what several marks of a row share is one finding.
fn in_order(findings: &mut Vec<Finding>) {
    findings.sort_by(|one, other| (one.row, &one.reason).cmp(&(other.row, &other.reason)));
    let mut seen = HashSet::new();
    findings.retain(|finding| seen.insert((finding.row, finding.column.clone(), finding.reason.clone())));
}

/// A mark without whom it is about: what two rows for one session must agree in.
fn said(mark: &Mark) -> Mark {
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

fn rejected<'a>(
    register: &Register,
    rows: &[&Row],
    results: impl Iterator<Item = &'a MarkResult>,
) -> Vec<Finding> {
    let rejected = rows.iter().zip(results).filter(|(_, result)| result.outcome() == MarkOutcome::Rejected);
    let finding = |(row, result): (&&Row, &MarkResult)| {
        Finding::of_row(row.line, row.number, register.column(row, &result.field), &result.reason)
    };
    let mut findings = rejected.map(finding).collect();
    in_order(&mut findings);
    findings
}

/// Sends rows.
///
/// # Errors
/// The client's.
pub async fn send(client: &Client, rows: &[&Row], reason: &str) -> Result<Sent, Failure> {
    Ok(Sent(calls(client, rows, reason, false).await?))
}

/// Each reply as protobuf JSON, with the file's line of each of its results.
fn print(rows: &[&Row], sent: &Sent) -> Result<(), Failure> {
    for (rows, reply) in rows.chunks(MARKS).zip(&sent.0) {
        let mut reply = output::to_json("SubmitAttendanceResponse", reply)?;
        if let Some(fields) = reply.as_object_mut() {
            fields.insert("lines".to_owned(), rows.iter().map(|row| row.line).collect());
        }
        say(&reply.to_string());
    }
    Ok(())
}

/// Calls of up to 1,000 marks, a few at once; the replies in order.
async fn calls(
    client: &Client,
    rows: &[&Row],
    reason: &str,
    validate_only: bool,
) -> Result<Vec<SubmitAttendanceResponse>, Failure> {
    let random = Randomness::system();
    let mut waiting = rows.chunks(MARKS).enumerate();
    let mut replies: Vec<_> = waiting.clone().map(|_| SubmitAttendanceResponse::default()).collect();
    let (mut flying, mut answered) = (JoinSet::new(), 0);
    loop {
        while flying.len() < CALLS
            && let Some((at, part)) = waiting.next()
        {
            let client = client.clone();
            let marks =
                part.iter().map(|row| Mark { correction_reason: reason.to_owned(), ..row.mark.clone() });
            let request = SubmitAttendanceRequest {
                request_id: random.uuid_v4().hyphenated().to_string(),
                validate_only,
                mode: SubmitMode::AcceptValid as i32,
                nil_return: false,
                marks: marks.collect(),
            };
            flying.spawn(async move { (at, client.call(returns::SUBMIT_ATTENDANCE, &request).await) });
        }
        let Some(flown) = flying.join_next().await else { break };
        let (at, reply) = flown.map_err(|error| Failure::bug("a call", error))?;
        let broke_off = |error: ClientError| {
            let note = "send the file again: what was stored stays, and is unchanged";
            if validate_only { error.into() } else { Failure::from(error).and(note) }
        };
        let reply = reply.map_err(broke_off)?.message;
        answered += reply.results.len();
        if rows.len() > MARKS {
            let done = if validate_only { "checked" } else { "sent" };
            output::progress(&format!("{answered} of {} marks {done}", rows.len()));
        }
        if let Some(place) = replies.get_mut(at) {
            *place = reply;
        }
    }
    output::progress("");
    Ok(replies)
}
