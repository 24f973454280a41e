//! A database that was restored from an older copy and continues as a new log: kept entries are unchanged, the loss
//! is described, and the two logs are never confused.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ap_gateway::cli::exchanges::list_all;
use ap_gateway::cli::{profile, sandbox};
use ap_gateway::client::{Client, ClientError, ReceiptError, read_checkpoint_folder};
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, Cursor, DeliveryStage, ListDeliveriesRequest,
    ListDeliveriesResponse, ListExchangesRequest, WatchDeliveriesRequest, WatchDeliveriesResponse,
    WatchPosition, audit_service, delivery_service,
};
use ap_gateway::store::{Database, DatabaseLocation};
use ap_gateway::tlog::LogKeyHistory;
use prost::Message;
use tonic_types::StatusExt;

use super::bundles::{both_accept, both_refuse, prove};
use super::exchange_semantics::{mark, new_id, refusal_status, submission, submit};
use super::log_verification;
use super::process::{Process, Sandbox};
use super::startup_checks::serve_briefly;
use super::support::{gateway, run};

const NEW_LOG_NAME: &str = "ap-gateway-sandbox/log-2";

/// Runs `accept-rollback` on the sandbox in a folder and returns exit code and output.
pub fn accept_rollback(dir: &Path, log: &str) -> (i32, String) {
    let mut accept = gateway();
    accept.arg("accept-rollback").arg("--config").arg(dir.join("gateway.toml")).args(["--log", log]);
    let output = accept.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

/// Runs `accept-rollback`, which must succeed, and writes the new keys for all clients of the folder.
pub fn accept_rollback_ok(dir: &Path, log: &str) -> String {
    let (code, printed) = accept_rollback(dir, log);
    assert_eq!(code, 0, "{printed}");
    std::fs::write(dir.join("log-key"), printed.lines().last().unwrap()).unwrap();
    printed
}

pub fn copy_folder(from: &Path, to: &Path) -> PathBuf {
    run(Command::new("cp").arg("-a").args([from, to]));
    to.to_owned()
}

/// Replaces the database of one folder by that of another.
fn restore_database(from: &Path, to: &Path) {
    for file in ["gateway.sqlite", "gateway.sqlite-wal", "gateway.sqlite-shm"] {
        std::fs::remove_file(to.join(file)).ok();
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

async fn list_deliveries(
    client: &Client,
    cursor: Option<Cursor>,
) -> Result<ListDeliveriesResponse, ClientError> {
    let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
    Ok(client.call(delivery_service::LIST_DELIVERIES, &request).await?.message)
}

/// Lists all deliveries after a cursor, and the last cursor.
async fn deliveries_after(
    client: &Client,
    mut cursor: Option<Cursor>,
) -> (Vec<(u64, String)>, Option<Cursor>) {
    let mut found = Vec::new();
    loop {
        let page = list_deliveries(client, cursor).await.unwrap();
        let places = page.deliveries.into_iter().map(|one| (one.cursor.unwrap().index, one.object_id));
        found.extend(places);
        cursor = page.next;
        if !page.more {
            return (found, cursor);
        }
    }
}

/// Reads deliveries after a cursor from a stream until none arrives for a second.
async fn streamed_deliveries(client: &Client, cursor: Option<Cursor>) -> Vec<(u64, String)> {
    let watch = WatchDeliveriesRequest { cursor, ..WatchDeliveriesRequest::default() };
    let mut stream = client.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
    let position = |message: &WatchDeliveriesResponse| {
        WatchPosition { cursor: message.next.clone(), ..WatchPosition::default() }.encode_to_vec().into()
    };
    let mut found = Vec::new();
    while let Ok(next) = tokio::time::timeout(Duration::from_secs(1), stream.next(position)).await {
        let (message, _) = next.unwrap().unwrap();
        found.extend(message.deliveries.into_iter().map(|one| (one.cursor.unwrap().index, one.object_id)));
    }
    found
}

fn field_violation<R: std::fmt::Debug>(answer: Result<R, ClientError>) -> (String, String) {
    let status = refusal_status(answer);
    let mut faults = status.get_details_bad_request().unwrap().field_violations;
    let fault = faults.remove(0);
    (fault.field, fault.reason)
}

fn run_verify(args: &[&str]) -> (i32, String) {
    let output = gateway().args(["audit", "verify"]).args(args).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

/// Checks that a second node does not serve without the new key and the new anchor, nor after an `accept-rollback`
/// that was interrupted before the anchor or the database was written, until it is run again.
async fn second_node_needs_new_key_and_anchor(dir: &Path, earlier: &Path, behind_it: &Path, other: &Path) {
    std::fs::copy(behind_it.join("log-signing-key"), other.join("log-signing-key")).unwrap();
    let (code, printed) = serve_briefly(other);
    assert!(code == 1 && printed.contains("not signed by this log's key"), "{code}: {printed}");
    std::fs::copy(dir.join("log-signing-key"), other.join("log-signing-key")).unwrap();
    std::fs::copy(behind_it.join("anchor"), other.join("anchor")).unwrap();
    let (code, printed) = serve_briefly(other);
    assert!(code == 1 && printed.contains("a log that was replaced"), "{code}: {printed}");
    let (code, printed) = accept_rollback(other, "ap-gateway-sandbox/log-3");
    assert!(code == 1 && printed.contains("under another name"), "{code}: {printed}");
    accept_rollback_ok(other, NEW_LOG_NAME);
    assert_eq!(log_verification::verify(other).await.findings, []);
    restore_database(behind_it, other);
    std::fs::copy(earlier.join("anchor"), other.join("anchor")).unwrap();
    let (code, printed) = serve_briefly(other);
    assert!(code == 1 && printed.contains("half accepted"), "{code}: {printed}");
    std::fs::copy(behind_it.join("anchor"), other.join("anchor")).unwrap();
    accept_rollback_ok(other, NEW_LOG_NAME);
    assert_eq!(log_verification::verify(other).await.findings, []);
}

/// Checks that a cursor in the lost part is refused, for reading and for acknowledging.
async fn lost_cursors_are_refused(la: &Client, at_lost: Option<Cursor>) {
    let cursor_lost = || ("cursor".to_owned(), "CURSOR_LOST".to_owned());
    assert_eq!(field_violation(list_deliveries(la, at_lost.clone()).await), cursor_lost());
    let watch = WatchDeliveriesRequest { cursor: at_lost.clone(), ..WatchDeliveriesRequest::default() };
    let watched = la.open_stream(delivery_service::WATCH_DELIVERIES, &watch).await;
    let watched: Result<Option<WatchDeliveriesResponse>, _> = match watched {
        Ok(mut stream) => {
            stream.next(|_| Vec::new().into()).await.map(|next| next.map(|(message, _)| message))
        }
        Err(error) => Err(error),
    };
    assert_eq!(field_violation(watched), cursor_lost());
    let acknowledge = AcknowledgeDeliveryRequest {
        request_id: new_id(),
        deliveries: vec![Acknowledged { cursor: at_lost.clone(), ..Acknowledged::default() }],
        stage: DeliveryStage::Acknowledged as i32,
        ..AcknowledgeDeliveryRequest::default()
    };
    let answer = la.call(delivery_service::ACKNOWLEDGE_DELIVERY, &acknowledge).await;
    assert_eq!(field_violation(answer), ("deliveries[0].cursor".to_owned(), "CURSOR_LOST".to_owned()));
    let of_nobody = at_lost.map(|cursor| Cursor { log: "another/log".to_owned(), ..cursor });
    assert_eq!(field_violation(list_deliveries(la, of_nobody).await).1, "CURSOR_UNKNOWN");
}

/// Checks that a changed bit in the entry that describes the loss is found.
async fn changed_replacement_entry_is_found(dir: &Path, stood: u64) {
    let database = Database::open(&DatabaseLocation::Sqlite(dir.join("gateway.sqlite"))).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    let index = i64::try_from(stood).unwrap();
    let row = conn.fetch_one("SELECT bytes FROM entries WHERE idx = $1", vec![index.into()]).await.unwrap();
    let mut bytes = row.unwrap().get::<Vec<u8>>("bytes").unwrap();
    let place =
        bytes.windows(NEW_LOG_NAME.len() - 2).position(|part| part == b"ap-gateway-sandbox/log").unwrap();
    bytes[place + 30] ^= 1;
    let sql = "UPDATE entries SET bytes = $1 WHERE idx = $2";
    conn.execute(sql, vec![bytes.as_slice().into(), index.into()]).await.unwrap();
    drop(conn);
    database.close().await;
    let findings = log_verification::verify(dir).await.findings;
    assert_eq!(findings[0].entry, Some(stood), "{findings:?}");
    assert!(findings[0].description.starts_with("the entry was changed"), "{findings:?}");
    assert!(
        findings.iter().any(|finding| finding.description.contains("does not have the root that was signed"))
    );
}

/// Checks that bundles of a kept entry, of the entry that records the loss and of a later one verify with the keys of
/// both logs, and that the old log's key alone verifies the first only.
async fn bundles_of_both_logs_are_checked(
    dir: &Path,
    kept: &str,
    provider: &Client,
    old_key: &LogKeyHistory,
    stood: u64,
) {
    let (both, old) = (provider.log_key().to_string(), old_key.to_string());
    let operator = profile::connect(&sandbox::profile_path(dir, "operator")).await.unwrap();
    let own = list_all(&operator, ListExchangesRequest::default()).await.unwrap();
    let replacing = own.into_iter().find(|record| record.index == stood).unwrap().exchange_id;
    let later = list_all(provider, ListExchangesRequest::default()).await.unwrap().remove(0).exchange_id;
    let bundle = dir.join("bundle.json");
    for (who, exchange, log, by_old) in [
        ("provider-a", kept, "ap-gateway-sandbox/log,", true),
        ("operator", &replacing, NEW_LOG_NAME, false),
        ("provider-a", &later, NEW_LOG_NAME, false),
    ] {
        prove(&sandbox::profile_path(dir, who), exchange, &bundle);
        let printed = both_accept(&bundle, &both);
        assert!(printed.contains(log), "{printed}");
        assert_eq!(printed.contains("\nlog_replaced: {\"kept_checkpoint\":"), who == "operator", "{printed}");
        if by_old {
            assert_eq!(both_accept(&bundle, &old), printed);
        } else {
            both_refuse(&bundle, &old, "the checkpoint is of the log ap-gateway-sandbox/log-2");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_rollback_goes_on_as_a_new_log() {
    let sandbox = Sandbox::new();
    let (dir, copies) = (sandbox.path(), tempfile::tempdir().unwrap());
    let copy = |from: &Path, name: &str| copy_folder(from, &copies.path().join(name));
    let placed = sandbox::world::load(dir).unwrap().placements.into_iter();
    let mut placed = placed.filter(|placed| placed.commissioner == "la-a" && placed.provider == "provider-a");
    let placement = placed.next().unwrap().placement_id;
    let of_day = |day: &str| submission(vec![mark(&placement, day, "/")]);
    let [first, lost, fresh] = ["2026-11-02", "2026-11-03", "2026-11-04"].map(of_day);

    let server = Process::serve(dir);
    let provider = sandbox.client("provider-a").await;
    let kept = submit(&provider, &first).await.unwrap();
    let (_, at_kept) = deliveries_after(&sandbox.client("la-a").await, None).await;
    assert!(server.terminate().success());
    let earlier = copy(dir, "earlier");
    let stood = sandbox.query("SELECT MAX(size) AS size FROM checkpoints").await[0]
        .get::<i64>("size")
        .unwrap()
        .unsigned_abs();

    let server = Process::serve(dir);
    let (provider, la) = (sandbox.client("provider-a").await, sandbox.client("la-a").await);
    let page = ListExchangesRequest { page_size: 1, ..ListExchangesRequest::default() };
    let page = provider.call(audit_service::LIST_EXCHANGES, &page).await.unwrap().message.next_page_token;
    submit(&provider, &lost).await.unwrap();
    let (_, at_lost) = deliveries_after(&la, at_kept.clone()).await;
    assert_ne!(at_lost, at_kept);
    assert!(server.terminate().success());
    let (code, printed) = accept_rollback(dir, NEW_LOG_NAME);
    assert!(code == 1 && printed.contains("nothing to accept"), "{code}: {printed}");

    // The node refuses to start, the rollback is accepted, and the node serves. A second time there is nothing to
    // accept, and a name cannot be used twice.
    restore_database(&earlier, dir);
    let (code, printed) = serve_briefly(dir);
    assert!(code == 1 && printed.contains("rolled back"), "{code}: {printed}");
    let behind_it = copy(dir, "behind");
    let (code, printed) = accept_rollback(dir, "ap-gateway-sandbox/log");
    assert!(code == 1 && printed.contains("needs a name"), "{code}: {printed}");
    let printed = accept_rollback_ok(dir, NEW_LOG_NAME);
    assert!(printed.contains(&format!("{stood} entries were kept, ")), "{printed}");
    let (code, printed) = accept_rollback(dir, NEW_LOG_NAME);
    assert!(code == 1 && printed.contains("nothing to accept"), "{code}: {printed}");
    let found = log_verification::verify(dir).await;
    assert_eq!(found.findings, []);
    assert!(found.lost[0].contains(&format!("{stood} entries were kept, ")), "{:?}", found.lost);

    second_node_needs_new_key_and_anchor(dir, &earlier, &behind_it, &copy(dir, "other")).await;

    let old_keys = provider;
    let server = Process::serve(dir);
    let (provider, la) = (sandbox.client("provider-a").await, sandbox.client("la-a").await);
    // A kept submission gets its first response; a lost one is stored again.
    let again = submit(&provider, &first).await.unwrap();
    let kept_exchange = kept.receipt.exchange_id.clone();
    assert_eq!((again.message, again.receipt), (kept.message, kept.receipt));
    let stored = submit(&provider, &lost).await.unwrap();
    assert!(stored.receipt.index > stood && stored.receipt.checkpoint.starts_with(NEW_LOG_NAME));
    let stored = [stored, submit(&provider, &fresh).await.unwrap()].map(|reply| reply.message.return_id);
    let (after, newest) = deliveries_after(&la, at_kept.clone()).await;
    assert_eq!(streamed_deliveries(&la, at_kept).await, after);
    assert_eq!(after.iter().map(|(_, object)| object).collect::<Vec<_>>(), stored.iter().collect::<Vec<_>>());
    let (all, _) = deliveries_after(&la, None).await;
    assert!(all.ends_with(&after) && all.is_sorted_by(|one, next| one.0 < next.0), "once each, in order");
    assert_eq!(newest.as_ref().unwrap().log, NEW_LOG_NAME);
    assert_eq!(deliveries_after(&la, newest).await.0, []);

    // Each client followed the replacement, because its profile has the new keys, and kept the newest of both logs.
    for name in ["provider-a", "la-a"] {
        let kept = read_checkpoint_folder(&dir.join("seen").join(name)).unwrap();
        let kept: Vec<_> = kept.iter().map(|note| note.lines().next().unwrap()).collect();
        assert!(kept.len() == 2 && kept.contains(&NEW_LOG_NAME), "{kept:?}");
    }
    lost_cursors_are_refused(&la, at_lost).await;
    let request = ListExchangesRequest { page_token: page, ..ListExchangesRequest::default() };
    let answer = provider.call(audit_service::LIST_EXCHANGES, &request).await;
    assert_eq!(field_violation(answer).1, "PAGE_TOKEN_INVALID");

    // A client that saw lost entries reports them; a client with only the old key accepts nothing.
    for name in ["provider-a", "la-a", "auditor"] {
        let profile = sandbox::profile_path(dir, name);
        let (code, printed) = run_verify(&["--profile", profile.to_str().unwrap()]);
        assert!(code == 0 && printed.contains(&format!("{stood} entries were kept, ")), "{code}: {printed}");
        assert_eq!(
            printed.contains("that was seen is of ap-gateway-sandbox/log,"),
            name != "auditor",
            "{printed}"
        );
    }
    bundles_of_both_logs_are_checked(dir, &kept_exchange, &provider, old_keys.log_key(), stood).await;
    let stale = dir.join("profiles/stale.toml");
    let text = std::fs::read_to_string(sandbox::profile_path(dir, "provider-a")).unwrap();
    let (both, old) = (provider.log_key().to_string(), old_keys.log_key().to_string());
    assert!(text.contains(&both) && both != old);
    std::fs::write(&stale, text.replace(&both, &old)).unwrap();
    let (code, printed) = run_verify(&["--profile", stale.to_str().unwrap()]);
    assert!(code == 1 && printed.contains("a log that was replaced has a new key"), "{code}: {printed}");
    let answer = submit(&profile::connect(&stale).await.unwrap(), &of_day("2026-11-05")).await;
    assert!(matches!(answer, Err(ClientError::Receipt(ReceiptError::Signature))), "{answer:?}");
    assert!(server.terminate().success());
    sandbox.assert_log_verifies().await;

    changed_replacement_entry_is_found(dir, stood).await;
}
