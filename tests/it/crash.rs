//! Kill -9 under load: what was acknowledged is stored, once, and the log verifies.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox;
use ap_gateway::client::Client;
use ap_gateway::proto::v1::{Receipt, SubmitAttendanceRequest, SubmitAttendanceResponse};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::limits::{allow, within};
use super::process::{Process, Sandbox};
use super::story::{mark, submission, submit};

/// Kills of a usual run; `tests/long` asks for more.
const KILLS: u32 = 25;
/// Longest time of a round: load, kill, and the start of the next process.
const ROUND: Duration = Duration::from_mins(1);
/// Longest time in which all that was acknowledged is asked for again.
const REPLAYS: Duration = Duration::from_mins(15);
/// Callers at once, each with a child of its own.
const CALLERS: usize = 4;

type Answered = Vec<(SubmitAttendanceRequest, SubmitAttendanceResponse, Receipt)>;

/// Submits until the gateway is gone.
async fn load(client: Client, placement: String, round: u32) -> Answered {
    let mut answered = Vec::new();
    for day in 0..60 {
        let mut sent = mark(&placement, &format!("2026-{:02}-{:02}", 9 + day / 30, day % 30 + 1), "L");
        // Each round has minutes of its own, so nothing is unchanged.
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

/// Kills of this run.
fn kills() -> u32 {
    std::env::var("AP_GATEWAY_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

/// Loads the gateway, kills it in the middle, and starts it again.
async fn round(sandbox: &Sandbox, server: Process, placements: &[String], round: u32) -> (Process, Answered) {
    let mut loads = JoinSet::new();
    for placement in placements {
        let client = sandbox.client("provider-a").await;
        loads.spawn(load(client, placement.clone(), round));
    }
    tokio::time::sleep(Duration::from_millis(u64::from(20 + 13 * round % 156))).await;
    drop(server);
    let answered = loads.join_all().await.concat();
    (Process::serve(sandbox.path()), answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let (kills, sandbox) = (kills(), Sandbox::new());
    allow(ROUND * kills + REPLAYS * 2);
    let placed = sandbox::world::load(sandbox.path()).unwrap().placements.into_iter();
    let placed = placed.filter(|placed| placed.provider == "provider-a").take(CALLERS);
    let placements: Vec<_> = placed.map(|placed| placed.placement_id).collect();
    let (mut server, mut acknowledged, mut longest) =
        (Process::serve(sandbox.path()), Answered::new(), Duration::ZERO);
    for number in 1..=kills {
        let begun = Instant::now();
        let next = round(&sandbox, server, &placements, number);
        let (restarted, answered) = within(ROUND, &format!("round {number}"), next).await;
        longest = longest.max(begun.elapsed());
        server = restarted;
        acknowledged.extend(answered);
    }
    assert!(acknowledged.len() > usize::try_from(kills).unwrap() * CALLERS);
    let replays = async {
        let client = sandbox.client("provider-a").await;
        for (request, reply, receipt) in &acknowledged {
            let again = submit(&client, request).await.unwrap();
            assert_eq!((again.message, again.receipt), (reply.clone(), receipt.clone()));
        }
    };
    within(REPLAYS, "the replays", replays).await;
    drop(server);
    sandbox.verifies().await;
    let mut marks: BTreeMap<Uuid, u32> = BTreeMap::new();
    for row in sandbox.query("SELECT return_id FROM marks").await {
        *marks.entry(row.id(0).unwrap()).or_default() += 1;
    }
    let stored = |reply: &SubmitAttendanceResponse| {
        let once = marks.get(&Uuid::parse_str(&reply.return_id).unwrap()) == Some(&1);
        once && reply.stored + reply.corrected == 1
    };
    let lost = acknowledged.iter().filter(|(_, reply, _)| !stored(reply)).count();
    writeln!(
        std::io::stderr(),
        "{kills} kills, {} acknowledged, {lost} lost, longest round {longest:?}",
        acknowledged.len()
    )
    .unwrap();
    assert_eq!(lost, 0);
}
