//! SIGKILL under load: acknowledged submissions are stored once, and the log verifies.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::{Receipt, SubmitAttendanceRequest, SubmitAttendanceResponse};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::exchange_semantics::{mark, submission, submit};
use super::limits::{allow, within};
use super::process::{Process, Sandbox};

/// Number of kills in a normal run; `tests/long` sets more.
const DEFAULT_KILLS: u32 = 25;
/// Time limit of a round: load, kill, and start of the next process.
const MAX_ROUND_TIME: Duration = Duration::from_mins(1);
/// Time limit for sending all acknowledged requests again.
const MAX_REPLAY_TIME: Duration = Duration::from_mins(15);
/// Concurrent callers, each with its own child.
const CONCURRENT_CALLERS: usize = 4;

type Answered = Vec<(SubmitAttendanceRequest, SubmitAttendanceResponse, Receipt)>;

/// Submits marks until a call fails.
async fn submit_until_error(client: Client, placement: String, round: u32) -> Answered {
    let mut answered = Vec::new();
    for day in 0..60 {
        let mut sent = mark(&placement, &format!("2026-{:02}-{:02}", 9 + day / 30, day % 30 + 1), "L");
        // Each round has its own number of minutes, so no mark is unchanged.
        sent.minutes_late = i32::try_from(round % 100 + 1).ok();
        sent.correction_reason = format!("round {round}");
        let request = submission(vec![sent]);
        match submit(&client, &request).await {
            Ok(reply) => answered.push((request, reply.message, reply.receipt)),
            Err(_) => break,
        }
    }
    answered
}

/// Returns the number of kills of this run.
fn configured_kills() -> u32 {
    std::env::var("AP_GATEWAY_TEST_KILLS").map_or(DEFAULT_KILLS, |kills| kills.parse().unwrap())
}

/// Sends load to the gateway, kills it meanwhile, and starts it again.
async fn kill_round(
    sandbox: &Sandbox,
    server: Process,
    placements: &[String],
    round: u32,
) -> (Process, Answered) {
    let mut loads = JoinSet::new();
    for placement in placements {
        let client = sandbox.client_without_folder("provider-a").await;
        loads.spawn(submit_until_error(client, placement.clone(), round));
    }
    tokio::time::sleep(Duration::from_millis(u64::from(20 + 13 * round % 156))).await;
    drop(server);
    let answered = loads.join_all().await.concat();
    (Process::serve(sandbox.path()), answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let (kills, sandbox) = (configured_kills(), Sandbox::new());
    allow(MAX_ROUND_TIME * kills + MAX_REPLAY_TIME * 2);
    let placed = sandbox::world::load(sandbox.path()).unwrap().placements.into_iter();
    let placed = placed.filter(|placed| placed.provider == "provider-a").take(CONCURRENT_CALLERS);
    let placements: Vec<_> = placed.map(|placed| placed.placement_id).collect();
    let (mut server, mut acknowledged, mut max_round) =
        (Process::serve(sandbox.path()), Answered::new(), Duration::ZERO);
    for number in 1..=kills {
        let begun = Instant::now();
        let next = kill_round(&sandbox, server, &placements, number);
        let (restarted, answered) = within(MAX_ROUND_TIME, &format!("round {number}"), next).await;
        max_round = max_round.max(begun.elapsed());
        server = restarted;
        acknowledged.extend(answered);
    }
    assert!(acknowledged.len() > usize::try_from(kills).unwrap() * CONCURRENT_CALLERS);
    let replays = async {
        let client = sandbox.client("provider-a").await;
        for (request, reply, receipt) in &acknowledged {
            let again = submit(&client, request).await.unwrap();
            assert_eq!((again.message, again.receipt), (reply.clone(), receipt.clone()));
        }
    };
    within(MAX_REPLAY_TIME, "the replays", replays).await;
    drop(server);
    sandbox.assert_log_verifies().await;
    let mut marks: BTreeMap<Uuid, u32> = BTreeMap::new();
    for row in sandbox.query("SELECT return_id FROM marks").await {
        *marks.entry(row.get("return_id").unwrap()).or_default() += 1;
    }
    let stored = |reply: &SubmitAttendanceResponse| {
        let once = marks.get(&Uuid::parse_str(&reply.return_id).unwrap()) == Some(&1);
        once && reply.stored + reply.corrected == 1
    };
    let lost = acknowledged.iter().filter(|(_, reply, _)| !stored(reply)).count();
    writeln!(
        std::io::stderr(),
        "{kills} kills, {} acknowledged, {lost} lost, longest round {max_round:?}",
        acknowledged.len()
    )
    .unwrap();
    assert_eq!(lost, 0);
}
