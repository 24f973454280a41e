//! Connections to PostgreSQL: few of them, lost ones, and what the server's own log says of them.

use std::time::Duration;

use ap_gateway::proto::v1::{
    ListAlertsResponse, ListDeliveriesResponse, ListExpectedReturnsRequest, ListExpectedReturnsResponse,
    ListPlacementsResponse,
};
use ap_gateway::store::{Database, DatabaseLocation};
use prost::Message;
use prost::bytes::Bytes;
use tokio::task::JoinSet;

use super::exchange_semantics::{mark, submission, submit};
use super::serve_process::{LIST_PLACEMENTS, MAX_POLLS, ServeFolder, ServeProcess};
use super::support::{Postgres, World};
use super::wire::Wire;

/// Number of lists that are read while readers are terminated.
const LISTS: usize = 120;

/// Returns how many records an answer has, and whether it is the whole list.
fn count<R: Message + Default>(message: &Bytes, read: fn(R) -> (usize, bool)) -> (usize, bool) {
    read(R::decode(message.clone()).unwrap())
}

/// A list: its path, its request, and how to count its records.
type List = (&'static str, Vec<u8>, fn(&Bytes) -> (usize, bool));

fn lists() -> [List; 4] {
    let expected = ListExpectedReturnsRequest {
        from_date: "2026-11-02".to_owned(),
        to_date: "2026-11-20".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    [
        ("/apgateway.v1.ReturnsService/ListExpectedReturns", expected.encode_to_vec(), |message| {
            count::<ListExpectedReturnsResponse>(message, |it| {
                (it.returns.len(), it.next_page_token.is_empty())
            })
        }),
        (LIST_PLACEMENTS, Vec::new(), |message| {
            count::<ListPlacementsResponse>(message, |it| {
                (it.placements.len(), it.next_page_token.is_empty())
            })
        }),
        ("/apgateway.v1.OversightService/ListAlerts", Vec::new(), |message| {
            count::<ListAlertsResponse>(message, |it| (it.alerts.len(), it.next_page_token.is_empty()))
        }),
        ("/apgateway.v1.DeliveryService/ListDeliveries", Vec::new(), |message| {
            count::<ListDeliveriesResponse>(message, |it| (it.deliveries.len(), !it.more))
        }),
    ]
}

/// Terminates sessions that read, again and again, until the returned task is aborted.
async fn terminate_readers(database: Database) {
    let sql = "SELECT COUNT(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity \
               WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' \
               AND state IN ('active', 'idle in transaction') AND query LIKE 'SELECT%'";
    let mut conn = database.writer().await.unwrap();
    for pause in (1..40).cycle() {
        conn.fetch(sql, vec![]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_reader_is_terminated_is_whole_or_an_error() {
    let world = World::postgres().await;
    let riverside = world.client("provider-a").await;
    for placement in world.placements("la-a", "provider-a") {
        let days = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19"];
        let marks = days.iter().map(|day| mark(&placement, day, "/")).collect();
        submit(&riverside, &submission(marks)).await.unwrap();
    }
    let wire = Wire::connect(world.dir.path(), "la-a").await;
    let mut whole = Vec::new();
    for (path, request, count) in lists() {
        whole.push(count(&wire.call(path, &request).await.message));
    }
    assert!(whole[0].0 > 20 && whole.iter().all(|(records, _)| *records > 0), "{whole:?}");
    let terminating = tokio::spawn(terminate_readers(world.database().await));
    let (mut complete, mut failed) = (0, 0);
    for _ in 0..LISTS / 4 {
        for ((path, request, count), whole) in lists().into_iter().zip(&whole) {
            let answer = wire.call(path, &request).await;
            match answer.reason().as_str() {
                "OK" => {
                    assert_eq!(count(&answer.message), *whole, "{path} has a part of the list");
                    complete += 1;
                }
                "AUDIT_UNAVAILABLE" => failed += 1,
                other => panic!("{path}: {other}"),
            }
        }
    }
    terminating.abort();
    assert!(terminating.await.unwrap_err().is_cancelled());
    assert!(failed > 3, "{failed} of {LISTS} lists met a terminated reader, {complete} were complete");
    world.stop().await;
}

/// Makes calls of several organisations at the same time, and returns their reasons.
async fn canary_calls(folder: &ServeFolder, served: &ServeProcess) -> Vec<String> {
    let mut calls = JoinSet::new();
    for name in ["la-a", "la-b", "provider-a", "provider-b", "la-a", "la-b", "provider-a", "provider-b"] {
        for _ in 0..3 {
            let wire = folder.connect(served, name).await.unwrap();
            calls.spawn(async move {
                let mut reasons = Vec::new();
                for _ in 0..8 {
                    reasons.push(wire.call(LIST_PLACEMENTS, &[]).await.reason());
                }
                reasons
            });
        }
    }
    calls.join_all().await.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_uses_the_few_connections_that_it_gets_and_logs_what_it_lacks() {
    let postgres = Postgres::with("-c max_connections=12 -c superuser_reserved_connections=3");
    let folder = ServeFolder::on_postgres(&postgres.url_file);
    // Six of the twelve are another client's.
    let others = Database::open(&DatabaseLocation::Postgres(postgres.url())).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.push(others.reader().await.unwrap());
    }
    let served = folder.serve();
    let reasons = canary_calls(&folder, &served).await;
    assert_eq!(reasons.len(), 192);
    assert!(reasons.iter().all(|reason| reason == "OK"), "{reasons:?} {}", served.log());
    let log = served.log();
    let lacks: Vec<&str> =
        log.lines().filter(|line| line.contains("fewer connections than it needs")).collect();
    assert_eq!(lacks.len(), 1, "{log}");
    for part in ["\"level\":\"WARN\"", "\"needed\":11", "\"server.max_connections\":12", "too many clients"] {
        assert!(lacks[0].contains(part), "{part} is not in {}", lacks[0]);
    }
    drop(taken);
    others.close().await;
    let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
               AND pid <> pg_backend_pid()";
    let mut open = String::new();
    for _ in 0..MAX_POLLS {
        open = postgres.ask(sql);
        if open.trim() == "11" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the node has {open} connections: {}", served.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_s_log_has_no_warnings_and_a_term_signal_at_ready_ends_the_node() {
    let postgres = Postgres::start();
    let folder = ServeFolder::on_postgres(&postgres.url_file);
    for _ in 0..20 {
        let served = folder.serve();
        served.signal("TERM");
        assert_eq!(served.wait_for_exit().code(), Some(0));
    }
    let served = folder.serve();
    assert!(canary_calls(&folder, &served).await.iter().all(|reason| reason == "OK"));
    // The log follower polls once a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(served);
    let log = postgres.log();
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("WARNING:")).collect();
    assert_eq!(warned, Vec::<&str>::new());
}
