//! Limits of the listener.

use std::time::Duration;

use super::connections::ConnectionLimits;
use crate::exchange::MemoryLimits;

/// Part of all connections that certificates which are not known to be registered may have together.
const UNREGISTERED_PART: usize = 4;
/// Connections that they may have in any case.
const MIN_UNREGISTERED: usize = 128;

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Maximum number of connections, from their `ClientHello` on.
    pub max_connections: usize,
    /// Maximum number of sockets whose TLS handshake has not ended.
    pub max_pending: usize,
    /// Maximum number of such sockets of one peer address.
    pub max_pending_per_address: usize,
    /// Maximum number of connections of one organisation, and of one certificate that is not known to be registered.
    pub max_connections_per_organisation: usize,
    /// Timeout of a TLS handshake, and of the client's HTTP/2 preface after it.
    pub handshake_timeout: Duration,
    /// Time that connections have to finish after shutdown begins.
    pub drain_timeout: Duration,
    /// Time after which an answer of which nothing is sent ends its stream.
    pub stall_timeout: Duration,
    /// Limits of the memory for requests and answers.
    pub memory: MemoryLimits,
}

impl ListenerLimits {
    /// Returns the bounds of the connections after their handshakes.
    pub(super) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            per_organisation: self.max_connections_per_organisation,
            unregistered: (self.max_connections / UNREGISTERED_PART).max(MIN_UNREGISTERED),
        }
    }
}
