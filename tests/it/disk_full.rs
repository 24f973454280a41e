//! A full disk: every call, also a read, gets UNAVAILABLE until there is free space again.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ap_gateway::proto::v1::{SubmitAttendanceRequest, WatchDeliveriesRequest, delivery_service};
use ap_gateway::store::Row;
use tempfile::TempDir;
use tonic_types::StatusExt;

use super::ended_rights::get_riverside;
use super::exchange_semantics::{get_attendance, mark, refusal_status, submission, submit};
use super::faults::assert_unavailable;
use super::process::{Process, Sandbox};
use super::serve_process::ServeFolder;
use super::startup_checks::HEALTH_CHECK;
use super::support::{World, as_root, curl_post, gateway, is_root, run};

/// A tmpfs of a fixed size. It is unmounted when dropped.
pub struct SmallFileSystem(TempDir);

impl SmallFileSystem {
    /// Mounts one of a size, as `mount` takes it.
    pub fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=777");
        run(as_root("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()));
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills all free space with a file; removing the file frees it.
    pub fn fill_up(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut ballast = File::create(&path).unwrap();
        while ballast.write_all(&[0; 4_096]).is_ok() {}
        path
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        run(as_root("umount").arg(self.0.path()));
    }
}

/// The response of the health service of a node that serves.
pub const SERVING: &str = "\u{8}\u{1}";
/// The response of the health service of a node that does not.
pub const NOT_SERVING: &str = "\u{8}\u{2}";

/// Waits until the health service has a status.
pub async fn wait_for_health(dir: &Path, address: SocketAddr, status: &str) {
    for _ in 0..400 {
        if curl_post(dir, address, HEALTH_CHECK).contains(status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the health service does not change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_seen_by_the_health_service_while_nobody_calls() {
    let disk = SmallFileSystem::mount("32m");
    let sandbox = Sandbox::new_in(disk.0.path());
    sandbox.remove_wal();
    let server = Process::serve(sandbox.path());
    wait_for_health(sandbox.path(), server.address(), SERVING).await;
    let ballast = disk.fill_up();
    wait_for_health(sandbox.path(), server.address(), NOT_SERVING).await;
    std::fs::remove_file(ballast).unwrap();
    wait_for_health(sandbox.path(), server.address(), SERVING).await;
    let size = "SELECT MAX(size) AS size FROM checkpoints";
    let size_of = |rows: Vec<Row>| rows[0].get::<i64>("size").unwrap();
    let before = size_of(sandbox.query(size).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(size_of(sandbox.query(size).await), before, "a probe has no entry");
    drop(server);
    sandbox.assert_log_verifies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_postgresql_is_seen_by_the_health_service_until_it_can_be_written() {
    let world = World::postgres().await;
    let riverside = world.client("provider-a").await;
    get_riverside(&riverside).await.unwrap();
    world.postgres_server().set("default_transaction_read_only", "on");
    wait_for_health(world.dir.path(), world.address(), NOT_SERVING).await;
    assert_unavailable(get_riverside(&riverside).await);
    world.postgres_server().set("default_transaction_read_only", "off");
    wait_for_health(world.dir.path(), world.address(), SERVING).await;
    get_riverside(&riverside).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_were_made_read_only_are_not_used_once_new_ones_may_write() {
    let world = World::postgres().await;
    let riverside = world.client("provider-a").await;
    get_riverside(&riverside).await.unwrap();
    let server = world.postgres_server();
    server.ask("ALTER ROLE postgres SET default_transaction_read_only = on");
    let others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    server.ask(&format!("SELECT pg_terminate_backend(pid) {others}"));
    wait_for_health(world.dir.path(), world.address(), NOT_SERVING).await;
    // The node has opened new sessions, which are read-only.
    for _ in 0..4 {
        assert_unavailable(get_riverside(&riverside).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.ask("BEGIN READ WRITE; ALTER ROLE postgres RESET default_transaction_read_only; COMMIT");
    wait_for_health(world.dir.path(), world.address(), SERVING).await;
    get_riverside(&riverside).await.unwrap();
    world.stop().await;
}

#[test]
fn a_database_that_may_not_be_written_is_refused() {
    let folder = ServeFolder::new();
    let mut command = gateway();
    if is_root() {
        // Root may write to any file.
        run(Command::new("chown").args(["-R", "65534"]).arg(folder.path()));
        command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--clear-groups"]).arg(gateway().get_program());
    }
    command.arg("check").arg("--config").arg(folder.file_path("gateway.toml"));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    run(Command::new("chmod").arg("0400").arg(folder.file_path("gateway.sqlite")));
    let refused = command.output().unwrap();
    let printed = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{printed}");
    let words = ["database.sqlite", "gateway.sqlite", "cannot open it for writing", "Permission denied"];
    assert!(words.iter().all(|word| printed.contains(word)), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_nothing_is_answered_until_there_is_room() {
    let disk = SmallFileSystem::mount("32m");
    let sandbox = Sandbox::new_in(disk.0.path());
    // The clients keep their checkpoints on another disk.
    let seen = tempfile::tempdir().unwrap();
    std::fs::remove_dir_all(sandbox.path().join("seen")).ok();
    std::os::unix::fs::symlink(seen.path(), sandbox.path().join("seen")).unwrap();
    let server = Process::serve(sandbox.path());
    let (riverside, la) = (sandbox.client("provider-a").await, sandbox.client("la-a").await);
    let ballast = disk.fill_up();
    // Calls that fit into the allocated part of the log file may still succeed; each uses some of it.
    let mut full = false;
    for _ in 0..2_000 {
        if let Err(error) = get_riverside(&riverside).await {
            assert_unavailable::<()>(Err(error));
            full = true;
            break;
        }
    }
    assert!(full);
    wait_for_health(sandbox.path(), server.address(), NOT_SERVING).await;
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    for _ in 0..3 {
        let status = refusal_status(submit(&riverside, &request).await);
        assert!(status.get_details_retry_info().is_some());
        assert_unavailable(submit(&riverside, &request).await);
        assert_unavailable(get_riverside(&riverside).await);
        assert_unavailable(get_attendance(&riverside, &sandbox.placement).await);
        assert_unavailable(submit(&riverside, &SubmitAttendanceRequest::default()).await);
        let watch = WatchDeliveriesRequest::default();
        assert_unavailable(la.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.map(drop));
        let response = curl_post(sandbox.path(), server.address(), "/apgateway.v1.NoService/NoMethod");
        assert!(response.contains("grpc-status: 14"), "{response}");
    }
    std::fs::remove_file(ballast).unwrap();
    wait_for_health(sandbox.path(), server.address(), SERVING).await;
    assert_eq!(submit(&riverside, &request).await.unwrap().message.stored, 1);
    assert_eq!(get_attendance(&riverside, &sandbox.placement).await.unwrap().marks.len(), 1);
    drop(server);
    sandbox.assert_log_verifies().await;
}
