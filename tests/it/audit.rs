//! The log as auditors read it, on both databases: every filter alone and in combination gives exactly what
//! it should, pages join, and nobody reads more than was opened to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ap_gateway::cli::exchanges::every;
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, AppointAuditorRequest, Delivery, DeliveryStage,
    EndGrantRequest, ExchangeRecord, GetAttendanceRequest, GetOrganisationRequest, GetPlacementRequest,
    ListExchangesRequest, ListExchangesResponse, Outcome, Purpose, SubmitAttendanceRequest,
    UpdateOrganisationRequest, audit_service, delivery_service, placement_service, register_service,
    returns_service,
};
use ap_gateway::store::{Database, Location};
use prost_types::Timestamp;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::attendance::delivered;
use super::kept::found;
use super::story::{id, mark, submission, submit};
use super::support::{World, gateway, run};

async fn read(client: &Client, request: ListExchangesRequest) -> Vec<ExchangeRecord> {
    every(client, request).await.unwrap()
}

fn indexes(records: &[ExchangeRecord]) -> Vec<u64> {
    records.iter().map(|record| record.index).collect()
}

fn short(record: &ExchangeRecord) -> &str {
    record.method.rsplit('/').next().unwrap()
}

async fn page(client: &Client, request: &ListExchangesRequest) -> Result<ListExchangesResponse, ClientError> {
    Ok(client.call(audit_service::LIST_EXCHANGES, request).await?.message)
}

/// What happens to one placement of local authority A's: two marks, one of them repeated and
/// sent again, two readings, a
/// refused reading.
async fn happenings(world: &World, placement: &str) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let first = submission(vec![mark(placement, "2026-11-02", "/")]);
    let again = SubmitAttendanceRequest { request_id: id(), ..first.clone() };
    for request in [&first, &first, &again, &submission(vec![mark(placement, "2026-11-03", "I")])] {
        submit(&riverside, request).await.unwrap();
    }
    let attendance = GetAttendanceRequest {
        placement_id: placement.to_owned(),
        from_date: "2026-11-01".to_owned(),
        to_date: "2026-11-30".to_owned(),
        ..GetAttendanceRequest::default()
    };
    la.call(returns_service::GET_ATTENDANCE, &attendance).await.unwrap();
    let request = GetPlacementRequest { placement_id: placement.to_owned() };
    la.call(placement_service::GET_PLACEMENT, &request).await.unwrap();
    let request = GetPlacementRequest { placement_id: id() };
    la.call(placement_service::GET_PLACEMENT, &request).await.unwrap_err();
}

/// Sets one filter as in the full request.
type Set = fn(&mut ListExchangesRequest, &ListExchangesRequest);
/// Whether an exchange meets it.
type Met<'a> = Box<dyn Fn(&ExchangeRecord) -> bool + 'a>;

/// Every subset of the filters that one exchange meets gives exactly the exchanges that meet them too.
async fn every_combination(world: &World) {
    // The second: the first comes with a passport, which has a story of its own.
    let placement = world.placements("la-a", "provider-a").remove(1);
    happenings(world, &placement).await;
    let auditor = world.client("auditor").await;
    let all = read(&auditor, ListExchangesRequest { page_size: 1_000, ..Default::default() }).await;
    let about =
        read(&auditor, ListExchangesRequest { placement_id: placement.clone(), ..Default::default() });
    let about = about.await;
    let methods: Vec<&str> = about.iter().map(short).collect();
    // What was sent again, and is UNCHANGED, is among them.
    let submitted = ["SubmitAttendance"; 3];
    let told = [&["GetPlacement", "GetAttendance"], &submitted[..]].concat();
    // The gateway itself raised that what the start left open was overdue.
    let made = ["alert", "StartPlacement", "PutPlan", "DecidePlacement", "RespondToReferral"];
    assert_eq!(methods, [&told[..], &made, &["CreateReferral"]].concat());
    let about: BTreeSet<u64> = indexes(&about).into_iter().collect();
    let newest = all[0].index;
    let example =
        all.iter().find(|record| short(record) == "CreateReferral" && about.contains(&record.index));
    let example = example.unwrap();
    let later = |time: &Timestamp| Timestamp { nanos: time.nanos + 1_000, ..*time };
    let time = example.time.unwrap();
    let key = |time: &Option<Timestamp>| time.map(|time| (time.seconds, time.nanos)).unwrap();
    let filters: Vec<(Set, Met<'_>)> = vec![
        (|to, from| to.organisation.clone_from(&from.organisation), {
            Box::new(|record| concerns(record, "la/330"))
        }),
        (|to, from| to.system.clone_from(&from.system), Box::new(|record| record.system == example.system)),
        (|to, from| to.counterpart.clone_from(&from.counterpart), {
            Box::new(|record| concerns(record, "provider/riverside"))
        }),
        (|to, from| to.placement_id.clone_from(&from.placement_id), {
            Box::new(|record| about.contains(&record.index))
        }),
        (|to, from| to.method.clone_from(&from.method), Box::new(|record| short(record) == "CreateReferral")),
        (|to, from| to.outcome = from.outcome, Box::new(|record| record.outcome() == Outcome::Ok)),
        (|to, from| to.purpose = from.purpose, Box::new(|record| record.purpose == example.purpose)),
        (
            |to, from| to.from_time = from.from_time,
            Box::new(|record| key(&record.time) >= key(&example.time)),
        ),
        (|to, from| to.to_time = from.to_time, Box::new(|record| key(&record.time) <= key(&example.time))),
    ];
    let full = ListExchangesRequest {
        organisation: "la/330".to_owned(),
        system: example.system.clone(),
        counterpart: "provider/riverside".to_owned(),
        placement_id: placement,
        method: "CreateReferral".to_owned(),
        outcome: Outcome::Ok as i32,
        purpose: Purpose::EducationProvision as i32,
        from_time: Some(time),
        to_time: Some(later(&time)),
        ..ListExchangesRequest::default()
    };
    let mut sizes = BTreeSet::new();
    for chosen in 0..1_u32 << filters.len() {
        let mut request = ListExchangesRequest { page_size: 1_000, ..Default::default() };
        let mut expected: Vec<&ExchangeRecord> = all.iter().collect();
        for (at, (set, met)) in filters.iter().enumerate() {
            if chosen >> at & 1 == 1 {
                set(&mut request, &full);
                expected.retain(|record| met(record));
            }
        }
        let mut found = indexes(&read(&auditor, request).await);
        found.retain(|index| *index <= newest);
        let expected: Vec<u64> = expected.iter().map(|record| record.index).collect();
        assert_eq!(found, expected, "filters {chosen:b}");
        sizes.insert(expected.len());
    }
    assert!(sizes.len() > 10 && sizes.contains(&1), "{sizes:?}");
}

fn concerns(record: &ExchangeRecord, organisation: &str) -> bool {
    record.organisation == organisation || record.counterparts.iter().any(|other| other == organisation)
}

/// Pages of any size join to the same list; a token is its query's and its caller's alone.
async fn pages_join(world: &World) {
    let (auditor, la) = (world.client("auditor").await, world.client("la-a").await);
    let request = ListExchangesRequest { counterpart: "provider/riverside".to_owned(), ..Default::default() };
    let whole = read(&auditor, ListExchangesRequest { page_size: 1_000, ..request.clone() }).await;
    for page_size in [1, 7, 100] {
        let pages = read(&auditor, ListExchangesRequest { page_size, ..request.clone() }).await;
        let known = indexes(&pages).into_iter().filter(|index| *index <= whole[0].index);
        assert_eq!(known.collect::<Vec<_>>(), indexes(&whole), "{page_size}");
    }
    let first = page(&auditor, &ListExchangesRequest { page_size: 1, ..request.clone() }).await.unwrap();
    let next = ListExchangesRequest { page_token: first.next_page_token, ..request };
    assert!(page(&auditor, &next).await.is_ok());
    let other = ListExchangesRequest { method: "PutPlan".to_owned(), ..next.clone() };
    for answer in [page(&la, &next).await, page(&auditor, &other).await] {
        let Err(ClientError::Refused(status)) = answer else { panic!("another's token was taken") };
        assert!(ap_gateway::client::explain(&status).contains("page_token"));
    }
}

/// The reason for which a list is refused.
async fn not_appointed(client: &Client, request: ListExchangesRequest) -> String {
    match page(client, &request).await {
        Err(ClientError::Refused(status)) => reason(&status),
        answer => panic!("{:?}", answer.map(|reply| reply.exchanges.len())),
    }
}

/// An auditor reads the exchanges of those who appoint it, while they do; anyone else its own.
async fn only_what_was_opened(world: &World) {
    let (auditor, la_b) = (world.client("auditor").await, world.client("la-b").await);
    let of_b = ListExchangesRequest { organisation: "la/331".to_owned(), ..Default::default() };
    let own = read(&la_b, ListExchangesRequest::default()).await;
    assert!(!own.is_empty() && own.iter().all(|record| concerns(record, "la/331")));
    let named = |organisation: &str| ListExchangesRequest {
        organisation: organisation.to_owned(),
        ..Default::default()
    };
    let found = indexes(&read(&la_b, named("la/331")).await);
    assert!(indexes(&own).iter().all(|index| found.contains(index)));
    // No rows and no appointment are told apart; another organisation and an invented one are not.
    for client in [&la_b, &auditor] {
        for other in ["la/332", "provider/brightwater", "provider/nobody"] {
            assert_eq!(not_appointed(client, named(other)).await, "NOT_APPOINTED", "{other}");
        }
    }
    let nothing = ListExchangesRequest { method: "VoidReturn".to_owned(), ..named("la/331") };
    assert!(read(&la_b, nothing).await.is_empty());
    let periods = [
        ("2026-11-21", "2027-08-31", false),
        ("2026-08-01", "2026-11-19", false),
        ("2026-11-20", "2026-11-20", true),
    ];
    for (from, to, opens) in periods {
        assert_eq!(not_appointed(&auditor, of_b.clone()).await, "NOT_APPOINTED");
        let appoint = AppointAuditorRequest {
            request_id: id(),
            auditor: "auditor/northgate".to_owned(),
            from_date: from.to_owned(),
            to_date: to.to_owned(),
            ..AppointAuditorRequest::default()
        };
        let grant = la_b.call(register_service::APPOINT_AUDITOR, &appoint).await.unwrap().message.grant_id;
        if opens {
            assert!(!read(&auditor, of_b.clone()).await.is_empty(), "{from} to {to}");
        } else {
            assert_eq!(not_appointed(&auditor, of_b.clone()).await, "NOT_APPOINTED", "{from} to {to}");
        }
        let end = EndGrantRequest { request_id: id(), grant_id: grant, ..EndGrantRequest::default() };
        la_b.call(register_service::END_GRANT, &end).await.unwrap();
    }
    assert_eq!(not_appointed(&auditor, of_b).await, "NOT_APPOINTED");
    let misspelt = ListExchangesRequest { method: "SubmitAttendence".to_owned(), ..Default::default() };
    let Err(ClientError::Refused(status)) = page(&auditor, &misspelt).await else {
        panic!("a misspelt method")
    };
    assert_eq!(reason(&status), "INVALID_REQUEST");
}

async fn acknowledge(client: &Client, delivery: Delivery) {
    let Delivery { cursor, content_sha256, .. } = delivery;
    let request = AcknowledgeDeliveryRequest {
        request_id: id(),
        deliveries: vec![Acknowledged { cursor, content_sha256 }],
        stage: DeliveryStage::Acknowledged as i32,
        ..AcknowledgeDeliveryRequest::default()
    };
    client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.unwrap();
}

/// The newest exchange about a placement, and how many of its children the exchange concerns.
async fn newest(client: &Client, placement: &str) -> (String, String, u32) {
    let request = ListExchangesRequest { placement_id: placement.to_owned(), ..Default::default() };
    let record = read(client, request).await.remove(0);
    (record.organisation.clone(), short(&record).to_owned(), record.child_count)
}

/// Whoever acknowledges a return is seen at each child that it brought it, and at no other of the return; so is
/// a school that has to make its own key of the child, and one that says it again.
async fn who_acknowledged_is_seen(world: &World) {
    let [la, school, riverside] = ["la-a", "school", "provider-a"].map(|name| world.client(name));
    let (la, school, riverside) = (la.await, school.await, riverside.await);
    let (of_la, of_school) =
        (world.placements("la-a", "provider-a"), world.placements("school", "provider-a"));
    let placements = [&of_la[1], &of_la[2], &of_school[0]];
    let marks = placements.map(|placement| mark(placement, "2026-11-04", "/")).to_vec();
    let sent = submit(&riverside, &submission(marks)).await.unwrap().message.return_id;
    let brought = delivered(&la, &sent).await.remove(0);
    let told = |who: &str, children| (who.to_owned(), "AcknowledgeDelivery".to_owned(), children);
    for _ in 0..2 {
        acknowledge(&la, brought.clone()).await;
        for placement in &placements[..2] {
            assert_eq!(newest(&riverside, placement).await, told("la/330", 2));
        }
    }
    let before = newest(&riverside, placements[2]).await;
    assert_ne!(before.1, "AcknowledgeDelivery");
    let brought = delivered(&school, &sent).await.remove(0);
    acknowledge(&school, brought).await;
    for placement in placements {
        assert_eq!(newest(&riverside, placement).await, told("school/134567", 3));
    }
}

/// The export has every exchange once, in words, and no cell that a spreadsheet would run.
async fn the_export_is_safe(world: &World) {
    let operator = world.client("operator").await;
    let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    let riverside = operator.call(register_service::GET_ORGANISATION, &request).await.unwrap().message;
    let riverside = riverside.organisation.unwrap();
    let rename = UpdateOrganisationRequest {
        request_id: id(),
        organisation: riverside.organisation,
        etag: riverside.etag,
        display_name: "=1+1 Riverside".to_owned(),
        ..UpdateOrganisationRequest::default()
    };
    operator.call(register_service::UPDATE_ORGANISATION, &rename).await.unwrap();
    let path = world.dir.path().join("log.csv");
    let mut list = gateway();
    list.args(["audit", "list", "--counterpart", "provider/riverside", "--method", "SubmitAttendance"]);
    list.args(["--from", "2026-11-20", "--to", "2026-11-20", "--outcome", "ok", "--profile"]);
    list.arg(world.dir.path().join("profiles/auditor.toml")).arg("--csv").arg(&path);
    assert_eq!(run(&mut list), "3 exchanges written\n");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let heading = rows.headers().unwrap().clone();
    for row in rows.records() {
        let row = row.unwrap();
        let cell = |name: &str| &row[heading.iter().position(|column| column == name).unwrap()];
        assert_eq!(cell("Organisation's name"), "'=1+1 Riverside");
        assert_eq!(cell("Counterparts' names"), "Local authority A; Northfield School");
        assert_eq!(cell("Time in London"), "2026-11-20 16:00:00");
        assert_eq!(cell("Outcome"), "It was permitted and had its effect");
        assert_eq!(cell("Number of children"), "1");
    }
}

/// The index of an exchange that reads the caller's own record.
async fn own_record(la_b: Arc<Client>) -> u64 {
    let request = GetOrganisationRequest { organisation: "la/331".to_owned() };
    la_b.call(register_service::GET_ORGANISATION, &request).await.unwrap().receipt.index
}

/// A caller's exchanges are found whether or not it is sorted in with a thousand others yet, each once.
async fn callers_are_found(world: &World) {
    let la_b = Arc::new(world.client("la-b").await);
    let mut made = BTreeSet::new();
    for _ in 0..36 {
        let calls: JoinSet<_> = (0..32).map(|_| own_record(Arc::clone(&la_b))).collect();
        made.extend(calls.join_all().await);
    }
    let mut conn = world.database().await.reader().await.unwrap();
    let sql = "SELECT MIN(idx), MAX(idx) FROM callers WHERE organisation = 'la/331'";
    let sorted_in = conn.fetch_one(sql, vec![]).await.unwrap().unwrap();
    let (first, last) = (sorted_in.int(0).unwrap().unsigned_abs(), sorted_in.int(1).unwrap().unsigned_abs());
    assert!(first < *made.first().unwrap() && last >= *made.first().unwrap());
    // Not sorted in yet, even if all before are.
    made.insert(own_record(Arc::clone(&la_b)).await);
    for page_size in [100, 1_000] {
        let method = "GetOrganisation".to_owned();
        let request = ListExchangesRequest { page_size, method, ..ListExchangesRequest::default() };
        let found = indexes(&read(&la_b, request).await);
        assert!(found.iter().rev().eq(&made), "{page_size}");
    }
}

async fn all(world: World) -> TempDir {
    every_combination(&world).await;
    pages_join(&world).await;
    only_what_was_opened(&world).await;
    the_export_is_safe(&world).await;
    who_acknowledged_is_seen(&world).await;
    callers_are_found(&world).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_on_sqlite() {
    let dir = all(World::sqlite().await).await;
    let (verified, findings) = found(dir.path(), dir.path()).await;
    assert!(verified > 100 && findings.is_empty(), "{verified}: {findings:?}");
    // Hidden from whoever lists its caller's exchanges.
    let database = Database::open(&Location::Sqlite(dir.path().join("gateway.sqlite"))).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    conn.execute("DELETE FROM callers WHERE idx = 700", vec![]).await.unwrap();
    drop(conn);
    database.close().await;
    let (_, findings) = found(dir.path(), dir.path()).await;
    assert_eq!(findings, ["entry 700 was taken from the list of its caller's exchanges"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_on_postgresql() {
    all(World::postgres().await).await;
}
