//! Sockets whose TLS handshake has not ended. Their number is bounded, in all and for each peer address, and a new
//! socket takes the place of an old one: silent sockets, which cost their owner nothing, cannot lock callers out.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Time that a handshake has before a new socket can take its place. Without it a burst of new sockets would end each
/// handshake before its peer could answer.
const MIN_HANDSHAKE_TIME: Duration = Duration::from_secs(1);
/// Time in which a `ClientHello` is on its way. A socket that is younger gives way last.
const HELLO_TIME: Duration = Duration::from_millis(250);
/// A network that has so many times the sockets of a newcomer's is taken for the source of a flood.
const FLOOD_FACTOR: usize = 2;
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

    /// Adds a socket. If the bound of its address is reached, another socket of the address loses its place; if that of
    /// all is reached, one that [`PendingTable::displace_any`] finds.
    ///
    /// # Errors
    /// The bound, if no socket can be displaced.
    pub fn add(&self, address: IpAddr) -> Result<PendingPlace, PendingBound> {
        let (network, now) = (network_of(address), Instant::now());
        let mut table = self.lock();
        let same = table.by_id.values().filter(|socket| socket.network == network).count();
        if same >= self.limits.max_sockets_per_address {
            let is_candidate = |socket: &PendingSocket| socket.network == network;
            table.displace_one(is_candidate, now, MIN_HANDSHAKE_TIME, PendingBound::Address)?;
        } else if table.by_id.len() >= self.limits.max_sockets {
            table.displace_any(same, now)?;
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
    fn count_by_network(&self) -> HashMap<IpAddr, usize> {
        let mut counts = HashMap::new();
        for socket in self.by_id.values() {
            *counts.entry(socket.network).or_default() += 1;
        }
        counts
    }

    /// Displaces a socket for one of a network that has `same` of them. A young socket does not give way to a network that
    /// has more than its own. While a network has a multiple of `same`, only sockets of such networks give way, and their
    /// handshakes have no time: a few networks with many half handshakes cannot lock the others out.
    fn displace_any(&mut self, same: usize, now: Instant) -> Result<(), PendingBound> {
        let counts = self.count_by_network();
        let most = counts.values().copied().max().unwrap_or_default();
        // A caller with a few sockets more than others is no flood, and keeps its handshakes.
        let is_flood = most > FLOOD_FACTOR * (same + 1);
        let handshake_time = if is_flood { Duration::ZERO } else { MIN_HANDSHAKE_TIME };
        let is_candidate = |socket: &PendingSocket| {
            let held = counts.get(&socket.network).copied().unwrap_or_default();
            if is_flood { held == most } else { held >= same || socket.is_older(MIN_HANDSHAKE_TIME, now) }
        };
        self.displace_one(is_candidate, now, handshake_time, PendingBound::All)
    }

    /// Displaces the oldest candidate whose `ClientHello` is late, otherwise the oldest whose handshake has had
    /// `handshake_time`, otherwise the oldest without a `ClientHello`.
    fn displace_one(
        &mut self,
        is_candidate: impl Fn(&PendingSocket) -> bool,
        now: Instant,
        handshake_time: Duration,
        bound: PendingBound,
    ) -> Result<(), PendingBound> {
        let find = |may_go: &dyn Fn(&PendingSocket) -> bool| {
            self.by_id.iter().find(|(_, socket)| is_candidate(socket) && may_go(socket)).map(|(id, _)| *id)
        };
        let id = find(&|socket| !socket.has_hello && socket.is_older(HELLO_TIME, now))
            .or_else(|| find(&|socket| socket.has_hello && socket.is_older(handshake_time, now)))
            .or_else(|| find(&|socket| !socket.has_hello));
        let socket = id.and_then(|id| self.by_id.remove(&id)).ok_or(bound)?;
        // Its task may have ended.
        socket.on_displaced.send(bound).ok();
        Ok(())
    }
}

impl PendingSocket {
    fn is_older(&self, age: Duration, now: Instant) -> bool {
        self.arrived + age <= now
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

    #[tokio::test(start_paused = true)]
    async fn half_handshakes_of_a_few_networks_lock_no_other_out() {
        let limits = PendingLimits { max_sockets: 12, max_sockets_per_address: 4 };
        let sockets = PendingSockets::new(limits);
        let mut attackers: Vec<_> = [1, 2, 3]
            .repeat(4)
            .into_iter()
            .map(|last| {
                let place = sockets.add(address(last)).unwrap();
                place.mark_hello();
                place
            })
            .collect();
        let mut honest = sockets.add(address(9)).unwrap();
        assert_eq!(is_displaced(&mut attackers[0]), Some(PendingBound::All));
        // The attackers go on: they lose places of their own, or get none.
        for round in 0..30_u8 {
            if let Ok(place) = sockets.add(address(1 + round % 3)) {
                place.mark_hello();
                attackers.push(place);
            }
        }
        assert_eq!(is_displaced(&mut honest), None);
        let mut second = sockets.add(address(8)).unwrap();
        assert_eq!((is_displaced(&mut honest), is_displaced(&mut second)), (None, None));
        assert_eq!(sockets.lock().by_id.len(), limits.max_sockets);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_hello_has_time_to_arrive() {
        let sockets = sockets();
        let mut half = sockets.add(address(1)).unwrap();
        half.mark_hello();
        tokio::time::advance(MIN_HANDSHAKE_TIME).await;
        let mut caller = sockets.add(address(1)).unwrap();
        let third = sockets.add(address(1)).unwrap();
        third.mark_hello();
        assert_eq!(is_displaced(&mut half), Some(PendingBound::Address));
        assert_eq!(is_displaced(&mut caller), None);
        tokio::time::advance(HELLO_TIME).await;
        let _fourth = sockets.add(address(1)).unwrap();
        assert_eq!(is_displaced(&mut caller), Some(PendingBound::Address));
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
