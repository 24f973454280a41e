//! Unreadable records are not erased ones: the exchange is refused, and nothing is recorded as delivered.

use std::collections::HashMap;

use ap_gateway::cli::sandbox;
use ap_gateway::client::{Client, ClientError, reason};
use ap_gateway::proto::Rpc;
use ap_gateway::proto::v1::mark::Child;
use ap_gateway::proto::v1::{
    Cursor, ListAlertsRequest, ListDeliveriesRequest, ListExpectedReturnsRequest, ListPlacementsRequest,
    Outcome, delivery_service, oversight_service, placement_service, returns_service,
};
use ap_gateway::store::Value;
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use super::exchange_semantics::{mark, new_id, submission, submit};
use super::support::{World, deliveries};

/// Executes a statement in the sandbox's database and returns the number of changed rows.
async fn execute_sql(world: &World, sql: &'static str) -> u64 {
    let database = world.database().await;
    let changed = database.writer().await.unwrap().execute(sql, vec![]).await.unwrap();
    database.close().await;
    changed
}

async fn count_rows(world: &World, sql: &'static str) -> i64 {
    let database = world.database().await;
    let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap();
    database.close().await;
    row.unwrap().get("count").unwrap()
}

/// Calls each method whose response has records of several children; returns the number of records or the refusal
/// of each.
async fn call_list_methods(client: &Client) -> [Result<usize, (Code, String)>; 4] {
    fn code_and_reason(error: ClientError) -> (Code, String) {
        match error {
            ClientError::Refused(status) => (status.code(), reason(&status)),
            other => panic!("{other}"),
        }
    }
    let expected = ListExpectedReturnsRequest {
        from_date: "2026-11-16".to_owned(),
        to_date: "2026-11-20".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let (list, alerts) = (ListPlacementsRequest::default(), ListAlertsRequest::default());
    [
        client
            .call(delivery_service::LIST_DELIVERIES, &ListDeliveriesRequest::default())
            .await
            .map(|reply| reply.message.deliveries.len())
            .map_err(code_and_reason),
        client
            .call(returns_service::LIST_EXPECTED_RETURNS, &expected)
            .await
            .map(|reply| reply.message.returns.len())
            .map_err(code_and_reason),
        client
            .call(placement_service::LIST_PLACEMENTS, &list)
            .await
            .map(|reply| reply.message.placements.len())
            .map_err(code_and_reason),
        client
            .call(oversight_service::LIST_ALERTS, &alerts)
            .await
            .map(|reply| reply.message.alerts.len())
            .map_err(code_and_reason),
    ]
}

async fn world_with_marks() -> World {
    let world = World::sqlite().await;
    let riverside = world.client("provider-a").await;
    for placement in world.placements("la-a", "provider-a") {
        submit(&riverside, &submission(vec![mark(&placement, "2026-11-19", "/")])).await.unwrap();
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_ring_lacks_is_no_erasure() {
    let world = world_with_marks().await;
    let before = call_list_methods(&world.client("la-a").await).await;
    assert!(before.iter().all(|answer| answer.as_ref().is_ok_and(|found| *found > 0)), "{before:?}");
    let lost = execute_sql(&world, "UPDATE child_keys SET kek_id = kek_id + 7").await;
    // A new node has no unwrapped keys cached.
    let world = world.restart().await;
    let la = world.client("la-a").await;
    let collected = "SELECT COUNT(*) AS count FROM collections";
    let before_calls = count_rows(&world, collected).await;
    let refused = call_list_methods(&la).await;
    for answer in &refused {
        assert_eq!(*answer, Err((Code::Unavailable, "KEY_UNAVAILABLE".to_owned())), "{refused:?}");
    }
    assert_eq!(count_rows(&world, collected).await, before_calls, "no digest was recorded");
    let entered = ap_gateway::cli::audit::list_all_exchanges(&la).await.unwrap();
    let reasons = entered.iter().filter(|exchange| exchange.reason == "KEY_UNAVAILABLE");
    assert_eq!(reasons.filter(|exchange| exchange.outcome() == Outcome::Refused).count(), refused.len());
    assert_eq!(execute_sql(&world, "UPDATE child_keys SET kek_id = kek_id - 7").await, lost);
    assert_eq!(call_list_methods(&la).await, before, "the same node serves once it has the key");
    assert!(deliveries(&la).await.iter().all(|delivery| delivery.content.is_some()));
    world.stop().await;
}

/// Checks that a replay needs the salts of its receipt, which are sealed too.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_once_the_ring_holds_the_key_of_its_salts() {
    let world = World::sqlite().await;
    let riverside = world.client("provider-a").await;
    let request = submission(vec![mark(&world.placements("la-a", "provider-a")[0], "2026-11-19", "/")]);
    let first = submit(&riverside, &request).await.unwrap();
    // Sealed bytes begin with a version and the four-byte id of their key. The id is changed to a key that the ring
    // lacks, and back.
    let sealed = "SELECT COUNT(*) AS count FROM entries WHERE substr(salts, 1, 5) = X'0200000001'";
    let entries = count_rows(&world, sealed).await;
    assert!(entries > 0);
    let missing =
        "UPDATE entries SET salts = CAST(X'0200000009' || substr(salts, 6) AS BLOB) WHERE salts NOTNULL";
    execute_sql(&world, missing).await;
    let ClientError::Refused(status) = submit(&riverside, &request).await.unwrap_err() else { panic!() };
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "KEY_UNAVAILABLE"));
    let back =
        "UPDATE entries SET salts = CAST(X'0200000001' || substr(salts, 6) AS BLOB) WHERE salts NOTNULL";
    execute_sql(&world, back).await;
    let again = submit(&riverside, &request).await.unwrap();
    assert_eq!(again.message, first.message);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_fails_the_call() {
    let world = world_with_marks().await;
    // Behind the start, which refuses a database without the table.
    let world = world.restart().await;
    execute_sql(&world, "ALTER TABLE child_keys RENAME TO hidden").await;
    let la = world.client("la-a").await;
    for answer in call_list_methods(&la).await {
        assert_eq!(answer, Err((Code::Internal, "FAILED".to_owned())));
    }
    execute_sql(&world, "ALTER TABLE hidden RENAME TO child_keys").await;
    assert!(call_list_methods(&la).await.iter().all(Result::is_ok));
    world.stop().await;
}

/// Checks that only a missing wrapped key counts as erasure, and that the records of other children are unaffected.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_child_is_in_no_list_and_hides_no_other() {
    let world = world_with_marks().await;
    let la = world.client("la-a").await;
    let before = call_list_methods(&la).await;
    // Deletes every organisation's key of the child of the first placement.
    let erased = "DELETE FROM child_keys WHERE child = (SELECT child FROM placements WHERE idx = \
                  (SELECT MIN(idx) FROM placements WHERE commissioner = 'la/330'))";
    assert!(execute_sql(&world, erased).await > 0);
    let after = call_list_methods(&la).await;
    let fewer = |at: usize| after[at].as_ref().unwrap() < before[at].as_ref().unwrap();
    assert!(fewer(1) && fewer(2), "{before:?} {after:?}");
    assert_eq!(after[0], before[0], "every delivery goes on being delivered");
    let contents = deliveries(&la).await;
    assert!(contents.iter().any(|delivery| delivery.content.is_some()));
    assert!(contents.iter().any(|delivery| delivery.content.is_none()));
    world.stop().await;
}

/// Returns the metadata of a refusal about a damaged record at the start of a page: the record and the position
/// after it.
fn damaged_record_metadata(error: ClientError) -> HashMap<String, String> {
    let ClientError::Refused(status) = error else { panic!("{error}") };
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "FAILED"));
    status.get_error_details().error_info().unwrap().metadata.clone()
}

/// Reads all pages of a list and continues after damaged records. Returns the placements that were read and those
/// that are damaged.
async fn read_all_pages<Req, Resp, F>(
    client: &Client,
    method: Rpc<Req, Resp>,
    request: impl Fn(String) -> Req,
    read: F,
) -> (Vec<String>, Vec<String>)
where
    Req: Message,
    Resp: Message + Default,
    F: Fn(Resp) -> (Vec<String>, String),
{
    let (mut found, mut damaged, mut token) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..200 {
        match client.call(method, &request(token.clone())).await {
            Ok(reply) => {
                let (placements, next) = read(reply.message);
                found.extend(placements);
                token = next;
            }
            Err(error) => {
                let facts = damaged_record_metadata(error);
                damaged.push(facts["placement_id"].clone());
                token.clone_from(&facts["next_page_token"]);
            }
        }
        if token.is_empty() {
            return (found, damaged);
        }
    }
    panic!("the pages do not end")
}

async fn read_all_lists(client: &Client) -> [(Vec<String>, Vec<String>); 3] {
    let placements = |page_token| ListPlacementsRequest { page_token, ..ListPlacementsRequest::default() };
    let expected = |page_token| ListExpectedReturnsRequest {
        from_date: "2026-11-16".to_owned(),
        to_date: "2026-11-20".to_owned(),
        page_token,
        ..ListExpectedReturnsRequest::default()
    };
    let alerts = |page_token| ListAlertsRequest { page_token, ..ListAlertsRequest::default() };
    [
        read_all_pages(client, placement_service::LIST_PLACEMENTS, placements, |page| {
            (page.placements.into_iter().map(|one| one.placement_id).collect(), page.next_page_token)
        })
        .await,
        read_all_pages(client, returns_service::LIST_EXPECTED_RETURNS, expected, |page| {
            (page.returns.into_iter().map(|one| one.placement_id).collect(), page.next_page_token)
        })
        .await,
        read_all_pages(client, oversight_service::LIST_ALERTS, alerts, |page| {
            (page.alerts.into_iter().map(|one| one.placement_id).collect(), page.next_page_token)
        })
        .await,
    ]
}

/// Reads a mailbox to its end and continues after damaged deliveries. Returns the number of each.
async fn read_mailbox(client: &Client) -> (usize, usize) {
    let (mut found, mut damaged, mut cursor) = (0, 0, None);
    for _ in 0..200 {
        let request = ListDeliveriesRequest { cursor: cursor.clone(), ..ListDeliveriesRequest::default() };
        match client.call(delivery_service::LIST_DELIVERIES, &request).await {
            Ok(reply) => {
                found += reply.message.deliveries.len();
                cursor = reply.message.next;
                if !reply.message.more {
                    return (found, damaged);
                }
            }
            Err(error) => {
                let facts = damaged_record_metadata(error);
                damaged += 1;
                cursor = Some(Cursor {
                    log: facts["next_log"].clone(),
                    index: facts["next_index"].parse().unwrap(),
                    ordinal: facts["next_ordinal"].parse().unwrap(),
                });
            }
        }
    }
    panic!("the mailbox does not end")
}

/// Checks that a damaged record hides no other child: a page ends before it, and the refusal names the position
/// after it.
async fn a_damaged_record_hides_no_other(damage: &'static str, damages_deliveries: bool) {
    let world = world_with_marks().await;
    let la = world.client("la-a").await;
    let (before, mail) = (read_all_lists(&la).await, read_mailbox(&la).await);
    assert!(before.iter().all(|(found, damaged)| !found.is_empty() && damaged.is_empty()));
    // A record that is neither first nor last in any list.
    let mut placements = before[0].0.clone();
    placements.retain(|id| before.iter().all(|(found, _)| found.contains(id) && found.last() != Some(id)));
    let id = placements.pop().unwrap();
    let database = world.database().await;
    let value = Value::from(Uuid::parse_str(&id).unwrap());
    assert!(database.writer().await.unwrap().execute(damage, vec![value]).await.unwrap() > 0);
    database.close().await;
    let world = world.restart().await;
    let la = world.client("la-a").await;
    for ((after, damaged), (mut found, _)) in read_all_lists(&la).await.into_iter().zip(before) {
        found.retain(|other| *other != id);
        assert_eq!(after, found);
        assert!(!damaged.is_empty() && damaged.iter().all(|other| *other == id), "{damaged:?}");
    }
    let (found, damaged) = read_mailbox(&la).await;
    assert_eq!((found + damaged, damaged > 0), (mail.0, damages_deliveries));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_hides_no_other_child() {
    let damage = "UPDATE child_keys SET wrapped = zeroblob(length(wrapped)) \
                  WHERE child = (SELECT child FROM placements WHERE id = $1 LIMIT 1)";
    a_damaged_record_hides_no_other(damage, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_placement_hides_no_other_child() {
    let damage = "UPDATE placements SET provider = 'nobody' WHERE id = $1";
    a_damaged_record_hides_no_other(damage, true).await;
}

/// Checks that marks of other children are stored although a placement is damaged, and that a mark that may be
/// about the damaged one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_placement_stops_only_marks_that_could_be_about_it() {
    let world = World::sqlite().await;
    let made = sandbox::world::load(world.dir.path()).unwrap();
    let placed: Vec<_> = made.placements.iter().filter(|placed| placed.provider == "provider-a").collect();
    let (damaged, sound) = (placed[0], placed[1]);
    let named = |child, date| {
        let mut named = mark(&sound.placement_id, date, "/");
        named.child = Some(child);
        named
    };
    let damage = |residence: &'static str| {
        let (world, id) = (&world, Value::from(Uuid::parse_str(&damaged.placement_id).unwrap()));
        async move {
            let database = world.database().await;
            let sql = "UPDATE placements SET residence = $1 WHERE id = $2";
            let changed = database.writer().await.unwrap().execute(sql, vec![residence.into(), id]).await;
            assert!(changed.unwrap() > 0);
            database.close().await;
        }
    };
    damage("nobody").await;
    let riverside = world.client("provider-a").await;
    let submitted = |marks| {
        let riverside = &riverside;
        async move {
            match submit(riverside, &submission(marks)).await {
                Ok(reply) => Ok(reply.message.stored),
                Err(ClientError::Refused(status)) => Err((status.code(), reason(&status))),
                Err(other) => panic!("{other}"),
            }
        }
    };
    let failed = Err((Code::Internal, "FAILED".to_owned()));
    // All other children of the roster, by placement id.
    let others = placed[1..].iter().map(|placed| mark(&placed.placement_id, "2026-11-18", "/"));
    let others: Vec<_> = others.collect();
    let count = u32::try_from(others.len()).unwrap();
    assert_eq!(submitted(others).await, Ok(count));
    let reference = named(Child::ProviderReference(sound.provider_reference.clone()), "2026-11-19");
    assert_eq!(submitted(vec![reference.clone()]).await, Ok(1));
    let mut confirmed = mark(&sound.placement_id, "2026-11-17", "/");
    (confirmed.check_upn, confirmed.check_provider_reference) =
        (sound.upn.clone(), sound.provider_reference.clone());
    assert_eq!(submitted(vec![confirmed.clone()]).await, Ok(1));
    let checked = |upn: &str, reference: &str| {
        let mut checked = confirmed.clone();
        (checked.check_upn, checked.check_provider_reference) = (upn.to_owned(), reference.to_owned());
        checked
    };
    let uncertain = [
        mark(&damaged.placement_id, "2026-11-19", "/"),
        mark(&new_id(), "2026-11-19", "/"),
        named(Child::ProviderReference(damaged.provider_reference.clone()), "2026-11-19"),
        named(Child::Upn(damaged.upn.clone()), "2026-11-19"),
        named(Child::Upn(sound.upn.clone()), "2026-11-19"),
        checked(&damaged.upn, ""),
        checked("", &damaged.provider_reference),
    ];
    for mark in uncertain {
        assert_eq!(submitted(vec![mark.clone()]).await, failed, "{mark:?}");
    }
    // A repair is effective at once, without a restart.
    damage("la/330").await;
    let repaired = mark(&damaged.placement_id, "2026-11-19", "/");
    let by_upn = named(Child::Upn(sound.upn.clone()), "2026-11-20");
    assert_eq!(submitted(vec![repaired, by_upn]).await, Ok(2));
    world.stop().await;
}
