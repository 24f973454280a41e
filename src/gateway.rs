//! A node: builds and connects keys, database, log, committer, exchange pipeline, methods and listener. Only this
//! module depends on all of them.

mod alert_ticks;
mod dispatch;
mod figures;
mod files;
mod log_check;
mod management;
mod start;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tonic_health::server::{HealthReporter, health_reporter};

use crate::clock::{Clock, Randomness};
use crate::config::Config;
use crate::exchange::caller::CallerCache;
use crate::exchange::person::PersonCache;
use crate::exchange::{
    CallLimiter, ExchangePipeline, ExchangeService, MessageLimits, MethodTable, RefusalLog, Routes,
};
use crate::identity::{PeerCertificate, Tls};
use crate::metrics::Metrics;
use crate::oversight::{AlertScheduler, RuleBook};
use crate::seal::Vault;
use crate::server::{self, Connections, KeyRingFile, Tasks};
use crate::store::log::TreeHead;
use crate::store::nodes::KeyAnnouncer;
use crate::store::{
    self, Committer, FatalError, LogFollower, LogIndexer, LogReader, SchemaMismatch, SequencerHandle, Table,
};
use crate::tlog::LogKeyHistory;
use crate::{audit, delivery, oversight, passports, placements, register, returns};

pub use crate::server::{
    ManagementAddress, ManagementStream, notify_ready, notify_stopping, raise_descriptor_limit,
};
pub use dispatch::UnauditedService;
use dispatch::{Dispatch, MAX_UNAUDITED_MESSAGE_BYTES, unaudited_services};
pub use files::{
    StartError, check_database_files, check_key_ring, commitment_key, is_other_than_sqlite, key_ring,
    rule_book, signer, tls,
};
use log_check::verify_log;
use management::{FigureSources, Management};
use start::check_contents;
pub use start::{AddedNode, CheckedLog, add_node, check, create_database, open_database, schema_mismatch};

/// Maximum number of unwrapped child keys in the cache.
const MAX_CACHED_CHILD_KEYS: usize = 200_000;
/// Maximum time of one step of indexing the log.
const MAX_INDEX_TIME: Duration = Duration::from_mins(1);
/// Maximum time between two rounds of reloading files and closing connections.
const MAX_MAINTENANCE_TIME: Duration = Duration::from_secs(30);
/// Maximum time to raise or close the alerts of one placement.
const MAX_OVERSIGHT_TIME: Duration = Duration::from_secs(20);
/// Maximum time between two announcements of the keys that this node holds.
const MAX_ANNOUNCEMENT_TIME: Duration = Duration::from_secs(30);
/// Maximum time between two reads of the log, including the search for another primary.
const MAX_FOLLOW_TIME: Duration = Duration::from_mins(1);
/// Maximum time between two reads of the clock.
const MAX_CLOCK_WATCH_TIME: Duration = Duration::from_secs(5);
/// Maximum time between two commits of the entries of rejected calls.
const MAX_RECORDING_TIME: Duration = Duration::from_mins(1);
/// Maximum time for the last of them when the node stops.
const MAX_LAST_RECORDING_TIME: Duration = Duration::from_secs(2);

/// Time for the last answers of a node whose sequencer has panicked.
const MAX_LAST_ANSWER_TIME: Duration = Duration::from_millis(500);

/// Clocks and randomness of a node. Only a sandbox replaces them.
#[derive(Clone)]
pub struct Environment {
    /// The clock of domain rules and entries.
    pub clock: Arc<dyn Clock>,
    /// The system clock, which TLS uses.
    pub system_clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Randomness,
}

/// A node that is ready to serve.
pub struct Node {
    /// The handle of its committer.
    pub committer: Committer,
    /// Its log.
    pub log: LogReader,
    /// Its keys for the data of children and organisations.
    pub vault: Arc<Vault>,
    /// The keys that verify its log.
    pub log_keys: LogKeyHistory,
    config: Config,
    environment: Environment,
    follower: LogFollower,
    sequencer: SequencerHandle,
    sighup: Signal,
    keys: Arc<KeyAnnouncer>,
    key_ring: KeyRingFile,
    rules: Arc<RuleBook>,
    /// `None` without a management listener: nothing is recorded then.
    metrics: Option<Metrics>,
    management: Option<Management>,
    /// Whether the serving node runs the rules of oversight by itself.
    runs_oversight: bool,
}

impl Node {
    /// Opens keys, database and log, and starts the committer.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: Config, environment: Environment) -> Result<Self, StartError> {
        let hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let key_ring_file = KeyRingFile::new(&config.log.key_ring);
        let vault = Arc::new(Vault::new(key_ring(&config)?, commitment_key(&config)?, MAX_CACHED_CHILD_KEYS));
        let (signer, rules) = (signer(&config)?, rule_book(&config)?);
        let database = open_database(&config).await?;
        if config.migrate_on_start
            && let Some(SchemaMismatch::Older { .. }) = schema_mismatch(&config, &database).await?
        {
            database.migrate().await?;
        }
        // Before the anchor is opened, because nothing is written for a log that this release cannot continue.
        check_contents(&config, &database, &vault.ring(), vault.commitment_key()).await?;
        let (tree, anchor) =
            store::log_startup::open_log(&database, &config.log.anchor, signer.key_history()).await?;
        let log_key = signer.key_history().clone();
        let log = LogReader::new(database.clone());
        let metrics = management::metrics(&config, METHODS)?;
        let fold_after = config.database.fold_after_pages;
        let (committer, sequencer) = Committer::new(
            database.clone(),
            tree,
            signer,
            anchor,
            Arc::clone(&environment.clock),
            fold_after,
            &metrics.as_ref().map(|metrics| metrics.commits.clone()).unwrap_or_default(),
        );
        let real = Arc::clone(&environment.system_clock);
        let follower = LogFollower::new(database, committer.clone(), log_key.clone(), real);
        follower.poll().await?;
        let condition = committer.condition().clone();
        let keys = KeyAnnouncer::new(log.database().clone(), config.listen, Arc::clone(&vault), condition);
        if let Some(mismatch) = keys.announce().await? {
            keys.withdraw().await;
            return Err(StartError::KeyRing { path: config.log.key_ring, mismatch });
        }
        let (sequencer, keys) = (SequencerHandle::start(sequencer), Arc::new(keys));
        Ok(Self {
            committer,
            log,
            vault,
            log_keys: log_key,
            config,
            environment,
            follower,
            sequencer,
            sighup: hangup,
            keys,
            key_ring: key_ring_file,
            rules,
            metrics,
            management: None,
            runs_oversight: true,
        })
    }

    /// Opens the management listener, if one is configured.
    ///
    /// # Errors
    /// [`StartError::Management`].
    pub async fn open_management(&mut self) -> Result<(), StartError> {
        self.management = Management::open(&self.config, self.metrics.as_ref()).await?;
        Ok(())
    }

    /// Serves on a listener until `stop` completes, then drains; once the future that `stop` returned completes too, it
    /// closes every connection at once. `extra` answers paths that are not the gateway's
    /// own and precedes the exchange pipeline.
    ///
    /// # Errors
    /// [`FatalError`] when the disk failed or the database is damaged: the process must exit non-zero at once.
    pub async fn serve<C: Future<Output = ()>>(
        self,
        listener: TcpListener,
        tls: Arc<Tls>,
        extra: Option<UnauditedService>,
        stop: impl Future<Output = C>,
    ) -> Result<(), FatalError> {
        self.log.database().open_connections().await;
        let connections = Connections::default();
        let (stopping, stop_receiver) = watch::channel(false);
        let pipeline = self.exchange_pipeline(Arc::clone(&tls), stop_receiver);
        let (cut_sender, cut_receiver) = oneshot::channel();
        let stop = async {
            let cut = stop.await;
            stopping.send_replace(true);
            cut_sender.send(cut).ok();
        };
        let cut_connections = connections.clone();
        let cutting = async {
            if let Ok(cut) = cut_receiver.await {
                cut.await;
                cut_connections.cut_all();
            }
            std::future::pending::<Infallible>().await
        };
        let (reporter, health) = health_reporter();
        let mut tasks = self.start_tasks(&pipeline, reporter);
        let tls_and_clock = (Arc::clone(&tls), Arc::clone(&self.environment.system_clock));
        let connections_and_pipeline = (connections.clone(), Arc::clone(&pipeline));
        tasks.spawn_supervised("maintenance", MAX_MAINTENANCE_TIME, |progress| {
            server::maintenance_loop(
                tls_and_clock,
                self.sighup,
                self.key_ring,
                connections_and_pipeline,
                progress,
            )
        });
        let (limited, limited_connections) = (Arc::clone(&pipeline), connections.clone());
        tasks.spawn_supervised("rejected calls", MAX_RECORDING_TIME, |progress| {
            server::record_rejected_calls(limited, limited_connections, progress)
        });
        if let Some(management) = self.management {
            let sources = FigureSources {
                committer: self.committer.clone(),
                tls: Arc::clone(&tls),
                clock: Arc::clone(&self.environment.clock),
                system_clock: Arc::clone(&self.environment.system_clock),
                stopping: stopping.subscribe(),
                database: self.log.database().clone(),
            };
            management.start(&self.config, sources, &mut tasks);
        }
        let indexer = LogIndexer::new(self.log.database().clone(), self.committer.clone());
        tasks.spawn_supervised("log index", MAX_INDEX_TIME, |progress| indexer.run(progress));
        tasks.spawn_supervised("log follower", MAX_FOLLOW_TIME, |progress| self.follower.run(progress));
        tasks.supervise(self.committer.tasks(), self.committer.condition());
        tasks.spawn("watchdog", server::feed_watchdog(self.committer.tasks().to_vec()));
        let limits =
            MessageLimits { max_request_bytes: self.config.limits.request_bytes, ..MessageLimits::default() };
        let health = health.max_decoding_message_size(MAX_UNAUDITED_MESSAGE_BYTES);
        let extra = unaudited_services(&self.config, UnauditedService::new(health), extra);
        let service = Dispatch {
            gateway: ExchangeService::new(routes(), Arc::clone(&pipeline), limits),
            unaudited: extra.into_iter().map(Arc::new).collect(),
        };
        let configured = &self.config.limits;
        let sockets = server::sockets_that_fit(configured.connections, configured.pending_connections);
        let limits = server::ListenerLimits {
            max_connections: sockets.connections,
            max_pending: sockets.pending,
            max_pending_per_address: configured.pending_connections_per_address,
            max_connections_per_organisation: configured.connections_per_organisation,
            handshake_timeout: Duration::from_secs(configured.handshake_seconds),
            drain_timeout: Duration::from_secs(configured.drain_seconds),
            stall_timeout: Duration::from_secs(configured.answer_stall_seconds),
            memory: configured.memory_limits(),
        };
        let metrics = self
            .metrics
            .map(|metrics| server::ServerMetrics { calls: metrics.calls, connections: metrics.connections });
        let metrics = metrics.unwrap_or_default();
        let serving = server::serve(listener, tls, service, limits, connections, metrics, stop);
        tokio::pin!(serving);
        let mut sequencer = self.sequencer;
        let ended = tokio::select! {
            () = &mut serving => Ok(()),
            never = cutting => match never {},
            fatal = sequencer.ended() => fatal,
            fatal = tasks.wait_for_failure() => Err(fatal),
            damage = self.log.database().damaged() => Err(FatalError::Damaged(damage)),
        };
        if let Err(FatalError::UnexpectedEnd) = ended {
            // The sequencer has panicked: callers that wait for it get their UNAVAILABLE.
            tokio::time::timeout(MAX_LAST_ANSWER_TIME, &mut serving).await.ok();
        }
        drop(tasks);
        // A database on a failed disk is left as it is, because closing SQLite writes to it once more.
        ended?;
        tokio::time::timeout(MAX_LAST_RECORDING_TIME, pipeline.record_rejected(true)).await.ok();
        self.keys.withdraw().await;
        sequencer.stop().await;
        self.log.database().close().await;
        Ok(())
    }

    /// Starts the background tasks of a serving node, except those that consume a part of the node.
    fn start_tasks(&self, pipeline: &Arc<ExchangePipeline>, reporter: HealthReporter) -> Tasks {
        let mut tasks = Tasks::default();
        if self.runs_oversight {
            tasks.spawn_supervised("oversight", MAX_OVERSIGHT_TIME, |progress| {
                AlertScheduler::new(Arc::clone(pipeline), Arc::clone(&self.rules))
                    .with_progress(progress)
                    .run()
            });
        }
        tasks.spawn_supervised("key announcements", MAX_ANNOUNCEMENT_TIME, |progress| {
            Arc::clone(&self.keys).run(progress)
        });
        let (clock, condition) = (Arc::clone(&self.environment.clock), self.committer.condition().clone());
        tasks.spawn_supervised("clock", MAX_CLOCK_WATCH_TIME, |progress| {
            server::watch_clock(clock, condition, progress)
        });
        tasks.spawn("health", server::report_health(reporter, self.committer.condition().subscribe()));
        let TreeHead { size, time, .. } = *self.committer.head().borrow();
        if time > self.environment.clock.now() {
            tracing::warn!(newest_entry = %time, "the newest entry is later than this node's clock: until then entries get its time");
        }
        let (log, key, committer) = (self.log.clone(), self.log_keys.clone(), self.committer.clone());
        tasks.spawn("log verification", verify_log(log, size, key, committer));
        tasks
    }

    /// Closes a node that does not serve.
    pub async fn close(self) {
        self.keys.withdraw().await;
        self.sequencer.stop().await;
        self.log.database().close().await;
    }

    fn exchange_pipeline(&self, tls: Arc<Tls>, stopping: watch::Receiver<bool>) -> Arc<ExchangePipeline> {
        let real = Arc::clone(&self.environment.system_clock);
        let system_clock = Arc::clone(&real);
        let mut settings = http::Extensions::new();
        settings.insert(Arc::clone(&self.rules));
        settings.insert(Arc::new(oversight::rules::cut_off_times(&self.rules)));
        Arc::new(ExchangePipeline {
            methods: METHODS,
            log: self.log.clone(),
            committer: self.committer.clone(),
            vault: Arc::clone(&self.vault),
            log_keys: Arc::new(self.log_keys.clone()),
            clock: Arc::clone(&self.environment.clock),
            system_clock,
            random: self.environment.random.clone(),
            certificate_status: Arc::new(move |peer: &PeerCertificate| tls.status(peer, real.now())),
            identify: |snapshot, claims| Box::pin(register::callers::identify(snapshot, claims)),
            caller_cache: CallerCache::default(),
            limiter: CallLimiter::new(self.config.limits.call_limits()),
            refusal_log: RefusalLog::default(),
            identify_person: |snapshot, claims| Box::pin(register::practitioners::identify(snapshot, claims)),
            person_cache: PersonCache::default(),
            token_audience: self.config.token_audience.clone(),
            stopping,
            limits: self.config.limits.exchange_limits(),
            metrics: self.metrics.as_ref().map(|metrics| metrics.exchanges.clone()).unwrap_or_default(),
            settings: Arc::new(settings),
            delivery_deadlines: Arc::new(oversight::rules::delivery_deadlines(&self.rules)),
        })
    }
}

/// Every method of the gateway, by capability.
pub const METHODS: MethodTable = MethodTable(&[
    register::METHODS,
    placements::METHODS,
    passports::METHODS,
    returns::METHODS,
    delivery::METHODS,
    oversight::METHODS,
    audit::METHODS,
]);

/// Returns every table of the gateway: the store's and those of the capabilities.
#[must_use]
pub fn tables() -> Vec<&'static Table> {
    [
        store::TABLES,
        register::TABLES,
        placements::TABLES,
        passports::TABLES,
        returns::TABLES,
        delivery::TABLES,
        oversight::TABLES,
        audit::TABLES,
    ]
    .concat()
}

/// Returns the routes of every method of the gateway.
fn routes() -> Routes {
    let routes = register::routes(Routes::default());
    let routes = placements::routes(routes);
    let routes = passports::routes(routes);
    let routes = returns::routes(routes);
    let routes = delivery::routes(routes);
    let routes = oversight::routes(routes);
    audit::routes(routes)
}
