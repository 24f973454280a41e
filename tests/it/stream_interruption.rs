//! A stream of parts interrupted after every message, in every way in which a stream can end. Committed parts stay,
//! the part in progress leaves only a log entry, and the continued return equals an uninterrupted one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::cli::sandbox::world;
use ap_gateway::client::reason;
use ap_gateway::proto::v1::{
    MarkHistory, OrganisationState, Outcome, StreamAttendanceRequest, StreamAttendanceResponse, StreamCommit,
    register_service,
};
use ap_gateway::store::{Database, DatabaseLocation, Value};
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use super::ended_rights::{revocation_request, set_riverside_state};
use super::exchange_semantics::get_attendance;
use super::listener::http2_frame as http2;
use super::listener::{
    END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, connect, read_frame,
};
use super::process::Process;
use super::support::World;
use super::upload::{STREAM, Upload, commit, marks, opening, part};
use super::wire::{Wire, address, frame, framed, tls};

const DATA: u8 = 0;
const PING: u8 = 6;

/// An HTTP/2 client that writes its frames itself, with one stream.
struct RawStream {
    stream: TlsStream<TcpStream>,
    received: BytesMut,
}

impl RawStream {
    async fn open(dir: &Path) -> (Self, String) {
        let file = |name: &str| dir.join(format!("certs/provider-a.{name}"));
        let tls = tls(&dir.join("ca.pem"), Some((&file("pem"), &file("key"))));
        let mut stream = connect(address(dir), &Arc::new(tls)).await;
        // POST and https are from HPACK's static table; the other headers are literals.
        let mut fields = vec![0x83, 0x87];
        for (name, value) in [
            (":path", STREAM),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            fields.push(0);
            for text in [name, value] {
                fields.push(u8::try_from(text.len()).unwrap());
                fields.extend_from_slice(text.as_bytes());
            }
        }
        let begun = [PREFACE, &http2(SETTINGS, 0, 0, &[]), &http2(HEADERS, END_HEADERS, 1, &fields)];
        stream.write_all(&begun.concat()).await.unwrap();
        let mut raw = Self { stream, received: BytesMut::new() };
        raw.send(&opening("").encode_to_vec()).await;
        let opened = raw.next_answer().await;
        (raw, opened.return_id)
    }

    async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&http2(DATA, 0, 1, &frame(message))).await.unwrap();
    }

    async fn next_answer(&mut self) -> StreamAttendanceResponse {
        while framed(&self.received).is_none() {
            self.next_frame().await;
        }
        let message = Bytes::copy_from_slice(framed(&self.received).unwrap());
        let _ = self.received.split_to(5 + message.len());
        StreamAttendanceResponse::decode(message).unwrap()
    }

    /// Reads a frame and returns its type.
    async fn next_frame(&mut self) -> u8 {
        let (kind, payload) = read_frame(&mut self.stream).await.unwrap();
        match kind {
            DATA => {
                self.received.extend_from_slice(&payload);
                let more = u32::try_from(payload.len()).unwrap().max(1).to_be_bytes();
                let windows = [http2(WINDOW_UPDATE, 0, 0, &more), http2(WINDOW_UPDATE, 0, 1, &more)];
                self.stream.write_all(&windows.concat()).await.unwrap();
            }
            SETTINGS if !payload.is_empty() => {
                self.stream.write_all(&http2(SETTINGS, 1, 0, &[])).await.unwrap();
            }
            _ => {}
        }
        kind
    }

    /// Waits until the gateway has read all that was sent, by a ping.
    async fn wait_until_received(&mut self) {
        self.stream.write_all(&http2(PING, 0, 0, &[7; 8])).await.unwrap();
        while self.next_frame().await != PING {}
    }
}

/// The way in which a stream is interrupted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Interruption {
    /// `RST_STREAM` with this error code (RFC 9113, section 7).
    Reset(u32),
    /// The connection is closed with `close_notify`, or by a TCP reset.
    TlsClose,
    TcpReset,
    /// `END_STREAM`.
    HalfClosed,
    /// A commit with a wrong digest or count.
    WrongDigest,
    WrongCount,
}

/// All interruptions. The error codes are `NO_ERROR`, `PROTOCOL_ERROR`, `INTERNAL_ERROR`, `REFUSED_STREAM`,
/// `CANCEL` and `ENHANCE_YOUR_CALM`.
const INTERRUPTIONS: [Interruption; 11] = [
    Interruption::Reset(0),
    Interruption::Reset(1),
    Interruption::Reset(2),
    Interruption::Reset(7),
    Interruption::Reset(8),
    Interruption::Reset(11),
    Interruption::TlsClose,
    Interruption::TcpReset,
    Interruption::HalfClosed,
    Interruption::WrongDigest,
    Interruption::WrongCount,
];

/// Interrupts a stream after these messages of a part, with one mark each.
async fn interrupt(mut raw: RawStream, how: Interruption, part: &[Bytes]) {
    let count = u32::try_from(part.len()).unwrap();
    match how {
        Interruption::Reset(code) => {
            raw.stream.write_all(&http2(RST_STREAM, 0, 1, &code.to_be_bytes())).await.unwrap();
            raw.wait_until_received().await;
        }
        Interruption::TlsClose => raw.stream.shutdown().await.unwrap(),
        Interruption::TcpReset => {
            raw.wait_until_received().await;
            raw.stream.get_ref().0.set_zero_linger().unwrap();
        }
        Interruption::HalfClosed => {
            raw.stream.write_all(&http2(DATA, END_STREAM, 1, &[])).await.unwrap();
            raw.wait_until_received().await;
        }
        Interruption::WrongDigest => {
            let right = StreamAttendanceRequest::decode(commit(part, count, true)).unwrap();
            let sha256 = right.commit.unwrap().sha256.iter().map(|byte| byte ^ 1).collect();
            let commit = Some(StreamCommit { count, sha256, last: true });
            let wrong = StreamAttendanceRequest { commit, ..StreamAttendanceRequest::default() };
            raw.send(&wrong.encode_to_vec()).await;
            raw.wait_until_received().await;
        }
        Interruption::WrongCount => {
            raw.send(&commit(part, count + 1, true)).await;
            raw.wait_until_received().await;
        }
    }
}

/// Returns the stored parts of a return, with the number of marks of each.
async fn stored_parts(database: &Database, return_id: &str) -> Vec<Vec<i64>> {
    let id: Value = Uuid::parse_str(return_id).unwrap().into();
    let sql = "SELECT r.part, r.is_last, r.marks, r.stored, \
               (SELECT COUNT(*) FROM marks m WHERE m.idx = r.idx AND m.revision = 1) AS first_revisions \
               FROM returns r WHERE r.return_id = $1 ORDER BY r.idx";
    let rows = database.reader().await.unwrap().fetch(sql, vec![id]).await.unwrap();
    let columns = ["part", "is_last", "marks", "stored", "first_revisions"];
    rows.iter().map(|row| columns.map(|column| row.get(column).unwrap()).to_vec()).collect()
}

/// Counts the entries of streams: OK and refused.
async fn count_entries(database: &Database) -> (i64, i64) {
    let sql = "SELECT COUNT(CASE outcome WHEN $2 THEN 1 END) AS ok, COUNT(CASE outcome WHEN $3 THEN 1 END) AS refused \
               FROM entries WHERE method = $1";
    let outcomes = [Outcome::Ok, Outcome::Refused].map(|outcome| Value::from(outcome as i32));
    let arguments = [vec![STREAM.into()], outcomes.to_vec()].concat();
    let row = database.reader().await.unwrap().fetch_one(sql, arguments).await.unwrap().unwrap();
    (row.get("ok").unwrap(), row.get("refused").unwrap())
}

/// Waits until there are this many entries; fails at once if there are more.
async fn wait_for_entries(database: &Database, expected: (i64, i64), what: &str) {
    for _ in 0..5_000 {
        let now = count_entries(database).await;
        assert!(now.0 <= expected.0 && now.1 <= expected.1, "{what}: {now:?}, not {expected:?}");
        if now == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what}: {:?}, not {expected:?}", count_entries(database).await);
}

async fn a_cut_stream_stores_what_was_committed(world: &World) {
    let (wire, la) = (Wire::connect(world.dir.path(), "provider-a").await, world.client("la-a").await);
    let placements = world.placements("la-a", "provider-a");
    let (database, mut done, mut refused) = (world.database().await, 0, 0);
    let mut marks = marks(&placements, 4 * 7 * INTERRUPTIONS.len()).into_iter();
    for how in INTERRUPTIONS {
        for sent in 0..=6 {
            let what = format!("{how:?} after {sent} messages");
            let four: Vec<_> = marks.by_ref().take(4).collect();
            let (mut raw, id) = RawStream::open(world.dir.path()).await;
            let parts = [part(&id, 1, &four[..2], 1, false), part(&id, 2, &four[2..], 1, true)];
            for message in parts.concat().iter().take(sent) {
                raw.send(message).await;
                if StreamAttendanceRequest::decode(message.clone()).unwrap().commit.is_some() {
                    assert_eq!(raw.next_answer().await.stored, 2, "{what}");
                }
            }
            let committed = sent / 3;
            interrupt(raw, how, &parts.concat()[3 * committed..sent]).await;
            // A commit without an open part is a protocol error, so it is refused as well.
            let open = sent % 3 > 0 || matches!(how, Interruption::WrongDigest | Interruption::WrongCount);
            (done, refused) = (done + 1 + i64::try_from(committed).unwrap(), refused + i64::from(open));
            wait_for_entries(&database, (done, refused), &what).await;
            let uncut = [vec![1, 0, 2, 2, 2], vec![2, 1, 4, 2, 2]];
            assert_eq!(stored_parts(&database, &id).await, uncut[..committed], "{what}");
            let (mut upload, again) = Upload::start(&wire, &id).await;
            let next = [1, 2, 0][committed];
            assert_eq!((again.next_part, again.complete), (next, committed == 2), "{what}");
            if committed == 1 {
                let shown = get_attendance(&la, &placements[0]).await.unwrap().marks;
                let is_of_return = |it: &&MarkHistory| it.mark.as_ref().unwrap().return_id == id;
                assert!(shown.iter().filter(is_of_return).all(|it| it.return_incomplete), "{what}");
            }
            for rest in &parts[committed..] {
                upload.part(rest).await.unwrap();
            }
            done += 1 + i64::try_from(2 - committed).unwrap();
            assert_eq!(upload.half_close().await.unwrap(), None);
            assert_eq!(stored_parts(&database, &id).await, uncut, "{what}");
            wait_for_entries(&database, (done, refused), &what).await;
        }
    }
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_at_every_message_on_sqlite() {
    let world = World::sqlite().await;
    a_cut_stream_stores_what_was_committed(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_at_every_message_on_postgresql() {
    let world = World::postgres().await;
    a_cut_stream_stores_what_was_committed(&world).await;
    world.stop().await;
}

/// Checks that a node that gets SIGTERM abandons the part in progress, with an entry, and exits before its drain
/// timeout. The earlier part was answered, and the return continues on the next node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_gives_up_the_part_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::serve(dir.path());
    let world = world::load(dir.path()).unwrap();
    let placed = world.placements.iter().find(|placed| placed.provider == "provider-a").unwrap();
    let marks = marks(std::slice::from_ref(&placed.placement_id), 4);
    let (mut raw, id) = RawStream::open(dir.path()).await;
    let parts = [part(&id, 1, &marks[..2], 1, false), part(&id, 2, &marks[2..], 1, true)];
    for message in &parts[0] {
        raw.send(message).await;
    }
    assert_eq!(raw.next_answer().await.stored, 2);
    raw.send(&parts[1][0]).await;
    raw.wait_until_received().await;
    process.signal("TERM");
    // The final GOAWAY (RFC 9113, section 6.8) waits for the acknowledgement of a ping.
    while let Some((kind, payload)) = read_frame(&mut raw.stream).await {
        if kind == PING {
            raw.stream.write_all(&http2(PING, 1, 0, &payload)).await.unwrap();
        }
    }
    assert!(process.wait_for_exit().success());
    let process = Process::serve(dir.path());
    let wire = Wire::connect(dir.path(), "provider-a").await;
    let (mut upload, again) = Upload::start(&wire, &id).await;
    assert_eq!(again.next_part, 2);
    assert!(upload.part(&parts[1]).await.unwrap().complete);
    let location = DatabaseLocation::Sqlite(dir.path().join("gateway.sqlite"));
    let database = Database::open(&location).await.unwrap();
    assert_eq!(count_entries(&database).await, (4, 1), "two openings, two parts, and the abandoned part");
    database.close().await;
    assert!(process.terminate().success());
}

/// Checks that a stream commits nothing after its certificate was revoked or its organisation suspended.
async fn rights_that_end_end_the_stream(world: &World) {
    let (riverside, operator) = (world.client("provider-a").await, world.client("operator").await);
    let dir = world.dir.path();
    let (database, marks) = (world.database().await, marks(&world.placements("la-a", "provider-a"), 8));
    for (caller, marks) in ["provider-a-old", "provider-a"].into_iter().zip(marks.chunks(4)) {
        let (mut upload, opened) = Upload::start(&Wire::connect(dir, caller).await, "").await;
        let id = &opened.return_id;
        upload.part(&part(id, 1, &marks[..2], 1, false)).await.unwrap();
        let second = part(id, 2, &marks[2..], 1, true);
        upload.send(&second[0]).await;
        let (done, refused) = count_entries(&database).await;
        if caller == "provider-a" {
            set_riverside_state(&operator, OrganisationState::Suspended).await;
        } else {
            riverside
                .call(register_service::REVOKE_CERTIFICATE, &revocation_request(dir, caller))
                .await
                .unwrap();
        }
        upload.part(&second[1..]).await.unwrap_err();
        wait_for_entries(&database, (done, refused + 1), caller).await;
        assert_eq!(stored_parts(&database, id).await, [[1, 0, 2, 2, 2]], "{caller}");
        if caller == "provider-a" {
            set_riverside_state(&operator, OrganisationState::Active).await;
        }
        let (mut upload, again) = Upload::start(&Wire::connect(dir, "provider-a").await, id).await;
        assert_eq!(again.next_part, 2);
        assert!(upload.part(&second).await.unwrap().complete);
    }
    database.close().await;
}

/// Checks that the caller's deadline ends the stream and discards the part in progress.
async fn a_deadline_ends_the_part_under_way(world: &World) {
    let wire = Wire::connect(world.dir.path(), "provider-a").await;
    let (database, marks) = (world.database().await, marks(&world.placements("la-a", "provider-a"), 9));
    let before = count_entries(&database).await;
    let (mut upload, opened) = Upload::open(&wire, &[("grpc-timeout", "1S")], &opening("")).await.unwrap();
    upload.send(&part(&opened.return_id, 1, &marks[8..], 1, true)[0]).await;
    let late = upload.answer().await.unwrap_err();
    assert_eq!(reason(&late), "DEADLINE_EXCEEDED");
    assert_eq!(count_entries(&database).await, (before.0 + 1, before.1 + 1));
    assert!(stored_parts(&database, &opened.return_id).await.is_empty());
    database.close().await;
}

/// Checks flow control: the gateway reads no more parts than there is room for responses in the caller's window.
async fn a_caller_that_does_not_read_is_not_read_from(world: &World) {
    const PARTS: usize = 200;
    let (database, marks) = (world.database().await, marks(&world.placements("school", "provider-a"), PARTS));
    let (mut raw, id) = RawStream::open(world.dir.path()).await;
    let parts =
        (1..).zip(&marks).flat_map(|(number, mark)| part(&id, number, std::slice::from_ref(mark), 1, false));
    let all: Vec<u8> = parts.flat_map(|message| http2(DATA, 0, 1, &frame(&message))).collect();
    // All parts fit into the gateway's window of 64 KiB.
    assert!(all.len() < 60_000, "{}", all.len());
    raw.stream.write_all(&all).await.unwrap();
    // The pause is longer than all parts would take. On a slower machine the test would only detect less.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = stored_parts(&database, &id).await.len();
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    assert!(before < PARTS / 2, "{before} parts were taken");
    for number in 1..=PARTS {
        assert_eq!(usize::try_from(raw.next_answer().await.part).unwrap(), number);
    }
    assert_eq!(stored_parts(&database, &id).await.len(), PARTS);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_caller_s_rights_and_patience_on_sqlite() {
    let world = World::sqlite().await;
    rights_that_end_end_the_stream(&world).await;
    a_deadline_ends_the_part_under_way(&world).await;
    a_caller_that_does_not_read_is_not_read_from(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_caller_s_rights_and_patience_on_postgresql() {
    let world = World::postgres().await;
    rights_that_end_end_the_stream(&world).await;
    a_deadline_ends_the_part_under_way(&world).await;
    a_caller_that_does_not_read_is_not_read_from(&world).await;
    world.stop().await;
}
