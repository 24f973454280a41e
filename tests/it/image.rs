//! The image: what is in it, that it is the same each time, and that its process serves as user 65532 on a file system
//! that it cannot write to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::limits::output;
use super::serve_process::{LIST_PLACEMENTS, ServeFolder};
use super::support::{gateway, run};

const USER: &str = "65532";
/// Files beside the libraries.
const BINARY: &str = "/usr/bin/ap-gateway";

fn make_image(layout: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/image");
    run(Command::new(script).arg(gateway().get_program()).args([layout.as_os_str(), "1".as_ref()]));
}

/// Unpacks an image, and returns the folder of its bundle.
fn unpack(folder: &Path) -> PathBuf {
    let (layout, bundle) = (folder.join("image"), folder.join("bundle"));
    make_image(&layout);
    let image = format!("{}:1", layout.to_str().unwrap());
    let mut unpack = Command::new("umoci");
    unpack.args(["unpack", "--rootless", "--image", &image]).arg(&bundle);
    run(&mut unpack);
    bundle
}

fn files_in(folder: &Path) -> BTreeSet<String> {
    let printed = output(Command::new("find").arg(folder).args(["-type", "f", "-printf", "/%P\n"])).stdout;
    String::from_utf8(printed).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_image_is_the_same_each_time_and_holds_binary_and_libraries_only() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = unpack(folder.path());
    let again = folder.path().join("again");
    make_image(&again);
    assert_eq!(files_in(&again), files_in(&folder.path().join("image")));

    let files = files_in(&bundle.join("rootfs"));
    let others: Vec<_> = files.iter().filter(|file| !file.contains(".so.") && *file != BINARY).collect();
    assert!(others.is_empty() && files.contains(BINARY) && files.len() > 3, "{files:?}");
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["user"]["uid"], 65_532);
    assert_eq!(
        config["process"]["args"],
        serde_json::json!([BINARY, "serve", "--config", "/etc/ap-gateway/gateway.toml"])
    );
    for (label, value) in [("title", "ap-gateway"), ("version", "1"), ("licenses", "MIT")] {
        assert_eq!(config["annotations"][format!("org.opencontainers.image.{label}")], value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_serves_read_only_as_its_user() {
    let folder = ServeFolder::new();
    let root = unpack(folder.path()).join("rootfs");
    std::fs::create_dir_all(root.join(folder.path().strip_prefix("/").unwrap())).unwrap();
    let mut confined = Command::new("bwrap");
    confined.args(["--unshare-user", "--uid", USER, "--gid", USER, "--die-with-parent"]);
    confined.arg("--ro-bind").arg(root).arg("/");
    // The only folder that can be written to.
    confined.arg("--bind").args([folder.path(), folder.path()]);
    confined.arg(BINARY);
    let served = folder.start(confined);
    let wire = folder.connect(&served, "la-a").await.unwrap();
    assert_eq!(wire.call(LIST_PLACEMENTS, &[]).await.reason(), "OK");
    drop(wire);
    // The process itself is the child of bwrap, whose exit code is the process's.
    run(Command::new("pkill").args(["-TERM", "-P", &served.id().to_string()]));
    assert!(served.wait_for_exit().success());
}
