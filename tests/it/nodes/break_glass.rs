//! The count of an organisation's break-glasses of a day is one over both nodes, and none of them is refused for it.

use std::collections::BTreeMap;

use ap_gateway::cli::sandbox;

use super::super::break_glass_count::break_at_once;
use super::super::support::Postgres;
use super::super::tokens::TestIssuer;
use super::{NODE_NAMES, Nodes};

/// Number of break-glasses that are sent to both nodes at once.
const AT_ONCE: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn both_nodes_count_the_emergencies_of_a_day_together() {
    let nodes = Nodes::new(Postgres::start());
    let _servers = nodes.serve();
    let dir = nodes.dir(NODE_NAMES[0]);
    let token = TestIssuer::load(&dir, "provider-a").token(&dir, "provider-a", |_| {});
    let clients = nodes.clients().await.map(|client| client.with_token(&token).unwrap());
    // The first child has a passport.
    let mut placed = sandbox::world::load(&dir).unwrap().placements.into_iter();
    let placed = placed.find(|it| (&*it.commissioner, &*it.provider) == ("la-a", "provider-a")).unwrap();
    let over = break_at_once(&clients, &placed.placement_id, AT_ONCE).await;
    let rows = nodes.query("SELECT day, number, over_limit FROM break_glass ORDER BY day, number").await;
    assert_eq!(rows.len(), AT_ONCE);
    assert_eq!(rows.iter().filter(|row| row.get::<bool>("over_limit").unwrap()).count(), over);
    let mut days: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in &rows {
        days.entry(row.get("day").unwrap()).or_default().push(row.get("number").unwrap());
    }
    // The test may run at midnight in London.
    for numbers in days.values() {
        let beyond = numbers.iter().filter(|number| **number == 0).count();
        let counted = i64::try_from(numbers.len() - beyond).unwrap();
        assert!(numbers[beyond..].iter().copied().eq(1..=counted), "{numbers:?}");
        assert!(counted == 10 || (beyond == 0 && counted < 10), "{numbers:?}");
    }
}
