//! The kinds of attack. Each function attacks on one connection, until the gateway closes it.

use std::net::Ipv4Addr;
use std::time::Duration;

use ap_gateway::proto::v1::{delivery_service, returns_service};
use prost::bytes::Bytes;
use tokio::io::{AsyncWriteExt, split};
use tokio::task::JoinSet;

use super::connection::{
    DATA, Target, drain, flood, literal_field, open_connection_window, request_fields, request_head,
    send_and_hold, stream_ids,
};
use crate::large_answer;
use crate::listener::{END_STREAM, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, http2_frame};
use crate::serve_process::LIST_PLACEMENTS;
use crate::wire::frame;

const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// Concurrent streams that the gateway allows.
const STREAMS: u32 = 100;
/// The registered organisation that attacks.
pub const REGISTERED: &str = "provider-c";

/// One attacker: its number among those of its kind selects a variant.
pub struct Attacker<'a> {
    pub target: &'a Target,
    pub source: Ipv4Addr,
    /// The name of its certificate, of an organisation that is not registered.
    pub stranger: &'a str,
    pub number: usize,
    /// The id of the placement with the large answer.
    pub placement: &'a str,
}

/// Declares messages of 1 MiB on every stream, and sends a few bytes of each.
pub async fn declare_lengths(by: Attacker<'_>) -> Option<()> {
    let stream = by.target.connect_raw(by.source, by.stranger, None).await?;
    let declared = [&[0][..], &(1_u32 << 20).to_be_bytes(), &[0; 90]].concat();
    let begun = stream_ids(STREAMS).flat_map(|id| {
        [request_head(id, LIST_PLACEMENTS, false), http2_frame(DATA, 0, id, &declared)].concat()
    });
    send_and_hold(stream, &begun.collect::<Vec<_>>()).await;
    Some(())
}

/// Asks for large answers: either reads nothing from the socket, or reads and leaves the streams' windows at zero.
pub async fn leave_answers_unread(by: Attacker<'_>) -> Option<()> {
    let reads = by.number.is_multiple_of(2);
    let window = if reads { 0 } else { 0x7fff_ffff };
    let mut stream = by.target.connect_raw(by.source, REGISTERED, Some(window)).await?;
    let message = frame(&large_answer::request(by.placement));
    let mut begun = open_connection_window();
    for id in stream_ids(STREAMS) {
        begun.extend(request_head(id, returns_service::GET_ATTENDANCE.path(), false));
        begun.extend(http2_frame(DATA, END_STREAM, id, &message));
    }
    if reads {
        send_and_hold(stream, &begun).await;
    } else {
        stream.write_all(&begun).await.ok()?;
        tokio::time::sleep(Duration::from_secs(35)).await;
    }
    Some(())
}

/// Sends control frames, empty DATA or resets without end.
pub async fn flood_with_control_frames(by: Attacker<'_>) -> Option<()> {
    let stream = by.target.connect_raw(by.source, by.stranger, None).await?;
    let mut last_id = 1;
    let repeated = |frame: Vec<u8>| frame.repeat(500);
    let next = move || match by.number % 6 {
        0 => repeated(http2_frame(PING, 0, 0, &[0; 8])),
        1 => repeated(http2_frame(SETTINGS, 0, 0, &[])),
        2 => repeated(http2_frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        3 => {
            let begun = if last_id == 1 { request_head(1, LIST_PLACEMENTS, false) } else { Vec::new() };
            last_id = 3;
            [begun, repeated(http2_frame(DATA, 0, 1, &[]))].concat()
        }
        4 => repeated(http2_frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        _ => {
            let mut resets = Vec::new();
            for _ in 0..100 {
                resets.extend(request_head(last_id, LIST_PLACEMENTS, true));
                resets.extend(http2_frame(RST_STREAM, 0, last_id, &8_u32.to_be_bytes()));
                last_id += 2;
            }
            resets
        }
    };
    flood(stream, next).await;
    Some(())
}

/// Sends header blocks that never end, are too large, or have too many fields.
pub async fn flood_with_headers(by: Attacker<'_>) -> Option<()> {
    let stream = by.target.connect_raw(by.source, by.stranger, None).await?;
    let (mut id, mut begun) = (1, false);
    let block = |count: usize| {
        let fields = (0..count).map(|number| literal_field(&format!("x-{number}"), &"v".repeat(100)));
        [request_fields(LIST_PLACEMENTS), fields.collect::<Vec<_>>().concat()].concat()
    };
    let next = move || {
        if by.number.is_multiple_of(2) {
            let head = if begun { Vec::new() } else { http2_frame(HEADERS, 0, 1, &block(0)) };
            begun = true;
            return [head, http2_frame(CONTINUATION, 0, 1, &literal_field("x", &"v".repeat(100)))].concat();
        }
        let sent = http2_frame(HEADERS, END_STREAM | 4, id, &block(140));
        id += 2;
        sent
    };
    flood(stream, next).await;
    Some(())
}

/// Sends large bodies to the health service.
pub async fn send_large_health_checks(by: Attacker<'_>) -> Option<()> {
    let wire = by.target.connect_http(by.source, by.stranger).await?;
    let mut calls = JoinSet::new();
    let body = frame(&Bytes::from(vec![0; 4 << 20]));
    while !wire.is_closed() {
        while calls.len() < 20 {
            let (wire, body) = (wire.clone(), body.clone());
            calls.spawn(async move { wire.send(HEALTH, &[], body).await.is_ok() });
        }
        calls.join_next().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(())
}

/// Calls as an organisation that is not registered, and is refused.
pub async fn collect_refusals(by: Attacker<'_>) -> Option<()> {
    let wire = by.target.connect_http(by.source, by.stranger).await?;
    let mut calls = JoinSet::new();
    while !wire.is_closed() {
        while calls.len() < 16 {
            let wire = wire.clone();
            calls.spawn(async move { wire.send(LIST_PLACEMENTS, &[], frame(&[])).await.is_ok() });
        }
        calls.join_next().await;
    }
    Some(())
}

/// Begins 200 lists a second and cancels each after two milliseconds.
pub async fn cancel_lists(by: Attacker<'_>) -> Option<()> {
    let wire = by.target.connect_http(by.source, REGISTERED).await?;
    let paths = [LIST_PLACEMENTS, delivery_service::LIST_DELIVERIES.path()];
    let mut timer = tokio::time::interval(Duration::from_millis(5));
    let mut calls = JoinSet::new();
    for number in 0.. {
        if wire.is_closed() {
            break;
        }
        timer.tick().await;
        let (wire, path) = (wire.clone(), paths[number % 2]);
        calls.spawn(async move {
            let call = wire.send(path, &[], frame(&[]));
            tokio::time::timeout(Duration::from_millis(2), call).await.is_ok()
        });
        while calls.try_join_next().is_some() {}
    }
    Some(())
}

/// Sends a byte a second on every stream.
pub async fn send_slow_bodies(by: Attacker<'_>) -> Option<()> {
    let who = if by.number.is_multiple_of(2) { REGISTERED } else { by.stranger };
    let mut stream = by.target.connect_raw(by.source, who, None).await?;
    let begun = stream_ids(STREAMS).flat_map(|id| {
        let declared = [&[0][..], &1_000_u32.to_be_bytes()].concat();
        [request_head(id, LIST_PLACEMENTS, false), http2_frame(DATA, 0, id, &declared)].concat()
    });
    stream.write_all(&begun.collect::<Vec<_>>()).await.ok()?;
    let (read, mut write) = split(stream);
    let writing = async {
        let bytes: Vec<u8> = stream_ids(STREAMS).flat_map(|id| http2_frame(DATA, 0, id, &[0])).collect();
        while write.write_all(&bytes).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = drain(read) => {}
        () = writing => {}
    }
    Some(())
}

/// Begins a handshake and stops, or completes it and sends no preface.
pub async fn stop_in_the_handshake(by: Attacker<'_>) -> Option<()> {
    if by.number.is_multiple_of(4) {
        let stream = by.target.connect_tls(by.source, by.stranger).await?;
        drain(split(stream).0).await;
        return Some(());
    }
    // The header of a TLS record with a ClientHello of 512 bytes, and the first bytes of it.
    let mut tcp = by.target.connect_tcp(by.source).await?;
    tcp.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.ok()?;
    tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await.ok();
    Some(())
}

/// Opens an HTTP/2 connection and never uses it.
pub async fn hold_idle_connection(by: Attacker<'_>) -> Option<()> {
    let stream = by.target.connect_raw(by.source, by.stranger, None).await?;
    drain(split(stream).0).await;
    Some(())
}
