//! `absence`: notices that a child is not expected.

use super::super::Failure;
use super::super::args::{AbsenceCommand, ExpectAbsenceArgs};
use super::super::session::Session;
use crate::proto::v1::returns_service as rpc;
use crate::proto::v1::{self, DaySession, NotifyExpectedAbsenceRequest};

/// Runs a command of `absence`.
///
/// # Errors
/// The client's.
pub async fn run(command: &AbsenceCommand) -> Result<(), Failure> {
    let AbsenceCommand::Expect(args) = command;
    expect(args).await
}

async fn expect(args: &ExpectAbsenceArgs) -> Result<(), Failure> {
    let sessions = args.sessions.iter().map(|text| parse_session(text)).collect::<Result<Vec<_>, _>>()?;
    let request = NotifyExpectedAbsenceRequest {
        placement_id: args.placement.clone(),
        sessions,
        code: args.code.clone().unwrap_or_default(),
        note: args.note.clone().unwrap_or_default(),
        withdrawn: args.withdraw,
        ..NotifyExpectedAbsenceRequest::default()
    };
    let session = Session::open(&args.connection).await?;
    let changed = session.change(rpc::NOTIFY_EXPECTED_ABSENCE, &request).await?;
    let reply = &changed.reply;
    let done = if args.withdraw { "withdrew the notice of" } else { "gave notice of" };
    let text = format!(
        "notice {}: {done} {} sessions, {} were as before",
        reply.notice_id, reply.stored, reply.unchanged
    );
    session.report(&changed, &text).await
}

/// Parses a session, such as `2026-11-24/am` or `2026-11-24/13:30`.
fn parse_session(text: &str) -> Result<DaySession, Failure> {
    let form = || Failure::usage("--session is a date and am, pm or a start time, such as 2026-11-24/am");
    let (date, part) = text.split_once('/').ok_or_else(form)?;
    let (session, start_time) = match part.to_ascii_lowercase().as_str() {
        "am" => (v1::Session::Am, String::new()),
        "pm" => (v1::Session::Pm, String::new()),
        _ if part.contains(':') => (v1::Session::Timed, part.to_owned()),
        _ => return Err(form()),
    };
    Ok(DaySession { date: date.to_owned(), session: session.into(), start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_day_and_a_part_of_it() {
        let parsed = |text| parse_session(text).map(|found| (found.date, found.session, found.start_time));
        let (day, am, timed) = ("2026-11-24".to_owned(), v1::Session::Am.into(), v1::Session::Timed.into());
        assert_eq!(parsed("2026-11-24/AM").unwrap(), (day.clone(), am, String::new()));
        assert_eq!(parsed("2026-11-24/13:30").unwrap(), (day, timed, "13:30".to_owned()));
        for wrong in ["2026-11-24", "2026-11-24/noon", "2026-11-24/"] {
            assert!(parse_session(wrong).is_err(), "{wrong}");
        }
    }
}
