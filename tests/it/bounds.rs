//! Bounds on dates, times of day and the cost of one call.

use std::time::Duration;

use ap_gateway::cli::audit;
use ap_gateway::client::{Client, reason};
use ap_gateway::proto::v1::mark::Statement;
use ap_gateway::proto::v1::{
    Cursor, Delivery, DeliveryKind, ListDeliveriesRequest, ListExpectedReturnsRequest, Mark, Outcome,
    ReturnState, SeenMark, Session, VoidReturnRequest, WatchDeliveriesRequest, WatchDeliveriesResponse,
    WatchPosition, delivery_service, register_service, returns_service,
};
use ap_gateway::store::evidence;
use prost::Message;
use prost::bytes::Bytes;
use tonic::Code;

use super::closures::closure_request;
use super::exchange_semantics::{mark, new_id, refusal_status, submission, submit};
use super::support::World;

fn afternoon_mark(placement: &str, day: &str) -> Mark {
    Mark {
        session: Session::Pm as i32,
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        ..mark(placement, day, "")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_afternoon_is_in_the_future_until_noon_in_london() {
    let world = World::sqlite().await;
    let riverside = world.client("provider-a").await;
    let placement = world.placements("la-a", "provider-a").remove(0);
    for (now, day, taken) in [
        ("2026-11-23T08:30:00Z", "2026-11-23", false),
        ("2026-11-23T11:59:59Z", "2026-11-23", false),
        ("2026-11-23T12:00:00Z", "2026-11-23", true),
        // In summer, noon in London is 11:00 UTC.
        ("2027-04-12T10:59:59Z", "2027-04-12", false),
        ("2027-04-12T11:00:00Z", "2027-04-12", true),
    ] {
        world.advance(now);
        let answer = submit(&riverside, &submission(vec![afternoon_mark(&placement, day)])).await;
        if taken {
            assert_eq!(answer.unwrap().message.stored, 1, "{now}");
        } else {
            let message = ap_gateway::client::explain(&refusal_status(answer));
            assert!(
                message.contains("marks[0].date") && message.contains("has not begun"),
                "{now}: {message}"
            );
        }
    }
    world.stop().await;
}

/// Submits a morning mark, with a reason if it is a correction; returns the return id.
async fn submit_morning(client: &Client, placement: &str, day: &str, code: &str, correction: &str) -> String {
    let sent = Mark { correction_reason: correction.to_owned(), ..mark(placement, day, code) };
    submit(client, &submission(vec![sent])).await.unwrap().message.return_id
}

async fn void_return(client: &Client, return_id: &str) {
    let request = VoidReturnRequest {
        request_id: new_id(),
        return_id: return_id.to_owned(),
        reason: "the register of another child".to_owned(),
        ..VoidReturnRequest::default()
    };
    client.call(returns_service::VOID_RETURN, &request).await.unwrap();
}

async fn return_state(client: &Client, placement: &str, day: &str) -> ReturnState {
    let request = ListExpectedReturnsRequest {
        placement_id: placement.to_owned(),
        from_date: day.to_owned(),
        to_date: day.to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let answer = client.call(returns_service::LIST_EXPECTED_RETURNS, &request).await.unwrap().message;
    answer.returns.iter().find(|one| one.session() == Session::Am).unwrap().state()
}

/// Checks that a withdrawn return does not count as received, and that a corrected one counts as received at its
/// first submission.
async fn what_was_withdrawn_was_not_received(world: World) {
    let riverside = world.client("provider-a").await;
    let placements = world.placements("school", "provider-a");
    let (again, corrected, original) = (&placements[0], &placements[1], &placements[2]);
    let day = "2026-11-23";
    world.advance("2026-11-23T09:30:00Z");
    let mut first = Vec::new();
    for placement in [again, corrected, original] {
        first.push(submit_morning(&riverside, placement, day, "/", "").await);
        assert_eq!(return_state(&riverside, placement, day).await, ReturnState::Received);
    }
    void_return(&riverside, &first[0]).await;
    assert_eq!(return_state(&riverside, again, day).await, ReturnState::Due);
    world.advance("2026-12-14T09:30:00Z");
    assert_eq!(return_state(&riverside, again, day).await, ReturnState::Missing);
    submit_morning(&riverside, again, day, "/", "").await;
    assert_eq!(return_state(&riverside, again, day).await, ReturnState::Late);
    // A correction does not change the time of receipt.
    submit_morning(&riverside, again, day, "I", "was ill").await;
    assert_eq!(return_state(&riverside, again, day).await, ReturnState::Late);
    let correction = submit_morning(&riverside, corrected, day, "I", "was ill").await;
    assert_eq!(return_state(&riverside, corrected, day).await, ReturnState::Received);
    void_return(&riverside, &correction).await;
    assert_eq!(return_state(&riverside, corrected, day).await, ReturnState::Received);
    // The correction is current, and the mark that it corrected is withdrawn.
    submit_morning(&riverside, original, day, "I", "was ill").await;
    void_return(&riverside, &first[2]).await;
    assert_eq!(return_state(&riverside, original, day).await, ReturnState::Late);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_was_not_received_on_sqlite() {
    what_was_withdrawn_was_not_received(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_was_not_received_on_postgresql() {
    what_was_withdrawn_was_not_received(World::postgres().await).await;
}

/// Restarts the sandbox with these limits in its configuration.
async fn restart_with_limits(world: World, limits: &str) -> World {
    let dir = world.stop().await;
    let path = dir.path().join("gateway.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.split("\n[limits]").next().unwrap();
    std::fs::write(&path, format!("{config}\n[limits]\n{limits}\n")).unwrap();
    World::serve(dir).await
}

/// Builds a request for the expected returns on these days, of one placement or of all.
fn expected_returns_query(placement: &str, from: &str, to: &str) -> ListExpectedReturnsRequest {
    ListExpectedReturnsRequest {
        placement_id: placement.to_owned(),
        from_date: from.to_owned(),
        to_date: to.to_owned(),
        ..ListExpectedReturnsRequest::default()
    }
}

/// Reads all pages of expected returns; returns the number of returns and of pages.
async fn count_expected_returns(la: &Client, mut query: ListExpectedReturnsRequest) -> (usize, usize) {
    let (mut found, mut pages) = (0, 0);
    loop {
        let page = la.call(returns_service::LIST_EXPECTED_RETURNS, &query).await.unwrap().message;
        found += page.returns.len();
        pages += 1;
        query.page_token = page.next_page_token;
        if query.page_token.is_empty() {
            return (found, pages);
        }
    }
}

/// Checks that a call that exceeds a limit on rows or queries is refused and logged, and that a smaller one
/// succeeds. A list ends its page before the limit if it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_bounded_in_rows_and_queries() {
    let mut world = World::sqlite().await;
    let placements = world.placements("la-a", "provider-a");
    let riverside = world.client("provider-a").await;
    let days = (1..19).map(|day| format!("2026-11-{day:02}"));
    let marks = days.flat_map(|day| [0, 1, 2, 3].map(|at| mark(&placements[at], &day, "/")));
    submit(&riverside, &submission(marks.collect())).await.unwrap();
    // A mark with many corrections is expensive to read.
    for again in 0..40 {
        let code = ["I", "/"][again % 2];
        submit_morning(&riverside, &placements[0], "2026-11-02", code, "again").await;
    }
    let before = count_expected_returns(
        &world.client("la-a").await,
        expected_returns_query("", "2026-11-03", "2026-11-19"),
    )
    .await;
    assert_eq!(before.1, 1);
    for limits in ["decision_queries = 40", "decision_rows = 60"] {
        world = restart_with_limits(world, limits).await;
        let la = world.client("la-a").await;
        let month = expected_returns_query(&placements[0], "2026-10-20", "2026-11-19");
        let status = refusal_status(la.call(returns_service::LIST_EXPECTED_RETURNS, &month).await);
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::ResourceExhausted, "DECISION_TOO_LARGE")
        );
        assert!(status.message().contains("ask for fewer"), "{limits}");
        let day = expected_returns_query(&placements[0], "2026-11-19", "2026-11-19");
        let answer = la.call(returns_service::LIST_EXPECTED_RETURNS, &day).await.unwrap().message;
        assert_eq!(answer.returns.len(), 2, "{limits}");
        let (found, pages) =
            count_expected_returns(&la, expected_returns_query("", "2026-11-03", "2026-11-19")).await;
        assert!(found == before.0 && pages > 1, "{limits}: {found} in {pages}");
    }
    let world = restart_with_limits(world, "").await;
    let la = world.client("la-a").await;
    let exchanges = audit::list_all_exchanges(&la).await.unwrap();
    let entered = exchanges.iter().filter(|exchange| exchange.reason == "DECISION_TOO_LARGE");
    assert!(entered.clone().all(|exchange| exchange.outcome() == Outcome::Refused));
    assert_eq!(entered.count(), 2);
    let month = expected_returns_query("", "2026-10-20", "2026-11-19");
    la.call(returns_service::LIST_EXPECTED_RETURNS, &month).await.unwrap();
    world.stop().await;
}

/// Checks that a decision that exceeds its time limit is refused and logged.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_bounded_in_time() {
    // About 45 queries take longer than 1 ms on any machine.
    let world = restart_with_limits(World::sqlite().await, "decision_milliseconds = 1").await;
    let la = world.client("la-a").await;
    let month = expected_returns_query("", "2026-10-20", "2026-11-19");
    let status = refusal_status(la.call(returns_service::LIST_EXPECTED_RETURNS, &month).await);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "DECISION_TOO_LARGE"));
    let world = restart_with_limits(world, "").await;
    let exchanges = audit::list_all_exchanges(&world.client("la-a").await).await.unwrap();
    assert_eq!(exchanges.iter().filter(|exchange| exchange.reason == "DECISION_TOO_LARGE").count(), 1);
    world.stop().await;
}

/// Returns the position from which the next batch is read; the receipt of that batch commits to it.
fn watch_position(message: &WatchDeliveriesResponse, before: Option<&Cursor>, kinds: &[i32]) -> Bytes {
    let cursor = message.next.clone().or_else(|| before.cloned());
    WatchPosition { cursor, kinds: kinds.to_vec() }.encode_to_vec().into()
}

/// Checks that a stream with a filter sends heartbeats although it is constantly woken by other deliveries, and
/// that their cursor covers what was read.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_stream_beats_and_goes_on_from_what_it_has_read() {
    let world = restart_with_limits(World::sqlite().await, "heartbeat_seconds = 1").await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    let kinds = vec![DeliveryKind::Closure as i32];
    let request = WatchDeliveriesRequest { cursor: None, kinds: kinds.clone() };
    let mut stream = la.open_stream(delivery_service::WATCH_DELIVERIES, &request).await.unwrap();
    let (sender, sent) = tokio::sync::watch::channel(0);
    let waking = tokio::spawn(async move {
        // A mark every 50 ms: the stream is never idle for as long as the heartbeat interval.
        for code in ["/", "L"].into_iter().cycle() {
            let mark = Mark { correction_reason: "again".to_owned(), ..mark(&placement, "2026-11-19", code) };
            let answer = submit(&riverside, &submission(vec![mark])).await.unwrap();
            sender.send(answer.receipt.index).ok();
            if sender.is_closed() {
                return riverside;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        riverside
    });
    let (mut beats, mut cursor) = (0, None);
    let reading = async {
        while beats < 2 {
            let before = *sent.borrow();
            let position =
                |message: &WatchDeliveriesResponse| watch_position(message, cursor.as_ref(), &kinds);
            let (message, receipt) = stream.next(position).await.unwrap().unwrap();
            assert!(message.deliveries.is_empty());
            if receipt.is_none() {
                beats += 1;
                let read = message.next.clone().unwrap();
                assert!(read.index + 40 > before && read.index > 0, "{} {before}", read.index);
            }
            cursor = message.next.or(cursor.clone());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
    drop(sent);
    let riverside = waking.await.unwrap();
    // A matching delivery arrives after the cursor of the last heartbeat, and its receipt commits to that cursor.
    riverside.call(register_service::DECLARE_CLOSURE, &closure_request("2026-11-27", "Y4")).await.unwrap();
    let delivered = async {
        loop {
            let position =
                |message: &WatchDeliveriesResponse| watch_position(message, cursor.as_ref(), &kinds);
            let (message, receipt) = stream.next(position).await.unwrap().unwrap();
            cursor = message.next.or(cursor.clone());
            if receipt.is_some() {
                return message.deliveries;
            }
        }
    };
    let delivered = tokio::time::timeout(Duration::from_secs(30), delivered).await.unwrap();
    assert_eq!(delivered.iter().map(Delivery::kind).collect::<Vec<_>>(), [DeliveryKind::Closure]);
    world.stop().await;
}

/// Checks that a mailbox is read 10,000 rows at a time, and that a filtered list continues where it stopped.
async fn a_filter_reads_a_long_mailbox_in_steps(world: World) {
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let declared = riverside
        .call(register_service::DECLARE_CLOSURE, &closure_request("2026-11-27", "Y4"))
        .await
        .unwrap();
    let database = world.database().await;
    let mut conn = database.writer().await.unwrap();
    conn.begin_write().await.unwrap();
    // Adds 25,000 counterparts to an early entry.
    let sql = "INSERT INTO parties (organisation, idx, ordinal, kind, sender) \
               WITH RECURSIVE more(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM more WHERE n < 25999) \
               SELECT 'la/330', 1, n, 0, 'provider/riverside' FROM more";
    conn.execute(sql, vec![]).await.unwrap();
    conn.commit().await.unwrap();
    drop(conn);
    database.close().await;
    let (mut cursor, mut pages, mut found) = (None, 0, Vec::new());
    loop {
        let kinds = vec![DeliveryKind::Closure as i32];
        let request = ListDeliveriesRequest { cursor, kinds, page_size: 0 };
        let page = la.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        pages += 1;
        found.extend(page.deliveries);
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].object_id, declared.message.closure_id);
    assert_eq!(pages, 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_reads_a_long_mailbox_in_steps_on_sqlite() {
    a_filter_reads_a_long_mailbox_in_steps(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_reads_a_long_mailbox_in_steps_on_postgresql() {
    a_filter_reads_a_long_mailbox_in_steps(World::postgres().await).await;
}

/// Returns the query plans of the checkpoint lookups.
async fn query_plans(
    world: World,
    explain: &str,
    sets: Option<&'static str>,
    column: &'static str,
) -> Vec<String> {
    let database = world.database().await;
    let mut conn = database.reader().await.unwrap();
    if let Some(sets) = sets {
        conn.command(sets).await.unwrap();
    }
    let mut plans = Vec::new();
    for (sql, arguments) in
        [(evidence::CHECKPOINT_OF_SIZE, vec![7.into()]), (evidence::NEWEST_CHECKPOINT, vec![])]
    {
        let rows = conn.fetch(format!("{explain} {sql}").leak(), arguments).await.unwrap();
        let lines: Vec<_> = rows.iter().map(|row| row.get::<String>(column).unwrap()).collect();
        plans.push(lines.join(" "));
    }
    drop(conn);
    database.close().await;
    world.stop().await;
    plans
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_found_by_its_key_on_sqlite() {
    let [of_size, newest] =
        &query_plans(World::sqlite().await, "EXPLAIN QUERY PLAN", None, "detail").await[..]
    else {
        panic!("two plans")
    };
    assert_eq!(of_size, "SEARCH checkpoints USING INTEGER PRIMARY KEY (rowid=?)");
    // The scan begins at the end of the key and reads one row; nothing is sorted.
    assert_eq!(newest, "SCAN checkpoints");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_found_by_its_key_on_postgresql() {
    // Sequential scans are disabled, because PostgreSQL would prefer one for the small table of the sandbox.
    let small = Some("SET enable_seqscan = off; SET enable_bitmapscan = off");
    let plans = query_plans(World::postgres().await, "EXPLAIN", small, "QUERY PLAN").await;
    assert!(plans[0].contains("Index Cond: (size = "), "{}", plans[0]);
    assert!(plans[1].contains("Index Scan Backward using checkpoints_pkey"), "{}", plans[1]);
}
