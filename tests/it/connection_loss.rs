//! A connection that is lost while a register file is being submitted: stored marks stay, and submitting the same
//! file again completes it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ap_gateway::cli::sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::{World, gateway};

/// Lessons in the file: five calls, four of them concurrent.
const LESSON_COUNT: usize = 5_000;

/// A TCP proxy that closes a connection after a number of bytes from the client. Later connections are closed at
/// once unless `heals` is set.
struct Proxy {
    address: SocketAddr,
    cut_after_bytes: Arc<AtomicU64>,
    bytes_up: Arc<AtomicU64>,
    accepts_after_cut: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    async fn in_front_of(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut_at, up) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(AtomicU64::new(0)));
        let (heals, connections) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (limit, counted) = (Arc::clone(&cut_at), Arc::clone(&up));
        let (heal, accepted) = (Arc::clone(&heals), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (limit, counted) = (Arc::clone(&limit), Arc::clone(&counted));
                let is_cut = limit.load(Ordering::Relaxed) <= counted.load(Ordering::Relaxed);
                if heal.load(Ordering::Relaxed) || !is_cut {
                    counted.store(0, Ordering::Relaxed);
                }
                tokio::spawn(async move { forward(caller, gateway, &limit, &counted).await });
            }
        });
        Self { address, cut_after_bytes: cut_at, bytes_up: up, accepts_after_cut: heals, connections }
    }
}

async fn forward(mut caller: TcpStream, gateway: SocketAddr, limit: &AtomicU64, counted: &AtomicU64) {
    let mut there = TcpStream::connect(gateway).await.unwrap();
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    // The loop ends when either side closes or at the limit; dropping both sockets closes both connections.
    while counted.load(Ordering::Relaxed) < limit.load(Ordering::Relaxed) {
        let passed = tokio::select! {
            read = caller.read(&mut up) => {
                let read = read.unwrap_or(0);
                counted.fetch_add(read as u64, Ordering::Relaxed);
                there.write_all(&up[..read]).await.map(|()| read)
            }
            read = there.read(&mut down) => {
                let read = read.unwrap_or(0);
                caller.write_all(&down[..read]).await.map(|()| read)
            }
        };
        if !matches!(passed, Ok(1..)) {
            break;
        }
    }
}

/// Builds a tuition log of five-minute lessons of one child.
fn lesson_log(world: &World) -> String {
    let placed = sandbox::world::load(world.dir.path()).unwrap().placements;
    let placement = placed.iter().find(|placed| placed.provider == "provider-c").unwrap();
    let mut text = "Ref,Date,Start,End,Attended\n".to_owned();
    for at in 0..LESSON_COUNT {
        let (day, minute) = (at / 200, at % 200 * 5);
        let time = |minute: usize| format!("{:02}:{:02}", 6 + minute / 60, minute % 60);
        let (from, to) = (time(minute), time(minute + 5));
        writeln!(text, "{},2026-10-{:02},{from},{to},Y", placement.provider_reference, day + 1).unwrap();
    }
    text
}

/// Submits the log as provider-c, with the profile of this name.
fn run_submit(world: &World, profile: &str, more: &[&str]) -> Output {
    let file = world.dir.path().join("log.csv");
    std::fs::write(&file, lesson_log(world)).unwrap();
    let mut verb = gateway();
    verb.args(["submit", "attendance", "--profile"]).arg(sandbox::profile_path(world.dir.path(), profile));
    verb.arg(&file).args(more).output().unwrap()
}

/// Writes a profile whose endpoint is the proxy.
fn write_proxy_profile(dir: &Path, to: SocketAddr, from: SocketAddr) {
    let profile = std::fs::read_to_string(sandbox::profile_path(dir, "provider-c")).unwrap();
    let profile = profile.replace(&from.to_string(), &to.to_string());
    std::fs::write(sandbox::profile_path(dir, "through-proxy"), profile).unwrap();
}

/// Returns every revision of every mark, without its time of receipt.
async fn stored_marks(world: &World) -> Vec<String> {
    let database = world.database().await;
    let sql = "SELECT date, slot, revision, code, seen, end_time, flags, sender FROM marks \
               ORDER BY date, slot, revision";
    let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    database.close().await;
    let mark = |row: &ap_gateway::store::Row| {
        let (date, sender) = (row.get_str("date").unwrap(), row.get_str("sender").unwrap());
        let number = |column| row.get::<Option<i64>>(column).unwrap();
        let numbers = ["slot", "revision", "seen", "end_time", "flags"].map(number);
        format!("{date} {numbers:?} {:?} {sender}", row.get::<Option<String>>("code").unwrap())
    };
    rows.iter().map(mark).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_a_cut_is_unchanged_after_it() {
    let (world, healed) = (World::sqlite().await, World::sqlite().await);
    let proxy = Proxy::in_front_of(world.address()).await;
    write_proxy_profile(world.dir.path(), proxy.address, world.address());
    let checked = run_submit(&world, "through-proxy", &["--validate-only"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    // `--validate-only` sends every mark once, so the connection is closed during the last of the five calls of the
    // submission. That call begins when one of the others has been answered.
    let cut_at = proxy.bytes_up.load(Ordering::Relaxed) * 19 / 10;
    proxy.cut_after_bytes.store(cut_at, Ordering::Relaxed);
    proxy.accepts_after_cut.store(false, Ordering::Relaxed);
    let cut = run_submit(&world, "through-proxy", &[]);
    let printed = String::from_utf8(cut.stderr).unwrap();
    assert_eq!(cut.status.code(), Some(69), "{printed}");
    assert!(printed.contains("send the file again: what was stored stays, and is unchanged"), "{printed}");
    let stored = stored_marks(&world).await.len();
    assert!((1_000..LESSON_COUNT).contains(&stored), "{stored}");
    proxy.cut_after_bytes.store(u64::MAX, Ordering::Relaxed);
    let again = run_submit(&world, "through-proxy", &[]);
    assert!(again.status.success());
    let printed = String::from_utf8(again.stdout).unwrap();
    let sums = printed.lines().last().unwrap();
    // A request that had arrived completely before the loss is stored as well, perhaps later.
    let unchanged: usize = sums.split(' ').nth(2).unwrap().parse().unwrap();
    assert!((stored..LESSON_COUNT).contains(&unchanged), "{stored}: {sums}");
    let expected =
        format!("{} new, {unchanged} unchanged, 0 corrected, 0 lines not sent", LESSON_COUNT - unchanged);
    assert_eq!(sums, expected);
    // If the next connection succeeds, the client reconnects and sends the same requests; the user sees no error.
    let proxy = Proxy::in_front_of(healed.address()).await;
    write_proxy_profile(healed.dir.path(), proxy.address, healed.address());
    proxy.cut_after_bytes.store(cut_at, Ordering::Relaxed);
    let mended = run_submit(&healed, "through-proxy", &[]);
    assert!(mended.status.success(), "{}", String::from_utf8_lossy(&mended.stderr));
    assert!(proxy.connections.load(Ordering::Relaxed) > 1, "the proxy did not close the connection");
    let marks_of_both = (stored_marks(&world).await, stored_marks(&healed).await);
    assert_eq!(marks_of_both.0.len(), LESSON_COUNT);
    assert_eq!(marks_of_both.0, marks_of_both.1);
    for world in [world, healed] {
        world.stop().await;
    }
}
