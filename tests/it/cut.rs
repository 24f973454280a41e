//! A connection that is cut while a register is on its way: what was stored stays, and the same file again is all
//! that is needed.

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

/// Lessons in the file: five calls, of which four are under way at once.
const LESSONS: usize = 5_000;

/// A proxy that cuts a connection once so many bytes have come up on it, and each later one at once unless it heals.
struct Proxy {
    address: SocketAddr,
    cut_at: Arc<AtomicU64>,
    up: Arc<AtomicU64>,
    heals: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    async fn before(gateway: SocketAddr) -> Self {
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
                tokio::spawn(async move { pass(caller, gateway, &limit, &counted).await });
            }
        });
        Self { address, cut_at, up, heals, connections }
    }
}

async fn pass(mut caller: TcpStream, gateway: SocketAddr, limit: &AtomicU64, counted: &AtomicU64) {
    let mut there = TcpStream::connect(gateway).await.unwrap();
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    // Ends when either side does, or at the limit: dropping both sockets cuts both halves.
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

/// A tutor's log of lessons of five minutes, of one child.
fn log(world: &World) -> String {
    let placed = sandbox::world::load(world.dir.path()).unwrap().placements;
    let of = placed.iter().find(|placed| placed.provider == "provider-c").unwrap();
    let mut text = "Ref,Date,Start,End,Attended\n".to_owned();
    for at in 0..LESSONS {
        let (day, minute) = (at / 200, at % 200 * 5);
        let time = |minute: usize| format!("{:02}:{:02}", 6 + minute / 60, minute % 60);
        let (from, to) = (time(minute), time(minute + 5));
        writeln!(text, "{},2026-10-{:02},{from},{to},Y", of.provider_reference, day + 1).unwrap();
    }
    text
}

/// Sends the log as the tutors' provider, by the profile of this name.
fn submit(world: &World, profile: &str, more: &[&str]) -> Output {
    let file = world.dir.path().join("log.csv");
    std::fs::write(&file, log(world)).unwrap();
    let mut verb = gateway();
    verb.args(["submit", "attendance", "--profile"]).arg(sandbox::profile(world.dir.path(), profile));
    verb.arg(&file).args(more).output().unwrap()
}

/// A profile that leads to an address.
fn lead(dir: &Path, to: SocketAddr, from: SocketAddr) {
    let profile = std::fs::read_to_string(sandbox::profile(dir, "provider-c")).unwrap();
    let profile = profile.replace(&from.to_string(), &to.to_string());
    std::fs::write(sandbox::profile(dir, "through-proxy"), profile).unwrap();
}

/// Every revision of every mark, but for when it came.
async fn marks(world: &World) -> Vec<String> {
    let database = world.database().await;
    let sql = "SELECT date, slot, revision, code, seen, end_minute, flags, sender FROM marks \
               ORDER BY date, slot, revision";
    let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    database.close().await;
    let told = |column: usize, row: &ap_gateway::store::Row| row.opt_int(column).unwrap();
    let mark = |row: &ap_gateway::store::Row| {
        let (date, sender) = (row.text(0).unwrap(), row.text(7).unwrap());
        let numbers = [1, 2, 4, 5, 6].map(|column| told(column, row));
        format!("{date} {numbers:?} {:?} {sender}", row.opt_text(3).unwrap())
    };
    rows.iter().map(mark).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_a_cut_is_unchanged_after_it() {
    let (world, healed) = (World::sqlite().await, World::sqlite().await);
    let proxy = Proxy::before(world.address()).await;
    lead(world.dir.path(), proxy.address, world.address());
    let checked = submit(&world, "through-proxy", &["--validate-only"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    // Checking sends every mark once, and sending sends it again: the cut falls into the last of the five
    // calls, which begins when one of the others is answered.
    let cut_at = proxy.up.load(Ordering::Relaxed) * 19 / 10;
    proxy.cut_at.store(cut_at, Ordering::Relaxed);
    proxy.heals.store(false, Ordering::Relaxed);
    let cut = submit(&world, "through-proxy", &[]);
    let told = String::from_utf8(cut.stderr).unwrap();
    assert_eq!(cut.status.code(), Some(69), "{told}");
    assert!(told.contains("send the file again: what was stored stays, and is unchanged"), "{told}");
    let stored = marks(&world).await.len();
    assert!((1_000..LESSONS).contains(&stored), "{stored}");
    proxy.cut_at.store(u64::MAX, Ordering::Relaxed);
    let again = submit(&world, "through-proxy", &[]);
    assert!(again.status.success());
    let told = String::from_utf8(again.stdout).unwrap();
    let sums = told.lines().last().unwrap();
    // What had arrived whole when the connection was cut was stored all the same, be it later.
    let unchanged: usize = sums.split(' ').nth(2).unwrap().parse().unwrap();
    assert!((stored..LESSONS).contains(&unchanged), "{stored}: {sums}");
    let expected =
        format!("{} new, {unchanged} unchanged, 0 corrected, 0 lines not sent", LESSONS - unchanged);
    assert_eq!(sums, expected);
    // A cut that heals is not even noticed: the client connects again and sends the same requests.
    let proxy = Proxy::before(healed.address()).await;
    lead(healed.dir.path(), proxy.address, healed.address());
    proxy.cut_at.store(cut_at, Ordering::Relaxed);
    let mended = submit(&healed, "through-proxy", &[]);
    assert!(mended.status.success(), "{}", String::from_utf8_lossy(&mended.stderr));
    assert!(proxy.connections.load(Ordering::Relaxed) > 1, "the connection was not cut");
    let marks_of_both = (marks(&world).await, marks(&healed).await);
    assert_eq!(marks_of_both.0.len(), LESSONS);
    assert_eq!(marks_of_both.0, marks_of_both.1);
    for world in [world, healed] {
        world.stop().await;
    }
}
