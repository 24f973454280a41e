//! Damaged columns: a record that names another key than its own, or lacks a value that its rule needs, refuses the
//! exchange. It is not taken for a change that was made or for a cause that is gone.

use std::time::Duration;

use ap_gateway::client::{ClientError, reason};
use ap_gateway::proto::v1::{
    AuthoriseProcessorRequest, EndAgreementRequest, EndGrantRequest, ListAlertsRequest, oversight_service,
    register_service,
};
use ap_gateway::store::Value;
use tonic::Code;
use uuid::Uuid;

use super::ended_rights::revocation_request;
use super::exchange_semantics::new_id;
use super::support::World;

async fn execute_sql(world: &World, sql: &'static str, arguments: Vec<Value>) -> u64 {
    let database = world.database().await;
    let changed = database.writer().await.unwrap().execute(sql, arguments).await.unwrap();
    database.close().await;
    changed
}

async fn count_closed_alerts(world: &World) -> i64 {
    let database = world.database().await;
    let sql = "SELECT COUNT(*) AS count FROM alerts WHERE state = 3";
    let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap();
    database.close().await;
    row.unwrap().get("count").unwrap()
}

fn refused<T>(answer: Result<T, ClientError>) -> (Code, String) {
    match answer {
        Err(ClientError::Refused(status)) => (status.code(), reason(&status)),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the call was answered"),
    }
}

/// Checks that a right whose record names another key is not reported as ended, because the end would be written under
/// the other key.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_whose_record_names_another_key_is_not_reported_as_ended() {
    let world = World::sqlite().await;
    let (operator, riverside) = (world.client("operator").await, world.client("provider-a").await);
    let grant = AuthoriseProcessorRequest {
        request_id: new_id(),
        processor: "processor/registerworks".to_owned(),
        methods: vec!["SubmitAttendance".to_owned()],
        from_date: "2026-11-01".to_owned(),
        ..AuthoriseProcessorRequest::default()
    };
    let grant_id =
        riverside.call(register_service::AUTHORISE_PROCESSOR, &grant).await.unwrap().message.grant_id;
    let database = world.database().await;
    let sql = "SELECT a.id FROM agreements a JOIN current_versions v ON v.idx = a.idx AND v.ordinal = a.ordinal \
               WHERE a.parties LIKE '%provider/riverside%' AND a.state = 2 ORDER BY a.idx LIMIT 1";
    let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap().unwrap();
    let agreement: Uuid = row.get("id").unwrap();
    database.close().await;
    let id = Value::from(Uuid::parse_str(&grant_id).unwrap());
    let other = Value::from(Uuid::from_u128(7));
    let damage = [
        ("UPDATE grants SET id = $1 WHERE id = $2", vec![other.clone(), id]),
        ("UPDATE agreements SET id = $1 WHERE id = $2", vec![other, agreement.into()]),
        ("UPDATE certificates SET sha256 = zeroblob(32) WHERE organisation = 'provider/brightwater'", vec![]),
    ];
    for (sql, arguments) in damage {
        assert!(execute_sql(&world, sql, arguments).await > 0, "{sql}");
    }
    let failed = (Code::Internal, "FAILED".to_owned());
    let revocation = revocation_request(world.dir.path(), "provider-c");
    let answer = operator.call(register_service::REVOKE_CERTIFICATE, &revocation).await;
    assert_eq!(refused(answer), failed);
    let end = EndGrantRequest { request_id: new_id(), grant_id, ..EndGrantRequest::default() };
    assert_eq!(refused(riverside.call(register_service::END_GRANT, &end).await), failed);
    let agreement_id = agreement.hyphenated().to_string();
    let end = EndAgreementRequest { request_id: new_id(), agreement_id, ..EndAgreementRequest::default() };
    assert_eq!(refused(riverside.call(register_service::END_AGREEMENT, &end).await), failed);
    world.stop().await;
}

/// Checks that an alert without its item is neither listed with none nor closed as if the item had been supplied.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_lost_its_item_is_not_closed() {
    let world = World::sqlite().await;
    assert!(execute_sql(&world, "UPDATE alerts SET item = NULL WHERE state = 1", vec![]).await > 0);
    let before = count_closed_alerts(&world).await;
    // A node that starts checks every open alert.
    let world = world.restart().await;
    for _ in 0..30 {
        assert_eq!(count_closed_alerts(&world).await, before);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer =
        world.client("la-a").await.call(oversight_service::LIST_ALERTS, &ListAlertsRequest::default()).await;
    assert_eq!(refused(answer), (Code::Internal, "FAILED".to_owned()));
    world.stop().await;
}
