//! `marks`: attendance as it is stored, and as registers confirm it.

use super::super::args::{MarksCommand, ShowMarksArgs};
use super::super::session::{Session, word};
use super::super::{Failure, json_request, output};
use crate::proto::v1::returns_service as rpc;
use crate::proto::v1::{
    AttendanceSummary, GetAttendanceRequest, ListAttendanceRequest, SeenMark, StoredMark,
};

/// Runs a command of `marks`.
///
/// # Errors
/// The client's.
pub async fn run(command: &MarksCommand) -> Result<(), Failure> {
    match command {
        MarksCommand::Show(args) => match &args.placement {
            Some(placement) => show(args, placement).await,
            None => list(args).await,
        },
        MarksCommand::Confirm(args) => {
            json_request::send("ConfirmMarks", &args.files, &args.connection).await
        }
    }
}

async fn show(args: &ShowMarksArgs, placement: &str) -> Result<(), Failure> {
    let days = &args.days;
    let request = GetAttendanceRequest {
        placement_id: placement.to_owned(),
        from_date: days.from.clone(),
        to_date: days.to.as_ref().unwrap_or(&days.from).clone(),
        ..GetAttendanceRequest::default()
    };
    let session = Session::open(&days.connection).await?;
    let pages = session.list(rpc::GET_ATTENDANCE, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let summary = pages.iter().find_map(|page| page.summary);
    let histories = pages.into_iter().flat_map(|page| page.marks);
    let rows: Vec<_> = histories
        .map(|history| {
            let corrections = history.earlier.len();
            let mark = history.mark.unwrap_or_default();
            let corrected = if corrections == 0 { String::new() } else { format!("{corrections} corrected") };
            let [date, session, statement, suggested] = mark_cells(&mark);
            [date, session, statement, suggested, mark.flags.join(" "), corrected]
        })
        .collect();
    output::print_table(["DATE", "SESSION", "MARK", "SUGGESTED", "FLAGS", ""], &rows);
    if let Some(summary) = summary {
        output::print_line(&rate_text(&summary));
    }
    output::check_written()
}

async fn list(args: &ShowMarksArgs) -> Result<(), Failure> {
    let days = &args.days;
    let request = ListAttendanceRequest {
        page_size: 100,
        from_date: days.from.clone(),
        to_date: days.to.as_ref().unwrap_or(&days.from).clone(),
        ..ListAttendanceRequest::default()
    };
    let session = Session::open(&days.connection).await?;
    let pages = session.list(rpc::LIST_ATTENDANCE, &request).await?;
    if session.is_json() {
        return Ok(());
    }
    let found: Vec<_> = pages.into_iter().flat_map(|page| page.placements).collect();
    let names = session.names(found.iter().map(|found| found.provider.as_str())).await;
    let mut rows = Vec::new();
    for placement in &found {
        let ids = || {
            [
                placement.placement_id.clone(),
                names.name_or_id(&placement.provider),
                placement.provider_reference.clone(),
            ]
        };
        if placement.marks.is_empty() {
            let [id, provider, reference] = ids();
            rows.push([id, provider, reference, "-".to_owned(), "-".to_owned(), "no mark".to_owned()]);
        }
        for mark in &placement.marks {
            let ([id, provider, reference], [date, session, statement, _]) = (ids(), mark_cells(mark));
            rows.push([id, provider, reference, date, session, statement]);
        }
    }
    output::print_table(["PLACEMENT", "PROVIDER", "REFERENCE", "DATE", "SESSION", "MARK"], &rows);
    output::check_written()
}

/// Returns date, session, statement and suggested code of a mark.
fn mark_cells(mark: &StoredMark) -> [String; 4] {
    let session = if mark.start_time.is_empty() {
        word(mark.session().as_str_name(), "SESSION_")
    } else {
        format!("{}-{}", mark.start_time, mark.end_time)
    };
    let statement = match mark.seen() {
        _ if mark.not_possible => "not possible".to_owned(),
        SeenMark::Unspecified => mark.code.clone(),
        seen => word(seen.as_str_name(), "SEEN_MARK_"),
    };
    [mark.date.clone(), session, statement, mark.suggested_code.clone()]
}

fn rate_text(summary: &AttendanceSummary) -> String {
    let AttendanceSummary { possible, attended, authorised, unauthorised, .. } = summary;
    let rate = summary
        .attendance
        .map_or_else(String::new, |rate| format!(", attendance {}.{:02} %", rate / 100, rate % 100));
    format!(
        "{possible} possible sessions: {attended} attended, {authorised} authorised and {unauthorised} unauthorised \
         absences{rate}"
    )
}
