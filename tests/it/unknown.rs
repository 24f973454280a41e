//! The connection to PostgreSQL is cut while a commit is under way: the caller is told that nothing is known,
//! and the same request again finds out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ap_gateway::proto::v1::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::faults::unavailable;
use super::story::{attendance, mark, outcomes, submission, submit};
use super::support::{Postgres, World};

/// Where the connection of the next COMMIT is cut.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Cut {
    Nowhere,
    /// Before PostgreSQL has it.
    Asking,
    /// When PostgreSQL has done it, and says so.
    Answering,
}

/// Passes bytes between a gateway and its PostgreSQL.
struct Proxy(Arc<AtomicU8>);

impl Proxy {
    /// Stands before the server from now on.
    async fn before(postgres: &Postgres) -> Self {
        let url = std::fs::read_to_string(&postgres.url_file).unwrap();
        let (_, server) = url.split_once('@').unwrap();
        let (server, _) = server.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxied = url.replace(server, &listener.local_addr().unwrap().to_string());
        std::fs::write(&postgres.url_file, proxied).unwrap();
        let (cut, server) = (Arc::new(AtomicU8::new(Cut::Nowhere as u8)), server.to_owned());
        let armed = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), Arc::clone(&armed)));
            }
        });
        Self(cut)
    }

    fn cut_next(&self, cut: Cut) {
        self.0.store(cut as u8, Ordering::SeqCst);
    }
}

/// Passes on what either says until one has gone, or the connection is cut.
async fn pass(mut client: TcpStream, server: String, armed: Arc<AtomicU8>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut asked, mut told) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut cutting = false;
    loop {
        tokio::select! {
            size = client.read(&mut asked) => {
                let asked = &asked[..size?];
                if asked.windows(7).any(|window| window == b"COMMIT\0") {
                    let cut = armed.swap(Cut::Nowhere as u8, Ordering::SeqCst);
                    if cut == Cut::Asking as u8 {
                        return Ok(());
                    }
                    cutting = cut == Cut::Answering as u8;
                }
                if asked.is_empty() {
                    return Ok(());
                }
                server.write_all(asked).await?;
            }
            size = server.read(&mut told) => {
                let told = &told[..size?];
                if told.is_empty() || cutting {
                    return Ok(());
                }
                client.write_all(told).await?;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_is_not_known_is_found_out_by_its_retry() {
    let postgres = Postgres::start();
    let proxy = Proxy::before(&postgres).await;
    let world = World::of(postgres).await;
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    for (marks, day, cut) in [(1, "2026-11-02", Cut::Asking), (2, "2026-11-03", Cut::Answering)] {
        let request = submission(vec![mark(&placement, day, "/")]);
        proxy.cut_next(cut);
        unavailable(submit(&riverside, &request).await);
        assert_eq!(submit(&riverside, &request).await.unwrap().message.stored, 1);
        assert_eq!(attendance(&la, &placement).await.unwrap().marks.len(), marks);
    }
    // The first was not done and its retry was; the second was done and its retry a repetition.
    let counted = outcomes(&riverside, 0).await;
    assert_eq!(counted, [(Outcome::Ok as i32, 2), (Outcome::Replayed as i32, 1)].into());
    world.stop().await;
}
