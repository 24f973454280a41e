//! Load of new marks from many providers concurrently, with the receipt of every response verified.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::Failure;
use super::fleet::{self, FleetProvider};
use crate::calendar::Date;
use crate::client::{CheckpointStore, Client};
use crate::clock::{Clock, Randomness, SystemClock};
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{Mark, SeenMark, Session, SubmitAttendanceRequest, returns_service};

/// Sessions of a placement per day. They are timed, two minutes each, so that there are enough of them for a long load.
const SESSIONS_PER_DAY: u64 = 2;
/// Days of term. After the last one the load continues with the next sessions of the first.
const DAYS_PER_TERM: u64 = 80;

/// Shape of a load.
#[derive(Clone, Copy, Debug)]
pub struct LoadShape {
    /// Marks per call.
    pub marks: usize,
    /// Concurrent calls, over all connections.
    pub in_flight: usize,
    /// Duration of the load.
    pub duration: Duration,
}

/// Measurement of a load.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Successful calls with a valid receipt.
    pub calls: u64,
    /// Time from the first call to the last response.
    pub elapsed: Duration,
    /// Latencies in microseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Measurement {
    /// Returns the calls per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns the latency in microseconds that `permille` of 1,000 calls did not exceed.
    #[must_use]
    pub fn latency_quantile(&self, permille: usize) -> u32 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * permille / 1000).copied().unwrap_or(0)
    }
}

/// Check of the response to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerCheck {
    /// Verifies the receipt, and that every mark was new.
    VerifyReceipt,
    /// Only decodes the response, for a server that only echoes.
    DecodeOnly,
}

/// Provider with its connection and the number of its next mark.
struct Sender {
    client: Client,
    provider: FleetProvider,
    next_mark: AtomicU64,
}

/// Providers with their connections. The number of marks that each sent is stored in the sandbox's folder, so that no
/// mark is sent twice.
pub struct SenderPool {
    senders: Vec<Sender>,
    next_sender: AtomicUsize,
    answer_check: AnswerCheck,
    random: Randomness,
    progress_file: PathBuf,
}

impl SenderPool {
    /// Opens `connections` connections, each as one provider of the fleet in turn.
    ///
    /// # Errors
    /// Errors of the client.
    pub async fn connect(
        dir: &Path,
        fleet: &[FleetProvider],
        connections: usize,
        answer: AnswerCheck,
    ) -> Result<Arc<Self>, Failure> {
        let seen = Arc::new(CheckpointStore::default());
        let mut clients = Vec::with_capacity(connections);
        for provider in fleet.iter().cycle().take(connections) {
            clients.push((provider.clone(), fleet::connect(dir, &provider.name, &seen).await?));
        }
        Ok(Self::new(dir, clients, answer))
    }

    /// Opens connections as [`SenderPool::connect`] does, whose calls have the token of a person each.
    ///
    /// # Errors
    /// Errors of the client.
    pub async fn connect_persons(
        dir: &Path,
        fleet: &[FleetProvider],
        connections: usize,
    ) -> Result<Arc<Self>, Failure> {
        let seen = Arc::new(CheckpointStore::default());
        let mut clients = Vec::with_capacity(connections);
        for provider in fleet.iter().cycle().take(connections) {
            clients.push((provider.clone(), fleet::connect_person(dir, &provider.name, &seen).await?));
        }
        Ok(Self::new(dir, clients, AnswerCheck::VerifyReceipt))
    }

    fn new(dir: &Path, clients: Vec<(FleetProvider, Client)>, answer_check: AnswerCheck) -> Arc<Self> {
        let progress_file = dir.join("fleet-sent.json");
        let sent = load_progress(&progress_file);
        let senders = clients.into_iter().map(|(provider, client)| {
            let next_mark = AtomicU64::new(sent.get(&provider.name).copied().unwrap_or(0));
            Sender { client, provider, next_mark }
        });
        Arc::new(Self {
            senders: senders.collect(),
            next_sender: AtomicUsize::new(0),
            answer_check,
            random: Randomness::system(),
            progress_file,
        })
    }

    /// Stores the number of each provider's next mark.
    ///
    /// # Errors
    /// Exit code 69 when the file cannot be written.
    pub fn save_progress(&self) -> Result<(), Failure> {
        let next_mark =
            |sender: &Sender| (sender.provider.name.clone(), sender.next_mark.load(Ordering::Relaxed));
        let mut sent = load_progress(&self.progress_file);
        sent.extend(self.senders.iter().map(next_mark));
        let text = serde_json::to_string(&sent).map_err(|error| Failure::bug("the fleet", error))?;
        std::fs::write(&self.progress_file, text).map_err(|error| Failure::unavailable("the sandbox", error))
    }

    /// Sends the next call of the load, with marks that its provider never sent. The providers take turns.
    ///
    /// # Errors
    /// Errors of the client.
    pub async fn send(&self, marks: usize) -> Result<(), Failure> {
        let turn = self.next_sender.fetch_add(1, Ordering::Relaxed) % self.senders.len().max(1);
        let Some(Sender { client, provider, next_mark: next }) = self.senders.get(turn) else {
            return Err(Failure::usage("there are no providers"));
        };
        let first = next.fetch_add(marks as u64, Ordering::Relaxed);
        let sent = (first..).take(marks).filter_map(|number| mark(provider, number)).collect();
        let request_id = self.random.uuid_v7(SystemClock.now()).hyphenated().to_string();
        let request =
            SubmitAttendanceRequest { request_id, marks: sent, ..SubmitAttendanceRequest::default() };
        if self.answer_check == AnswerCheck::DecodeOnly {
            client.call_without_receipt(returns_service::SUBMIT_ATTENDANCE, &request).await?;
            return Ok(());
        }
        let reply = client.call(returns_service::SUBMIT_ATTENDANCE, &request).await?;
        let stored = reply.message.stored as usize;
        (stored == marks).then_some(()).ok_or_else(|| Failure::refused("marks were sent before"))
    }
}

/// Loads the number of each provider's next mark.
fn load_progress(kept: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(kept).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Returns the `number`-th mark of a provider: placement by placement, then session by session, then day by day. A day
/// from six in the morning has room for 240 rounds of a term; after them marks are no longer new.
fn mark(provider: &FleetProvider, number: u64) -> Option<Mark> {
    let placements = provider.placements.len() as u64;
    let placement = provider.placements.get(usize::try_from(number % placements).ok()?)?;
    let session = number / placements;
    let (day, term) =
        (session / SESSIONS_PER_DAY % DAYS_PER_TERM, session / SESSIONS_PER_DAY / DAYS_PER_TERM);
    let minute = 6 * 60 + 2 * (term * SESSIONS_PER_DAY + session % SESSIONS_PER_DAY);
    let date = Date::parse("2026-09-01").ok()?.plus_days(i32::try_from(day).ok()?);
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    Some(Mark {
        child: Some(Child::PlacementId(placement.clone())),
        date: date.to_string(),
        session: Session::Timed as i32,
        start_time: clock(minute),
        end_time: clock(minute + 2),
        statement: Some(Statement::Seen(SeenMark::Present as i32)),
        ..Mark::default()
    })
}

/// Runs a closed loop: a fixed number of concurrent calls, each followed immediately by the next.
///
/// # Errors
/// The first refusal or failure.
pub async fn run_closed_loop(senders: &Arc<SenderPool>, shape: LoadShape) -> Result<Measurement, Failure> {
    let (started, mut workers) = (Instant::now(), JoinSet::new());
    for _ in 0..shape.in_flight {
        let senders = Arc::clone(senders);
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while started.elapsed() < shape.duration {
                let sent = Instant::now();
                senders.send(shape.marks).await?;
                latencies.push(micros(sent.elapsed()));
            }
            Ok::<_, Failure>(latencies)
        });
    }
    collect_latencies(workers, started).await
}

/// Runs an open loop: calls at fixed times, whatever the state of the earlier ones. A latency counts from the time at
/// which its call was due, so that a stall is included (no coordinated omission).
///
/// # Errors
/// The first refusal or failure.
pub async fn run_open_loop(
    senders: &Arc<SenderPool>,
    marks: usize,
    rate: u32,
    duration: Duration,
) -> Result<Measurement, Failure> {
    let (started, mut calls) = (Instant::now(), JoinSet::new());
    let count = u64::from(rate) * duration.as_secs();
    let mut due = schedule(started.into_std(), count, Duration::from_secs(1) / rate.max(1));
    while let Some(due) = due.recv().await {
        let due = Instant::from_std(due);
        let senders = Arc::clone(senders);
        calls.spawn(async move {
            senders.send(marks).await?;
            Ok(vec![micros(due.elapsed())])
        });
    }
    collect_latencies(calls, started).await
}

/// Returns the due times of calls, each when it is reached. A separate thread sleeps until each time, because the
/// runtime's timer is up to a millisecond late, which would be counted as the gateway's latency.
fn schedule(
    started: std::time::Instant,
    count: u64,
    interval: Duration,
) -> mpsc::UnboundedReceiver<std::time::Instant> {
    let (due, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut next = started;
        for _ in 0..count {
            std::thread::sleep(next.saturating_duration_since(std::time::Instant::now()));
            if due.send(next).is_err() {
                return;
            }
            next += interval;
        }
    });
    receiver
}

async fn collect_latencies(
    mut tasks: JoinSet<Result<Vec<u32>, Failure>>,
    started: Instant,
) -> Result<Measurement, Failure> {
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done.map_err(|error| Failure::bug("a caller of the load", error))??);
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Ok(Measurement { calls: latencies.len() as u64, elapsed, latencies })
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
