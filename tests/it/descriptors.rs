//! File descriptors of `serve` with a real configuration: connections leave enough for everything else.

use std::process::Command;

use tokio::net::TcpStream;

use super::limits::output;
use super::serve_process::{LIST_PLACEMENTS, ServeFolder};
use super::support::gateway;

/// Checks that a node does not say READY when it could not open its files.
#[test]
fn a_node_with_too_few_descriptors_does_not_start() {
    let folder = ServeFolder::new();
    for limit in [24, 40, 127] {
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(gateway().get_program());
        let output = output(limited.arg("serve").arg("--config").arg(folder.file_path("gateway.toml")));
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let line = format!("the hard limit of file descriptors is {limit}, and a node needs 128 or more");
        assert!(output.status.code() == Some(69) && printed.contains(&line), "{limit}: {printed}");
        assert_eq!(printed.lines().count(), 1, "{limit}: {printed}");
    }
}

/// Checks that connections take all but a reserve, that reads and writes of open connections go on, and that the
/// log names the limits.
#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_descriptors_for_reads_and_writes() {
    let folder = ServeFolder::new();
    let mut limited = Command::new("sh");
    let script = "ulimit -Sn 100; ulimit -Hn 200; exec \"$0\" \"$@\"";
    limited.args(["-c", script]).arg(gateway().get_program()).env("AP_GATEWAY_LOG", "info");
    let served = folder.start(limited);
    served.wait_for_log(r#""from":100,"to":200"#).await;
    served.wait_for_log(r#""configured":10000,"fitting":78,"descriptors":200"#).await;
    let open = folder.connect(&served, "la-a").await.unwrap();
    let (mut connections, mut refused) = (Vec::new(), 0);
    for name in ["la-b", "school", "provider-a"] {
        for _ in 0..50 {
            match folder.connect(&served, name).await {
                Ok(connection) => connections.push(connection),
                Err(_) => refused += 1,
            }
        }
    }
    assert_eq!((connections.len(), refused), (77, 73));
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    // Several readers open their files while the sockets are there.
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let open = open.clone();
            tokio::spawn(async move { open.call(LIST_PLACEMENTS, &[]).await.reason() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "OK", "{}", served.log());
    }
    assert!(!served.log().contains("could not be accepted"), "{}", served.log());
    served.signal("TERM");
    assert!(served.wait_for_exit().success());
}
