//! The sandbox: a small whole world in a folder, made by the gateway's own front door, and served. Its
//! children and organisations are invented. `--clock` sets the clock of the domain; TLS uses the real one.

mod clock;
pub mod files;
mod script;
pub mod world;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use super::args::Sandbox;
use super::serve::Signals;
use super::{Failure, operator, output, say};
use crate::clock::{Clock, HeldClock, Instant, Randomness, SetClock, SystemClock};
use crate::config::{Config, Limits};
use crate::gateway::{self, Node, StartError, Surroundings};
use crate::store::{Committer, Fatal};

/// When the world is made: before the school year, so that everything in it can have happened.
const BEGINNING: &str = "2026-08-20T09:00:00Z";
/// When the placements start.
const FIRST_DAY: &str = "2026-09-01T08:00:00Z";

/// When what most of the starts left open is overdue: five school days were given.
const OVERDUE: &str = "2026-09-09T08:00:00Z";

/// A sandbox that is being served.
pub struct Served {
    /// Where.
    pub address: SocketAddr,
    /// The clock of the domain, if it is held.
    pub clock: Option<HeldClock>,
    /// The committer, whose queue a test holds to fill a group.
    pub committer: Committer,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Fatal>>,
}

impl Served {
    /// Stops serving and waits until everything is closed.
    ///
    /// # Errors
    /// Exit code 70 when the disk had failed.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.send(()).ok();
        ended(self.serving.await)
    }
}

/// Makes the world where there is none, and serves it until SIGTERM.
///
/// # Errors
/// As [`start`]; exit code 70 when the disk failed.
pub async fn run(args: &Sandbox) -> Result<(), Failure> {
    let time = match args.clock.as_deref() {
        None => Time::Real,
        Some(from) if args.clock_runs => Time::From(from),
        Some(at) => Time::Held(at),
    };
    let mut signals = Signals::install()?;
    let database = args.postgres_url_file.as_deref();
    let random = Randomness::system();
    let started = Box::pin(start(&args.dir, args.listen, time, database, &random));
    let Some(served) = signals.unless_stopped(started).await else {
        return Ok(());
    };
    let mut served = served?;
    say(&format!("READY {}", served.address));
    output::written()?;
    tokio::select! {
        () = signals.stopped() => served.stop().await,
        serving = &mut served.serving => ended(serving),
    }
}

fn ended(serving: Result<Result<(), Fatal>, JoinError>) -> Result<(), Failure> {
    Ok(serving.map_err(|error| Failure::bug("the sandbox stopped", error))??)
}

/// What the clock of the domain shows; instants as RFC 3339 writes them.
#[derive(Clone, Copy, Debug)]
pub enum Time<'a> {
    /// The present moment.
    Real,
    /// This one, until it is advanced.
    Held(&'a str),
    /// This one, and what passes from then on.
    From(&'a str),
}

/// Makes the world where there is none, and serves it. The same calls with the same seed, clock and
/// certificates make the same log.
///
/// # Errors
/// Exit code 2 for the clock, 78 for what is in the folder, 69 for the address.
pub async fn start(
    dir: &Path,
    listen: SocketAddr,
    time: Time<'_>,
    postgres_url_file: Option<&Path>,
    random: &Randomness,
) -> Result<Served, Failure> {
    let is_new = !dir.join("world.json").exists();
    let to = match time {
        Time::Real => None,
        Time::Held(at) | Time::From(at) => Some(parse(at)?),
    };
    if is_new {
        std::fs::create_dir_all(dir).map_err(|error| Failure::unavailable("the folder", error))?;
        let made = files::make(dir, postgres_url_file)?;
        let clock = HeldClock::new(parse(BEGINNING)?);
        let surroundings = surroundings(Arc::new(clock.clone()), random);
        let config = config(dir)?;
        let log_key = operator::found(
            config,
            surroundings,
            "ap-gateway-sandbox/log",
            &made.operator,
            "Gateway operator",
        )
        .await?;
        std::fs::write(dir.join("log-key"), &log_key)
            .map_err(|error| Failure::unavailable("a file", error))?;
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let served = listen_on(dir, local, Some(clock.clone()), Arc::new(clock.clone()), random).await?;
        let world = script::make(dir, &clock, random.clone()).await;
        served.stop().await?;
        world::save(dir, &world?)?;
        overdue(dir, &clock, random).await?;
        clock::save(dir, clock.now())?;
    }
    let stood = clock::load(dir)?;
    match to {
        Some(to) if to < stood => Err(Failure::usage("--clock is earlier than the folder's clock stands")),
        Some(to) => {
            clock::save(dir, to)?;
            if let Time::From(_) = time {
                return listen_on(dir, listen, None, Arc::new(SetClock::new(to)), random).await;
            }
            let clock = HeldClock::new(to);
            listen_on(dir, listen, Some(clock.clone()), Arc::new(clock), random).await
        }
        None => listen_on(dir, listen, None, Arc::new(SystemClock), random).await,
    }
}

/// Lets the days pass in which what the starts left open was to be made good, so that the world has alerts.
async fn overdue(dir: &Path, clock: &HeldClock, random: &Randomness) -> Result<(), Failure> {
    clock.advance_to(parse(OVERDUE)?).map_err(|error| Failure::bug("the sandbox's clock", error))?;
    let config = config(dir)?;
    let tls = gateway::tls(&config)?;
    let node = Node::open(config, surroundings(Arc::new(clock.clone()), random)).await?;
    node.look_over(tls).await;
    node.close().await;
    Ok(())
}

async fn listen_on(
    dir: &Path,
    listen: SocketAddr,
    held: Option<HeldClock>,
    clock: Arc<dyn Clock>,
    random: &Randomness,
) -> Result<Served, Failure> {
    let config = config(dir)?;
    let tls = gateway::tls(&config)?;
    let node = Node::open(config, surroundings(clock, random)).await?;
    let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Listen(listen, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
    files::profiles(dir, address)?;
    let controls = held.clone().map(|held| clock::controls(held, dir.to_owned()));
    let committer = node.committer.clone();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(node.serve(listener, tls, controls, async {
        stopped.await.ok();
    }));
    Ok(Served { address, clock: held, committer, stop, serving })
}

/// The sandbox's configuration, with the limits on callers lifted.
fn config(dir: &Path) -> Result<Config, Failure> {
    let mut config = Config::load(&dir.join("gateway.toml"))?;
    config.limits = Limits { connections_per_organisation: usize::MAX, ..config.limits };
    Ok(config)
}

fn surroundings(clock: Arc<dyn Clock>, random: &Randomness) -> Surroundings {
    Surroundings { clock, real: Arc::new(SystemClock), random: random.clone() }
}

fn parse(text: &str) -> Result<Instant, Failure> {
    text.parse().map_err(|_| Failure::usage("--clock is an instant such as 2026-11-20T16:00:00Z"))
}

/// The profile of one of the world's organisations.
#[must_use]
pub fn profile(dir: &Path, name: &str) -> PathBuf {
    dir.join("profiles").join(format!("{name}.toml"))
}
