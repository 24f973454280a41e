//! What an exchange reveals to each organisation that it concerns: its own part, in the same bytes whether or not the
//! exchange was about children of others too; and to anybody else nothing, whichever placement is asked for.

use ap_gateway::client::{Client, reason};
use ap_gateway::proto::v1::{
    AuditEntry, Cursor, ExchangeRecord, GetDeliveryStatusRequest, GetExchangeRequest, ListDeliveriesRequest,
    ListExchangesRequest, ListExchangesResponse, WatchDeliveriesRequest, WatchDeliveriesResponse,
    WatchPosition, audit_service, delivery_service,
};
use ap_gateway::store::LogIndexer;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

use super::attendance::void_part;
use super::exchange_semantics::{mark, new_id, refusal_status, submission, submit};
use super::log_verification;
use super::parties::{current_etag, update_parties};
use super::support::{World, gateway, run};
use masks::{check_proof, masked, masked_delivery};

mod masks;
mod plans;

const OTHER_SCHOOL: &str = "school/145678";

/// A batch that was sent.
struct SentBatch {
    exchange_id: String,
    return_id: String,
    /// Index of its entry.
    index: u64,
}

/// Submits a mark of one day for each of these placements.
async fn submit_batch(provider: &Client, placements: &[&String], day: &str) -> SentBatch {
    let marks = placements.iter().map(|placement| mark(placement, day, "/")).collect();
    let reply = submit(provider, &submission(marks)).await.unwrap();
    let (exchange_id, index) = (reply.receipt.exchange_id, reply.receipt.index);
    SentBatch { exchange_id, return_id: reply.message.return_id, index }
}

async fn list_page(client: &Client, request: &ListExchangesRequest) -> ListExchangesResponse {
    client.call(audit_service::LIST_EXCHANGES, request).await.unwrap().message
}

fn about(placement: &str) -> ListExchangesRequest {
    ListExchangesRequest { placement_id: placement.to_owned(), ..ListExchangesRequest::default() }
}

/// Returns the record of an exchange in a list.
async fn listed(client: &Client, request: ListExchangesRequest, exchange_id: &str) -> ExchangeRecord {
    let found = list_page(client, &request).await.exchanges;
    found.into_iter().find(|record| record.exchange_id == exchange_id).unwrap()
}

/// Reads the batch of a stream that begins before an entry.
async fn watched(client: &Client, after: Option<Cursor>) -> WatchDeliveriesResponse {
    let request = WatchDeliveriesRequest { cursor: after.clone(), ..WatchDeliveriesRequest::default() };
    let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &request).await.unwrap();
    let position = |message: &WatchDeliveriesResponse| {
        let cursor = message.next.clone().or_else(|| after.clone());
        WatchPosition { cursor, kinds: Vec::new() }.encode_to_vec().into()
    };
    for _ in 0..10 {
        let (message, _) = stream.next(position).await.unwrap().unwrap();
        if !message.deliveries.is_empty() {
            return message;
        }
    }
    panic!("the stream sends no delivery");
}

/// Returns everything that a reader can get about a batch, masked; `own` are its own placements in the batch.
async fn view_of(reader: &Client, sent: &SentBatch, own: &[&String]) -> Vec<Value> {
    let mut view = Vec::new();
    view.push(masked(
        "ExchangeRecord",
        &listed(reader, ListExchangesRequest::default(), &sent.exchange_id).await,
    ));
    for placement in own {
        view.push(masked("ExchangeRecord", &listed(reader, about(placement), &sent.exchange_id).await));
    }
    let request = GetExchangeRequest { exchange_id: sent.exchange_id.clone() };
    let mut read = reader.call(audit_service::GET_EXCHANGE, &request).await.unwrap().message;
    let receipt = read.exchange_receipt.as_mut().unwrap();
    check_proof(&mut receipt.inclusion_proof, receipt.index, receipt.tree_size);
    view.push(masked("AuditEntry", &AuditEntry::decode(receipt.entry.clone()).unwrap()));
    view.push(receipt.entry.len().into());
    read.receipt = None;
    view.push(masked("GetExchangeResponse", &read));
    view.extend(deliveries_of(reader, sent).await);
    let request = GetDeliveryStatusRequest { object_id: sent.return_id.clone() };
    let refused = refusal_status(reader.call(delivery_service::GET_DELIVERY_STATUS, &request).await);
    view.push(reason(&refused).into());
    view
}

/// Returns the deliveries of a batch by both methods, with their cursors.
async fn deliveries_of(reader: &Client, sent: &SentBatch) -> Vec<Value> {
    let mut after = None;
    loop {
        let request =
            ListDeliveriesRequest { cursor: after.clone(), page_size: 1, ..ListDeliveriesRequest::default() };
        let page = reader.call(delivery_service::LIST_DELIVERIES, &request).await.unwrap().message;
        let at = page.next.clone().unwrap();
        assert!(at.index <= sent.index, "the batch was not delivered");
        if at.index == sent.index {
            let watched = watched(reader, after).await;
            let [first, ..] = &watched.deliveries[..] else { panic!("no delivery") };
            assert_eq!(first.encode_to_vec(), page.deliveries[0].encode_to_vec());
            let mut next = page.next.unwrap();
            (next.index, next.log) = (0, String::new());
            let delivery = page.deliveries.into_iter().next().unwrap();
            return vec![masked("Cursor", &next), page.more.into(), masked_delivery(delivery)];
        }
        after = page.next;
    }
}

/// Checks that each reader gets the same about a batch with children of others in it and about one without them.
async fn a_batch_reveals_only_the_reader_s_own_children(world: &World) {
    let provider = world.client("provider-a").await;
    let [la_a, la_b, school] = ["la-a", "la-b", "school"].map(|name| world.client(name));
    let (la_a, la_b, school) = (la_a.await, la_b.await, school.await);
    let (of_la, of_school) =
        (world.placements("la-a", "provider-a"), world.placements("school", "provider-a"));
    // The school is on roll of the first two; the third moved to a school and an authority of which it knows nothing.
    let (first, second, third, elsewhere) = (&of_la[0], &of_la[1], &of_school[0], &of_la[2]);
    let etag = current_etag(&la_a, elsewhere).await;
    update_parties(&la_a, elsewhere, &etag, (&[OTHER_SCHOOL], "la/330", "2026-11-02")).await.unwrap();
    let cases: [(&Client, &[&String], &[&String]); 6] = [
        (&la_a, &[first], &[third, first]),
        (&la_a, &[first, second], &[first, third, second]),
        (&la_b, &[third], &[third, first, elsewhere]),
        (&school, &[first], &[elsewhere, first]),
        (&school, &[third], &[third, elsewhere]),
        (&school, &[first, third], &[first, elsewhere, third]),
    ];
    // Each batch has a day of its own, so that no mark is a correction.
    let mut days =
        [2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 16, 17].map(|day| format!("2026-11-{day:02}")).into_iter();
    for (at, (reader, own, with_others)) in (0..).zip(cases) {
        let alone = submit_batch(&provider, own, &days.next().unwrap()).await;
        let without = view_of(reader, &alone, own).await;
        let batch = submit_batch(&provider, with_others, &days.next().unwrap()).await;
        let with = view_of(reader, &batch, own).await;
        assert_eq!(without.len(), with.len(), "case {at}");
        for (without, with) in without.iter().zip(&with) {
            assert_eq!(without, with, "case {at}");
        }
        let delivery = &with[with.len() - 2];
        let placement = if let [only] = own { Value::from(&***only) } else { Value::Null };
        assert_eq!(delivery["placementId"], placement, "case {at}");
        let children = delivery["attendance"]["children"].as_array().unwrap().len();
        assert_eq!((children, &with[0]["childCount"]), (own.len(), &Value::from(own.len())), "case {at}");
        // The provider sees its recipients and all children.
        let own_exchange = listed(&provider, ListExchangesRequest::default(), &batch.exchange_id).await;
        assert_eq!(own_exchange.child_count as usize, with_others.len());
        assert!(own_exchange.counterparts.len() > 1);
        withdrawals_are_alike(&provider, reader, [&alone, &batch]).await;
    }
}

/// Checks that the withdrawals of both batches reach the reader alike.
async fn withdrawals_are_alike(provider: &Client, reader: &Client, batches: [&SentBatch; 2]) {
    let mut views = Vec::new();
    for sent in batches {
        void_part(provider, &sent.return_id, 0).await.unwrap();
        let request = ListExchangesRequest { method: "VoidReturn".to_owned(), ..Default::default() };
        let record = list_page(reader, &request).await.exchanges.remove(0);
        let (exchange_id, index) = (record.exchange_id.clone(), record.index);
        let voided = SentBatch { exchange_id, return_id: sent.return_id.clone(), index };
        views.push((masked("ExchangeRecord", &record), deliveries_of(reader, &voided).await));
    }
    assert_eq!(views[0], views[1]);
}

/// Returns the encoded list of exchanges about a placement, without the receipt of the call.
async fn list_bytes(client: &Client, request: &ListExchangesRequest) -> Vec<u8> {
    ListExchangesResponse { receipt: None, ..list_page(client, request).await }.encode_to_vec()
}

/// Checks that a placement of others is listed like an invented one, also by an organisation that shares a batch with
/// it, and by an auditor whose appointer has no part.
async fn a_placement_of_others_is_as_an_invented_one(world: &World) {
    let provider = world.client("provider-a").await;
    let (of_la, of_school) =
        (world.placements("la-a", "provider-a"), world.placements("school", "provider-a"));
    let (first, third) = (&of_la[1], &of_school[1]);
    let batch = submit_batch(&provider, &[first, third], "2026-11-18").await;
    for (stranger, placement) in
        [("la-b", first), ("provider-b", third), ("provider-c", first), ("auditor", third), ("la-a", third)]
    {
        let client = world.client(stranger).await;
        for kind in [0, 5] {
            let request = |placement: &str| ListExchangesRequest { record_kind: kind, ..about(placement) };
            let (real, invented) = (request(placement), request(&new_id()));
            assert_eq!(list_bytes(&client, &real).await, list_bytes(&client, &invented).await, "{stranger}");
            assert!(list_bytes(&client, &real).await.is_empty(), "{stranger}");
        }
    }
    for (party, placement) in [("la-b", third), ("la-a", first), ("auditor", first)] {
        let listed = listed(&world.client(party).await, about(placement), &batch.exchange_id).await;
        assert_eq!((listed.child_count, listed.subjects.len()), (1, 1), "{party}");
        assert!(listed.counterparts.is_empty());
    }
    for placement in [first, third] {
        let listed = listed(&provider, about(placement), &batch.exchange_id).await;
        assert_eq!((listed.child_count, listed.subjects.len()), (2, 1));
    }
}

/// Checks that a former party's list of the placement stays as it was, whatever follows, also in batches in which
/// other children of its own are.
async fn a_former_party_s_list_does_not_grow(world: &World) {
    let (provider, school) = (world.client("provider-a").await, world.client("school").await);
    let of_la = world.placements("la-a", "provider-a");
    let (first, elsewhere) = (&of_la[0], &of_la[2]);
    let before = list_bytes(&school, &about(elsewhere)).await;
    assert!(!before.is_empty());
    let batch = submit_batch(&provider, &[first, elsewhere], "2026-11-19").await;
    assert_eq!(list_bytes(&school, &about(elsewhere)).await, before);
    listed(&school, about(first), &batch.exchange_id).await;
    listed(&world.client("la-a").await, about(elsewhere), &batch.exchange_id).await;
}

/// Checks that in another's exchange the caller alone is a counterpart.
async fn a_counterpart_in_another_s_exchange_is_its_caller(world: &World) {
    let (provider, la_a) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(1);
    let batch = submit_batch(&provider, &[&placement], "2026-11-20").await;
    for (client, counterpart, is_found) in [
        (&la_a, "provider/riverside", true),
        // The batch went to the school too, which the authority is not told.
        (&la_a, "school/134567", false),
        (&la_a, "la/330", false),
        (&provider, "school/134567", true),
        (&provider, "la/330", true),
        (&provider, "la/331", false),
        (&provider, "provider/riverside", false),
    ] {
        let counterpart = counterpart.to_owned();
        let request = ListExchangesRequest { counterpart, ..about(&placement) };
        let found = list_page(client, &request).await.exchanges;
        let is_listed = found.iter().any(|record| record.exchange_id == batch.exchange_id);
        assert_eq!(is_listed, is_found, "{}", request.counterpart);
    }
}

/// Returns the cells of one exchange in the CSV of a caller: number of children, counterparts and agreements; `None` if
/// it is not listed.
fn csv_cells(world: &World, caller: &str, exchange_id: &str, more: &[&str]) -> Option<[String; 3]> {
    let path = world.dir.path().join(format!("{caller}.csv"));
    let mut list = gateway();
    list.args(["audit", "list", "--method", "SubmitAttendance"]).args(more).arg("--csv").arg(&path);
    run(list.arg("--profile").arg(world.dir.path().join(format!("profiles/{caller}.toml"))));
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let heading = rows.headers().unwrap().clone();
    let cell = |row: &csv::StringRecord, name: &str| {
        row[heading.iter().position(|column| column == name).unwrap()].to_owned()
    };
    let found = rows.records().map(Result::unwrap).find(|row| cell(row, "Exchange") == exchange_id)?;
    Some(["Number of children", "Counterparts", "Sharing agreement"].map(|name| cell(&found, name)))
}

/// Checks that a spreadsheet counts and names the reader's own alone, and that in another's exchange `--counterpart`
/// matches the caller alone.
async fn a_spreadsheet_counts_own_children(world: &World) {
    let provider = world.client("provider-a").await;
    let (of_la, of_school) =
        (world.placements("la-a", "provider-a"), world.placements("school", "provider-a"));
    let batch = submit_batch(&provider, &[&of_la[0], &of_school[2], &of_la[1]], "2026-11-20").await;
    let cells = |caller: &str, more: &[&str]| csv_cells(world, caller, &batch.exchange_id, more);
    for (caller, children, agreements) in
        [("la-a", "2", 1), ("auditor", "2", 1), ("la-b", "1", 1), ("school", "3", 2), ("provider-a", "3", 2)]
    {
        let [count, counterparts, agreed] = cells(caller, &[]).unwrap();
        assert_eq!((count.as_str(), agreed.split("; ").count()), (children, agreements), "{caller}");
        let expected = if caller == "provider-a" { "la/330; la/331; school/134567" } else { "" };
        assert_eq!(counterparts, expected, "{caller}");
    }
    for caller in ["la-a", "auditor"] {
        assert!(cells(caller, &["--counterpart", "provider/riverside"]).is_some(), "{caller}");
        for other in ["school/134567", "la/331"] {
            assert!(cells(caller, &["--counterpart", other]).is_none(), "{caller} {other}");
        }
    }
    assert!(cells("provider-a", &["--counterpart", "la/331"]).is_some());
    assert!(cells("provider-a", &["--counterpart", "la/332"]).is_none());
}

/// Indexes the whole log with two indexers at once, as two nodes do.
async fn index_with_two(world: &World) {
    let database = world.database().await;
    let indexers = [(); 2].map(|()| LogIndexer::new(database.clone(), world.committer().clone()));
    let run = async |indexer: &LogIndexer| while indexer.step(1).await.unwrap() {};
    tokio::join!(run(&indexers[0]), run(&indexers[1]));
    let size = i64::try_from(world.committer().head().borrow().size).unwrap();
    let mut conn = database.reader().await.unwrap();
    for sql in [
        "SELECT size AS n FROM index_progress",
        "SELECT COUNT(*) AS n FROM callers",
        "SELECT COUNT(DISTINCT idx) AS n FROM callers",
    ] {
        let found = conn.fetch_one(sql, vec![]).await.unwrap().unwrap();
        assert_eq!(found.get::<i64>("n").unwrap(), size, "{sql}");
    }
    drop(conn);
    database.close().await;
}

/// Checks that the index changes no list, and that pages join across its end.
async fn the_index_changes_no_list(world: &World) {
    let placement = world.placements("la-a", "provider-a").remove(0);
    let provider = world.client("provider-a").await;
    let mut clients = Vec::new();
    for name in ["la-a", "school", "provider-a", "auditor"] {
        clients.push(world.client(name).await);
    }
    let request = ListExchangesRequest { page_size: 1_000, ..about(&placement) };
    let mut before = Vec::new();
    for client in &clients {
        before.push(list_page(client, &request).await);
    }
    index_with_two(world).await;
    for (client, before) in clients.iter().zip(before) {
        let after = list_page(client, &request).await;
        let indexes = |page: &ListExchangesResponse| -> Vec<u64> {
            page.exchanges.iter().map(|record| record.index).collect()
        };
        assert_eq!((indexes(&after), &after.next_page_token), (indexes(&before), &before.next_page_token));
        assert_eq!(after.exchanges, before.exchanges);
    }
    for day in ["2026-11-18", "2026-11-19"] {
        let marks = vec![mark(&placement, day, "/")];
        submit(&provider, &submission(marks)).await.ok();
    }
    for client in &clients {
        let whole = list_page(client, &request).await;
        assert!(whole.next_page_token.is_empty() && whole.exchanges.len() > 8);
        for page_size in [1, 3, 7] {
            let (mut joined, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = ListExchangesRequest { page_size, page_token, ..about(&placement) };
                let page = list_page(client, &request).await;
                joined.extend(page.exchanges);
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            assert_eq!(joined, whole.exchanges, "{page_size}");
        }
    }
}

async fn all(world: World) -> TempDir {
    a_batch_reveals_only_the_reader_s_own_children(&world).await;
    a_placement_of_others_is_as_an_invented_one(&world).await;
    a_former_party_s_list_does_not_grow(&world).await;
    a_counterpart_in_another_s_exchange_is_its_caller(&world).await;
    a_spreadsheet_counts_own_children(&world).await;
    the_index_changes_no_list(&world).await;
    a_placement_of_others_is_as_an_invented_one_once_indexed(&world).await;
    world.stop().await
}

/// Checks the same with all entries in the index.
async fn a_placement_of_others_is_as_an_invented_one_once_indexed(world: &World) {
    index_with_two(world).await;
    let (of_la, of_school) =
        (world.placements("la-a", "provider-a"), world.placements("school", "provider-a"));
    for (stranger, placement) in [("la-b", &of_la[1]), ("auditor", &of_school[1]), ("provider-b", &of_la[0])]
    {
        let client = world.client(stranger).await;
        assert_eq!(
            list_bytes(&client, &about(placement)).await,
            list_bytes(&client, &about(&new_id())).await,
            "{stranger}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    log_verification::assert_verifies(all(World::sqlite().await).await.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    all(World::postgres().await).await;
}
