//! The outcome of a COMMIT is unknown because PostgreSQL crashes or its connection is lost: the call is refused as
//! UNAVAILABLE, and sending the same request again yields the outcome.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ap_gateway::client::{Client, ClientError};
use ap_gateway::proto::v1::{Outcome, SubmitAttendanceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::exchange_semantics::{get_attendance, mark, submission, submission_outcomes, submit};
use super::faults::{assert_unavailable, late_mark};
use super::support::{Postgres, World};

/// Marks of each child, more than are sent before the crash.
const MARKS_PER_CHILD: usize = 150;

/// The point of the next COMMIT at which the connection is closed.
#[derive(Clone, Copy)]
#[repr(u8)]
enum CutPoint {
    Disarmed,
    /// Before PostgreSQL receives the COMMIT.
    BeforeCommit,
    /// After PostgreSQL has committed, instead of its response.
    AfterCommit,
}

/// A TCP proxy between the gateway and its PostgreSQL.
struct Proxy(Arc<AtomicU8>);

impl Proxy {
    /// Starts a proxy and writes its address into the URL file of the server.
    async fn in_front_of(postgres: &Postgres) -> Self {
        let url = std::fs::read_to_string(&postgres.url_file).unwrap();
        let (_, server) = url.split_once('@').unwrap();
        let (server, _) = server.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxied = url.replace(server, &listener.local_addr().unwrap().to_string());
        std::fs::write(&postgres.url_file, proxied).unwrap();
        let (cut, server) = (Arc::new(AtomicU8::new(CutPoint::Disarmed as u8)), server.to_owned());
        let armed = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), Arc::clone(&armed)));
            }
        });
        Self(cut)
    }

    fn cut_next(&self, cut: CutPoint) {
        self.0.store(cut as u8, Ordering::SeqCst);
    }
}

/// Forwards bytes in both directions until one side closes or the connection is cut.
async fn forward(mut client: TcpStream, server: String, armed: Arc<AtomicU8>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut sent, mut received) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut cutting = false;
    loop {
        tokio::select! {
            size = client.read(&mut sent) => {
                let sent = &sent[..size?];
                if sent.windows(7).any(|window| window == b"COMMIT\0") {
                    let cut = armed.swap(CutPoint::Disarmed as u8, Ordering::SeqCst);
                    if cut == CutPoint::BeforeCommit as u8 {
                        return Ok(());
                    }
                    cutting = cut == CutPoint::AfterCommit as u8;
                }
                if sent.is_empty() {
                    return Ok(());
                }
                server.write_all(sent).await?;
            }
            size = server.read(&mut received) => {
                let received = &received[..size?];
                if received.is_empty() || cutting {
                    return Ok(());
                }
                client.write_all(received).await?;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_is_not_known_is_found_out_by_its_retry() {
    let postgres = Postgres::start();
    let proxy = Proxy::in_front_of(&postgres).await;
    let world = World::with_postgres(postgres).await;
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let placement = world.placements("la-a", "provider-a").remove(0);
    for (marks, day, cut) in
        [(1, "2026-11-02", CutPoint::BeforeCommit), (2, "2026-11-03", CutPoint::AfterCommit)]
    {
        let request = submission(vec![mark(&placement, day, "/")]);
        proxy.cut_next(cut);
        assert_unavailable(submit(&riverside, &request).await);
        assert_eq!(submit(&riverside, &request).await.unwrap().message.stored, 1);
        assert_eq!(get_attendance(&la, &placement).await.unwrap().marks.len(), marks);
    }
    // The first COMMIT had no effect and its retry was stored; the second was stored and its retry is a replay.
    let counted = submission_outcomes(&riverside, 0).await;
    assert_eq!(counted, [(Outcome::Ok as i32, 2), (Outcome::Replayed as i32, 1)].into());
    world.stop().await;
}

/// Submits one mark for each session, each until it is answered; returns the number of failed attempts as well. Notifies of
/// each answer.
async fn submit_marks(
    client: Client,
    placement: String,
    answers: Arc<Notify>,
) -> (Vec<(SubmitAttendanceRequest, String)>, usize) {
    let (mut answered, mut unanswered) = (Vec::new(), 0);
    for session in 0..MARKS_PER_CHILD {
        let request = submission(vec![late_mark(&placement, session)]);
        let mut reply = submit(&client, &request).await;
        while reply.is_err() && unanswered < 500 {
            // The database can crash between the reply and the proof that the log has grown.
            assert_unavailable(match reply {
                Err(ClientError::Unchecked(cause)) => Err(*cause),
                refused => refused,
            });
            unanswered += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            reply = submit(&client, &request).await;
        }
        answered.push((request, reply.unwrap().message.return_id));
        answers.notify_one();
        // The pause makes sure that marks are left to send when the database crashes, on any machine.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (answered, unanswered)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_crash_of_postgresql() {
    let world = World::postgres().await;
    let (mut loads, answers) = (JoinSet::new(), Arc::new(Notify::new()));
    for placement in world.placements("la-a", "provider-a") {
        loads.spawn(submit_marks(world.client("provider-a").await, placement, Arc::clone(&answers)));
    }
    answers.notified().await;
    world.crash_postgres();
    let (answered, unanswered): (Vec<_>, Vec<_>) = loads.join_all().await.into_iter().unzip();
    assert!(unanswered.iter().sum::<usize>() > 0, "no call failed during the crash");
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
    assert_eq!(rows.iter().map(|row| row.get("return_id").unwrap()).collect::<BTreeSet<_>>(), stored);
    world.stop().await;
}
