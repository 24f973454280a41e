//! Sockets whose TLS handshake has not ended. Their number is bounded, in all and for each peer address, and a new
//! socket takes the place of an old one: silent sockets, which cost their owner nothing, cannot lock callers out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Time that a handshake has before a new socket can take its place. Without it a burst of new sockets would end each
/// handshake before its peer could answer.
const MIN_HANDSHAKE_TIME: Duration = Duration::from_secs(1);
/// Bits of an IPv6 address that its network assigns; one host can use all the others.
const IPV6_HOST_BITS: u32 = 64;

/// Bounds of the sockets whose handshake has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingLimits {
    /// Maximum number of sockets.
    pub max_sockets: usize,
    /// Maximum number of sockets of one peer address. Of IPv6 addresses the first 64 bits count.
    pub max_sockets_per_address: usize,
}

/// The bound that a socket exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingBound {
    /// [`PendingLimits::max_sockets`].
    All,
    /// [`PendingLimits::max_sockets_per_address`].
    Address,
}

/// Sockets whose handshake has not ended. Cheap to clone.
#[derive(Clone)]
pub(super) struct PendingSockets {
    limits: PendingLimits,
    table: Arc<Mutex<PendingTable>>,
}

#[derive(Default)]
struct PendingTable {
    next_id: u64,
    /// In the order of arrival.
    by_id: BTreeMap<u64, PendingSocket>,
}

struct PendingSocket {
    network: IpAddr,
    arrived: Instant,
    has_hello: bool,
    on_displaced: oneshot::Sender<PendingBound>,
}

/// Place of one socket. Dropping it frees the place.
pub(super) struct PendingPlace {
    id: u64,
    displaced: oneshot::Receiver<PendingBound>,
    sockets: PendingSockets,
}

impl PendingSockets {
    /// Creates an empty set.
    pub fn new(limits: PendingLimits) -> Self {
        Self { limits, table: Arc::default() }
    }

    /// Adds a socket. If a bound is reached, the oldest socket without a `ClientHello` loses its place, otherwise the
    /// oldest whose handshake has had its time.
    ///
    /// # Errors
    /// The bound, if no socket can be displaced.
    pub fn add(&self, address: IpAddr) -> Result<PendingPlace, PendingBound> {
        let (network, now) = (network_of(address), Instant::now());
        let mut table = self.lock();
        let same = table.by_id.values().filter(|socket| socket.network == network).count();
        if same >= self.limits.max_sockets_per_address {
            table.displace_one(|socket| socket.network == network, now, PendingBound::Address)?;
        } else if table.by_id.len() >= self.limits.max_sockets {
            table.displace_one(|_| true, now, PendingBound::All)?;
        }
        let (on_displaced, displaced) = oneshot::channel();
        let id = table.next_id;
        table.next_id += 1;
        table.by_id.insert(id, PendingSocket { network, arrived: now, has_hello: false, on_displaced });
        Ok(PendingPlace { id, displaced, sockets: self.clone() })
    }

    /// Ignores poisoning: every change is one insertion, removal or assignment.
    fn lock(&self) -> MutexGuard<'_, PendingTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingTable {
    fn displace_one(
        &mut self,
        is_candidate: impl Fn(&PendingSocket) -> bool,
        now: Instant,
        bound: PendingBound,
    ) -> Result<(), PendingBound> {
        let find = |may_go: &dyn Fn(&PendingSocket) -> bool| {
            self.by_id.iter().find(|(_, socket)| is_candidate(socket) && may_go(socket)).map(|(id, _)| *id)
        };
        let silent = find(&|socket| !socket.has_hello);
        let id = silent.or_else(|| find(&|socket| socket.arrived + MIN_HANDSHAKE_TIME <= now));
        let socket = id.and_then(|id| self.by_id.remove(&id)).ok_or(bound)?;
        // Its task may have ended.
        socket.on_displaced.send(bound).ok();
        Ok(())
    }
}

impl PendingPlace {
    /// Notes that the socket's `ClientHello` has arrived.
    pub fn mark_hello(&self) {
        if let Some(socket) = self.sockets.lock().by_id.get_mut(&self.id) {
            socket.has_hello = true;
        }
    }

    /// Waits until another socket has taken the place, and returns the bound.
    pub async fn displaced(&mut self) -> PendingBound {
        match (&mut self.displaced).await {
            Ok(bound) => bound,
            // The sender is in the table until the place is lost or dropped.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        self.sockets.lock().by_id.remove(&self.id);
    }
}

/// Returns what is counted as one address.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets() -> PendingSockets {
        PendingSockets::new(PendingLimits { max_sockets: 4, max_sockets_per_address: 2 })
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn is_displaced(place: &mut PendingPlace) -> Option<PendingBound> {
        place.displaced.try_recv().ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_socket_goes_first() {
        let sockets = sockets();
        let mut places: Vec<_> = [1, 1, 2, 2].map(|last| sockets.add(address(last)).unwrap()).into();
        places[0].mark_hello();
        let third = sockets.add(address(3)).unwrap();
        assert_eq!(is_displaced(&mut places[1]), Some(PendingBound::All));
        assert!([0, 2, 3].iter().all(|at| is_displaced(&mut places[*at]).is_none()));
        drop(third);
        sockets.add(address(2)).unwrap();
        assert_eq!(is_displaced(&mut places[2]), Some(PendingBound::Address));
        assert_eq!(sockets.lock().by_id.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_under_way_has_its_time() {
        let sockets = sockets();
        let mut places = [1, 1].map(|last| sockets.add(address(last)).unwrap());
        places.iter().for_each(PendingPlace::mark_hello);
        assert_eq!(sockets.add(address(1)).err(), Some(PendingBound::Address));
        tokio::time::advance(MIN_HANDSHAKE_TIME).await;
        let _new = sockets.add(address(1)).unwrap();
        assert_eq!(is_displaced(&mut places[0]), Some(PendingBound::Address));
        assert_eq!(is_displaced(&mut places[1]), None);
    }

    #[test]
    fn addresses_of_one_host_count_together() {
        let parse = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(parse("2001:db8:1:2:3:4:5:6"), parse("2001:db8:1:2::9"));
        assert_ne!(parse("2001:db8:1:2::9"), parse("2001:db8:1:3::9"));
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
        assert_ne!(parse("192.0.2.2"), parse("192.0.2.1"));
    }
}
