//! Sandbox: creates a small but complete world in a folder and serves it. It is created by calls of the gateway's own
//! methods. Its children and organisations are invented. `--clock` sets the clock of the domain; TLS uses the real
//! clock.

mod clock;
pub mod files;
pub mod world;
pub(in crate::cli) mod world_builder;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::{JoinError, JoinHandle};

use super::args::SandboxArgs;
use super::serve::Signals;
use super::{Failure, init, output, print_line};
use crate::clock::{Clock, Instant, ManualClock, OffsetClock, Randomness, SystemClock};
use crate::config::{Config, LimitsConfig};
use crate::exchange::UNLIMITED;
use crate::gateway::{self, Environment, Node, StartError};
use crate::oversight::AlertScheduler;
use crate::store::{Committer, FatalError};

/// Time at which the world is created: before the school year, so that everything in it can be in the past.
const WORLD_CREATED_AT: &str = "2026-08-20T09:00:00Z";
/// Time at which the placements start.
const PLACEMENTS_START_AT: &str = "2026-09-01T08:00:00Z";

/// Time at which most items that the starts left open are overdue; they were due in five school days.
const REMEDIES_OVERDUE_AT: &str = "2026-09-09T08:00:00Z";

/// Running sandbox.
pub struct RunningSandbox {
    /// Address on which it listens.
    pub address: SocketAddr,
    /// Clock of the domain, if it is held.
    pub clock: Option<ManualClock>,
    /// Committer. Tests hold its queue to fill a commit group.
    pub committer: Committer,
    /// A second alert scheduler. `AdvanceClock` and tests tick it instead of waiting for that of the node.
    pub alerts: Arc<Mutex<AlertScheduler>>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), FatalError>>,
}

impl RunningSandbox {
    /// Stops the server and waits until everything is closed.
    ///
    /// # Errors
    /// Exit code 70 when the disk failed.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.send(()).ok();
        serving_result(self.serving.await)
    }

    /// Waits until the server ends, by itself or because it was stopped.
    ///
    /// # Errors
    /// Exit code 70 when the disk failed or the database is damaged.
    pub async fn ended(&mut self) -> Result<(), Failure> {
        serving_result((&mut self.serving).await)
    }
}

/// Creates the world if there is none, and serves it until SIGTERM.
///
/// # Errors
/// Errors of [`start`]; exit code 70 when the disk failed.
pub async fn run(args: &SandboxArgs) -> Result<(), Failure> {
    let time = match args.clock.as_deref() {
        None => ClockMode::Real,
        Some(from) if args.clock_runs => ClockMode::RunningFrom(from),
        Some(at) => ClockMode::HeldAt(at),
    };
    let mut signals = Signals::install()?;
    note_unheld_clock(&args.dir, time);
    let database = args.postgres_url_file.as_deref();
    let random = Randomness::system();
    let started = Box::pin(start(&args.dir, args.listen, time, database, &random));
    let Some(served) = signals.run_until_stopped(started).await else {
        return Ok(());
    };
    let mut served = served?;
    print_line(&format!("READY {}", served.address));
    output::check_written()?;
    tokio::select! {
        () = signals.wait_for_stop() => served.stop().await,
        ended = served.ended() => ended,
    }
}

/// Says of a folder whose clock was set that this run has the time of this machine.
fn note_unheld_clock(dir: &Path, time: ClockMode<'_>) {
    // A folder without a readable clock is new, or is refused by the start.
    let Ok(stored) = clock::load_clock(dir) else { return };
    let is_as_made = parse_instant(REMEDIES_OVERDUE_AT).is_ok_and(|made| made == stored);
    if !is_as_made && matches!(time, ClockMode::Real) {
        output::print_note(&format!(
            "the clock of the folder was set to {stored}; without --clock this run has the time of this machine"
        ));
    }
}

fn serving_result(serving: Result<Result<(), FatalError>, JoinError>) -> Result<(), Failure> {
    Ok(serving.map_err(|error| Failure::bug("the sandbox stopped", error))??)
}

/// Mode of the domain's clock, with times in RFC 3339.
#[derive(Clone, Copy, Debug)]
pub enum ClockMode<'a> {
    /// The real time.
    Real,
    /// A fixed time, until it is advanced.
    HeldAt(&'a str),
    /// A clock that starts at a given time and runs.
    RunningFrom(&'a str),
}

/// Creates the world if there is none, and serves it. Identical calls with the same seed, clock and certificates give
/// an identical log.
///
/// # Errors
/// Exit code 2 for the clock, 78 for the content of the folder, 69 for the address.
pub async fn start(
    dir: &Path,
    listen: SocketAddr,
    time: ClockMode<'_>,
    postgres_url_file: Option<&Path>,
    random: &Randomness,
) -> Result<RunningSandbox, Failure> {
    let is_new = !dir.join("world.json").exists();
    let to = match time {
        ClockMode::Real => None,
        ClockMode::HeldAt(at) | ClockMode::RunningFrom(at) => Some(parse_instant(at)?),
    };
    if is_new {
        std::fs::create_dir_all(dir)
            .map_err(|error| Failure::unavailable(&format!("the folder {}", dir.display()), error))?;
        let made = files::create(dir, postgres_url_file)?;
        let clock = ManualClock::new(parse_instant(WORLD_CREATED_AT)?);
        let made_in = || environment(Arc::new(clock.clone()), random);
        let config = load_config(dir)?;
        let log_key = init::create_gateway(
            config,
            made_in(),
            "ap-gateway-sandbox/log",
            &made.operator,
            "Gateway operator",
        )
        .await?;
        std::fs::write(dir.join("log-key"), &log_key)
            .map_err(|error| Failure::unavailable("a file", error))?;
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let node = Node::open(load_config(dir)?, made_in()).await?;
        let served = Box::pin(serve_node(node.without_oversight(), dir, local, Some(clock.clone()))).await?;
        let world = world_builder::build(dir, &clock, random.clone()).await;
        served.stop().await?;
        world::save(dir, &world?)?;
        raise_overdue_alerts(dir, &clock, random).await?;
        clock::save_clock(dir, clock.now())?;
    }
    let current = clock::load_clock(dir)?;
    match to {
        Some(to) if to < current => Err(Failure::usage("--clock is earlier than the clock of the folder")),
        Some(to) => {
            clock::save_clock(dir, to)?;
            if let ClockMode::RunningFrom(_) = time {
                return serve_on(dir, listen, None, Arc::new(OffsetClock::new(to)), random).await;
            }
            let clock = ManualClock::new(to);
            serve_on(dir, listen, Some(clock.clone()), Arc::new(clock), random).await
        }
        None => serve_on(dir, listen, None, Arc::new(SystemClock), random).await,
    }
}

/// Advances the clock past the due date of the open items and raises their alerts, so that the world has alerts.
async fn raise_overdue_alerts(dir: &Path, clock: &ManualClock, random: &Randomness) -> Result<(), Failure> {
    clock
        .advance_to(parse_instant(REMEDIES_OVERDUE_AT)?)
        .map_err(|error| Failure::bug("the sandbox's clock", error))?;
    let config = load_config(dir)?;
    let tls = gateway::tls(&config)?;
    let node = Node::open(config, environment(Arc::new(clock.clone()), random)).await?;
    node.raise_alerts_once(tls).await;
    node.close().await;
    Ok(())
}

async fn serve_on(
    dir: &Path,
    listen: SocketAddr,
    held: Option<ManualClock>,
    clock: Arc<dyn Clock>,
    random: &Randomness,
) -> Result<RunningSandbox, Failure> {
    gateway::raise_descriptor_limit().map_err(StartError::from)?;
    let config = load_config(dir)?;
    let mut node = Node::open(config, environment(clock, random)).await?;
    node.open_management().await?;
    Box::pin(serve_node(node, dir, listen, held)).await
}

async fn serve_node(
    node: Node,
    dir: &Path,
    listen: SocketAddr,
    held: Option<ManualClock>,
) -> Result<RunningSandbox, Failure> {
    let tls = gateway::tls(&load_config(dir)?)?;
    // What has fallen due since the folder was left is done before the first call, so that the same folder gives the same
    // log.
    let mut alerts = node.alert_scheduler(Arc::clone(&tls));
    alerts.tick().await;
    let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Listen(listen, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
    files::write_profiles(dir, address)?;
    let alerts = Arc::new(Mutex::new(alerts));
    let controls = held.clone().map(|held| clock::clock_service(held, dir.to_owned(), Arc::clone(&alerts)));
    let committer = node.committer.clone();
    let (stop, stopped) = oneshot::channel();
    #[expect(clippy::async_yields_async, reason = "the second future is the cut")]
    let when_stopped = async {
        stopped.await.ok();
        std::future::pending()
    };
    let serving = tokio::spawn(node.serve(listener, tls, controls, when_stopped));
    Ok(RunningSandbox { address, clock: held, committer, alerts, stop, serving })
}

/// Loads the sandbox's configuration, and lifts the limits on callers.
fn load_config(dir: &Path) -> Result<Config, Failure> {
    let mut config = Config::load(&dir.join("gateway.toml"))?;
    config.limits = LimitsConfig {
        connections_per_organisation: usize::MAX,
        requests_per_second: UNLIMITED,
        request_burst: UNLIMITED,
        refusals_per_second: UNLIMITED,
        ..config.limits
    };
    Ok(config)
}

fn environment(clock: Arc<dyn Clock>, random: &Randomness) -> Environment {
    Environment { clock, system_clock: Arc::new(SystemClock), random: random.clone() }
}

fn parse_instant(text: &str) -> Result<Instant, Failure> {
    text.parse().map_err(|_| Failure::usage("--clock must be a time such as 2026-11-20T16:00:00Z"))
}

/// Returns the path of the profile of one of the world's organisations.
#[must_use]
pub fn profile_path(dir: &Path, name: &str) -> PathBuf {
    dir.join("profiles").join(format!("{name}.toml"))
}
