//! A stream of parts cut at every message, in each way in which a stream can end: what was committed stays, what
//! was under way is nowhere but in one entry, and the return is gone on with to what an uncut run makes of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ap_gateway::cli::sandbox::world;
use ap_gateway::client::reason;
use ap_gateway::proto::v1::{
    MarkHistory, OrganisationState, Outcome, StreamAttendanceRequest, StreamAttendanceResponse, StreamCommit,
    register_service,
};
use ap_gateway::store::{Database, Location, Value};
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use super::listener::frame as http2;
use super::listener::{
    END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, connect, read,
};
use super::process::Process;
use super::safety::{revocation, set};
use super::story::attendance;
use super::support::World;
use super::upload::{STREAM, Upload, commit, marks, opening, part};
use super::wire::{Wire, address, frame, framed, tls};

const DATA: u8 = 0;
const PING: u8 = 6;

/// A caller of HTTP/2 by hand, with one stream.
struct Raw {
    stream: TlsStream<TcpStream>,
    received: BytesMut,
}

impl Raw {
    async fn open(dir: &Path) -> (Self, String) {
        let file = |name: &str| dir.join(format!("certs/provider-a.{name}"));
        let tls = tls(&dir.join("ca.pem"), Some((&file("pem"), &file("key"))));
        let mut stream = connect(address(dir), &Arc::new(tls)).await;
        // POST and https from HPACK's static table, the others in letters.
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
        let opened = raw.answer().await;
        (raw, opened.return_id)
    }

    async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&http2(DATA, 0, 1, &frame(message))).await.unwrap();
    }

    async fn answer(&mut self) -> StreamAttendanceResponse {
        while framed(&self.received).is_none() {
            self.frame().await;
        }
        let message = Bytes::copy_from_slice(framed(&self.received).unwrap());
        let _ = self.received.split_to(5 + message.len());
        StreamAttendanceResponse::decode(message).unwrap()
    }

    /// Reads a frame, and gives its kind.
    async fn frame(&mut self) -> u8 {
        let (kind, payload) = read(&mut self.stream).await.unwrap();
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

    /// Waits until the gateway has all that was sent: it answers a ping when it has read so far.
    async fn settle(&mut self) {
        self.stream.write_all(&http2(PING, 0, 0, &[7; 8])).await.unwrap();
        while self.frame().await != PING {}
    }
}

/// How a stream is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// By its caller, with this code of RFC 9113, section 7.
    Reset(u32),
    /// With its connection, in order or by a reset of TCP.
    Closed,
    TcpReset,
    /// By a caller who has nothing more to send.
    HalfClosed,
    /// By a commit that is wrong.
    Digest,
    Count,
}

/// `NO_ERROR`, `PROTOCOL_ERROR`, `INTERNAL_ERROR`, `REFUSED_STREAM`, `CANCEL`, `ENHANCE_YOUR_CALM`; and the others.
const CUTS: [Cut; 11] = [
    Cut::Reset(0),
    Cut::Reset(1),
    Cut::Reset(2),
    Cut::Reset(7),
    Cut::Reset(8),
    Cut::Reset(11),
    Cut::Closed,
    Cut::TcpReset,
    Cut::HalfClosed,
    Cut::Digest,
    Cut::Count,
];

/// Cuts a stream behind these messages of a part, with a mark each.
async fn cut(mut raw: Raw, how: Cut, part: &[Bytes]) {
    let count = u32::try_from(part.len()).unwrap();
    match how {
        Cut::Reset(code) => {
            raw.stream.write_all(&http2(RST_STREAM, 0, 1, &code.to_be_bytes())).await.unwrap();
            raw.settle().await;
        }
        Cut::Closed => raw.stream.shutdown().await.unwrap(),
        Cut::TcpReset => {
            raw.settle().await;
            raw.stream.get_ref().0.set_zero_linger().unwrap();
        }
        Cut::HalfClosed => {
            raw.stream.write_all(&http2(DATA, END_STREAM, 1, &[])).await.unwrap();
            raw.settle().await;
        }
        Cut::Digest => {
            let right = StreamAttendanceRequest::decode(commit(part, count, true)).unwrap();
            let sha256 = right.commit.unwrap().sha256.iter().map(|byte| byte ^ 1).collect();
            let commit = Some(StreamCommit { count, sha256, last: true });
            let wrong = StreamAttendanceRequest { commit, ..StreamAttendanceRequest::default() };
            raw.send(&wrong.encode_to_vec()).await;
            raw.settle().await;
        }
        Cut::Count => {
            raw.send(&commit(part, count + 1, true)).await;
            raw.settle().await;
        }
    }
}

/// What the database holds of a return: its parts, and how many marks.
async fn held(database: &Database, return_id: &str) -> Vec<Vec<i64>> {
    let id: Value = Uuid::parse_str(return_id).unwrap().into();
    let sql = "SELECT r.part, r.last, r.marks, r.stored, \
               (SELECT COUNT(*) FROM marks m WHERE m.idx = r.idx AND m.revision = 1) \
               FROM returns r WHERE r.return_id = $1 ORDER BY r.idx";
    let rows = database.reader().await.unwrap().fetch(sql, vec![id]).await.unwrap();
    rows.iter().map(|row| (0..5).map(|column| row.int(column).unwrap()).collect()).collect()
}

/// Entries of streams, done and refused.
async fn entries(database: &Database) -> (i64, i64) {
    let sql = "SELECT COUNT(CASE outcome WHEN $2 THEN 1 END), COUNT(CASE outcome WHEN $3 THEN 1 END) \
               FROM entries WHERE method = $1";
    let outcomes = [Outcome::Ok, Outcome::Refused].map(|outcome| Value::from(outcome as i32));
    let arguments = [vec![STREAM.into()], outcomes.to_vec()].concat();
    let row = database.reader().await.unwrap().fetch_one(sql, arguments).await.unwrap().unwrap();
    (row.int(0).unwrap(), row.int(1).unwrap())
}

/// Waits until there are so many entries; there are never more.
async fn entered(database: &Database, expected: (i64, i64), what: &str) {
    for _ in 0..5_000 {
        let now = entries(database).await;
        assert!(now.0 <= expected.0 && now.1 <= expected.1, "{what}: {now:?}, not {expected:?}");
        if now == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what}: {:?}, not {expected:?}", entries(database).await);
}

async fn a_cut_stream_stores_what_was_committed(world: &World) {
    let (wire, la) = (Wire::of(world.dir.path(), "provider-a").await, world.client("la-a").await);
    let placements = world.placements("la-a", "provider-a");
    let (database, mut done, mut refused) = (world.database().await, 0, 0);
    let mut marks = marks(&placements, 4 * 7 * CUTS.len()).into_iter();
    for how in CUTS {
        for sent in 0..=6 {
            let what = format!("{how:?} after {sent} messages");
            let four: Vec<_> = marks.by_ref().take(4).collect();
            let (mut raw, id) = Raw::open(world.dir.path()).await;
            let parts = [part(&id, 1, &four[..2], 1, false), part(&id, 2, &four[2..], 1, true)];
            for message in parts.concat().iter().take(sent) {
                raw.send(message).await;
                if StreamAttendanceRequest::decode(message.clone()).unwrap().commit.is_some() {
                    assert_eq!(raw.answer().await.stored, 2, "{what}");
                }
            }
            let committed = sent / 3;
            cut(raw, how, &parts.concat()[3 * committed..sent]).await;
            // A wrong commit is a message that does not belong there where no part is open.
            let open = sent % 3 > 0 || matches!(how, Cut::Digest | Cut::Count);
            (done, refused) = (done + 1 + i64::try_from(committed).unwrap(), refused + i64::from(open));
            entered(&database, (done, refused), &what).await;
            let uncut = [vec![1, 0, 2, 2, 2], vec![2, 1, 4, 2, 2]];
            assert_eq!(held(&database, &id).await, uncut[..committed], "{what}");
            let (mut upload, again) = Upload::of(&wire, &id).await;
            let next = [1, 2, 0][committed];
            assert_eq!((again.next_part, again.complete), (next, committed == 2), "{what}");
            if committed == 1 {
                let shown = attendance(&la, &placements[0]).await.unwrap().marks;
                let of = |it: &&MarkHistory| it.mark.as_ref().unwrap().return_id == id;
                assert!(shown.iter().filter(of).all(|it| it.return_incomplete), "{what}");
            }
            for rest in &parts[committed..] {
                upload.part(rest).await.unwrap();
            }
            done += 1 + i64::try_from(2 - committed).unwrap();
            assert_eq!(upload.half_close().await.unwrap(), None);
            assert_eq!(held(&database, &id).await, uncut, "{what}");
            entered(&database, (done, refused), &what).await;
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

/// A node that is told to end gives up the part under way, with its entry, and is gone long before it would cut
/// connections; the part before it has its answer, and the return is gone on with at the next node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_gives_up_the_part_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::serve(dir.path());
    let world = world::load(dir.path()).unwrap();
    let placed = world.placements.iter().find(|placed| placed.provider == "provider-a").unwrap();
    let marks = marks(std::slice::from_ref(&placed.placement_id), 4);
    let (mut raw, id) = Raw::open(dir.path()).await;
    let parts = [part(&id, 1, &marks[..2], 1, false), part(&id, 2, &marks[2..], 1, true)];
    for message in &parts[0] {
        raw.send(message).await;
    }
    assert_eq!(raw.answer().await.stored, 2);
    raw.send(&parts[1][0]).await;
    raw.settle().await;
    process.signal("TERM");
    // The goodbye of RFC 9113, section 6.8, waits for the answer to a ping.
    while let Some((kind, payload)) = read(&mut raw.stream).await {
        if kind == PING {
            raw.stream.write_all(&http2(PING, 1, 0, &payload)).await.unwrap();
        }
    }
    assert!(process.ended().success());
    let process = Process::serve(dir.path());
    let wire = Wire::of(dir.path(), "provider-a").await;
    let (mut upload, again) = Upload::of(&wire, &id).await;
    assert_eq!(again.next_part, 2);
    assert!(upload.part(&parts[1]).await.unwrap().complete);
    let location = Location::Sqlite(dir.path().join("gateway.sqlite"));
    let database = Database::open(&location).await.unwrap();
    assert_eq!(entries(&database).await, (4, 1), "two openings, two parts, and what was given up");
    database.close().await;
    assert!(process.terminated().success());
}

/// The stream of a certificate that was revoked, or of an organisation that was suspended, commits nothing more.
async fn rights_that_end_end_the_stream(world: &World) {
    let (riverside, operator) = (world.client("provider-a").await, world.client("operator").await);
    let dir = world.dir.path();
    let (database, marks) = (world.database().await, marks(&world.placements("la-a", "provider-a"), 8));
    for (caller, marks) in ["provider-a-old", "provider-a"].into_iter().zip(marks.chunks(4)) {
        let (mut upload, opened) = Upload::of(&Wire::of(dir, caller).await, "").await;
        let id = &opened.return_id;
        upload.part(&part(id, 1, &marks[..2], 1, false)).await.unwrap();
        let second = part(id, 2, &marks[2..], 1, true);
        upload.send(&second[0]).await;
        let (done, refused) = entries(&database).await;
        if caller == "provider-a" {
            set(&operator, OrganisationState::Suspended).await;
        } else {
            riverside.call(register_service::REVOKE_CERTIFICATE, &revocation(dir, caller)).await.unwrap();
        }
        upload.part(&second[1..]).await.unwrap_err();
        entered(&database, (done, refused + 1), caller).await;
        assert_eq!(held(&database, id).await, [[1, 0, 2, 2, 2]], "{caller}");
        if caller == "provider-a" {
            set(&operator, OrganisationState::Active).await;
        }
        let (mut upload, again) = Upload::of(&Wire::of(dir, "provider-a").await, id).await;
        assert_eq!(again.next_part, 2);
        assert!(upload.part(&second).await.unwrap().complete);
    }
    database.close().await;
}

/// A caller's patience ends a stream, and the part under way with it.
async fn a_deadline_ends_the_part_under_way(world: &World) {
    let wire = Wire::of(world.dir.path(), "provider-a").await;
    let (database, marks) = (world.database().await, marks(&world.placements("la-a", "provider-a"), 9));
    let before = entries(&database).await;
    let (mut upload, opened) = Upload::open(&wire, &[("grpc-timeout", "1S")], &opening("")).await.unwrap();
    upload.send(&part(&opened.return_id, 1, &marks[8..], 1, true)[0]).await;
    let late = upload.answer().await.unwrap_err();
    assert_eq!(reason(&late), "DEADLINE_EXCEEDED");
    assert_eq!(entries(&database).await, (before.0 + 1, before.1 + 1));
    assert!(held(&database, &opened.return_id).await.is_empty());
    database.close().await;
}

/// Whoever does not read its answers is not read from: no more parts are taken than answers fit into its window.
async fn a_caller_that_does_not_read_is_not_read_from(world: &World) {
    const PARTS: usize = 200;
    let (database, marks) = (world.database().await, marks(&world.placements("school", "provider-a"), PARTS));
    let (mut raw, id) = Raw::open(world.dir.path()).await;
    let parts =
        (1..).zip(&marks).flat_map(|(number, mark)| part(&id, number, std::slice::from_ref(mark), 1, false));
    let all: Vec<u8> = parts.flat_map(|message| http2(DATA, 0, 1, &frame(&message))).collect();
    // It all fits into the gateway's window of 64 KiB.
    assert!(all.len() < 60_000, "{}", all.len());
    raw.stream.write_all(&all).await.unwrap();
    // Longer than all of it would take; and were it not, the test would only see less.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = held(&database, &id).await.len();
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    assert!(before < PARTS / 2, "{before} parts were taken");
    for number in 1..=PARTS {
        assert_eq!(usize::try_from(raw.answer().await.part).unwrap(), number);
    }
    assert_eq!(held(&database, &id).await.len(), PARTS);
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
