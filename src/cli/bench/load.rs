//! Load: marks that were never sent before, from many providers at once, each answer's receipt verified.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::Failure;
use super::fleet::{self, Provider};
use crate::calendar::Date;
use crate::client::{Client, Seen};
use crate::clock::{Clock, Randomness, SystemClock};
use crate::proto::v1::mark::{Child, Statement};
use crate::proto::v1::{Mark, SeenMark, Session, SubmitAttendanceRequest, returns_service};

/// Sessions of a placement's day, as a day has. They are timed, two minutes each, so that there are as many as a long
/// load needs.
const SESSIONS: u64 = 2;
/// Days of term; after them they begin again with the next sessions of each.
const DAYS: u64 = 80;

/// What is sent, and how.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Marks a call.
    pub marks: usize,
    /// Calls under way at once, over all connections.
    pub in_flight: usize,
    /// How long.
    pub duration: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Calls answered with OK and a receipt that held.
    pub calls: u64,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// Latencies in microseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Measured {
    /// Calls a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that `permille` of 1,000 calls did not exceed, in microseconds.
    #[must_use]
    pub fn quantile(&self, permille: usize) -> u32 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * permille / 1000).copied().unwrap_or(0)
    }
}

/// What a call does with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its receipt is verified, and every mark must have been new.
    Verified,
    /// Nothing: for a server that only echoes.
    Decoded,
}

/// A provider with its connection, and the number of its next mark.
struct Sender {
    client: Client,
    provider: Provider,
    next: AtomicU64,
}

/// Providers with their connections. What they sent is kept beside the sandbox, so that no mark is sent twice.
pub struct Senders {
    each: Vec<Sender>,
    turn: AtomicUsize,
    answer: Answer,
    random: Randomness,
    kept: PathBuf,
}

impl Senders {
    /// Connects, a connection each, to as many providers as there are to be connections.
    ///
    /// # Errors
    /// As the client's.
    pub async fn connect(
        dir: &Path,
        fleet: &[Provider],
        connections: usize,
        answer: Answer,
    ) -> Result<Arc<Self>, Failure> {
        let (seen, kept) = (Arc::new(Seen::default()), dir.join("fleet-sent.json"));
        let sent = sent(&kept);
        let mut each = Vec::with_capacity(connections);
        for provider in fleet.iter().cycle().take(connections) {
            each.push(Sender {
                client: fleet::connect(dir, &provider.name, &seen).await?,
                next: AtomicU64::new(sent.get(&provider.name).copied().unwrap_or(0)),
                provider: provider.clone(),
            });
        }
        Ok(Arc::new(Self { each, turn: AtomicUsize::new(0), answer, random: Randomness::system(), kept }))
    }

    /// Keeps how far each provider has come.
    ///
    /// # Errors
    /// Exit code 69 when it cannot be written.
    pub fn keep(&self) -> Result<(), Failure> {
        let come = |sender: &Sender| (sender.provider.name.clone(), sender.next.load(Ordering::Relaxed));
        let mut sent = sent(&self.kept);
        sent.extend(self.each.iter().map(come));
        let text = serde_json::to_string(&sent).map_err(|error| Failure::bug("the fleet", error))?;
        std::fs::write(&self.kept, text).map_err(|error| Failure::unavailable("the sandbox", error))
    }

    /// The next call of the load, by turns: marks that its provider never sent.
    ///
    /// # Errors
    /// As the client's.
    pub async fn send(&self, marks: usize) -> Result<(), Failure> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.each.len().max(1);
        let Some(Sender { client, provider, next }) = self.each.get(turn) else {
            return Err(Failure::usage("there are no providers"));
        };
        let first = next.fetch_add(marks as u64, Ordering::Relaxed);
        let sent = (first..).take(marks).filter_map(|number| mark(provider, number)).collect();
        let request_id = self.random.uuid_v7(SystemClock.now()).hyphenated().to_string();
        let request =
            SubmitAttendanceRequest { request_id, marks: sent, ..SubmitAttendanceRequest::default() };
        if self.answer == Answer::Decoded {
            client.hashes(returns_service::SUBMIT_ATTENDANCE, &request).await?;
            return Ok(());
        }
        let reply = client.call(returns_service::SUBMIT_ATTENDANCE, &request).await?;
        let stored = reply.message.stored as usize;
        (stored == marks).then_some(()).ok_or_else(|| Failure::refused("marks had been sent before"))
    }
}

/// The number of each provider's next mark, as it was kept.
fn sent(kept: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(kept).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The `number`-th mark of a provider: placement by placement, then session by session, then day by day. From six in
/// the morning a day has room for 240 rounds of a term; after them marks are not new any more.
fn mark(provider: &Provider, number: u64) -> Option<Mark> {
    let placements = provider.placements.len() as u64;
    let placement = provider.placements.get(usize::try_from(number % placements).ok()?)?;
    let session = number / placements;
    let (day, term) = (session / SESSIONS % DAYS, session / SESSIONS / DAYS);
    let minute = 6 * 60 + 2 * (term * SESSIONS + session % SESSIONS);
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

/// Closed loop: as many calls under way as the shape says, each followed by the next at once.
///
/// # Errors
/// The first refusal or failure.
pub async fn closed(senders: &Arc<Senders>, shape: Shape) -> Result<Measured, Failure> {
    let (begun, mut workers) = (Instant::now(), JoinSet::new());
    for _ in 0..shape.in_flight {
        let senders = Arc::clone(senders);
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < shape.duration {
                let sent = Instant::now();
                senders.send(shape.marks).await?;
                latencies.push(micros(sent.elapsed()));
            }
            Ok::<_, Failure>(latencies)
        });
    }
    gather(workers, begun).await
}

/// Open loop: calls at fixed instants whatever became of the ones before; a latency counts from the instant
/// at which its call was due, so that a stall is not left out (no coordinated omission).
///
/// # Errors
/// The first refusal or failure.
pub async fn open(
    senders: &Arc<Senders>,
    marks: usize,
    rate: u32,
    duration: Duration,
) -> Result<Measured, Failure> {
    let (begun, mut calls) = (Instant::now(), JoinSet::new());
    let count = u64::from(rate) * duration.as_secs();
    let mut due = paced(begun.into_std(), count, Duration::from_secs(1) / rate.max(1));
    while let Some(due) = due.recv().await {
        let due = Instant::from_std(due);
        let senders = Arc::clone(senders);
        calls.spawn(async move {
            senders.send(marks).await?;
            Ok(vec![micros(due.elapsed())])
        });
    }
    gather(calls, begun).await
}

/// The instants at which calls are due, each as it comes. From a thread that sleeps by itself: the runtime's timer
/// is up to a millisecond late, which would be counted as the gateway's.
fn paced(
    begun: std::time::Instant,
    count: u64,
    interval: Duration,
) -> mpsc::UnboundedReceiver<std::time::Instant> {
    let (due, comes) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut next = begun;
        for _ in 0..count {
            std::thread::sleep(next.saturating_duration_since(std::time::Instant::now()));
            if due.send(next).is_err() {
                return;
            }
            next += interval;
        }
    });
    comes
}

async fn gather(mut tasks: JoinSet<Result<Vec<u32>, Failure>>, begun: Instant) -> Result<Measured, Failure> {
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done.map_err(|error| Failure::bug("a caller of the load", error))??);
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    Ok(Measured { calls: latencies.len() as u64, elapsed, latencies })
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
