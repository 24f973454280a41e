//! Moments of placements that are due at the same instant are evaluated in one exchange, on both databases. A damaged record
//! in it keeps no other, an erased child neither, and each organisation sees its own part of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use ap_gateway::client::Client;
use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::{
    AlertState, DeliveryStage, GetExchangeRequest, ListExchangesRequest, audit_service,
};
use ap_gateway::store::Value;
use uuid::Uuid;

use super::documents::{acknowledge, put_passport, share_passport};
use super::fixtures::{Fixtures, UPN, wait_until_evaluated};
use super::missing_returns::wait_for_ticks;
use super::placement_rules::{list_alerts, start_short_placement, wait_for_alert};
use super::support::{NOW, World};

const WITHOUT_PASSPORT: &str = "START_WITHOUT_PASSPORT";
const PAST_END: &str = "PAST_END";

/// Returns the UPN of another invented child each time: that of the fixtures' child with other last digits, and its check
/// letter.
fn next_upn() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(101);
    let digits = format!("{}{:03}", &UPN[1..10], NEXT.fetch_add(1, Ordering::Relaxed));
    let sum: u32 = (2..).zip(digits.bytes()).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum();
    let letter = "ABCDEFGHJKLMNPQRTUVWXYZ".chars().nth((sum % 23) as usize).unwrap();
    format!("{letter}{digits}")
}

/// Executes a statement about a placement in the sandbox's database.
async fn execute_about(world: &World, sql: &'static str, placement: &str) {
    let database = world.database().await;
    let id = Value::from(Uuid::parse_str(placement).unwrap());
    assert!(database.writer().await.unwrap().execute(sql, vec![id]).await.unwrap() > 0);
    database.close().await;
}

/// Returns the entries that evaluated moments of placements, each with the moments' subjects.
async fn evaluations(world: &World) -> Vec<(i64, Vec<String>)> {
    let database = world.database().await;
    // An evaluation moves the instant; a plan or a passport keeps it.
    let sql = "SELECT m.idx, m.subject FROM moments m JOIN moments b ON b.subject = m.subject \
               AND b.version = m.version - 1 WHERE m.subject LIKE 'placement/%' \
               AND (m.due IS NULL OR b.due IS NULL OR m.due > b.due) ORDER BY m.idx, m.subject";
    let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    database.close().await;
    let mut found: Vec<(i64, Vec<String>)> = Vec::new();
    for row in rows {
        let (index, subject): (i64, String) = (row.get("idx").unwrap(), row.get("subject").unwrap());
        let placement = subject.trim_start_matches("placement/").to_owned();
        match found.last_mut().filter(|(last, _)| *last == index) {
            Some((_, placements)) => placements.push(placement),
            None => found.push((index, vec![placement])),
        }
    }
    found
}

/// Returns an organisation's part of an entry: the placements that it names. `None`: it has no part in it.
async fn part_of(client: &Client, index: i64) -> Option<BTreeSet<String>> {
    let request = ListExchangesRequest { page_size: 1_000, ..ListExchangesRequest::default() };
    let listed = client.call(audit_service::LIST_EXCHANGES, &request).await.unwrap().message.exchanges;
    let listed = listed.into_iter().find(|record| i64::try_from(record.index).unwrap() == index)?;
    let request = GetExchangeRequest { exchange_id: listed.exchange_id };
    let read = client.call(audit_service::GET_EXCHANGE, &request).await.unwrap().message.exchange.unwrap();
    let placements: BTreeSet<_> = read.subjects.into_iter().map(|subject| subject.placement_id).collect();
    assert_eq!(usize::try_from(read.child_count).unwrap(), placements.len());
    Some(placements)
}

async fn all(world: World) -> World {
    let [la, riverside] = [world.client("la-a").await, world.client("provider-a").await];
    // What the start of the node made due concerns the placements of the sandbox alone.
    let database = world.database().await;
    wait_until_evaluated(&database, NOW.parse().unwrap()).await;
    database.close().await;
    let mut stage = Fixtures::create(world.dir.path(), Randomness::system()).await;
    let mut started = Vec::new();
    stage.personal_text = |field| (field == "upn").then(next_upn);
    for _ in 0..6 {
        started.push(start_short_placement(&mut stage, &la).await.0);
    }
    let [known, damaged, erased, healthy @ ..] = &started[..] else { unreachable!() };
    let etag = put_passport(&la, known, "").await.unwrap().etag;
    share_passport(&la, known, &etag).await.unwrap();
    acknowledge(&riverside, known, DeliveryStage::ActedOn).await;
    let erase = "DELETE FROM child_keys WHERE child = (SELECT child FROM placements WHERE id = $1 LIMIT 1)";
    execute_about(&world, erase, erased).await;
    // The first day is over: one exchange evaluates all. A tick before it, because a commit has what was set since the
    // last tick evaluated by itself.
    wait_for_ticks().await;
    world.advance("2026-11-21T00:00:01Z");
    for placement in [damaged].into_iter().chain(healthy) {
        wait_for_alert(&la, placement, WITHOUT_PASSPORT, AlertState::Open).await;
    }
    assert_eq!(list_alerts(&la, known, WITHOUT_PASSPORT).await, []);
    let mut together = evaluations(&world).await;
    together.retain(|(_, group)| started.iter().any(|placement| group.contains(placement)));
    let [(index, group)] = &together[..] else { panic!("{together:?}") };
    assert!(started.iter().all(|placement| group.contains(placement)), "{group:?}");
    // Of the placements of the exchange each reader sees those of which it was told; nobody else sees it.
    let alerted: BTreeSet<_> = [damaged].into_iter().chain(healthy).cloned().collect();
    let of_la = part_of(&la, *index).await.unwrap();
    assert!(of_la.is_superset(&alerted) && !of_la.contains(known) && !of_la.contains(erased), "{of_la:?}");
    assert!(part_of(&riverside, *index).await.unwrap().is_superset(&alerted));
    assert_eq!(part_of(&world.client("provider-b").await, *index).await, None);
    // A plan that does not open keeps no other placement.
    execute_about(&world, "UPDATE plans SET plan = placement WHERE placement = $1", damaged).await;
    world.advance("2026-11-25T00:00:01Z");
    for placement in [known].into_iter().chain(healthy) {
        wait_for_alert(&la, placement, PAST_END, AlertState::Open).await;
    }
    for placement in [damaged, erased] {
        assert_eq!(list_alerts(&la, placement, PAST_END).await, []);
    }
    let evaluated = evaluations(&world).await;
    let count_of =
        |placement: &String| evaluated.iter().filter(|(_, group)| group.contains(placement)).count();
    // After the first day the review of Monday and the planned end of Tuesday.
    assert!(count_of(known) >= 3 && count_of(&healthy[0]) >= 3);
    assert_eq!((count_of(damaged), count_of(erased)), (1, 1));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_of_placements_are_evaluated_together_on_sqlite() {
    let world = all(World::sqlite().await).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_of_placements_are_evaluated_together_on_postgresql() {
    let world = all(World::postgres().await).await;
    world.stop().await;
}
