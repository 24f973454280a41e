//! Memory of `serve` with a real configuration while callers declare messages that they never send, send slow bodies
//! and leave answers unread. Prints the figures; `tests/long memory` makes them on the release binary.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ap_gateway::proto::v1::returns_service;
use prost::bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::attack_pack::attacks::REGISTERED;
use super::attack_pack::connection::{Attacking, DATA, Target, request_fields, request_head, stream_ids};
use super::attack_pack::limited_gateway;
use super::fixtures::current_validity;
use super::large_answer;
use super::listener::{END_HEADERS, END_STREAM, HEADERS, RST_STREAM, http2_frame, read_frame};
use super::serve_process::{LIST_PLACEMENTS, ServeFolder, ServeProcess};
use super::wire::{Wire, frame, tls};

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const STRANGER: &str = "stranger";
/// Streams of a connection, which the gateway allows.
const STREAMS: u32 = 100;
const CANCEL: u32 = 8;
const CONTINUATION: u8 = 9;
const DEFAULT_ATTACKERS: usize = 20;
/// Maximum memory that an attack may add, in MiB.
const MAX_ADDED: u64 = 160;

/// The same for headers.
const MAX_ADDED_BY_HEADERS: u64 = 100;
/// The same for answers of reflection, of which only a share of 8 MiB may be held; all would be more than 200 MiB.
const MAX_ADDED_BY_REFLECTION: u64 = 100;

/// A gateway and its attackers: one of a registered organisation, and one whose certificate is not in the register.
struct Attacked {
    folder: ServeFolder,
    served: ServeProcess,
    target: Target,
}

impl Attacked {
    fn start(limits: &str) -> Self {
        let folder = ServeFolder::new();
        folder.write("gateway.toml", &format!("{}\n[limits]\n{limits}\n", folder.configuration()));
        let uri = "spiffe://sandbox.ap.example/la/999/stranger";
        let issued = folder.authority().issue_client(&[uri], 99, current_validity()).unwrap();
        folder.write_key_pair(STRANGER, &issued);
        let identity = |name: &str| {
            let file = |kind: &str| folder.file_path(&format!("certs/{name}.{kind}"));
            Arc::new(tls(&folder.file_path("ca.pem"), Some((&file("pem"), &file("key")))))
        };
        let names = [STRANGER, REGISTERED];
        let identities: BTreeMap<_, _> = names.map(|name| (name.to_owned(), identity(name))).into();
        let served = folder.start(limited_gateway());
        let target = Target { address: served.address, identities };
        Self { folder, served, target }
    }

    /// Opens a connection, and begins a call on each of its streams.
    async fn attack(&self, who: &str, window: u32, path: &str, (body, flags): (&[u8], u8)) -> Attacking {
        let mut stream = self.target.connect_raw(Ipv4Addr::LOCALHOST, who, Some(window)).await.unwrap();
        let calls = stream_ids(STREAMS)
            .flat_map(|id| [request_head(id, path, false), http2_frame(DATA, flags, id, body)].concat());
        stream.write_all(&calls.collect::<Vec<_>>()).await.unwrap();
        stream
    }

    /// Attacks while a canary calls; prints the figures, and returns the connections and the MiB that they added.
    #[expect(clippy::print_stdout, reason = "the figures of a measurement are its output")]
    async fn measure(&self, name: &str, attack: impl AsyncFn() -> Attacking) -> (Vec<Attacking>, u64) {
        let wire = self.folder.connect(&self.served, "provider-a").await.unwrap();
        let (alone_p50, alone_p99) = canary(&wire, Duration::from_secs(2)).await;
        self.served.reset_peak();
        let before = self.served.resident_bytes() >> 20;
        let mut open = Vec::new();
        for _ in 0..attackers() {
            open.push(attack().await);
        }
        let (p50, p99) = canary(&wire, Duration::from_secs(4)).await;
        let added = (self.served.peak_bytes() >> 20) - before;
        println!(
            "{name}: {} connections added {added} MiB to {before} MiB; canary alone p50 {alone_p50:?}, p99 \
             {alone_p99:?}; under attack p50 {p50:?}, p99 {p99:?}",
            open.len()
        );
        (open, added)
    }
}

/// Number of attacking connections, which `tests/long` sets.
fn attackers() -> usize {
    std::env::var("AP_GATEWAY_TEST_ATTACKERS").map_or(DEFAULT_ATTACKERS, |number| number.parse().unwrap())
}

/// Calls again and again for a while; returns the median and the 99th percentile of the times.
async fn canary(wire: &Wire, during: Duration) -> (Duration, Duration) {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < during {
        let sent = Instant::now();
        assert_eq!(wire.call(LIST_PLACEMENTS, &[]).await.reason(), "OK");
        times.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Checks that neither declared lengths nor slow bodies are reserved, whoever sends them and to what service.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_not_reserved_by_what_is_declared() {
    let attacked = Attacked::start("");
    for (name, who, path, length, sent) in [
        ("a stranger declares 1 MiB", STRANGER, LIST_PLACEMENTS, 1_u32 << 20, 90),
        ("a stranger declares 3 MiB to the health service", STRANGER, HEALTH_CHECK, 3 << 20, 90),
        ("a stranger sends slowly", STRANGER, LIST_PLACEMENTS, 1 << 20, 2_600),
        ("a provider declares 1 MiB", REGISTERED, LIST_PLACEMENTS, 1 << 20, 90),
        ("a provider sends slowly", REGISTERED, LIST_PLACEMENTS, 1 << 20, 2_600),
    ] {
        let body = [&[0][..], &length.to_be_bytes(), &vec![0; sent]].concat();
        let attack = async || attacked.attack(who, 65_535, path, (&body, 0)).await;
        let (_open, added) = attacked.measure(name, attack).await;
        assert!(added <= MAX_ADDED, "{name}: {added} MiB were added");
    }
}

/// Encodes a field whose value is a number of bytes, at least 127.
fn long_field(name: &str, bytes: usize) -> Vec<u8> {
    let mut field = [&[0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &[0x7f]].concat();
    let mut rest = bytes - 127;
    while rest >= 0x80 {
        field.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    field.push(u8::try_from(rest).unwrap());
    field.resize(field.len() + bytes, b'x');
    field
}

/// Checks that headers as long as a connection takes them are not held while a call waits for its body.
#[tokio::test(flavor = "multi_thread")]
async fn long_headers_are_not_held() {
    let attacked = Attacked::start("requests_per_second = 1000000\nrequest_burst = 1000000");
    for who in [STRANGER, REGISTERED] {
        let attack = async || {
            let mut stream = attacked.target.connect_raw(Ipv4Addr::LOCALHOST, who, None).await.unwrap();
            for id in stream_ids(STREAMS) {
                let fields = [
                    request_fields(LIST_PLACEMENTS),
                    long_field("authorization", 15 << 10),
                    long_field("x-long", 15 << 10),
                ];
                let fields = fields.concat();
                let (first, rest) = fields.split_at(16 << 10);
                let head =
                    [http2_frame(HEADERS, 0, id, first), http2_frame(CONTINUATION, END_HEADERS, id, rest)];
                stream.write_all(&head.concat()).await.unwrap();
            }
            stream
        };
        let (_open, added) = attacked.measure(&format!("{who}: headers of 30 KiB"), attack).await;
        assert!(added <= MAX_ADDED_BY_HEADERS, "{added} MiB were added");
    }
}

/// Checks that unread answers stay within their organisation's share, that others are answered meanwhile, and that
/// the answers end with their streams and connections.
#[tokio::test(flavor = "multi_thread")]
async fn unread_answers_stay_within_their_share_and_end() {
    let attacked = Attacked::start("answer_stall_seconds = 12");
    large_answer::store(&attacked.folder, &attacked.served, REGISTERED).await;
    let placement = attacked.folder.placement(REGISTERED);
    let (path, request) = (returns_service::GET_ATTENDANCE.path(), frame(&large_answer::request(&placement)));
    let attack = async || attacked.attack(REGISTERED, 0, path, (&request, END_STREAM)).await;
    let (mut open, added) = attacked.measure("unread answers of 1 MiB", attack).await;
    assert!(added <= MAX_ADDED, "{added} MiB were added");
    let mut resets = 0;
    for stream in &mut open {
        while let Some((kind, payload)) = read_frame(stream).await {
            if kind == RST_STREAM {
                assert_eq!(payload, CANCEL.to_be_bytes());
                resets += 1;
            }
        }
    }
    // The answers that fit into the share of 32 MiB. All other calls were refused.
    let fewest = if attackers() == DEFAULT_ATTACKERS { 10 } else { 0 };
    assert!((fewest..=35).contains(&resets), "{resets} streams were reset");
    let wire = attacked.folder.connect(&attacked.served, REGISTERED).await.unwrap();
    let answer = wire.send(path, &[], Bytes::clone(&request)).await.unwrap();
    assert_eq!(answer.reason(), "OK");
    assert!(answer.message.len() > 900_000);
}

/// Checks that unread answers of a service outside the log stay within their share too, and that a load balancer without
/// a registration still gets answers of health.
#[tokio::test(flavor = "multi_thread")]
async fn unread_answers_of_reflection_stay_within_their_share() {
    let attacked = Attacked::start("requests_per_second = 1000000\nrequest_burst = 1000000");
    let symbol = "apgateway.v1.AuditService";
    let request = [&[0x22, u8::try_from(symbol.len()).unwrap()], symbol.as_bytes()].concat();
    let request = frame(&request);
    let attack = async || attacked.attack(STRANGER, 0, REFLECTION, (&request, END_STREAM)).await;
    let (_open, added) = attacked.measure("unread answers of reflection", attack).await;
    assert!(added <= MAX_ADDED_BY_REFLECTION, "{added} MiB were added");
    let probe = attacked.folder.connect(&attacked.served, STRANGER).await.unwrap();
    assert_eq!(probe.call(HEALTH_CHECK, &[]).await.reason(), "OK");
    assert!(attacked.served.wait_for_log(" BUFFERS_FULL:unregistered ").await > 0);
}
