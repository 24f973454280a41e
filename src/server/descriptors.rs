//! File descriptors of the process. Connections take only as many as leave a reserve, because without a descriptor
//! no reader can open the database and neither anchor nor TLS files can be opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that sockets with a place leave: displaced sockets, 11 connections to the database with up to three files each, files of keys,
/// certificates, anchor and log, and the runtime's own.
const RESERVED_DESCRIPTORS: usize = 96;
/// Descriptors without which a node does not start: the reserve and a few connections.
const MIN_DESCRIPTORS: usize = 128;

/// The process may have too few file descriptors to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the hard limit of file descriptors is {limit}, and a node needs {MIN_DESCRIPTORS} or more: raise it (ulimit -n, LimitNOFILE)"
)]
pub struct TooFewDescriptors {
    limit: usize,
}

/// Sockets that the descriptors of the process allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FittingSockets {
    /// Connections after their `ClientHello`.
    pub connections: usize,
    /// Sockets whose handshake has not ended.
    pub pending: usize,
}

/// Raises the soft limit of file descriptors to the hard limit, and logs both.
///
/// # Errors
/// [`TooFewDescriptors`], because a node that starts with fewer cannot open its files.
pub fn raise_descriptor_limit() -> Result<(), TooFewDescriptors> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(error = %error, "the soft limit of file descriptors could not be raised");
    }
    let Some(limit) = descriptor_limit() else {
        return Ok(());
    };
    let from = before.current;
    tracing::info!(from, to = limit, "the soft limit of file descriptors was raised to the hard limit");
    if limit < MIN_DESCRIPTORS { Err(TooFewDescriptors { limit }) } else { Ok(()) }
}

/// Returns the soft limit of file descriptors; `None` if there is none.
fn descriptor_limit() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Returns the sockets that fit beside the reserve, at most those that are configured. Logs a warning if the configured
/// number does not fit.
#[must_use]
pub fn sockets_that_fit(connections: usize, pending: usize) -> FittingSockets {
    let configured = FittingSockets { connections, pending };
    let Some(limit) = descriptor_limit() else {
        return configured;
    };
    let fitting = fitting_sockets(limit, configured);
    if fitting != configured {
        tracing::warn!(
            configured = connections,
            fitting = fitting.connections,
            descriptors = limit,
            needed = connections.saturating_add(pending).saturating_add(RESERVED_DESCRIPTORS),
            "limits.connections is more than the file descriptors allow; fewer connections will be accepted"
        );
    }
    fitting
}

/// Returns the sockets that a limit of descriptors allows: half of them if the limit is below twice the reserve. A
/// quarter of these at most are for handshakes.
fn fitting_sockets(limit: usize, configured: FittingSockets) -> FittingSockets {
    let fitting = limit.saturating_sub(RESERVED_DESCRIPTORS).max(limit / 2);
    let pending = configured.pending.min(fitting / 4).max(1);
    FittingSockets {
        connections: configured.connections.min(fitting.saturating_sub(pending)).max(1),
        pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_reserve() {
        for (limit, configured, fitting) in [
            (20_000, (10_000, 1_024), (10_000, 1_024)),
            (1_024, (10_000, 1_024), (696, 232)),
            (200, (10_000, 1_024), (78, 26)),
            (1, (10_000, 1_024), (1, 1)),
            (1_024, (10, 16), (10, 16)),
        ] {
            let sockets = |(connections, pending)| FittingSockets { connections, pending };
            assert_eq!(fitting_sockets(limit, sockets(configured)), sockets(fitting));
        }
    }
}
