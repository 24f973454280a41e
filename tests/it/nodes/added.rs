//! `node add`: a further node gets its anchor from a checkpoint while another node serves, and every other checkpoint is
//! refused before a file is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ap_gateway::cli::sandbox;
use ap_gateway::config::Config;
use ap_gateway::gateway;
use ap_gateway::tlog::{Checkpoint, Signer, leaf_hash};

use super::super::limits::output;
use super::super::process::Process;
use super::super::startup_checks::serve_briefly;
use super::super::support::{self, Postgres, run};
use super::{MAX_WAIT, NODE_NAMES, Nodes, submit_within};

/// Runs `node add` and returns its exit code and what it printed.
fn add_node(dir: &Path, checkpoint: &Path) -> (Option<i32>, String) {
    let mut add = support::gateway();
    add.args(["node", "add", "--config"]).arg(dir.join("gateway.toml"));
    let output = output(add.arg("--checkpoint").arg(checkpoint));
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Returns the files of a folder with their content.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_added_while_another_serves() {
    let nodes = Arc::new(Nodes::new(Postgres::start()));
    let [one, two] = NODE_NAMES.map(|node| nodes.dir(node));
    std::fs::remove_file(two.join("anchor")).unwrap();
    let (code, stderr) = serve_briefly(&two);
    assert!(code == 1 && stderr.contains("the anchor file is missing"), "{code}: {stderr}");

    // A provider goes on sending marks to the first node until the end.
    let first = Process::serve(&one);
    let (ended, client) = (Arc::new(AtomicBool::new(false)), nodes.client(NODE_NAMES[0], "provider-a").await);
    let sending = tokio::spawn({
        let (nodes, ended) = (Arc::clone(&nodes), Arc::clone(&ended));
        async move {
            let mut answered = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let request = nodes.next_mark();
                let answer = submit_within(&client, &request, MAX_WAIT).await;
                answered.push((request, answer.expect("the first node answers every mark")));
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            answered
        }
    });
    let mut head = support::gateway();
    head.args(["audit", "head", "--profile"]).arg(sandbox::profile_path(&one, "auditor"));
    let note = run(&mut head);
    let file = nodes.folder.path().join("checkpoint");
    let before = files(&two);

    let signer = gateway::signer(&Config::load(&two.join("gateway.toml")).unwrap()).unwrap();
    let origin = signer.verifier().name().to_owned();
    let sign = |signer: &Signer, size| {
        let checkpoint = Checkpoint::new(signer.verifier().name(), size, leaf_hash(b"other"));
        signer.sign(&checkpoint.to_string())
    };
    let foreign = |origin: &str| sign(&Signer::from_seed(origin, &[7; 32]).unwrap(), 5);
    let damaged = note.replacen('\n', "\n1", 1);
    for (text, why) in [
        (foreign("ap.example/other"), "no checkpoint of this log"),
        (foreign(&origin), "no checkpoint of this log"),
        (damaged, "no checkpoint of this log"),
        (note[..note.len() / 2].to_owned(), "no checkpoint of this log"),
        (String::new(), "no checkpoint of this log"),
        (sign(&signer, 1 << 40), "rolled back or its tail was cut"),
        (sign(&signer, 5), "is not the one that was seen"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let (code, printed) = add_node(&two, &file);
        assert!(code == Some(1) && printed.contains(why), "{code:?}: {printed} after {text}");
        assert!(files(&two) == before, "{text} left a file");
    }
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert_eq!(add_node(&two, &file).0, Some(1));
    assert_eq!(add_node(&two, &two.join("no-such-file")).0, Some(64));

    std::fs::write(&file, note.trim_end()).unwrap();
    let config = two.join("gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let url = text.lines().find(|line| line.starts_with("postgres_url_file")).unwrap();
    std::fs::write(&config, text.replace(url, "sqlite = \"gateway.sqlite\"")).unwrap();
    let (code, printed) = add_node(&two, &file);
    assert!(code == Some(1) && printed.contains("a SQLite database has one node"), "{code:?}: {printed}");
    std::fs::write(&config, text).unwrap();

    let (code, printed) = add_node(&two, &file);
    assert!(code == Some(0) && printed.contains("serve the node"), "{code:?}: {printed}");
    let added = files(&two);
    assert_eq!(added.len(), before.len() + 1);
    let (code, printed) = add_node(&two, &file);
    assert!(code == Some(1) && printed.contains("has an anchor already"), "{code:?}: {printed}");
    assert!(files(&two) == added, "the anchor was changed");

    // Both serve, and each answers what the other stored.
    let second = Process::serve(&two);
    let other = nodes.client(NODE_NAMES[1], "provider-a").await;
    let request = nodes.next_mark();
    let by_second = submit_within(&other, &request, MAX_WAIT).await.unwrap();
    ended.store(true, Ordering::Relaxed);
    let mut answered = sending.await.unwrap();
    assert!(answered.len() > 1);
    for (request, answer) in &answered {
        assert_eq!(submit_within(&other, request, MAX_WAIT).await.as_ref(), Some(answer));
    }
    answered.push((request, by_second));
    drop((first, second));
    nodes.assert_log_verifies(answered.len()).await;
    assert_eq!(nodes.query("SELECT idx FROM marks").await.len(), answered.len());
}
