//! A database that was restored from an older copy, and goes on as a new log: what was kept is as it was, what was
//! lost is named, and nobody takes the one for the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ap_gateway::cli::{audit, profile, sandbox};
use ap_gateway::client::{Client, ClientError, ReceiptError};
use ap_gateway::proto::v1::{
    AcknowledgeDeliveryRequest, Acknowledged, Cursor, DeliveryStage, ListDeliveriesRequest,
    ListDeliveriesResponse, ListExchangesRequest, WatchDeliveriesRequest, WatchDeliveriesResponse,
    WatchPosition, audit_service, delivery_service,
};
use ap_gateway::store::{Database, Location};
use prost::Message;
use tonic_types::StatusExt;

use super::opening::serve;
use super::process::{Process, Sandbox};
use super::story::{id, mark, refused, submission, submit};
use super::support::{gateway, run};

const NEXT: &str = "ap-gateway-sandbox/log-2";

/// Runs `accept-rollback` on the sandbox in a folder: its exit code and what it says.
pub fn accept(dir: &Path, log: &str) -> (i32, String) {
    let mut accept = gateway();
    accept.arg("accept-rollback").arg("--config").arg(dir.join("gateway.toml")).args(["--log", log]);
    let output = accept.output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(told).unwrap())
}

/// The same where there is one to accept; its keys are given to everyone in the folder.
pub fn accepted(dir: &Path, log: &str) -> String {
    let (code, told) = accept(dir, log);
    assert_eq!(code, 0, "{told}");
    std::fs::write(dir.join("log-key"), told.lines().last().unwrap()).unwrap();
    told
}

fn copied(from: &Path, to: &Path) -> PathBuf {
    run(Command::new("cp").arg("-a").args([from, to]));
    to.to_owned()
}

/// Puts the database of one folder in the place of another's.
fn restore(from: &Path, to: &Path) {
    for file in ["gateway.sqlite", "gateway.sqlite-wal", "gateway.sqlite-shm"] {
        std::fs::remove_file(to.join(file)).ok();
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

async fn list(client: &Client, cursor: Option<Cursor>) -> Result<ListDeliveriesResponse, ClientError> {
    let request = ListDeliveriesRequest { cursor, ..ListDeliveriesRequest::default() };
    Ok(client.call(delivery_service::LIST_DELIVERIES, &request).await?.message)
}

/// Everything behind a cursor, and the last cursor.
async fn behind(client: &Client, mut cursor: Option<Cursor>) -> (Vec<(u64, String)>, Option<Cursor>) {
    let mut found = Vec::new();
    loop {
        let page = list(client, cursor).await.unwrap();
        let places = page.deliveries.into_iter().map(|one| (one.cursor.unwrap().index, one.object_id));
        found.extend(places);
        cursor = page.next;
        if !page.more {
            return (found, cursor);
        }
    }
}

/// The same by a stream, until nothing comes for a while.
async fn streamed(client: &Client, cursor: Option<Cursor>) -> Vec<(u64, String)> {
    let watch = WatchDeliveriesRequest { cursor, ..WatchDeliveriesRequest::default() };
    let mut stream = client.watch(delivery_service::WATCH_DELIVERIES, &watch).await.unwrap();
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

fn violation<R: std::fmt::Debug>(answer: Result<R, ClientError>) -> (String, String) {
    let status = refused(answer);
    let mut faults = status.get_details_bad_request().unwrap().field_violations;
    let fault = faults.remove(0);
    (fault.field, fault.reason)
}

fn verify(args: &[&str]) -> (i32, String) {
    let output = gateway().args(["audit", "verify"]).args(args).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(told).unwrap())
}

/// As `audit verify` on the database in a folder, with everything.
async fn report(dir: &Path) -> ap_gateway::audit::verify::Report {
    let file = |name| dir.join(name);
    let key = std::fs::read_to_string(file("log-key")).unwrap();
    let (database, anchor, ring) = (file("gateway.sqlite"), file("anchor"), file("key-ring"));
    audit::verify_copy(&database, &key, Some(&anchor), Some(&ring)).await.unwrap()
}

/// A node that has not been given the new key, or not the new anchor, does not serve; nor does one on which the verb
/// broke off before the anchor, or before the database, until it is run again.
async fn other_nodes(dir: &Path, earlier: &Path, behind_it: &Path, other: &Path) {
    std::fs::copy(behind_it.join("log-signing-key"), other.join("log-signing-key")).unwrap();
    let (code, told) = serve(other);
    assert!(code == 1 && told.contains("signature is wrong"), "{code}: {told}");
    std::fs::copy(dir.join("log-signing-key"), other.join("log-signing-key")).unwrap();
    std::fs::copy(behind_it.join("anchor"), other.join("anchor")).unwrap();
    let (code, told) = serve(other);
    assert!(code == 1 && told.contains("a log that was replaced"), "{code}: {told}");
    let (code, told) = accept(other, "ap-gateway-sandbox/log-3");
    assert!(code == 1 && told.contains("under another name"), "{code}: {told}");
    accepted(other, NEXT);
    assert_eq!(report(other).await.findings, []);
    restore(behind_it, other);
    std::fs::copy(earlier.join("anchor"), other.join("anchor")).unwrap();
    let (code, told) = serve(other);
    assert!(code == 1 && told.contains("half accepted"), "{code}: {told}");
    std::fs::copy(behind_it.join("anchor"), other.join("anchor")).unwrap();
    accepted(other, NEXT);
    assert_eq!(report(other).await.findings, []);
}

/// A place that was lost is no place to go on from, nor one to acknowledge.
async fn lost_places(la: &Client, at_lost: Option<Cursor>) {
    let cursor_lost = || ("cursor".to_owned(), "CURSOR_LOST".to_owned());
    assert_eq!(violation(list(la, at_lost.clone()).await), cursor_lost());
    let watch = WatchDeliveriesRequest { cursor: at_lost.clone(), ..WatchDeliveriesRequest::default() };
    let watched = la.watch(delivery_service::WATCH_DELIVERIES, &watch).await;
    let watched: Result<Option<WatchDeliveriesResponse>, _> = match watched {
        Ok(mut stream) => {
            stream.next(|_| Vec::new().into()).await.map(|next| next.map(|(message, _)| message))
        }
        Err(error) => Err(error),
    };
    assert_eq!(violation(watched), cursor_lost());
    let acknowledge = AcknowledgeDeliveryRequest {
        request_id: id(),
        deliveries: vec![Acknowledged { cursor: at_lost.clone(), ..Acknowledged::default() }],
        stage: DeliveryStage::Acknowledged as i32,
        ..AcknowledgeDeliveryRequest::default()
    };
    let answer = la.call(delivery_service::ACKNOWLEDGE_DELIVERY, &acknowledge).await;
    assert_eq!(violation(answer), ("deliveries[0].cursor".to_owned(), "CURSOR_LOST".to_owned()));
    let of_nobody = at_lost.map(|cursor| Cursor { log: "another/log".to_owned(), ..cursor });
    assert_eq!(violation(list(la, of_nobody).await).1, "CURSOR_UNKNOWN");
}

/// One bit of the entry that says what was lost.
async fn one_bit(dir: &Path, stood: u64) {
    let database = Database::open(&Location::Sqlite(dir.join("gateway.sqlite"))).await.unwrap();
    let mut conn = database.writer().await.unwrap();
    let index = i64::try_from(stood).unwrap();
    let row = conn.fetch_one("SELECT bytes FROM entries WHERE idx = $1", vec![index.into()]).await.unwrap();
    let mut bytes = row.unwrap().blob(0).unwrap().to_vec();
    let place = bytes.windows(NEXT.len() - 2).position(|part| part == b"ap-gateway-sandbox/log").unwrap();
    bytes[place + 30] ^= 1;
    let sql = "UPDATE entries SET bytes = $1 WHERE idx = $2";
    conn.execute(sql, vec![bytes.as_slice().into(), index.into()]).await.unwrap();
    drop(conn);
    database.close().await;
    let findings = report(dir).await.findings;
    assert!(findings[0].what.contains(&format!("entry {stood} was changed")), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.what.contains("has not the root that was signed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_rollback_goes_on_as_a_new_log() {
    let sandbox = Sandbox::new();
    let (dir, copies) = (sandbox.path(), tempfile::tempdir().unwrap());
    let copy = |from: &Path, name: &str| copied(from, &copies.path().join(name));
    let placed = sandbox::world::load(dir).unwrap().placements.into_iter();
    let mut placed = placed.filter(|placed| placed.commissioner == "la-a" && placed.provider == "provider-a");
    let placement = placed.next().unwrap().placement_id;
    let of_day = |day: &str| submission(vec![mark(&placement, day, "/")]);
    let [first, lost, fresh] = ["2026-11-02", "2026-11-03", "2026-11-04"].map(of_day);

    let server = Process::serve(dir);
    let provider = sandbox.client("provider-a").await;
    let kept = submit(&provider, &first).await.unwrap();
    let (_, at_kept) = behind(&sandbox.client("la-a").await, None).await;
    assert!(server.terminated().success());
    let earlier = copy(dir, "earlier");
    let stood = sandbox.query("SELECT MAX(size) FROM checkpoints").await[0].int(0).unwrap().unsigned_abs();

    let server = Process::serve(dir);
    let (provider, la) = (sandbox.client("provider-a").await, sandbox.client("la-a").await);
    let page = ListExchangesRequest { page_size: 1, ..ListExchangesRequest::default() };
    let page = provider.call(audit_service::LIST_EXCHANGES, &page).await.unwrap().message.next_page_token;
    submit(&provider, &lost).await.unwrap();
    let (_, at_lost) = behind(&la, at_kept.clone()).await;
    assert_ne!(at_lost, at_kept);
    assert!(server.terminated().success());
    let (code, told) = accept(dir, NEXT);
    assert!(code == 1 && told.contains("nothing to accept"), "{code}: {told}");

    // Refused, accepted, served; a second time there is nothing to accept, and no name is given twice.
    restore(&earlier, dir);
    let (code, told) = serve(dir);
    assert!(code == 1 && told.contains("rolled back"), "{code}: {told}");
    let behind_it = copy(dir, "behind");
    let (code, told) = accept(dir, "ap-gateway-sandbox/log");
    assert!(code == 1 && told.contains("needs a name"), "{code}: {told}");
    let told = accepted(dir, NEXT);
    assert!(told.contains(&format!("{stood} entries were kept, ")), "{told}");
    let (code, told) = accept(dir, NEXT);
    assert!(code == 1 && told.contains("nothing to accept"), "{code}: {told}");
    let found = report(dir).await;
    assert_eq!(found.findings, []);
    assert!(found.lost[0].contains(&format!("{stood} entries were kept, ")), "{:?}", found.lost);

    other_nodes(dir, &earlier, &behind_it, &copy(dir, "other")).await;

    let old_keys = provider;
    let server = Process::serve(dir);
    let (provider, la) = (sandbox.client("provider-a").await, sandbox.client("la-a").await);
    // What was kept is answered as it was; what was lost is stored anew.
    let again = submit(&provider, &first).await.unwrap();
    assert_eq!((again.message, again.receipt), (kept.message, kept.receipt));
    let stored = submit(&provider, &lost).await.unwrap();
    assert!(stored.receipt.index > stood && stored.receipt.checkpoint.starts_with(NEXT));
    let stored = [stored, submit(&provider, &fresh).await.unwrap()].map(|reply| reply.message.return_id);
    let (after, newest) = behind(&la, at_kept.clone()).await;
    assert_eq!(streamed(&la, at_kept).await, after);
    assert_eq!(after.iter().map(|(_, object)| object).collect::<Vec<_>>(), stored.iter().collect::<Vec<_>>());
    let (all, _) = behind(&la, None).await;
    assert!(all.ends_with(&after) && all.is_sorted_by(|one, next| one.0 < next.0), "once each, in order");
    assert_eq!(newest.as_ref().unwrap().log, NEXT);
    assert_eq!(behind(&la, newest).await.0, []);

    lost_places(&la, at_lost).await;
    let request = ListExchangesRequest { page_token: page, ..ListExchangesRequest::default() };
    let answer = provider.call(audit_service::LIST_EXCHANGES, &request).await;
    assert_eq!(violation(answer).1, "PAGE_TOKEN_INVALID");

    // Over the wire, whoever saw what was lost is told; who has the old key alone, takes nothing.
    for name in ["provider-a", "la-a", "auditor"] {
        let profile = sandbox::profile(dir, name);
        let (code, told) = verify(&["--profile", profile.to_str().unwrap()]);
        assert!(code == 0 && told.contains(&format!("{stood} entries were kept, ")), "{code}: {told}");
        assert_eq!(told.contains("that was seen is of ap-gateway-sandbox/log,"), name != "auditor", "{told}");
    }
    let stale = dir.join("profiles/stale.toml");
    let text = std::fs::read_to_string(sandbox::profile(dir, "provider-a")).unwrap();
    let (both, old) = (provider.log_key().to_string(), old_keys.log_key().to_string());
    assert!(text.contains(&both) && both != old);
    std::fs::write(&stale, text.replace(&both, &old)).unwrap();
    let (code, told) = verify(&["--profile", stale.to_str().unwrap()]);
    assert!(code == 1 && told.contains("a log that was replaced has a new key"), "{code}: {told}");
    let answer = submit(&profile::connect(&stale).await.unwrap(), &of_day("2026-11-05")).await;
    assert!(matches!(answer, Err(ClientError::Receipt(ReceiptError::Signature))), "{answer:?}");
    assert!(server.terminated().success());
    sandbox.verifies().await;

    one_bit(dir, stood).await;
}
