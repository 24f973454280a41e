//! Kill -9 under load: what was acknowledged is stored, once, and the log verifies.

use ap_gateway::cli::{audit, profile, sandbox};

use super::process::Process;
use super::story::{mark, submission, submit};

const ROUNDS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut server = Process::serve(dir);
    let world = sandbox::world::load(dir).unwrap();
    let placed = world.placements.iter().find(|placed| placed.provider == "provider-a").unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let client = profile::connect(&sandbox::profile(dir, "provider-a")).await.unwrap();
        let load = tokio::spawn({
            let placement = placed.placement_id.clone();
            async move {
                let mut stored = Vec::new();
                for day in 0..30 {
                    // Dates of October: each round has codes of its own, so nothing is unchanged.
                    let mut sent =
                        mark(&placement, &format!("2026-10-{:02}", day % 30 + 1), ["/", "L", "I"][round % 3]);
                    sent.correction_reason = format!("round {round}");
                    let request = submission(vec![sent]);
                    match submit(&client, &request).await {
                        Ok(reply) => stored.push((request, reply.message)),
                        Err(_) => break,
                    }
                }
                stored
            }
        });
        tokio::time::sleep(std::time::Duration::from_millis(20 + 13 * (round as u64 % 12))).await;
        drop(server);
        acknowledged.extend(load.await.unwrap());
        server = Process::serve(dir);
    }
    let client = profile::connect(&sandbox::profile(dir, "provider-a")).await.unwrap();
    assert!(!acknowledged.is_empty());
    for (request, reply) in &acknowledged {
        assert_eq!(submit(&client, request).await.unwrap().message, *reply);
    }
    drop(server);
    let log_key = std::fs::read_to_string(dir.join("log-key")).unwrap();
    let (database, anchor, ring) = (dir.join("gateway.sqlite"), dir.join("anchor"), dir.join("key-ring"));
    let report = audit::verify_copy(&database, &log_key, Some(&anchor), Some(&ring)).await.unwrap();
    assert_eq!(report.findings, []);
    assert!(report.records > 0);
}
