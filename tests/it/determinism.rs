//! Determinism: the same calls with the same seed, clock and certificates produce the same log on both databases.

use ap_gateway::clock::Randomness;
use tonic::Code;

use super::example_requests::{EXAMPLE_REQUESTS, ExampleRequest};
use super::fixtures::{Fixtures, method_descriptor};
use super::support::{Postgres, World};

/// Returns the examples of methods without server streaming, because the messages of a stream depend on timing.
fn unary_examples() -> impl Iterator<Item = &'static ExampleRequest> {
    EXAMPLE_REQUESTS.iter().filter(|row| !method_descriptor(row.method).is_server_streaming())
}

/// Sends every such example, repeats it, and sends it as a caller without the right. Returns the responses; each
/// has a receipt with the signed tree root.
async fn run_script(world: &World) -> Vec<Vec<u8>> {
    let random = Randomness::seeded(b"the caller's");
    let mut stage = Fixtures::create_settled(world.dir.path(), random, world.database().await).await;
    let mut answers = Vec::new();
    for row in unary_examples() {
        let request = stage.request(row, false);
        let first = stage.call(row.caller, row.method, &request).await;
        assert_eq!(first.status().code(), Code::Ok, "{}: {}", row.method, first.reason());
        answers.push(first.message.to_vec());
        // The repetition is a replay, or a second read.
        let again = stage.call(row.caller, row.method, &request).await;
        answers.push(again.message.to_vec());
        // The auditor may not call the method, or may not see the object.
        let refused = stage.call("auditor", row.method, &request).await;
        answers.push(refused.exchange().into_bytes());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_script_gives_the_same_tree_on_both_databases() {
    let sqlite = World::seeded(b"the gateway's", None, None).await;
    let one = run_script(&sqlite).await;
    let postgres = World::seeded(b"the gateway's", Some(&sqlite), Some(Postgres::start())).await;
    let other = run_script(&postgres).await;
    assert_eq!(one.len(), 3 * unary_examples().count());
    assert!(one.iter().step_by(3).all(|first| !first.is_empty()));
    for (at, (one, other)) in one.iter().zip(&other).enumerate() {
        let method = unary_examples().nth(at / 3).unwrap().method;
        assert!(one == other, "answer {} of {method} differs", at % 3);
    }
    assert_eq!(one, other);
    for world in [sqlite, postgres] {
        world.stop().await;
    }
}
