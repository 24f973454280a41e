//! Sockets that do not begin TLS. They cost their owner nothing and must not lock callers out.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::serve_process::{LIST_PLACEMENTS, ServeFolder};

/// Sockets that are opened before the callers come, and that stay open.
const SILENT_SOCKETS: usize = 2_000;
const CALLERS: usize = 50;

/// Opens a socket that sends a number of bytes and then nothing.
async fn open_silent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    // The gateway may have closed it.
    tcp.write_all(bytes).await.ok();
    tcp
}

/// Checks that every caller gets its answer beside 2,000 silent sockets and a hundred new ones a second, whether they
/// send nothing or the beginning of a `ClientHello`.
#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_lock_nobody_out() {
    let folder = ServeFolder::new();
    for bytes in [&[][..], &[0x16, 3, 1, 2, 0, 1]] {
        let served = folder.serve();
        let address = served.address;
        let mut silent = Vec::new();
        for _ in 0..SILENT_SOCKETS {
            silent.push(open_silent(address, bytes).await);
        }
        let attack = tokio::spawn(async move {
            let mut opened = Vec::new();
            for _ in 0..6_000 {
                opened.push(open_silent(address, bytes).await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let config = folder.tls("la-a");
            callers.spawn(async move {
                let wire = super::wire::Wire::open(address, config).await?;
                Ok::<_, String>(wire.call(LIST_PLACEMENTS, &[]).await.reason())
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answers = callers.join_all().await;
        attack.abort();
        let answered = answers.iter().filter(|answer| answer.as_deref() == Ok("OK")).count();
        assert_eq!(answered, CALLERS, "{answers:?}");
        assert!(served.log().contains("full: pending_connections_per_address"), "{}", served.log());
        drop(silent);
    }
}
