//! A full disk: every call, also a read, gets UNAVAILABLE until there is free space again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use ap_gateway::proto::v1::{SubmitAttendanceRequest, WatchDeliveriesRequest, delivery_service};
use tempfile::TempDir;
use tonic_types::StatusExt;

use super::ended_rights::get_riverside;
use super::exchange_semantics::{get_attendance, mark, refusal_status, submission, submit};
use super::faults::assert_unavailable;
use super::process::{Process, Sandbox};
use super::support::{as_root, curl_post, run};

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
    assert_eq!(submit(&riverside, &request).await.unwrap().message.stored, 1);
    assert_eq!(get_attendance(&riverside, &sandbox.placement).await.unwrap().marks.len(), 1);
    drop(server);
    sandbox.assert_log_verifies().await;
}
