//! A small database with a record of every kind.

use ap_gateway::clock::Randomness;
use ap_gateway::seal::KeyRing;
use ap_gateway::store::DatabaseLocation;

use super::super::edits::filled::{
    FilledDatabase, announce_ended_nodes, break_the_glass, send_parts, send_round, supply_a_missing_item,
};
use super::super::support::{Postgres, World, gateway, run};

/// Seed of the second key of the ring. The other files are made from the seed of the world.
pub const SECOND_KEY_SEED: &[u8] = b"the second key of the ring";
/// Day on which the second key of the ring is made.
pub const SECOND_KEY_CREATED: jiff::civil::Date = jiff::civil::date(2026, 11, 20);

/// Makes the database and stops its gateway.
pub async fn create(seed: &[u8], postgres: Option<Postgres>) -> FilledDatabase {
    let world = World::seeded(seed, None, postgres).await;
    let random = Randomness::seeded(b"the callers of the small database");
    let stage = send_round(&world, 0, &random).await;
    let names = stage.names.clone();
    drop(stage);
    supply_a_missing_item(&world).await;
    send_parts(&world).await;
    break_the_glass(&world).await;
    let (config, ring) = (world.dir.path().join("gateway.toml"), world.dir.path().join("key-ring"));
    let (dir, postgres) = {
        announce_ended_nodes(&world).await;
        world.stop_serving().await
    };
    let random = Randomness::seeded(SECOND_KEY_SEED);
    KeyRing::rotate(&ring, SECOND_KEY_CREATED, &|bytes| random.fill(bytes)).unwrap();
    run(gateway().args(["activate-key", "--config"]).arg(&config));
    FilledDatabase { dir, postgres, names }
}

/// Returns where a database is.
pub fn location(made: &FilledDatabase) -> DatabaseLocation {
    match &made.postgres {
        Some(postgres) => DatabaseLocation::Postgres(postgres.url()),
        None => DatabaseLocation::Sqlite(made.dir.path().join("gateway.sqlite")),
    }
}
