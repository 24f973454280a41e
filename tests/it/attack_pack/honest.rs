//! The honest callers: a provider that submits marks one by one, and a canary that reads ten times a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ap_gateway::cli::sandbox;
use ap_gateway::client::{CheckpointStore, Client, ClientError, Profile, reason};
use ap_gateway::proto::v1::{GetPlacementRequest, Mark, placement_service};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::exchange_semantics::{submission, submit};
use crate::serve_process::{ServeFolder, ServeProcess};
use crate::upload;

/// Concurrent submissions, and the pause of each between two marks.
const SUBMITTERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(20);
/// Marks that a submitter can send in a second, at most.
const MARKS_A_SECOND: usize = 50;
const CANARY_INTERVAL: Duration = Duration::from_millis(100);

/// Honest callers at work.
pub struct HonestLoad {
    state: Arc<State>,
    callers: JoinSet<()>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    acknowledged: Mutex<Vec<Uuid>>,
    /// When each call of the canary was due, counted from the start, and how long it took from then.
    canary: Mutex<Vec<(Duration, Duration)>>,
    failed: Mutex<BTreeMap<String, u64>>,
}

/// What the honest callers got.
pub struct Measured {
    /// The ids of the returns of acknowledged marks.
    pub acknowledged: Vec<Uuid>,
    /// Failed calls by caller and reason. A mark is sent until it is acknowledged.
    pub failed: BTreeMap<String, u64>,
    canary: Vec<(Duration, Duration)>,
}

impl HonestLoad {
    pub async fn start(folder: &ServeFolder, served: &ServeProcess, time: Duration) -> Self {
        let (state, mut callers) = (Arc::new(State::default()), JoinSet::new());
        let placements = sandbox::world::load(folder.path()).unwrap().placements.into_iter();
        let placements: Vec<String> = placements
            .filter(|placed| placed.provider == "provider-a" && placed.commissioner == "la-a")
            .map(|placed| placed.placement_id)
            .collect();
        let canary = connect(folder, served, "la-a").await;
        callers.spawn(call_regularly(Arc::clone(&state), canary, placements[0].clone()));
        let each = (usize::try_from(time.as_secs()).unwrap() + 60) * MARKS_A_SECOND;
        let marks = upload::marks(&placements, each * SUBMITTERS);
        for marks in marks.chunks(each) {
            let client = connect(folder, served, "provider-a").await;
            callers.spawn(submit_all(Arc::clone(&state), client, marks.to_vec()));
        }
        Self { state, callers }
    }

    pub fn acknowledged(&self) -> usize {
        self.state.acknowledged.lock().unwrap().len()
    }

    pub async fn stop(self) -> Measured {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        let state = &self.state;
        let mut canary = state.canary.lock().unwrap().clone();
        canary.sort_unstable();
        let acknowledged = state.acknowledged.lock().unwrap().clone();
        Measured { acknowledged, failed: state.failed.lock().unwrap().clone(), canary }
    }
}

impl State {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn count_failure(&self, caller: &str, error: &ClientError) {
        let why = match error {
            ClientError::Refused(status) => format!("{:?} {}", status.code(), reason(status)),
            other => other.to_string(),
        };
        *self.failed.lock().unwrap().entry(format!("{caller}: {why}")).or_default() += 1;
    }
}

impl Measured {
    /// Returns the sorted latencies of the canary's calls that were due between two seconds.
    pub fn canary_between(&self, from: usize, to: usize) -> Vec<Duration> {
        let second = |due: Duration| usize::try_from(due.as_secs()).unwrap();
        let calls = self.canary.iter().filter(|(due, _)| (from..to).contains(&second(*due)));
        let mut latencies: Vec<Duration> = calls.map(|(_, took)| *took).collect();
        latencies.sort_unstable();
        latencies
    }

    /// Returns how many calls of a caller failed.
    pub fn failures(&self, caller: &str) -> u64 {
        self.failed.iter().filter(|(what, _)| what.starts_with(caller)).map(|(_, count)| count).sum()
    }
}

async fn connect(folder: &ServeFolder, served: &ServeProcess, name: &str) -> Client {
    let (profile, _) = Profile::load(&sandbox::profile_path(folder.path(), name)).unwrap();
    let profile = Profile { endpoint: served.address.to_string(), ..profile };
    Client::connect(&profile, CheckpointStore::default()).await.unwrap().without_retries()
}

/// Sends marks one after the other, each under one request id until it is acknowledged.
async fn submit_all(state: Arc<State>, client: Client, marks: Vec<Mark>) {
    for mark in marks {
        let request = submission(vec![mark]);
        while !state.is_stopped() {
            match submit(&client, &request).await {
                Ok(reply) => {
                    let id = Uuid::parse_str(&reply.message.return_id).unwrap();
                    state.acknowledged.lock().unwrap().push(id);
                    break;
                }
                Err(error) => state.count_failure("submitter", &error),
            }
            tokio::time::sleep(PAUSE * 5).await;
        }
        if state.is_stopped() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("the load ran out of marks");
}

/// Makes a call at fixed times, whatever the state of the earlier ones, so that a stall is counted in each of them.
async fn call_regularly(state: Arc<State>, client: Client, placement_id: String) {
    let (begun, mut calls) = (Instant::now(), JoinSet::new());
    let mut timer = tokio::time::interval(CANARY_INTERVAL);
    while !state.is_stopped() {
        let due = timer.tick().await.into_std();
        let (state, client) = (Arc::clone(&state), client.clone());
        let request = GetPlacementRequest { placement_id: placement_id.clone() };
        calls.spawn(async move {
            let read = client.call(placement_service::GET_PLACEMENT, &request).await;
            match read {
                Ok(_) => {
                    let due_at = due.saturating_duration_since(begun);
                    state.canary.lock().unwrap().push((due_at, due.elapsed()));
                }
                Err(error) => state.count_failure("canary", &error),
            }
        });
    }
    calls.join_all().await;
}
