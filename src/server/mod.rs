//! The listener: accepts connections, runs TLS and HTTP/2 over them, and can close each of them.
//!
//! hyper's and tonic's servers set no bound on streams, resets and handshakes, retry a failed accept in a hot
//! loop, and wait without limit for a connection that never sends. So the accept loop is the gateway's own.

mod active_calls;
mod answer_progress;
mod call_limits;
mod clock_watch;
mod closing;
mod connection;
mod connection_refusals;
mod connection_review;
mod connections;
mod descriptors;
mod frame_budget;
mod frame_scanner;
mod guarded_stream;
mod handshake;
mod health;
mod host_check;
mod listener_limits;
mod maintenance;
mod management;
mod management_address;
mod metered_service;
mod pending_sockets;
mod response_body;
mod revocation;
mod service_manager;
mod tasks;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;

pub use call_limits::record_rejected_calls;
pub use clock_watch::watch_clock;
pub use connection_review::ConnectionReviewer;
pub use connections::{Connections, Ending};
pub use descriptors::{TooFewDescriptors, raise_descriptor_limit, sockets_that_fit};
pub use handshake::HANDSHAKE_RESULTS;
pub use health::report_health;
pub use listener_limits::ListenerLimits;
pub use maintenance::{KeyRingFile, maintenance_loop};
pub use management::{Probes, serve_management};
pub use management_address::{ManagementAddress, ManagementListener, ManagementStream};
pub use revocation::RevocationReviewer;
pub use service_manager::{feed_watchdog, notify_ready, notify_stopping};
pub use tasks::Tasks;

pub use crate::metrics::ServerMetrics;

use crate::exchange::MemoryBudget;
use crate::identity::Tls;
use crate::store::FaultLog;
use closing::MAX_CLOSE_TIME;
use connection_refusals::ConnectionRefusals;
use handshake::Reception;
use pending_sockets::{PendingLimits, PendingSockets};

/// Pause after a failed accept, because file descriptors become free as connections end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Sockets that may be open beside those that have a place: they lost it, and their tasks have not closed them yet.
const DISPLACED_SOCKETS: usize = 16;
/// Interval at which counted repeats of refusals are logged.
const REFUSAL_COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// Serves until `stop` completes. Then closes every connection: idle ones at once, others when their calls have ended,
/// and the rest at the drain limit. Each request carries its peer's certificate as `Arc<PeerCertificate>`.
pub async fn serve<S>(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: S,
    limits: ListenerLimits,
    connections: Connections,
    metrics: ServerMetrics,
    stop: impl Future<Output = ()>,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let (stop_sender, stopping) = watch::channel(false);
    let pending = PendingLimits {
        max_sockets: limits.max_pending,
        max_sockets_per_address: limits.max_pending_per_address,
    };
    let refusals = ConnectionRefusals::default();
    let reception = Arc::new(Reception {
        tls,
        limits,
        pending: PendingSockets::new(pending),
        places: Arc::new(Semaphore::new(limits.max_connections)),
        connections: connections.clone(),
        memory: MemoryBudget::new(limits.memory),
        stopping,
        refusals: refusals.clone(),
        metrics,
    });
    let sockets = Arc::new(Semaphore::new(limits.max_connections + limits.max_pending + DISPLACED_SOCKETS));
    let (mut tasks, mut tick) = (JoinSet::new(), tokio::time::interval(REFUSAL_COUNT_INTERVAL));
    let failed_accepts = FaultLog::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &sockets) => accepted,
            Some(_) = tasks.join_next() => continue,
            now = tick.tick() => {
                refusals.write_repeats(now);
                continue;
            }
            () = &mut stop => break,
        };
        let (tcp, address, socket) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let error = error.to_string();
                if let Some(repeats) = failed_accepts.due(&error) {
                    tracing::warn!(error, repeats, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        match reception.pending.add(address.ip()) {
            Ok(place) => {
                let received = Arc::clone(&reception).receive(tcp, address, place, service.clone());
                tasks.spawn(async move {
                    received.await;
                    drop(socket);
                });
            }
            Err(bound) => reception.record_full(address, bound),
        }
    }
    drop(listener);
    stop_sender.send_replace(true);
    connections.drain();
    wait_for_end(&mut tasks, &connections, limits.drain_timeout).await;
    refusals.write_all_repeats();
}

/// Accepts a socket once fewer than the permitted number are open. Otherwise a burst of sockets, each of which displaces
/// another, would use up the file descriptors before the displaced ones are closed.
async fn accept(
    listener: &TcpListener,
    sockets: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let permit = Arc::clone(sockets).acquire_owned().await.ok();
    let (tcp, address) = listener.accept().await?;
    Ok((tcp, address, permit))
}

/// Waits until every connection has ended. Cuts the rest so early that it can be closed in good order.
async fn wait_for_end(tasks: &mut JoinSet<()>, connections: &Connections, within: Duration) {
    let deadline = Instant::now() + within;
    let cut_at = deadline - MAX_CLOSE_TIME.min(within / 2);
    let all_ended = async |tasks: &mut JoinSet<()>| while tasks.join_next().await.is_some() {};
    if tokio::time::timeout_at(cut_at, all_ended(tasks)).await.is_err() {
        connections.cut_all();
        tokio::time::timeout_at(deadline, all_ended(tasks)).await.ok();
    }
}
