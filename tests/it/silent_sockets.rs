//! Sockets whose owners do not go on with their TLS handshake. They cost their owners next to nothing and must not lock
//! callers out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::serve_process::{LIST_PLACEMENTS, ServeFolder};
use super::wire::Wire;

/// Sockets that are opened before the callers come, and that stay open.
const SILENT_SOCKETS: u32 = 2_000;
const CALLERS: usize = 50;

/// Sockets that send some bytes and then nothing.
#[derive(Clone)]
struct Attack {
    gateway: SocketAddr,
    bytes: Vec<u8>,
    /// Number of addresses that they come from; 1 is that of the callers.
    addresses: u32,
}

impl Attack {
    async fn open(&self, number: u32) -> TcpStream {
        let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number % self.addresses);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut tcp = socket.connect(self.gateway).await.unwrap();
        // The gateway may have closed it.
        tcp.write_all(&self.bytes).await.ok();
        tcp
    }

    /// Opens a hundred sockets a second, until it is cancelled.
    async fn go_on(self) {
        let mut opened = Vec::new();
        for number in 0..6_000 {
            opened.push(self.open(number).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn client_hello(config: ClientConfig) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let (mut session, mut bytes) = (ClientConnection::new(Arc::new(config), name).unwrap(), Vec::new());
    session.write_tls(&mut bytes).unwrap();
    bytes
}

/// Checks that every caller gets its answer beside 2,000 silent sockets and a hundred new ones a second, whether they
/// send nothing, a part of a `ClientHello` or a whole one, from one address or from many.
#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_lock_nobody_out() {
    let folder = ServeFolder::new();
    let hello = client_hello(folder.tls("la-a"));
    for (bytes, addresses, limit) in [
        (&[][..], 1, "full: pending_connections_per_address"),
        (&hello[..6], 200, "full: pending_connections;"),
        (&hello, 1, "full: pending_connections_per_address"),
    ] {
        let served = folder.serve();
        let gateway = served.address;
        let attack = Attack { gateway, bytes: bytes.to_owned(), addresses };
        let mut silent = Vec::new();
        for number in 0..SILENT_SOCKETS {
            silent.push(attack.open(number).await);
        }
        let attacking = tokio::spawn(attack.go_on());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let config = folder.tls("la-a");
            callers.spawn(async move {
                let wire = Wire::open(gateway, config).await?;
                Ok::<_, String>(wire.call(LIST_PLACEMENTS, &[]).await.reason())
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answers = callers.join_all().await;
        attacking.abort();
        let answered = answers.iter().filter(|answer| answer.as_deref() == Ok("OK")).count();
        assert_eq!(answered, CALLERS, "{answers:?}");
        assert!(served.log().contains(limit), "{}", served.log());
    }
}
