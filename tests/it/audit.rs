//! The audit log on both databases: every combination of filters returns exactly the matching exchanges, pages
//! join, and nobody reads more than they may.

use std::collections::BTreeSet;
use std::sync::Arc;

use ap_gateway::cli::exchanges::list_all;
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, AppointAuditorRequest, Delivery, DeliveryStage,
    EndGrantRequest, ExchangeRecord, GetAttendanceRequest, GetOrganisationRequest, GetPlacementRequest,
    ListExchangesRequest, ListExchangesResponse, Outcome, Purpose, SubmitAttendanceRequest,
    UpdateOrganisationRequest, audit_service, delivery_service, placement_service, register_service,
    returns_service,
};
use ap_gateway::store::{Database, DatabaseLocation};
use prost_types::Timestamp;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::attendance::deliveries_of_object;
use super::exchange_semantics::{mark, new_id, submission, submit};
use super::log_verification;
use super::support::{World, gateway, run};

async fn list_all_exchanges(client: &Client, request: ListExchangesRequest) -> Vec<ExchangeRecord> {
    list_all(client, request).await.unwrap()
}

fn entry_indexes(records: &[ExchangeRecord]) -> Vec<u64> {
    records.iter().map(|record| record.index).collect()
}

fn method_name(record: &ExchangeRecord) -> &str {
    record.method.rsplit('/').next().unwrap()
}

async fn list_page(
    client: &Client,
    request: &ListExchangesRequest,
) -> Result<ListExchangesResponse, ClientError> {
    Ok(client.call(audit_service::LIST_EXCHANGES, request).await?.message)
}

/// Makes exchanges about one placement of local authority A: two marks, one of them repeated and replayed, two
/// reads, and a refused read.
async fn make_exchanges(world: &World, placement: &str) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let first = submission(vec![mark(placement, "2026-11-02", "/")]);
    let again = SubmitAttendanceRequest { request_id: new_id(), ..first.clone() };
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
    let request = GetPlacementRequest { placement_id: new_id() };
    la.call(placement_service::GET_PLACEMENT, &request).await.unwrap_err();
}

/// Copies one filter from the complete request.
type SetFilter = fn(&mut ListExchangesRequest, &ListExchangesRequest);
/// Tests whether an exchange matches a filter.
type MeetsFilter<'a> = Box<dyn Fn(&ExchangeRecord) -> bool + 'a>;

/// Checks that every subset of the filters returns exactly the exchanges that match all of them.
async fn every_combination(world: &World) {
    // The second placement, because the first has further exchanges about its passport.
    let placement = world.placements("la-a", "provider-a").remove(1);
    make_exchanges(world, &placement).await;
    let auditor = world.client("auditor").await;
    let all =
        list_all_exchanges(&auditor, ListExchangesRequest { page_size: 1_000, ..Default::default() }).await;
    let about = list_all_exchanges(
        &auditor,
        ListExchangesRequest { placement_id: placement.clone(), ..Default::default() },
    );
    let about = about.await;
    let methods: Vec<&str> = about.iter().map(method_name).collect();
    // The repeated submission, which is UNCHANGED, is included.
    let submitted = ["SubmitAttendance"; 3];
    let later_methods = [&["GetPlacement", "GetAttendance"], &submitted[..]].concat();
    // What the gateway entered by itself: alerts that it raised or escalated for what the start left open.
    let alerts = ["alert"; 3];
    let made = ["StartPlacement", "PutPlan", "DecidePlacement", "RespondToReferral", "CreateReferral"];
    assert_eq!(methods, [&later_methods[..], &alerts, &made].concat());
    let about: BTreeSet<u64> = entry_indexes(&about).into_iter().collect();
    let own = ListExchangesRequest { page_size: 1_000, ..Default::default() };
    let of_la = list_all_exchanges(&world.client("la-a").await, own).await;
    let of_la: BTreeSet<u64> = entry_indexes(&of_la).into_iter().collect();
    let newest = all[0].index;
    let example =
        all.iter().find(|record| method_name(record) == "CreateReferral" && about.contains(&record.index));
    let example = example.unwrap();
    let later = |time: &Timestamp| Timestamp { nanos: time.nanos + 1_000, ..*time };
    let time = example.time.unwrap();
    let key = |time: &Option<Timestamp>| time.map(|time| (time.seconds, time.nanos)).unwrap();
    let filters: Vec<(SetFilter, MeetsFilter<'_>)> = vec![
        (|to, from| to.organisation.clone_from(&from.organisation), {
            Box::new(|record| of_la.contains(&record.index))
        }),
        (|to, from| to.system.clone_from(&from.system), Box::new(|record| record.system == example.system)),
        (|to, from| to.counterpart.clone_from(&from.counterpart), {
            Box::new(|record| concerns(record, "provider/riverside"))
        }),
        (|to, from| to.placement_id.clone_from(&from.placement_id), {
            Box::new(|record| about.contains(&record.index))
        }),
        (
            |to, from| to.method.clone_from(&from.method),
            Box::new(|record| method_name(record) == "CreateReferral"),
        ),
        (|to, from| to.outcome = from.outcome, Box::new(|record| record.outcome() == Outcome::Ok)),
        (|to, from| to.purpose = from.purpose, {
            let wanted = Purpose::EducationProvision;
            Box::new(move |record| record.bases.iter().any(|basis| basis.purpose() == wanted))
        }),
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
    let mut narrowing = BTreeSet::new();
    for chosen in 0..1_u32 << filters.len() {
        let mut request = ListExchangesRequest { page_size: 1_000, ..Default::default() };
        let mut expected: Vec<&ExchangeRecord> = all.iter().collect();
        for (at, (set, met)) in filters.iter().enumerate() {
            if chosen >> at & 1 == 1 {
                set(&mut request, &full);
                expected.retain(|record| met(record));
            }
        }
        let mut found = entry_indexes(&list_all_exchanges(&auditor, request).await);
        found.retain(|index| *index <= newest);
        let expected: Vec<u64> = expected.iter().map(|record| record.index).collect();
        assert_eq!(found, expected, "filters {chosen:b}");
        assert!(expected.contains(&example.index), "filters {chosen:b} select what they were made from");
        if chosen.is_power_of_two() && expected.len() < all.len() {
            narrowing.insert(chosen);
        }
    }
    // Each filter alone excludes some exchanges.
    assert_eq!(narrowing, (0..filters.len()).map(|at| 1 << at).collect::<BTreeSet<_>>());
}

/// Returns whether an exchange that the auditor reads for la/330 concerned another organisation.
fn concerns(record: &ExchangeRecord, organisation: &str) -> bool {
    record.organisation == organisation || record.counterparts.iter().any(|other| other == organisation)
}

/// Checks that pages of any size join to the same list, and that a page token is bound to its query and caller.
async fn pages_join(world: &World) {
    let (auditor, la) = (world.client("auditor").await, world.client("la-a").await);
    let request = ListExchangesRequest { counterpart: "provider/riverside".to_owned(), ..Default::default() };
    let whole =
        list_all_exchanges(&auditor, ListExchangesRequest { page_size: 1_000, ..request.clone() }).await;
    for page_size in [1, 7, 100] {
        let pages = list_all_exchanges(&auditor, ListExchangesRequest { page_size, ..request.clone() }).await;
        let known = entry_indexes(&pages).into_iter().filter(|index| *index <= whole[0].index);
        assert_eq!(known.collect::<Vec<_>>(), entry_indexes(&whole), "{page_size}");
    }
    let first = list_page(&auditor, &ListExchangesRequest { page_size: 1, ..request.clone() }).await.unwrap();
    let next = ListExchangesRequest { page_token: first.next_page_token, ..request };
    assert!(list_page(&auditor, &next).await.is_ok());
    let other = ListExchangesRequest { method: "PutPlan".to_owned(), ..next.clone() };
    for answer in [list_page(&la, &next).await, list_page(&auditor, &other).await] {
        let Err(ClientError::Refused(status)) = answer else { panic!("another's page token was accepted") };
        assert!(ap_gateway::client::explain(&status).contains("page_token"));
    }
}

/// Returns the reason of a refused list.
async fn refusal_reason(client: &Client, request: ListExchangesRequest) -> String {
    match list_page(client, &request).await {
        Err(ClientError::Refused(status)) => reason(&status),
        answer => panic!("{:?}", answer.map(|reply| reply.exchanges.len())),
    }
}

/// Checks that an auditor reads the exchanges of the organisations that appoint it, during the appointment, and
/// that others read their own.
async fn only_appointing_organisations_are_listed(world: &World) {
    let (auditor, la_b) = (world.client("auditor").await, world.client("la-b").await);
    let of_b = ListExchangesRequest { organisation: "la/331".to_owned(), ..Default::default() };
    let own_exchanges = list_all_exchanges(&la_b, ListExchangesRequest::default()).await;
    assert!(
        !own_exchanges.is_empty()
            && own_exchanges
                .iter()
                .all(|record| record.organisation == "la/331" || record.counterparts.is_empty())
    );
    let named = |organisation: &str| ListExchangesRequest {
        organisation: organisation.to_owned(),
        ..Default::default()
    };
    let found = entry_indexes(&list_all_exchanges(&la_b, named("la/331")).await);
    assert!(entry_indexes(&own_exchanges).iter().all(|index| found.contains(index)));
    // No rows and no appointment are distinguishable; another organisation and an invented one are not.
    for client in [&la_b, &auditor] {
        for other in ["la/332", "provider/brightwater", "provider/nobody"] {
            assert_eq!(refusal_reason(client, named(other)).await, "NOT_APPOINTED", "{other}");
        }
    }
    let nothing = ListExchangesRequest { method: "VoidReturn".to_owned(), ..named("la/331") };
    assert!(list_all_exchanges(&la_b, nothing).await.is_empty());
    let periods = [
        ("2026-11-21", "2027-08-31", false),
        ("2026-08-01", "2026-11-19", false),
        ("2026-11-20", "2026-11-20", true),
    ];
    for (from, to, opens) in periods {
        assert_eq!(refusal_reason(&auditor, of_b.clone()).await, "NOT_APPOINTED");
        let appoint = AppointAuditorRequest {
            request_id: new_id(),
            auditor: "auditor/northgate".to_owned(),
            from_date: from.to_owned(),
            to_date: to.to_owned(),
            ..AppointAuditorRequest::default()
        };
        let grant = la_b.call(register_service::APPOINT_AUDITOR, &appoint).await.unwrap().message.grant_id;
        if opens {
            assert!(!list_all_exchanges(&auditor, of_b.clone()).await.is_empty(), "{from} to {to}");
        } else {
            assert_eq!(refusal_reason(&auditor, of_b.clone()).await, "NOT_APPOINTED", "{from} to {to}");
        }
        let end = EndGrantRequest { request_id: new_id(), grant_id: grant, ..EndGrantRequest::default() };
        la_b.call(register_service::END_GRANT, &end).await.unwrap();
    }
    assert_eq!(refusal_reason(&auditor, of_b).await, "NOT_APPOINTED");
    let misspelt = ListExchangesRequest { method: "SubmitAttendence".to_owned(), ..Default::default() };
    let Err(ClientError::Refused(status)) = list_page(&auditor, &misspelt).await else {
        panic!("a misspelt method")
    };
    assert_eq!(reason(&status), "INVALID_REQUEST");
}

async fn acknowledge(client: &Client, delivery: Delivery) {
    let Delivery { cursor, content_sha256, .. } = delivery;
    let request = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged { cursor, content_sha256 }],
        stage: DeliveryStage::Acknowledged as i32,
        ..AcknowledgeDeliveryRequest::default()
    };
    client.call(delivery_service::ACKNOWLEDGE_DELIVERY, &request).await.unwrap();
}

/// Returns the newest exchange about a placement: organisation, method and number of children.
async fn newest_exchange(client: &Client, placement: &str) -> (String, String, u32) {
    let request = ListExchangesRequest { placement_id: placement.to_owned(), ..Default::default() };
    let record = list_all_exchanges(client, request).await.remove(0);
    (record.organisation.clone(), method_name(&record).to_owned(), record.child_count)
}

/// Checks that an acknowledgement is listed for each child of the delivery and for no other child of the return,
/// also if it is repeated or the school needs a new key for the child.
async fn an_acknowledgement_is_listed_for_each_child(world: &World) {
    let [la, school, riverside] = ["la-a", "school", "provider-a"].map(|name| world.client(name));
    let (la, school, riverside) = (la.await, school.await, riverside.await);
    let (of_la, of_school) =
        (world.placements("la-a", "provider-a"), world.placements("school", "provider-a"));
    let placements = [&of_la[1], &of_la[2], &of_school[0]];
    let marks = placements.map(|placement| mark(placement, "2026-11-04", "/")).to_vec();
    let sent = submit(&riverside, &submission(marks)).await.unwrap().message.return_id;
    let brought = deliveries_of_object(&la, &sent).await.remove(0);
    let acknowledgement = |who: &str, children| (who.to_owned(), "AcknowledgeDelivery".to_owned(), children);
    for _ in 0..2 {
        acknowledge(&la, brought.clone()).await;
        for placement in &placements[..2] {
            assert_eq!(newest_exchange(&riverside, placement).await, acknowledgement("la/330", 2));
        }
    }
    let before = newest_exchange(&riverside, placements[2]).await;
    assert_ne!(before.1, "AcknowledgeDelivery");
    let brought = deliveries_of_object(&school, &sent).await.remove(0);
    acknowledge(&school, brought).await;
    for placement in placements {
        assert_eq!(newest_exchange(&riverside, placement).await, acknowledgement("school/134567", 3));
    }
}

/// Checks that the CSV export has every exchange once, in words, and no cell that a spreadsheet would execute.
async fn the_export_is_safe(world: &World) {
    let operator = world.client("operator").await;
    let request = GetOrganisationRequest { organisation: "provider/riverside".to_owned() };
    let riverside = operator.call(register_service::GET_ORGANISATION, &request).await.unwrap().message;
    let riverside = riverside.organisation.unwrap();
    let rename = UpdateOrganisationRequest {
        request_id: new_id(),
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
        // A local authority is not shown to whom else the provider sent its return.
        assert_eq!(cell("Counterparts' names"), "");
        assert_eq!(cell("Time in London"), "2026-11-20 16:00:00");
        assert_eq!(cell("Outcome"), "Permitted and carried out");
        assert_eq!(cell("Number of children"), "1");
    }
}

/// Reads the caller's own organisation and returns the index of the exchange.
async fn read_own_organisation(la_b: Arc<Client>) -> u64 {
    let request = GetOrganisationRequest { organisation: "la/331".to_owned() };
    la_b.call(register_service::GET_ORGANISATION, &request).await.unwrap().receipt.index
}

/// Checks that all exchanges of a caller are found once, whether or not they have been indexed in `callers`, which
/// happens in batches of 1,024 entries.
async fn callers_are_found(world: &World) {
    let la_b = Arc::new(world.client("la-b").await);
    let mut made = BTreeSet::new();
    for _ in 0..36 {
        let calls: JoinSet<_> = (0..32).map(|_| read_own_organisation(Arc::clone(&la_b))).collect();
        made.extend(calls.join_all().await);
    }
    let mut conn = world.database().await.reader().await.unwrap();
    let sql = "SELECT MIN(idx) AS first, MAX(idx) AS last FROM callers WHERE organisation = 'la/331'";
    let sorted_in = conn.fetch_one(sql, vec![]).await.unwrap().unwrap();
    let number = |column| sorted_in.get::<i64>(column).unwrap().unsigned_abs();
    let (first, last) = (number("first"), number("last"));
    assert!(first < *made.first().unwrap() && last >= *made.first().unwrap());
    // Not indexed yet, even if all earlier ones are.
    made.insert(read_own_organisation(Arc::clone(&la_b)).await);
    for page_size in [100, 1_000] {
        let method = "GetOrganisation".to_owned();
        let request = ListExchangesRequest { page_size, method, ..ListExchangesRequest::default() };
        let found = entry_indexes(&list_all_exchanges(&la_b, request).await);
        assert!(found.iter().rev().eq(&made), "{page_size}");
    }
}

async fn all(world: World) -> TempDir {
    every_combination(&world).await;
    pages_join(&world).await;
    only_appointing_organisations_are_listed(&world).await;
    the_export_is_safe(&world).await;
    an_acknowledgement_is_listed_for_each_child(&world).await;
    callers_are_found(&world).await;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_on_sqlite() {
    let dir = all(World::sqlite().await).await;
    log_verification::assert_verifies(dir.path()).await;
    // Without this row the exchange would be missing from the lists of its caller's exchanges.
    let database =
        Database::open(&DatabaseLocation::Sqlite(dir.path().join("gateway.sqlite"))).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    conn.execute("DELETE FROM callers WHERE idx = 700", vec![]).await.unwrap();
    drop(conn);
    database.close().await;
    let findings = log_verification::findings(dir.path()).await;
    assert_eq!(
        findings,
        ["callers, entry 700: the entry was removed from the list of its caller's exchanges"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_on_postgresql() {
    all(World::postgres().await).await;
}
