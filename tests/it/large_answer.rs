//! An answer as large as one request can store: the attendance of a placement with long comments, some 975 KiB.

use ap_gateway::proto::v1::{GetAttendanceRequest, Mark, SeenMark, Session, mark, returns_service};
use prost::Message;

use super::exchange_semantics::{mark, submission};
use super::serve_process::{ServeFolder, ServeProcess};

/// Marks of the answer.
pub const MARKS: usize = 240;

/// Stores the marks, for the folder's placement with provider-a.
pub async fn store(folder: &ServeFolder, served: &ServeProcess) {
    let placement = folder.placement();
    let time = |minute: usize| format!("{:02}:{:02}", 8 + minute / 60, minute % 60);
    let lesson = |minute: usize| Mark {
        session: Session::Timed as i32,
        start_time: time(minute),
        end_time: time(minute + 1),
        statement: Some(mark::Statement::Seen(SeenMark::Present as i32)),
        comment: "ü".repeat(2_000),
        ..mark(&placement, "2026-11-03", "")
    };
    let lessons = submission((0..MARKS).map(lesson).collect()).encode_to_vec();
    let wire = folder.connect(served, "provider-a").await.unwrap();
    let stored = wire.call(returns_service::SUBMIT_ATTENDANCE.path(), &lessons).await;
    assert_eq!(stored.reason(), "OK");
}

/// Returns the encoded request for the attendance of a placement.
pub fn request(placement: &str) -> Vec<u8> {
    let request = GetAttendanceRequest {
        placement_id: placement.to_owned(),
        from_date: "2026-11-01".to_owned(),
        to_date: "2026-11-30".to_owned(),
        ..GetAttendanceRequest::default()
    };
    request.encode_to_vec()
}
