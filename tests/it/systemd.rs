//! The unit of systemd: what the process tells the service manager, the credentials that it is given, and that the unit
//! allows what the process does. No service manager runs in the tests: they are one, as far as its socket goes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::backup::Backup;
use super::large_answer;
use super::limits::output;
use super::serve_process::ServeFolder;
use super::support::gateway;

const UNIT: &str = "deploy/systemd/ap-gateway.service";
const BACKUP_UNIT: &str = "deploy/systemd/ap-gateway-backup.service";
const BACKUP_TIMER: &str = "deploy/systemd/ap-gateway-backup.timer";
/// Maximum exposure that `systemd-analyze security` may print.
const MAX_EXPOSURE: f64 = 1.5;
/// A call that SQLite makes for root only, as whom the unit does not run.
const OF_ROOT: &str = "fchown";

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns what `systemd-analyze security` says of the exposure of a unit.
fn exposure(name: &str) -> f64 {
    let path = unit(name);
    let printed = analyze(&["security", "--offline=true", "--no-pager", path.to_str().unwrap()]);
    let file = path.file_name().unwrap().to_str().unwrap();
    let exposure = printed.rsplit_once(&format!("{file}: ")).unwrap().1;
    exposure.split_whitespace().next().unwrap().parse().unwrap()
}

fn analyze(arguments: &[&str]) -> String {
    let output = output(Command::new("systemd-analyze").args(arguments));
    let printed = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&printed));
    String::from_utf8(printed).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_of_each_change() {
    let folder = ServeFolder::new();
    let socket_path = folder.file_path("notify");
    let socket = UnixDatagram::bind(&socket_path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let next = || {
        let mut notice = [0; 256];
        let length = socket.recv(&mut notice).unwrap();
        String::from_utf8(notice[..length].to_vec()).unwrap()
    };
    let mut command = gateway();
    command.env("NOTIFY_SOCKET", &socket_path).env("WATCHDOG_USEC", "600000");
    let served = folder.start(command);
    // The watchdog's task begins beside the notice of READY.
    let first: BTreeSet<_> = (0..3).map(|_| next().trim().to_owned()).collect();
    assert_eq!(first, ["READY=1".to_owned(), "WATCHDOG=1".to_owned()].into());
    served.signal("TERM");
    let end = (0..20).map(|_| next()).find(|notice| notice.trim() != "WATCHDOG=1");
    assert_eq!(end.unwrap().trim(), "STOPPING=1");
    assert!(served.wait_for_exit().success());
}

#[test]
fn a_credential_of_the_service_manager_counts_as_private() {
    let folder = ServeFolder::new();
    let credentials = folder.file_path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let key = credentials.join("log-signing-key");
    std::fs::rename(folder.file_path("log-signing-key"), &key).unwrap();
    let text = folder.configuration();
    let configured = text.replace("\"log-signing-key\"", &format!("{:?}", key.to_str().unwrap()));
    assert_ne!(text, configured);
    folder.write("gateway.toml", &configured);
    let check = |mode: u32, credentials: &Path| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = gateway();
        command.arg("check").arg("--config").arg(folder.file_path("gateway.toml"));
        output(command.env("CREDENTIALS_DIRECTORY", credentials)).status.code()
    };
    assert_eq!(check(0o440, &credentials), Some(0));
    assert_eq!(check(0o444, &credentials), Some(78));
    assert_eq!(check(0o640, &credentials), Some(78));
    assert_eq!(check(0o440, folder.path()), Some(78));
    assert_eq!(check(0o440, Path::new("")), Some(78));
}

#[test]
fn the_unit_is_as_closed_as_it_should_be() {
    for name in [UNIT, BACKUP_UNIT] {
        let exposure = exposure(name);
        assert!(exposure <= MAX_EXPOSURE, "{name}: {exposure}");
    }
    let text = std::fs::read_to_string(unit(UNIT)).unwrap();
    for setting in
        ["Type=notify", "WatchdogSec=60", "LoadCredential=log-signing-key:", "StateDirectory=ap-gateway"]
    {
        assert!(text.lines().any(|line| line.starts_with(setting)), "{setting}");
    }
}

/// Checks that every system call of a node that starts, stores, answers and stops is in the unit's filter.
#[tokio::test(flavor = "multi_thread")]
async fn the_unit_allows_the_system_calls_of_the_process() {
    let folder = ServeFolder::new();
    let trace = folder.file_path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-q", "-o", trace.to_str().unwrap()]).arg(gateway().get_program());
    let served = folder.start(strace);
    large_answer::store(&folder, &served, "provider-a").await;
    served.signal("HUP");
    served.signal("TERM");
    assert!(served.wait_for_exit().success());
    let allowed = allowed_calls(&std::fs::read_to_string(unit(UNIT)).unwrap());
    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: BTreeSet<&str> = trace.lines().filter_map(called).collect();
    assert!(calls.contains("fdatasync") && calls.contains("accept4"), "{calls:?}");
    let refused: Vec<_> =
        calls.iter().filter(|call| !allowed.contains(**call) && **call != OF_ROOT).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Checks the units of the backup as systemd reads them, with the binary of the tests, and that they allow the system calls
/// of a backup and of the command `age` that it runs.
#[test]
fn the_backup_unit_allows_the_system_calls_of_a_backup() {
    let (folder, backup) = (ServeFolder::new(), Backup::new());
    for name in [BACKUP_UNIT, BACKUP_TIMER] {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let installed = text.replace("/usr/bin/ap-gateway", gateway().get_program().to_str().unwrap());
        folder.write(unit(name).file_name().unwrap().to_str().unwrap(), &installed);
    }
    let [service, timer] =
        ["service", "timer"].map(|kind| folder.file_path(&format!("ap-gateway-backup.{kind}")));
    let path = format!("{}:", folder.path().display());
    let verify = ["verify", "--man=no", service.to_str().unwrap(), timer.to_str().unwrap()];
    let verified = output(Command::new("systemd-analyze").args(verify).env("SYSTEMD_UNIT_PATH", path));
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let trace = folder.file_path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-o", trace.to_str().unwrap()]).arg(gateway().get_program());
    let traced = output(&mut backup.command(strace, folder.path()));
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));
    let allowed = allowed_calls(&std::fs::read_to_string(unit(BACKUP_UNIT)).unwrap());
    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: BTreeSet<&str> = trace.lines().filter_map(called).collect();
    assert!(calls.contains("fsync") && calls.contains("execve"), "{calls:?}");
    let refused: Vec<_> =
        calls.iter().filter(|call| !allowed.contains(**call) && **call != OF_ROOT).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Returns the name of the system call of a line of strace: after the number of the thread.
fn called(line: &str) -> Option<&str> {
    let (_, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(name)
}

/// Returns the calls that the unit's filters allow.
fn allowed_calls(unit: &str) -> BTreeSet<String> {
    let filters: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let mut allowed = calls_of("@default");
    for filter in filters {
        for set in filter.trim_start_matches('~').split_whitespace() {
            let calls = calls_of(set);
            if filter.starts_with('~') {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    allowed
}

/// Returns the calls of a set of systemd, and of the sets in it.
fn calls_of(set: &str) -> BTreeSet<String> {
    let printed = analyze(&["syscall-filter", "--no-pager", set]);
    let members = printed.lines().map(str::trim).filter(|line| !line.starts_with('#') && *line != set);
    let mut calls = BTreeSet::new();
    for member in members.filter(|member| !member.is_empty()) {
        if member.starts_with('@') {
            calls.extend(calls_of(member));
        } else {
            calls.insert(member.to_owned());
        }
    }
    calls
}
