//! `serve`: a gateway until SIGTERM.

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::args::OfConfig;
use super::{Failure, operator, say};
use crate::config::Config;
use crate::gateway::{self, Node, StartError};

/// Serves as the configuration says; prints `READY host:port` once calls are accepted.
///
/// # Errors
/// Exit code 78 for the configuration, 69 for the database or the address, 1 for a log that does not fit,
/// 70 when the disk failed.
pub async fn serve(args: &OfConfig) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let tls = gateway::tls(&config)?;
    let listen = config.listen;
    let node = Node::open(config, operator::surroundings()).await?;
    let listener = TcpListener::bind(listen).await.map_err(|error| StartError::Listen(listen, error))?;
    let bound = listener.local_addr().map_err(|error| StartError::Listen(listen, error))?;
    say(&format!("READY {bound}"));
    Ok(node.serve(listener, tls, None, asked_to_stop()).await?)
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn asked_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
