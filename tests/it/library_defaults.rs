//! Default behaviour of libraries that the gateway overrides.

use ap_gateway::cli::audit;
use ap_gateway::client::reason;
use ap_gateway::proto::v1::mark::Statement;
use ap_gateway::proto::v1::{
    AuditEntry, GetAttendanceRequest, GetPlacementRequest, Mark, Outcome, SeenMark, Session, returns_service,
};
use ap_gateway::store::{Database, Value};
use ap_gateway::tlog::commitment;
use prost::Message;
use prost::bytes::Bytes;
use tonic::Code;

use super::exchange_semantics::{get_attendance, mark, new_id, refusal_status, submission, submit};
use super::support::World;
use super::wire::{Wire, frame, receipt};

const PLACEMENT: &str = "/apgateway.v1.PlacementService/GetPlacement";

/// Checks that a snapshot dropped in the middle, for instance by a panic, leaves no open transaction on its pooled
/// connection, which may next serve another organisation.
async fn no_transaction_is_left_to_the_next(world: &World) {
    let database = world.database().await;
    // SQLite refuses nested transactions; on PostgreSQL the isolation level shows an open transaction.
    let (sql, open) = match database {
        Database::Sqlite { .. } => ("SELECT 0 AS is_open", 0),
        Database::Postgres { .. } => (
            "SELECT CAST(current_setting('transaction_isolation') = 'repeatable read' AS INTEGER) AS is_open",
            1,
        ),
    };
    for _ in 0..20 {
        let mut conn = database.reader().await.unwrap();
        assert_eq!(conn.fetch_one(sql, vec![]).await.unwrap().unwrap().get::<i64>("is_open").unwrap(), 0);
        conn.begin_read().await.unwrap();
        assert_eq!(conn.fetch_one(sql, vec![]).await.unwrap().unwrap().get::<i64>("is_open").unwrap(), open);
        drop(conn);
    }
    database.close().await;
}

/// Checks that duplicate and unknown fields are decided as protobuf specifies, and that the log commits to the
/// bytes as received.
async fn the_log_commits_to_the_bytes_as_they_came(world: &World) {
    let wire = Wire::connect(world.dir.path(), "la-a").await;
    let known = GetPlacementRequest { placement_id: world.placements("la-a", "provider-a").remove(0) };
    let other = GetPlacementRequest { placement_id: new_id() };
    let unknown = [0xfa, 0x3f, 3, 1, 2, 3];
    let sent = [&other.encode_to_vec()[..], &known.encode_to_vec(), &unknown].concat();
    let answer = wire.call(PLACEMENT, &sent).await;
    assert_eq!(answer.reason(), "OK");
    let receipt = receipt(&answer);
    let entry = AuditEntry::decode(receipt.entry).unwrap();
    let committed = |bytes: &[u8]| {
        let salt: [u8; 32] = receipt.request_salt[..].try_into().unwrap();
        Bytes::copy_from_slice(commitment(&salt, bytes).as_bytes())
    };
    assert_eq!(entry.request_commitment, committed(&sent));
    assert_ne!(entry.request_commitment, committed(&known.encode_to_vec()));
    // Nesting is limited to 100 levels, also in unknown fields.
    let nested = [[0xfb, 0x3f].repeat(200), [0xfc, 0x3f].repeat(200)].concat();
    assert_eq!(wire.call(PLACEMENT, &nested).await.reason(), "MALFORMED");
}

/// Checks that a call is an exchange even if its caller disconnects.
async fn a_caller_that_goes_away_changes_nothing(world: &World) {
    let wire = Wire::connect(world.dir.path(), "la-a").await;
    let before = receipt(&wire.call("/apgateway.v1.PlacementService/ListPlacements", &[]).await).index;
    world.queue().set_paused(true);
    let gone = tokio::spawn({
        let wire = wire.clone();
        async move { wire.send("/apgateway.v1.PlacementService/ListPlacements", &[], frame(&[])).await }
    });
    world.wait_for_queued(1).await;
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    drop(wire);
    world.queue().set_paused(false);
    let wire = Wire::connect(world.dir.path(), "la-a").await;
    let after = receipt(&wire.call("/apgateway.v1.PlacementService/ListPlacements", &[]).await).index;
    assert_eq!(after - before, 2);
}

/// Checks that too large a response is refused and logged before any of it is sent, and that a smaller query
/// succeeds.
async fn an_answer_too_large_is_refused(world: &World) {
    let riverside = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(1);
    let time = |minute: usize| format!("{:02}:{:02}", minute / 60, minute % 60);
    let lesson = |minute: usize| Mark {
        session: Session::Timed as i32,
        start_time: time(minute),
        end_time: time(minute + 1),
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        comment: "ü".repeat(2_000),
        ..mark(&placement, "2026-11-03", "")
    };
    for call in 0..5 {
        let lessons = (call * 240..(call + 1) * 240).map(lesson).collect();
        assert_eq!(submit(&riverside, &submission(lessons)).await.unwrap().message.stored, 240);
    }
    let status = refusal_status(get_attendance(&riverside, &placement).await);
    assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "REPLY_TOO_LARGE"));
    let entered = audit::list_all_exchanges(&riverside).await.unwrap().remove(0);
    assert_eq!((entered.outcome(), &*entered.reason), (Outcome::Refused, "REPLY_TOO_LARGE"));
    let request = GetAttendanceRequest {
        placement_id: placement.clone(),
        from_date: "2026-11-01".to_owned(),
        to_date: "2026-11-02".to_owned(),
        ..GetAttendanceRequest::default()
    };
    riverside.call(returns_service::GET_ATTENDANCE, &request).await.unwrap();
}

async fn all(world: &World) {
    no_transaction_is_left_to_the_next(world).await;
    the_log_commits_to_the_bytes_as_they_came(world).await;
    a_caller_that_goes_away_changes_nothing(world).await;
    an_answer_too_large_is_refused(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn library_defaults_are_overridden_on_sqlite() {
    let world = World::sqlite().await;
    all(&world).await;
    let database = world.database().await;
    for (pragma, writer, reader) in [
        ("PRAGMA journal_mode", Value::from("wal"), Value::from("wal")),
        // The durability worker syncs the commits of the writer; tests in `faults` check that.
        ("PRAGMA synchronous", Value::from(1_i64), Value::from(2_i64)),
        ("PRAGMA secure_delete", Value::from(1_i64), Value::from(1_i64)),
        ("PRAGMA foreign_keys", Value::from(1_i64), Value::from(1_i64)),
    ] {
        let conns = [database.writer().await.unwrap(), database.reader().await.unwrap()];
        for (mut conn, expected) in conns.into_iter().zip([writer, reader]) {
            let row = conn.fetch_one(pragma, vec![]).await.unwrap().unwrap();
            assert!(row.values() == [expected], "{pragma}");
        }
    }
    database.close().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn library_defaults_are_overridden_on_postgresql() {
    let world = World::postgres().await;
    all(&world).await;
    world.stop().await;
}
