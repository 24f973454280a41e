//! A record that cannot be read is not an erased one: the exchange is refused, and nothing is entered as delivered.

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

use super::story::{id, mark, submission, submit};
use super::support::{World, deliveries};

/// Executes a statement in the world's database and returns how many rows it changed.
async fn execute(world: &World, sql: &'static str) -> u64 {
    let database = world.database().await;
    let changed = database.writer().await.unwrap().execute(sql, vec![]).await.unwrap();
    database.close().await;
    changed
}

async fn count(world: &World, sql: &'static str) -> i64 {
    let database = world.database().await;
    let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap();
    database.close().await;
    row.unwrap().int(0).unwrap()
}

/// Calls each method whose answer is made of several children's records, and returns what each was refused with.
async fn answers(client: &Client) -> [Result<usize, (Code, String)>; 4] {
    fn told(error: ClientError) -> (Code, String) {
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
            .map_err(told),
        client
            .call(returns_service::LIST_EXPECTED_RETURNS, &expected)
            .await
            .map(|reply| reply.message.returns.len())
            .map_err(told),
        client
            .call(placement_service::LIST_PLACEMENTS, &list)
            .await
            .map(|reply| reply.message.placements.len())
            .map_err(told),
        client
            .call(oversight_service::LIST_ALERTS, &alerts)
            .await
            .map(|reply| reply.message.alerts.len())
            .map_err(told),
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
    let before = answers(&world.client("la-a").await).await;
    assert!(before.iter().all(|answer| answer.as_ref().is_ok_and(|found| *found > 0)), "{before:?}");
    let lost = execute(&world, "UPDATE child_keys SET kek_id = kek_id + 7").await;
    // A new node: it remembers no unwrapped key.
    let world = world.restart().await;
    let la = world.client("la-a").await;
    let collected = "SELECT COUNT(*) FROM collections";
    let before_calls = count(&world, collected).await;
    let refused = answers(&la).await;
    for answer in &refused {
        assert_eq!(*answer, Err((Code::Unavailable, "KEY_UNAVAILABLE".to_owned())), "{refused:?}");
    }
    assert_eq!(count(&world, collected).await, before_calls, "nothing was collected");
    let entered = ap_gateway::cli::audit::exchanges(&la).await.unwrap();
    let reasons = entered.iter().filter(|exchange| exchange.reason == "KEY_UNAVAILABLE");
    assert_eq!(reasons.filter(|exchange| exchange.outcome() == Outcome::Refused).count(), refused.len());
    assert_eq!(execute(&world, "UPDATE child_keys SET kek_id = kek_id - 7").await, lost);
    assert_eq!(answers(&la).await, before, "the same node serves once it has the key");
    assert!(deliveries(&la).await.iter().all(|delivery| delivery.content.is_some()));
    world.stop().await;
}

/// The stored answer of a repeated request is given with the salts of its receipt, which are sealed too.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_once_the_ring_holds_the_key_of_its_salts() {
    let world = World::sqlite().await;
    let riverside = world.client("provider-a").await;
    let request = submission(vec![mark(&world.placements("la-a", "provider-a")[0], "2026-11-19", "/")]);
    let first = submit(&riverside, &request).await.unwrap();
    // Sealed bytes begin with a version and the id of their key, four bytes: one that no ring holds, and back.
    let sealed = "SELECT COUNT(*) FROM entries WHERE substr(salts, 1, 5) = X'0200000001'";
    let entries = count(&world, sealed).await;
    assert!(entries > 0);
    let missing =
        "UPDATE entries SET salts = CAST(X'0200000009' || substr(salts, 6) AS BLOB) WHERE salts NOTNULL";
    execute(&world, missing).await;
    let ClientError::Refused(status) = submit(&riverside, &request).await.unwrap_err() else { panic!() };
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "KEY_UNAVAILABLE"));
    let back =
        "UPDATE entries SET salts = CAST(X'0200000001' || substr(salts, 6) AS BLOB) WHERE salts NOTNULL";
    execute(&world, back).await;
    let again = submit(&riverside, &request).await.unwrap();
    assert_eq!(again.message, first.message);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_fails_the_call() {
    let world = world_with_marks().await;
    execute(&world, "ALTER TABLE child_keys RENAME TO hidden").await;
    let world = world.restart().await;
    let la = world.client("la-a").await;
    for answer in answers(&la).await {
        assert_eq!(answer, Err((Code::Internal, "FAILED".to_owned())));
    }
    execute(&world, "ALTER TABLE hidden RENAME TO child_keys").await;
    assert!(answers(&la).await.iter().all(Result::is_ok));
    world.stop().await;
}

/// Only a wrapped key that is not there any more is an erasure: every other child's records go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_child_is_in_no_list_and_hides_no_other() {
    let world = world_with_marks().await;
    let la = world.client("la-a").await;
    let before = answers(&la).await;
    // The first placement's child: every organisation's key of it.
    let erased = "DELETE FROM child_keys WHERE child = (SELECT child FROM placements WHERE idx = \
                  (SELECT MIN(idx) FROM placements WHERE commissioner = 'la/330'))";
    assert!(execute(&world, erased).await > 0);
    let after = answers(&la).await;
    let fewer = |at: usize| after[at].as_ref().unwrap() < before[at].as_ref().unwrap();
    assert!(fewer(1) && fewer(2), "{before:?} {after:?}");
    assert_eq!(after[0], before[0], "every delivery goes on being delivered");
    let contents = deliveries(&la).await;
    assert!(contents.iter().any(|delivery| delivery.content.is_some()));
    assert!(contents.iter().any(|delivery| delivery.content.is_none()));
    world.stop().await;
}

/// What a refusal says of the damaged record with which a page begins, and of the place behind it.
fn behind(error: ClientError) -> HashMap<String, String> {
    let ClientError::Refused(status) = error else { panic!("{error}") };
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "FAILED"));
    status.get_error_details().error_info().unwrap().metadata.clone()
}

/// Reads all pages of a list, going on behind damaged records. Returns the placements of what was read and of what is
/// damaged.
async fn all_pages<Req, Resp, F>(
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
                let facts = behind(error);
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

async fn all_lists(client: &Client) -> [(Vec<String>, Vec<String>); 3] {
    let placements = |page_token| ListPlacementsRequest { page_token, ..ListPlacementsRequest::default() };
    let expected = |page_token| ListExpectedReturnsRequest {
        from_date: "2026-11-16".to_owned(),
        to_date: "2026-11-20".to_owned(),
        page_token,
        ..ListExpectedReturnsRequest::default()
    };
    let alerts = |page_token| ListAlertsRequest { page_token, ..ListAlertsRequest::default() };
    [
        all_pages(client, placement_service::LIST_PLACEMENTS, placements, |page| {
            (page.placements.into_iter().map(|one| one.placement_id).collect(), page.next_page_token)
        })
        .await,
        all_pages(client, returns_service::LIST_EXPECTED_RETURNS, expected, |page| {
            (page.returns.into_iter().map(|one| one.placement_id).collect(), page.next_page_token)
        })
        .await,
        all_pages(client, oversight_service::LIST_ALERTS, alerts, |page| {
            (page.alerts.into_iter().map(|one| one.placement_id).collect(), page.next_page_token)
        })
        .await,
    ]
}

/// Reads a mailbox to its end, going on behind damaged deliveries. Returns how many of each there were.
async fn all_deliveries(client: &Client) -> (usize, usize) {
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
                let facts = behind(error);
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

/// A damaged record is an error, and hides no other child: pages end before it, and a refusal tells the way behind it.
async fn a_damaged_record_hides_no_other(damage: &'static str, damages_deliveries: bool) {
    let world = world_with_marks().await;
    let la = world.client("la-a").await;
    let (before, mail) = (all_lists(&la).await, all_deliveries(&la).await);
    assert!(before.iter().all(|(found, damaged)| !found.is_empty() && damaged.is_empty()));
    // Neither the first nor the last of a list.
    let mut placements = before[0].0.clone();
    placements.retain(|id| before.iter().all(|(found, _)| found.contains(id) && found.last() != Some(id)));
    let id = placements.pop().unwrap();
    let database = world.database().await;
    let value = Value::from(Uuid::parse_str(&id).unwrap());
    assert!(database.writer().await.unwrap().execute(damage, vec![value]).await.unwrap() > 0);
    database.close().await;
    let world = world.restart().await;
    let la = world.client("la-a").await;
    for ((after, damaged), (mut found, _)) in all_lists(&la).await.into_iter().zip(before) {
        found.retain(|other| *other != id);
        assert_eq!(after, found);
        assert!(!damaged.is_empty() && damaged.iter().all(|other| *other == id), "{damaged:?}");
    }
    let (found, damaged) = all_deliveries(&la).await;
    assert_eq!((found + damaged, damaged > 0), (mail.0, damages_deliveries));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_hides_no_other_child() {
    let damage = "UPDATE child_keys SET wrapped = zeroblob(length(wrapped)) \
                  WHERE child = (SELECT child FROM placements WHERE placement = $1 LIMIT 1)";
    a_damaged_record_hides_no_other(damage, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_placement_hides_no_other_child() {
    let damage = "UPDATE placements SET provider = 'nobody' WHERE placement = $1";
    a_damaged_record_hides_no_other(damage, true).await;
}

/// Marks of other children go on beside a damaged placement; a mark that could be about it is not guessed.
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
            let sql = "UPDATE placements SET residence = $1 WHERE placement = $2";
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
    // Every other child of the roll, by the placement's id.
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
        mark(&id(), "2026-11-19", "/"),
        named(Child::ProviderReference(damaged.provider_reference.clone()), "2026-11-19"),
        named(Child::Upn(damaged.upn.clone()), "2026-11-19"),
        named(Child::Upn(sound.upn.clone()), "2026-11-19"),
        checked(&damaged.upn, ""),
        checked("", &damaged.provider_reference),
    ];
    for mark in uncertain {
        assert_eq!(submitted(vec![mark.clone()]).await, failed, "{mark:?}");
    }
    // A repair is seen at once, without a restart.
    damage("la/330").await;
    let repaired = mark(&damaged.placement_id, "2026-11-19", "/");
    let by_upn = named(Child::Upn(sound.upn.clone()), "2026-11-20");
    assert_eq!(submitted(vec![repaired, by_upn]).await, Ok(2));
    world.stop().await;
}
