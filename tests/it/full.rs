//! A full disk: nothing is answered but UNAVAILABLE, reads too, until there is room again.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use ap_gateway::proto::v1::{SubmitAttendanceRequest, WatchDeliveriesRequest, delivery_service};
use tempfile::TempDir;
use tonic_types::StatusExt;

use super::faults::unavailable;
use super::process::{Process, Sandbox};
use super::safety::own;
use super::story::{attendance, mark, refused, submission, submit};
use super::support::{as_root, post, run};

/// A file system of a fixed size.
struct Small(TempDir);

impl Small {
    fn mounted(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=777");
        run(as_root("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()));
        Self(dir)
    }

    /// Takes all the room that is left; removing the file gives it back.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut ballast = File::create(&path).unwrap();
        while ballast.write_all(&[0; 4_096]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run(as_root("umount").arg(self.0.path()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_nothing_is_answered_until_there_is_room() {
    let disk = Small::mounted("32m");
    let sandbox = Sandbox::inside(disk.0.path());
    let server = Process::serve(sandbox.path());
    let (riverside, la) = (sandbox.client("provider-a").await, sandbox.client("la-a").await);
    let ballast = disk.fill();
    // What has room in the log's file as it is may be answered still; each answer takes some of it.
    let mut full = false;
    for _ in 0..2_000 {
        if let Err(error) = own(&riverside).await {
            unavailable::<()>(Err(error));
            full = true;
            break;
        }
    }
    assert!(full);
    let request = submission(vec![mark(&sandbox.placement, "2026-11-02", "/")]);
    for _ in 0..3 {
        let status = refused(submit(&riverside, &request).await);
        assert!(status.get_details_retry_info().is_some());
        unavailable(submit(&riverside, &request).await);
        unavailable(own(&riverside).await);
        unavailable(attendance(&riverside, &sandbox.placement).await);
        unavailable(submit(&riverside, &SubmitAttendanceRequest::default()).await);
        let watch = WatchDeliveriesRequest::default();
        unavailable(la.watch(delivery_service::WATCH_DELIVERIES, &watch).await.map(drop));
        let told = post(sandbox.path(), server.address(), "/apgateway.v1.NoService/NoMethod");
        assert!(told.contains("grpc-status: 14"), "{told}");
    }
    std::fs::remove_file(ballast).unwrap();
    assert_eq!(submit(&riverside, &request).await.unwrap().message.stored, 1);
    assert_eq!(attendance(&riverside, &sandbox.placement).await.unwrap().marks.len(), 1);
    drop(server);
    sandbox.verifies().await;
}
