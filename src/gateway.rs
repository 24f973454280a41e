//! A node, put together: keys, database, log, committer, door, methods, listener. The only place that
//! knows everything.

mod files;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tonic::body::Body;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::clock::{Clock, Randomness};
use crate::config::Config;
use crate::exchange::caller::Callers;
use crate::exchange::{Door, MessageLimits, Routes, Service};
use crate::identity::{PeerCertificate, Tls};
use crate::oversight::Watchman;
use crate::seal::Vault;
use crate::server::{self, Connections, Tasks};
use crate::store::nodes::KeyAnnouncer;
use crate::store::{self, Appending, Committer, Database, Fatal, Follower, Log, verification};
use crate::tlog::Lineage;

pub use files::{StartError, check_database_files, key_ring, signer, tls};

/// Unwrapped keys of children that are remembered.
const CHILD_KEYS: usize = 200_000;
/// Longest time between two rounds of reloading files and cutting connections.
const MAX_MAINTENANCE_TIME: Duration = Duration::from_secs(30);
/// Longest time in which one placement's alerts are raised or closed.
const MAX_OVERSIGHT_TIME: Duration = Duration::from_secs(20);
/// Longest time between two announcements of the keys that this node holds.
const MAX_ANNOUNCEMENT_TIME: Duration = Duration::from_secs(30);
/// Longest time between two readings of the log, the search for another primary included.
const MAX_FOLLOW_TIME: Duration = Duration::from_mins(1);
/// TLS handshakes under way at once: each costs a signature.
const HANDSHAKES: usize = 512;

/// What a sandbox may set that a gateway may not.
#[derive(Clone)]
pub struct Surroundings {
    /// Time of domain rules and entries.
    pub clock: Arc<dyn Clock>,
    /// Real time, of TLS.
    pub real: Arc<dyn Clock>,
    /// Chance.
    pub random: Randomness,
}

/// A node that is ready to serve.
pub struct Node {
    /// Its end of the committer.
    pub committer: Committer,
    /// Its log.
    pub log: Log,
    /// Its keys.
    pub vault: Arc<Vault>,
    /// The keys that verify its log.
    pub log_key: Lineage,
    config: Config,
    surroundings: Surroundings,
    follower: Follower,
    appending: Appending,
    hangup: Signal,
    keys: Arc<KeyAnnouncer>,
}

impl Node {
    /// Opens keys, database and log, and starts the committer.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: Config, surroundings: Surroundings) -> Result<Self, StartError> {
        let hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let vault = Arc::new(Vault::new(key_ring(&config)?, CHILD_KEYS));
        let signer = signer(&config)?;
        check_database_files(&config)?;
        let database = Database::open(&config.location()?).await?;
        if config.migrate_on_start {
            database.migrate().await?;
        } else if !database.is_migrated().await? {
            return Err(StartError::Schema);
        }
        if !config.database.single_primary {
            database.assert_replicated().await?;
        }
        let (tip, anchor) = store::opened::open(&database, &config.log.anchor, signer.lineage()).await?;
        let log_key = signer.lineage().clone();
        let log = Log::new(database.clone());
        let fold_after = config.database.fold_after_pages;
        let (committer, appender) = Committer::new(
            database.clone(),
            tip,
            signer,
            anchor,
            Arc::clone(&surroundings.clock),
            fold_after,
        );
        let real = Arc::clone(&surroundings.real);
        let follower = Follower::new(database, committer.clone(), log_key.clone(), real);
        follower.look().await?;
        let condition = committer.condition().clone();
        let keys = KeyAnnouncer::new(log.database().clone(), config.listen, Arc::clone(&vault), condition);
        if let Some(missing) = keys.announce().await? {
            keys.withdraw().await;
            return Err(StartError::KeyMissing(missing));
        }
        let (appending, keys) = (Appending::start(appender), Arc::new(keys));
        Ok(Self { committer, log, vault, log_key, config, surroundings, follower, appending, hangup, keys })
    }

    /// Serves on a listener until `stop` is done, and drains. `extra` answers paths that are not the
    /// gateway's own, before anything else looks at them.
    ///
    /// # Errors
    /// [`Fatal`] when the disk failed: the process must end non-zero, at once.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Arc<Tls>,
        extra: Option<Extra>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Fatal> {
        let connections = Connections::default();
        let (stopping, told) = watch::channel(false);
        let door = self.door(Arc::clone(&tls), told);
        let stop = async {
            stop.await;
            stopping.send_replace(true);
        };
        let (reporter, health) = health_reporter();
        let mut tasks = self.start_tasks(&door, reporter);
        let (watched, kept) = ((Arc::clone(&tls), Arc::clone(&self.surroundings.real)), Arc::clone(&door));
        let (key_ring, watching) = (self.config.log.key_ring.clone(), connections.clone());
        tasks.spawn_supervised("maintenance", MAX_MAINTENANCE_TIME, |progress| {
            server::look_after(watched, self.hangup, key_ring, (watching, kept), progress)
        });
        tasks.spawn_supervised("log follower", MAX_FOLLOW_TIME, |progress| self.follower.run(progress));
        tasks.supervise(self.committer.tasks(), self.committer.condition());
        let limits = MessageLimits { request: self.config.limits.request_bytes, ..MessageLimits::default() };
        let extra = extras(&self.config, Extra::new(health), extra);
        let service = Dispatch { gateway: routes().open(door, limits), extra: Arc::new(extra) };
        let own = &self.config.limits;
        let limits = server::Limits {
            connections: own.connections,
            handshakes: HANDSHAKES,
            per_organisation: own.connections_per_organisation,
            handshake: Duration::from_secs(own.handshake_seconds),
            drain: Duration::from_secs(own.drain_seconds),
        };
        let serving = server::serve(listener, tls, service, limits, connections, stop);
        let mut appending = self.appending;
        let ended = tokio::select! {
            () = serving => Ok(()),
            fatal = appending.ended() => fatal,
            fatal = tasks.ended() => Err(fatal),
        };
        drop(tasks);
        // A database whose disk failed is left as it is: closing SQLite's would write to it once more.
        ended?;
        self.keys.withdraw().await;
        appending.stop().await;
        self.log.database().close().await;
        Ok(())
    }

    /// Starts what a node that serves does by itself, but for what consumes a part of the node.
    fn start_tasks(&self, door: &Arc<Door>, reporter: HealthReporter) -> Tasks {
        let mut tasks = Tasks::default();
        tasks.spawn_supervised("oversight", MAX_OVERSIGHT_TIME, |progress| {
            Watchman::new(Arc::clone(door)).marking(progress).run()
        });
        tasks.spawn_supervised("key announcements", MAX_ANNOUNCEMENT_TIME, |progress| {
            Arc::clone(&self.keys).run(progress)
        });
        tasks.spawn("health", server::report(reporter, self.committer.condition().subscribe()));
        let size = self.committer.head().borrow().size;
        let (log, key, committer) = (self.log.clone(), self.log_key.clone(), self.committer.clone());
        tasks.spawn("log verification", verify_all(log, size, key, committer));
        tasks
    }

    /// Does once what a node that serves does by itself when a day has passed.
    pub async fn look_over(&self, tls: Arc<Tls>) {
        let (_stopping, told) = watch::channel(false);
        Watchman::new(self.door(tls, told)).look().await;
    }

    /// Closes a node that serves nobody.
    pub async fn close(self) {
        self.keys.withdraw().await;
        self.appending.stop().await;
        self.log.database().close().await;
    }

    fn door(&self, tls: Arc<Tls>, stopping: watch::Receiver<bool>) -> Arc<Door> {
        let real = Arc::clone(&self.surroundings.real);
        Arc::new(Door {
            log: self.log.clone(),
            committer: self.committer.clone(),
            vault: Arc::clone(&self.vault),
            logs: Arc::new(self.log_key.clone()),
            clock: Arc::clone(&self.surroundings.clock),
            random: self.surroundings.random.clone(),
            status: Arc::new(move |peer: &PeerCertificate| tls.status(peer, real.now())),
            callers: Callers::default(),
            stopping,
            limits: self.config.limits.of_exchanges(),
        })
    }
}

/// Every method of the gateway.
#[must_use]
pub fn routes() -> Routes {
    let routes = crate::register::routes(Routes::new());
    let routes = crate::placements::routes(routes);
    let routes = crate::passports::routes(routes);
    let routes = crate::returns::routes(routes);
    let routes = crate::delivery::routes(routes);
    let routes = crate::oversight::routes(routes);
    crate::audit::routes(routes)
}

/// Verifies what start did not. A log in which something was changed goes on being written, for its entries
/// are evidence too; but the node says that it is not well, and the operator's log says where to look.
async fn verify_all(log: Log, size: u64, key: Lineage, committer: Committer) -> Result<(), Fatal> {
    match verification::verify(&log, size, &key).await {
        Ok(None) => {
            tracing::info!(log.size = size, "the whole log was verified");
            return Ok(());
        }
        Ok(Some(finding)) => {
            tracing::error!(log.index = finding.index, "the log was altered: {}", finding.what);
        }
        Err(error) => tracing::error!(error = %error, "the log could not be verified"),
    }
    committer.condition().send_modify(|condition| condition.altered = true);
    Ok(())
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, std::convert::Infallible>> + Send>>;

/// Answers paths of its own, none of which has an entry: health, reflection, the sandbox's controls.
pub struct Extra {
    /// The path's beginning, `/package.Service/`.
    pub prefix: String,
    /// Answers.
    pub answer: Box<dyn Fn(http::Request<Body>) -> Answering + Send + Sync>,
}

#[derive(Clone)]
struct Dispatch {
    gateway: Service,
    extra: Arc<Vec<Extra>>,
}

impl tower::Service<http::Request<Body>> for Dispatch {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answering {
        match self.extra.iter().find(|extra| request.uri().path().starts_with(&extra.prefix)) {
            Some(extra) => (extra.answer)(request),
            None => tower::Service::call(&mut self.gateway, request),
        }
    }
}

impl Extra {
    /// An extra from a tonic service.
    pub fn new<S>(service: S) -> Self
    where
        S: tower::Service<
                http::Request<Body>,
                Response = http::Response<Body>,
                Error = std::convert::Infallible,
            > + tonic::server::NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        let answer =
            move |request| -> Answering { Box::pin(tower::ServiceExt::oneshot(service.clone(), request)) };
        Self { prefix: format!("/{}/", S::NAME), answer: Box::new(answer) }
    }
}

fn extras(config: &Config, health: Extra, extra: Option<Extra>) -> Vec<Extra> {
    let mut extras = vec![health];
    extras.extend(extra);
    if config.reflection {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
        };
        if let (Ok(v1), Ok(v1alpha)) = (builder().build_v1(), builder().build_v1alpha()) {
            extras.extend([Extra::new(v1), Extra::new(v1alpha)]);
        } else {
            tracing::error!("reflection could not be set up");
        }
    }
    extras
}
