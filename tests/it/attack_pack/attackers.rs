//! The attackers: how many there are of each kind, their certificates, and a runtime of their own.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::Scale;
use super::attacks::{self, Attacker, REGISTERED};
use super::connection::Target;
use crate::fixtures::{current_validity, issue_certificate};
use crate::serve_process::{ServeFolder, ServeProcess};

/// Pause of an attacker before it connects again.
const PAUSE: Duration = Duration::from_millis(250);
/// Connections that one organisation may have.
const CONNECTIONS_OF_AN_ORGANISATION: usize = 64;

type Attack = for<'a> fn(Attacker<'a>) -> Pin<Box<dyn Future<Output = Option<()>> + Send + 'a>>;

/// The kinds, each with its number of connections. Each kind has an organisation of its own that is not registered.
const ATTACKS: [(&str, usize, Attack); 9] = [
    ("declared lengths", 24, |by| Box::pin(attacks::declare_lengths(by))),
    ("unread answers", 8, |by| Box::pin(attacks::leave_answers_unread(by))),
    ("control frames", 6, |by| Box::pin(attacks::flood_with_control_frames(by))),
    ("headers", 4, |by| Box::pin(attacks::flood_with_headers(by))),
    ("health checks", 4, |by| Box::pin(attacks::send_large_health_checks(by))),
    ("refusals", 4, |by| Box::pin(attacks::collect_refusals(by))),
    ("cancelled lists", 1, |by| Box::pin(attacks::cancel_lists(by))),
    ("slow bodies", 4, |by| Box::pin(attacks::send_slow_bodies(by))),
    ("half handshakes", 100, |by| Box::pin(attacks::stop_in_the_handshake(by))),
];
const IDLE: &str = "idle connections";
const SILENT: &str = "silent sockets";

/// Attackers at work.
pub struct Attackers {
    runtime: Runtime,
    rounds: BTreeMap<&'static str, Arc<AtomicU64>>,
}

/// What every attacker shares.
struct Pack {
    target: Target,
    placement: String,
}

/// Issues a certificate for each kind of attack and for the idle organisations.
pub fn issue_certificates(folder: &ServeFolder, scale: &Scale) {
    for number in 0..ATTACKS.len() + scale.idle_organisations {
        let name = stranger(number);
        let system = format!("provider/{name}/register");
        let serial = 5_000 + u64::try_from(number).unwrap();
        issue_certificate(folder.path(), &name, &system, serial, current_validity());
    }
}

impl Attackers {
    pub fn start(folder: &ServeFolder, served: &ServeProcess, scale: &Scale) -> Self {
        let strangers = (0..ATTACKS.len() + scale.idle_organisations).map(stranger);
        let names = strangers.chain([REGISTERED.to_owned()]);
        let identities = names.map(|name| (name.clone(), Arc::new(folder.tls(&name)))).collect();
        let target = Target { address: served.address, identities };
        let pack = Arc::new(Pack { target, placement: folder.placement(REGISTERED) });
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut attackers = Self { runtime, rounds: BTreeMap::new() };
        for (kind, (name, connections, attack)) in ATTACKS.into_iter().enumerate() {
            if !is_wanted(name) {
                continue;
            }
            attackers.attack(&pack, (name, kind), connections, attack);
        }
        for number in (0..scale.idle_organisations).filter(|_| is_wanted(IDLE)) {
            let attack: Attack = |by| Box::pin(attacks::hold_idle_connection(by));
            attackers.attack(&pack, (IDLE, ATTACKS.len() + number), CONNECTIONS_OF_AN_ORGANISATION, attack);
        }
        if is_wanted(SILENT) {
            let rounds = attackers.rounds_of(SILENT);
            attackers.runtime.spawn(hold_silent_sockets(pack, scale.silent, rounds));
        }
        attackers
    }

    /// Stops all attackers; returns how many connections each kind opened.
    pub fn stop(self) -> BTreeMap<&'static str, u64> {
        self.runtime.shutdown_background();
        self.rounds.into_iter().map(|(name, rounds)| (name, rounds.load(Ordering::Relaxed))).collect()
    }

    fn rounds_of(&mut self, name: &'static str) -> Arc<AtomicU64> {
        Arc::clone(self.rounds.entry(name).or_default())
    }

    fn attack(
        &mut self,
        pack: &Arc<Pack>,
        (name, organisation): (&'static str, usize),
        connections: usize,
        attack: Attack,
    ) {
        let rounds = self.rounds_of(name);
        for number in 0..connections {
            let (pack, rounds) = (Arc::clone(pack), Arc::clone(&rounds));
            self.runtime.spawn(async move {
                let stranger = stranger(organisation);
                loop {
                    let by = Attacker {
                        target: &pack.target,
                        source: source(organisation, number),
                        stranger: &stranger,
                        number,
                        placement: &pack.placement,
                    };
                    rounds.fetch_add(1, Ordering::Relaxed);
                    attack(by).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }
}

/// Returns whether a kind is among those that the run is limited to.
fn is_wanted(kind: &str) -> bool {
    let wanted = std::env::var("AP_GATEWAY_TEST_ATTACKS").ok();
    wanted.is_none_or(|kinds| kinds.split(',').any(|wanted| wanted == kind))
}

fn stranger(number: usize) -> String {
    format!("stranger-{number}")
}

/// Returns an address of the loopback network that is not that of the honest callers.
fn source(organisation: usize, number: usize) -> Ipv4Addr {
    let byte = |value: usize| u8::try_from(value % 250).unwrap() + 1;
    Ipv4Addr::new(127, 1, byte(organisation), byte(number))
}

/// Holds TCP connections that never send anything, and opens new ones all the time.
async fn hold_silent_sockets(pack: Arc<Pack>, (held, a_second): (usize, u32), rounds: Arc<AtomicU64>) {
    let mut sockets = VecDeque::new();
    let mut timer = tokio::time::interval(Duration::from_secs(1) / a_second);
    for number in 0.. {
        // A connection that is not accepted must not hold up the others.
        let source = source(200, number);
        if let Ok(Some(socket)) =
            tokio::time::timeout(Duration::from_millis(200), pack.target.connect_tcp(source)).await
        {
            sockets.push_back(socket);
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        if sockets.len() > held {
            sockets.pop_front();
        }
        if number >= held {
            timer.tick().await;
        }
    }
}
