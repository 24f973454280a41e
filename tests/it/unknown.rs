//! PostgreSQL crashes, or its connection is cut while a commit is under way: the caller is told that nothing is
//! known, and the same request again finds out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ap_gateway::client::Client;
use ap_gateway::proto::v1::{Outcome, SubmitAttendanceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::faults::{late, unavailable};
use super::story::{attendance, mark, outcomes, submission, submit};
use super::support::{Postgres, World};

/// Marks of each child: more than are sent before the crash.
const SESSIONS: usize = 150;

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

/// Submits a mark a session, each again until it is answered; how often there was no answer.
async fn load(client: Client, placement: String) -> (Vec<(SubmitAttendanceRequest, String)>, usize) {
    let (mut answered, mut unanswered) = (Vec::new(), 0);
    for session in 0..SESSIONS {
        let request = submission(vec![late(&placement, session)]);
        let mut reply = submit(&client, &request).await;
        while reply.is_err() && unanswered < 500 {
            unavailable(reply);
            unanswered += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            reply = submit(&client, &request).await;
        }
        answered.push((request, reply.unwrap().message.return_id));
        // However fast the machine is, there is still something to send when the database is gone.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (answered, unanswered)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_crash_of_postgresql() {
    let world = World::postgres().await;
    let mut loads = JoinSet::new();
    for placement in world.placements("la-a", "provider-a") {
        loads.spawn(load(world.client("provider-a").await, placement));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.crash_postgres();
    let (answered, unanswered): (Vec<_>, Vec<_>) = loads.join_all().await.into_iter().unzip();
    assert!(unanswered.iter().sum::<usize>() > 0, "nobody was waiting when it crashed");
    let riverside = world.client("provider-a").await;
    let mut stored = BTreeSet::new();
    for (request, return_id) in answered.concat() {
        assert_eq!(submit(&riverside, &request).await.unwrap().message.return_id, return_id);
        stored.insert(Uuid::parse_str(&return_id).unwrap());
    }
    let database = world.database().await;
    let rows = database.reader().await.unwrap().fetch("SELECT return_id FROM marks", vec![]).await.unwrap();
    database.close().await;
    assert_eq!(rows.len(), stored.len());
    assert_eq!(rows.iter().map(|row| row.id(0).unwrap()).collect::<BTreeSet<_>>(), stored);
    world.stop().await;
}
