//! `SubmitAttendance`'s message as marks. Each row is read apart, so that a batch can be told all that is
//! wrong with it, row by row.

use uuid::Uuid;

use super::rules::{Entered, Named, Slot, Statement};
use crate::exchange::Refusal;
use crate::exchange::check::{Check, TextRule, Violations};
use crate::proto::v1::mark::{Child, Statement as Sent};
use crate::proto::v1::{Mark, SeenMark, Session, SubmitAttendanceRequest, SubmitMode};

/// Most marks of one submission.
pub const MARKS: usize = 1_000;

/// A submission: each row either reads well or is at fault.
pub struct Submission {
    /// Good rows are stored even if others are not.
    pub accept_valid: bool,
    /// Rows, in order.
    pub rows: Vec<Result<Entered, Violations>>,
}

/// Reads a submission. What is wrong with the batch as a whole refuses it; what is wrong with rows is kept
/// with them. `check` holds what was wrong before.
pub fn submission(mut check: Check, m: &SubmitAttendanceRequest) -> Result<Submission, Refusal> {
    check.request_id(&m.request_id);
    let mode = check.optional_enum::<SubmitMode>("mode", m.mode);
    if m.marks.is_empty() != m.nil_return {
        check.fault(if m.nil_return { "nil_return" } else { "marks" }, "BATCH_EMPTY");
    }
    if m.marks.len() > MARKS {
        check.fault("marks", "BATCH_TOO_LARGE");
    }
    check.finish()?;
    let mut check = Check::new();
    let rows = m.marks.iter().enumerate().map(|(index, mark)| {
        let (read, violations) = check.row("marks", index, |row| entered(row, mark));
        match read {
            Some(entered) if violations.is_empty() => Ok(entered),
            _ => Err(violations),
        }
    });
    Ok(Submission { accept_valid: mode == Some(SubmitMode::AcceptValid), rows: rows.collect() })
}

fn entered(row: &mut Check, mark: &Mark) -> Option<Entered> {
    let child = child(row, mark.child.as_ref());
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
            row.fault("start_time", "TIME_ORDER");
        } else if let (Some(start), Some(end)) = (start, end)
            && end <= start
        {
            row.fault("end_time", "TIME_ORDER");
        }
    }
    let statement = statement(row, mark.statement.as_ref());
    let minutes_late = minutes(row, "minutes_late", mark.minutes_late, 1);
    let seen_late = statement == Some(Statement::Seen(SeenMark::Late as i32));
    if minutes_late.is_some() && matches!(statement, Some(Statement::Seen(_))) && !seen_late {
        row.fault("minutes_late", "MINUTES_RANGE");
    }
    let minutes_planned = minutes(row, "minutes_planned", mark.minutes_planned, 1);
    let minutes_attended = minutes(row, "minutes_attended", mark.minutes_attended, 0);
    let comment = row.text("comment", &mark.comment, TextRule::notes(2_000)).unwrap_or_default();
    let reason = row.text("correction_reason", &mark.correction_reason, TextRule::line(500));
    let site = row.text("site", &mark.site, TextRule::line(200)).unwrap_or_default();
    let slot = match session? {
        Session::Am => Slot::AM,
        Session::Pm => Slot::PM,
        Session::Timed => Slot::timed(start?),
        Session::Unspecified => return None,
    };
    Some(Entered {
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

fn child(row: &mut Check, child: Option<&Child>) -> Option<Named> {
    match child {
        None => {
            row.fault("upn", "FIELD_REQUIRED");
            None
        }
        Some(Child::PlacementId(id)) => row.uuid("placement_id", id).map(|id: Uuid| Named::Placement(id)),
        Some(Child::Upn(upn)) => row.upn("upn", upn).map(|upn| Named::Upn(upn.as_str().to_owned())),
        Some(Child::ProviderReference(reference)) => {
            row.text("provider_reference", reference, TextRule::line(40).required()).map(Named::Reference)
        }
    }
}

fn statement(row: &mut Check, statement: Option<&Sent>) -> Option<Statement> {
    match statement {
        None => {
            row.fault("code", "FIELD_REQUIRED");
            None
        }
        // Longer than any code: kept out before it is looked up.
        Some(Sent::Code(code)) if code.len() > 3 => {
            row.fault("code", "CODE_UNKNOWN");
            None
        }
        Some(Sent::Code(code)) => Some(Statement::Code(code.clone())),
        Some(Sent::Seen(seen)) => {
            row.enum_value::<SeenMark>("seen", *seen).map(|seen| Statement::Seen(seen as i32))
        }
    }
}

fn minutes(row: &mut Check, field: &'static str, sent: Option<i32>, least: i64) -> Option<i32> {
    sent.and_then(|sent| row.minutes(field, sent, least..=600))
}
