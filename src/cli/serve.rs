//! `serve`: runs a gateway until SIGTERM or SIGINT; a second one ends the wait for calls under way.

use std::future::Future;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::ConfigArgs;
use super::{Failure, operator, output, print_line};
use crate::config::Config;
use crate::gateway::{self, Node, StartError};

/// Signal handlers of a serving process. They are installed first, because a signal without a handler kills the
/// process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Keeps a SIGHUP during the start from killing the process; the node has its own handler, which reloads.
    _hangup: Signal,
}

/// Runs a gateway with the given configuration; prints `READY host:port` when it accepts calls, and tells the service
/// manager.
///
/// # Errors
/// Exit code 78 for the configuration, 69 for the database, the address or too few file descriptors, 1 for an inconsistent log, 70 for a failure
/// of the disk or a damaged database.
pub async fn serve(args: &ConfigArgs) -> Result<(), Failure> {
    let mut signals = Signals::install()?;
    let opened = async {
        gateway::raise_descriptor_limit().map_err(StartError::from)?;
        let config = Config::load(&args.config)?;
        let tls = gateway::tls(&config)?;
        let listen = config.listen;
        let environment = operator::serving_environment(&config);
        let mut node = Node::open(config, environment).await?;
        node.open_management().await?;
        let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Listen(listen, error))?;
        let bound = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
        Ok::<_, Failure>((node, listener, bound, tls))
    };
    let Some(opened) = signals.run_until_stopped(Box::pin(opened)).await else {
        return Ok(());
    };
    let (node, listener, bound, tls) = opened?;
    print_line(&format!("READY {bound}"));
    output::check_written()?;
    gateway::notify_ready();
    #[expect(clippy::async_yields_async, reason = "the second future is the cut")]
    let stop = async move {
        signals.wait_for_stop().await;
        gateway::notify_stopping();
        // A second signal ends the wait for calls under way.
        async move { signals.wait_for_stop().await }
    };
    Ok(node.serve(listener, tls, None, stop).await?)
}

impl Signals {
    /// Installs the handlers of SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// Exit code 70 if the operating system refuses.
    pub fn install() -> Result<Self, Failure> {
        let install = |kind| signal(kind).map_err(|error| Failure::bug("could not set up signals", error));
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            _hangup: install(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn wait_for_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs a future to its end; returns `None` if SIGTERM or SIGINT arrives first.
    pub async fn run_until_stopped<T>(&mut self, start: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            started = start => Some(started),
            () = self.wait_for_stop() => None,
        }
    }
}
