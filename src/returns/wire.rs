//! Parsing of `SubmitAttendance` requests. Each row is parsed separately, so that all faults of a batch are reported.

use uuid::Uuid;

use super::rules::{ChildIdentifier, MarkStatement, ParsedMark, SessionSlot};
use crate::exchange::Refusal;
use crate::exchange::check::{Check, TextRule, Violations};
use crate::proto::v1::mark::{Child, Statement as SentStatement};
use crate::proto::v1::{Mark, SeenMark, Session, SubmitAttendanceRequest, SubmitMode};
use crate::violation_reason::ViolationReason;

/// Maximum number of marks in a submission.
pub const MAX_MARKS_PER_SUBMISSION: usize = 1_000;

/// A parsed submission.
pub struct Submission {
    /// Whether valid rows are stored even if others are invalid.
    pub accept_valid: bool,
    /// The rows in order: a mark, or the violations of the row.
    pub rows: Vec<Result<ParsedMark, Violations>>,
}

/// Parses a submission. `check` holds violations that were found before. Violations of rows are returned with the rows.
///
/// # Errors
/// A [`Refusal`] for violations of the batch as a whole.
pub fn parse_submission(mut check: Check, m: &SubmitAttendanceRequest) -> Result<Submission, Refusal> {
    check.request_id(&m.request_id);
    let mode = check.optional_enum::<SubmitMode>("mode", m.mode);
    if m.marks.is_empty() != m.nil_return {
        check.add_violation(if m.nil_return { "nil_return" } else { "marks" }, ViolationReason::BatchEmpty);
    }
    if m.marks.len() > MAX_MARKS_PER_SUBMISSION {
        check.add_violation("marks", ViolationReason::BatchTooLarge);
    }
    check.finish()?;
    let mut check = Check::new();
    let rows = m.marks.iter().enumerate().map(|(index, mark)| {
        let (read, violations) = check.read_row("marks", index, |row| parse_mark(row, mark));
        match read {
            Some(entered) if violations.is_empty() => Ok(entered),
            _ => Err(violations),
        }
    });
    Ok(Submission { accept_valid: mode == Some(SubmitMode::AcceptValid), rows: rows.collect() })
}

/// Parses one mark; None if it is invalid. Violations are added to `row`.
fn parse_mark(row: &mut Check, mark: &Mark) -> Option<ParsedMark> {
    let child = parse_child(row, mark.child.as_ref());
    let check_upn = (!mark.check_upn.is_empty())
        .then(|| row.upn("check_upn", &mark.check_upn).map(|upn| upn.as_str().to_owned()))
        .flatten();
    let check_reference =
        row.text("check_provider_reference", &mark.check_provider_reference, TextRule::line(40));
    let date_of_birth = row.optional_date("date_of_birth", &mark.date_of_birth);
    let surname = row.text("surname", &mark.surname, TextRule::claimed_name(100));
    let forename = row.text("forename", &mark.forename, TextRule::claimed_name(100));
    let date = row.date("date", &mark.date);
    let session = row.enum_value::<Session>("session", mark.session);
    let times = (!mark.start_time.is_empty() || !mark.end_time.is_empty()) || session == Some(Session::Timed);
    let (mut start, mut end) = (None, None);
    if times {
        start = row.time_of_day("start_time", &mark.start_time);
        end = row.time_of_day("end_time", &mark.end_time);
        if session.is_some_and(|session| session != Session::Timed) {
            row.add_violation("start_time", ViolationReason::TimeOrder);
        } else if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            row.add_violation("end_time", ViolationReason::TimeOrder);
        }
    }
    let statement = parse_statement(row, mark.statement.as_ref());
    let minutes_late = parse_minutes(row, "minutes_late", mark.minutes_late, 1);
    let seen_late = statement == Some(MarkStatement::Seen(SeenMark::Late as i32));
    if minutes_late.is_some() && matches!(statement, Some(MarkStatement::Seen(_))) && !seen_late {
        row.add_violation("minutes_late", ViolationReason::MinutesRange);
    }
    let minutes_planned = parse_minutes(row, "minutes_planned", mark.minutes_planned, 1);
    let minutes_attended = parse_minutes(row, "minutes_attended", mark.minutes_attended, 0);
    let comment = row.text("comment", &mark.comment, TextRule::notes(2_000)).unwrap_or_default();
    let reason = row.text("correction_reason", &mark.correction_reason, TextRule::line(500));
    let site = row.text("site", &mark.site, TextRule::line(200)).unwrap_or_default();
    let slot = match session? {
        Session::Am => SessionSlot::AM,
        Session::Pm => SessionSlot::PM,
        Session::Timed => SessionSlot::timed(start?),
        Session::Unspecified => return None,
    };
    Some(ParsedMark {
        child: child?,
        check_upn,
        check_reference,
        date_of_birth,
        surname,
        forename,
        date: date?,
        slot,
        end,
        statement: statement?,
        minutes_late,
        minutes_planned,
        minutes_attended,
        comment,
        correction_reason: reason.unwrap_or_default(),
        site,
    })
}

fn parse_child(row: &mut Check, child: Option<&Child>) -> Option<ChildIdentifier> {
    match child {
        None => {
            row.add_violation("upn", ViolationReason::FieldRequired);
            None
        }
        Some(Child::PlacementId(id)) => {
            row.uuid("placement_id", id).map(|id: Uuid| ChildIdentifier::Placement(id))
        }
        Some(Child::Upn(upn)) => row.upn("upn", upn).map(|upn| ChildIdentifier::Upn(upn.as_str().to_owned())),
        Some(Child::ProviderReference(reference)) => row
            .text("provider_reference", reference, TextRule::line(40).required())
            .map(ChildIdentifier::Reference),
    }
}

fn parse_statement(row: &mut Check, statement: Option<&SentStatement>) -> Option<MarkStatement> {
    match statement {
        None => {
            row.add_violation("code", ViolationReason::FieldRequired);
            None
        }
        // Longer than any code: rejected before it is copied.
        Some(SentStatement::Code(code)) if code.len() > 3 => {
            row.add_violation("code", ViolationReason::CodeUnknown);
            None
        }
        Some(SentStatement::Code(code)) => Some(MarkStatement::Code(code.clone())),
        Some(SentStatement::Seen(seen)) => {
            row.enum_value::<SeenMark>("seen", *seen).map(|seen| MarkStatement::Seen(seen as i32))
        }
    }
}

fn parse_minutes(row: &mut Check, field: &'static str, sent: Option<i32>, least: i64) -> Option<i32> {
    sent.and_then(|sent| row.minutes(field, sent, least..=600))
}
