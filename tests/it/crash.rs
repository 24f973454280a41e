//! Kill -9 under load: what was acknowledged is stored, once, and the log verifies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::{Receipt, SubmitAttendanceRequest, SubmitAttendanceResponse};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::process::{Process, Sandbox};
use super::story::{mark, submission, submit};

const ROUNDS: i32 = 25;
/// Callers at once, each with a child of its own.
const CALLERS: usize = 4;

type Answered = Vec<(SubmitAttendanceRequest, SubmitAttendanceResponse, Receipt)>;

/// Submits until the gateway is gone.
async fn load(client: Client, placement: String, round: i32) -> Answered {
    let mut answered = Vec::new();
    for day in 0..60 {
        let mut sent = mark(&placement, &format!("2026-{:02}-{:02}", 9 + day / 30, day % 30 + 1), "L");
        // Each round has minutes of its own, so nothing is unchanged.
        sent.minutes_late = Some(round);
        sent.correction_reason = format!("round {round}");
        let request = submission(vec![sent]);
        match submit(&client, &request).await {
            Ok(reply) => answered.push((request, reply.message, reply.receipt)),
            Err(_) => break,
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let sandbox = Sandbox::new();
    let placed = sandbox::world::load(sandbox.path()).unwrap().placements;
    let placed: Vec<_> = placed.into_iter().filter(|placed| placed.provider == "provider-a").collect();
    let mut server = Process::serve(sandbox.path());
    let mut acknowledged = Vec::new();
    for round in 1..=ROUNDS {
        let mut loads = JoinSet::new();
        for placed in placed.iter().take(CALLERS) {
            let client = sandbox.client("provider-a").await;
            loads.spawn(load(client, placed.placement_id.clone(), round));
        }
        tokio::time::sleep(Duration::from_millis(u64::from(20 + 13 * round.unsigned_abs() % 156))).await;
        drop(server);
        acknowledged.extend(loads.join_all().await.concat());
        let begun = Instant::now();
        server = Process::serve(sandbox.path());
        // A bound on recovery, not a measure of speed.
        assert!(begun.elapsed() < Duration::from_secs(5), "round {round}: {:?}", begun.elapsed());
    }
    assert!(acknowledged.len() > 25 * CALLERS);
    let client = sandbox.client("provider-a").await;
    for (request, reply, receipt) in &acknowledged {
        let again = submit(&client, request).await.unwrap();
        assert_eq!((again.message, again.receipt), (reply.clone(), receipt.clone()));
    }
    drop(server);
    sandbox.verifies().await;
    let mut marks: BTreeMap<Uuid, u32> = BTreeMap::new();
    for row in sandbox.query("SELECT return_id FROM marks").await {
        *marks.entry(row.id(0).unwrap()).or_default() += 1;
    }
    for (_, reply, _) in &acknowledged {
        assert_eq!(reply.stored + reply.corrected, 1);
        assert_eq!(marks.get(&Uuid::parse_str(&reply.return_id).unwrap()), Some(&1));
    }
}
