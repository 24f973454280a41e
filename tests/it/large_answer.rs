//! An answer as large as one request can store: the attendance of a placement with long comments, some 975 KiB.

use ap_gateway::proto::v1::{GetAttendanceRequest, Mark, SeenMark, Session, mark, returns_service};
use prost::Message;

use super::exchange_semantics::{mark, submission};
use super::serve_process::{ServeFolder, ServeProcess};

/// Marks of the answer.
pub const MARKS: usize = 240;
pub const MIN_ANSWER_BYTES: usize = 960 << 10;

/// Stores the marks, and checks that a provider can read the answer.
pub async fn store(folder: &ServeFolder, served: &ServeProcess, provider: &str) {
    let placement = folder.placement(provider);
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
    let wire = folder.connect(served, provider).await.unwrap();
    let stored = wire.call(returns_service::SUBMIT_ATTENDANCE.path(), &lessons).await;
    assert_eq!(stored.reason(), "OK");
    let answer = wire.call(returns_service::GET_ATTENDANCE.path(), &request(&placement)).await;
    assert!(answer.message.len() > MIN_ANSWER_BYTES, "{}", answer.message.len());
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
