//! The same calls with the same seed, clock and certificates make the same log, whichever database keeps it.

use ap_gateway::clock::Randomness;
use tonic::Code;

use super::rows::{ROWS, Row};
use super::stage::{Stage, descriptor};
use super::support::{Postgres, World};

/// The rows of methods that answer once: a stream's messages fall as time does.
fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| !descriptor(row.method).is_server_streaming())
}

/// Plays every such row, one after the other, some of them again and some of them wrongly, and gives the answers:
/// each has the receipt, with the signed root of the tree.
async fn script(world: &World) -> Vec<Vec<u8>> {
    let mut stage = Stage::set(world.dir.path(), Randomness::seeded(b"the caller's")).await;
    let mut answers = Vec::new();
    for row in rows() {
        let request = stage.request(row, false);
        let first = stage.call(row.caller, row.method, &request).await;
        assert_eq!(first.status().code(), Code::Ok, "{}: {}", row.method, first.told());
        answers.push(first.message.to_vec());
        // Again: a replay, or a second reading.
        let again = stage.call(row.caller, row.method, &request).await;
        answers.push(again.message.to_vec());
        // And by one who may not, or may not see it.
        let refused = stage.call("auditor", row.method, &request).await;
        answers.push(refused.exchange().into_bytes());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_script_gives_the_same_tree_on_both_databases() {
    let sqlite = World::seeded(b"the gateway's", None, None).await;
    let one = script(&sqlite).await;
    let postgres = World::seeded(b"the gateway's", Some(&sqlite), Some(Postgres::start())).await;
    let other = script(&postgres).await;
    assert!(one.len() > 80 && one.iter().map(Vec::len).sum::<usize>() > 80_000);
    for (at, (one, other)) in one.iter().zip(&other).enumerate() {
        let method = rows().nth(at / 3).unwrap().method;
        assert!(one == other, "answer {} of {method} differs", at % 3);
    }
    assert_eq!(one, other);
    for world in [sqlite, postgres] {
        world.stop().await;
    }
}
