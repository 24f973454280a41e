//! Readers are shared by organisation: one that floods the gateway with lists, and cancels them, delays itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ap_gateway::cli::audit;
use ap_gateway::proto::v1::{ListExpectedReturnsRequest, Outcome};
use ap_gateway::store::Database;
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::serve_process::LIST_PLACEMENTS;
use super::support::World;
use super::wire::{Wire, frame};

const EXPECTED_RETURNS: &str = "/apgateway.v1.ReturnsService/ListExpectedReturns";
/// Time for which the calls of the other organisation are counted.
const COUNTED: Duration = Duration::from_secs(3);

/// Counts the calls of an organisation that are answered one after the other within some time.
async fn count_calls(world: &World, name: &str) -> usize {
    let wire = Wire::connect(world.dir.path(), name).await;
    let (begun, mut answered) = (Instant::now(), 0);
    while begun.elapsed() < COUNTED {
        assert_eq!(wire.call(LIST_PLACEMENTS, &[]).await.reason(), "OK");
        answered += 1;
    }
    answered
}

/// Begins lists and cancels each a moment later, about 200 a second, until `ended`. Returns how many.
async fn cancel_lists(world: &World, ended: Arc<AtomicBool>) -> usize {
    let expected = ListExpectedReturnsRequest {
        from_date: "2026-11-01".to_owned(),
        to_date: "2026-11-30".to_owned(),
        ..ListExpectedReturnsRequest::default()
    };
    let (mut calls, cancelled) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..4 {
        let wire = Wire::connect(world.dir.path(), "la-a").await;
        let (ended, cancelled) = (Arc::clone(&ended), Arc::clone(&cancelled));
        let message = frame(&expected.encode_to_vec());
        calls.spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let call = wire.send(EXPECTED_RETURNS, &[], message.clone());
                // Shorter than a list takes on a fast machine.
                if tokio::time::timeout(Duration::from_millis(5), call).await.is_err() {
                    cancelled.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        });
    }
    calls.join_all().await;
    cancelled.load(Ordering::Relaxed)
}

async fn a_flood_of_cancelled_lists_delays_its_own_caller(world: World) {
    let alone = count_calls(&world, "provider-b").await;
    let ended = Arc::new(AtomicBool::new(false));
    let (cancelled, beside) = tokio::join!(cancel_lists(&world, Arc::clone(&ended)), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let beside = count_calls(&world, "provider-b").await;
        ended.store(true, Ordering::Relaxed);
        beside
    });
    assert!(cancelled > 50, "{cancelled} lists were cancelled");
    assert!(beside * 12 > alone, "{beside} calls beside the flood, {alone} without it");
    // A list that was cancelled before it was decided is a refusal in the log.
    let listed = audit::list_all_exchanges(&world.client("la-a").await).await.unwrap();
    let lists = listed.iter().filter(|exchange| exchange.method == EXPECTED_RETURNS);
    let late = lists.filter(|exchange| exchange.outcome() == Outcome::Refused);
    let late = late.filter(|exchange| exchange.reason == "DEADLINE_EXCEEDED").count();
    assert!(late > 20, "{late} of {cancelled} cancelled lists ended with their caller");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_cancelled_lists_delays_its_own_caller_on_sqlite() {
    a_flood_of_cancelled_lists_delays_its_own_caller(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_cancelled_lists_delays_its_own_caller_on_postgresql() {
    a_flood_of_cancelled_lists_delays_its_own_caller(World::postgres().await).await;
}

/// Checks that of 300 reads of one organisation and one of another, the latter is among the first.
async fn the_next_reader_is_another_organisation_s(database: Database) {
    let done = Arc::new(AtomicUsize::new(0));
    let mut reads = JoinSet::new();
    for _ in 0..300 {
        let (database, done) = (database.clone(), Arc::clone(&done));
        reads.spawn(async move {
            let mut conn = database.reader_for("la/330").await.unwrap();
            conn.begin_read().await.unwrap();
            conn.fetch("SELECT size FROM checkpoints LIMIT 1", vec![]).await.unwrap();
            // So slow that a delay of this test does not matter.
            tokio::time::sleep(Duration::from_millis(20)).await;
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    while database.waiting_readers() < 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = done.load(Ordering::Relaxed);
    drop(database.reader_for("provider/riverside").await.unwrap());
    let ahead = done.load(Ordering::Relaxed) - before;
    assert!(ahead < 60, "{ahead} reads of another organisation came first");
    reads.join_all().await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_reader_is_another_organisation_s_on_both_databases() {
    for world in [World::sqlite().await, World::postgres().await] {
        the_next_reader_is_another_organisation_s(world.database().await).await;
        world.stop().await;
    }
}
