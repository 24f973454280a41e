//! `serve`: a gateway until SIGTERM.

use std::future::Future;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::OfConfig;
use super::{Failure, operator, output, say};
use crate::config::Config;
use crate::gateway::{self, Node, StartError};

/// The signals of a process that serves. They are taken up before anything else is done, because a signal without a
/// handler kills the process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The node reloads on its own stream; this one keeps an early SIGHUP from being the end.
    _hangup: Signal,
}

/// Serves as the configuration says; prints `READY host:port` once calls are accepted.
///
/// # Errors
/// Exit code 78 for the configuration, 69 for the database or the address, 1 for a log that does not fit,
/// 70 when the disk failed.
pub async fn serve(args: &OfConfig) -> Result<(), Failure> {
    let mut signals = Signals::install()?;
    let opened = async {
        let config = Config::load(&args.config)?;
        let tls = gateway::tls(&config)?;
        let listen = config.listen;
        let node = Node::open(config, operator::surroundings()).await?;
        let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Listen(listen, error))?;
        let bound = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
        Ok::<_, Failure>((node, listener, bound, tls))
    };
    let Some(opened) = signals.unless_stopped(opened).await else {
        return Ok(());
    };
    let (node, listener, bound, tls) = opened?;
    say(&format!("READY {bound}"));
    output::written()?;
    Ok(node.serve(listener, tls, None, async move { signals.stopped().await }).await?)
}

impl Signals {
    /// Takes SIGTERM, SIGINT and SIGHUP up.
    ///
    /// # Errors
    /// Exit code 70 when the operating system refuses.
    pub fn install() -> Result<Self, Failure> {
        let install = |kind| signal(kind).map_err(|error| Failure::bug("could not set up signals", error));
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            _hangup: install(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn stopped(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs a start to its end; `None` when the process was asked to stop meanwhile.
    pub async fn unless_stopped<T>(&mut self, start: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            started = start => Some(started),
            () = self.stopped() => None,
        }
    }
}
