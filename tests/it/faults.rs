//! Disk errors: no response before its entry is on disk and in the anchor, and no OK after a failed sync.

use ap_gateway::client::{ClientError, reason};
use ap_gateway::proto::v1::{Mark, Session};
use tonic::Code;

use super::ended_rights::get_riverside;
use super::exchange_semantics::{mark, refusal_status, submission, submit};
use super::process::{Process, Sandbox};
use super::syscall_trace::{Effect, TRACED_CALLS, TraceStep, now_micros, parse_trace};

const DATABASE: &str = "gateway.sqlite";
const WAL: &str = "gateway.sqlite-wal";
const ANCHOR: &str = "anchor";

/// Asserts that a call was refused because the log cannot be written.
pub fn assert_unavailable<R: std::fmt::Debug>(answer: Result<R, ClientError>) {
    let status = refusal_status(answer);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "AUDIT_UNAVAILABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_and_anchor_are_synced_between_request_and_answer() {
    let sandbox = Sandbox::new();
    let trace = sandbox.path().join("trace");
    let strace = ["-y", "-ttt", "-s", "65536", "-e", TRACED_CALLS, "-o", trace.to_str().unwrap()];
    let server = Process::serve_under_strace(sandbox.path(), &strace);
    let riverside = sandbox.client("provider-a").await;
    get_riverside(&riverside).await.unwrap();
    let begun = now_micros();
    submit(&riverside, &submission(vec![mark(&sandbox.placement, "2026-11-02", "/")])).await.unwrap();
    server.kill_and_await_trace(&trace);
    let steps: Vec<TraceStep> = parse_trace(&trace).into_iter().filter(|step| step.time >= begun).collect();
    let at = |which: &dyn Fn(&TraceStep) -> bool| steps.iter().position(which).unwrap();
    let request = at(&|step| matches!(step.effect, Effect::Received));
    let socket = &steps[request].file;
    // HTTP/2 acknowledgements are shorter than any response with a receipt.
    let answer = at(&|step| step.file == *socket && matches!(step.effect, Effect::Sent(size) if size > 500));
    let synced = |file: &str| at(&|step| step.file == file && matches!(step.effect, Effect::SyncEnded));
    let written = |file: &str| {
        let last = steps[..answer]
            .iter()
            .rposition(|step| step.file == file && matches!(step.effect, Effect::Wrote(..)));
        last.unwrap()
    };
    let order = [request, written(WAL), synced(WAL), written(ANCHOR), synced(ANCHOR), answer];
    assert!(order.is_sorted_by(|earlier, later| earlier < later), "{order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_anchor_cannot_be_written_nothing_is_answered() {
    let sandbox = Sandbox::new();
    let server = Process::serve(sandbox.path());
    let riverside = sandbox.client("provider-a").await;
    for (day, error) in [("2026-11-02", "ENOSPC"), ("2026-11-03", "EIO")] {
        get_riverside(&riverside).await.unwrap();
        let request = submission(vec![mark(&sandbox.placement, day, "/")]);
        let hindrance = server.inject_fault(&sandbox.path().join(ANCHOR), &format!("pwrite64:error={error}"));
        for _ in 0..3 {
            assert_unavailable(submit(&riverside, &request).await);
            assert_unavailable(get_riverside(&riverside).await);
        }
        drop(hindrance);
        assert_eq!(submit(&riverside, &request).await.unwrap().message.stored, 1);
    }
    drop(server);
    sandbox.assert_log_verifies().await;
}

/// Builds a mark of the n-th half-day session from 1 September on.
pub fn late_mark(placement: &str, session: usize) -> Mark {
    let (day, half) = (session / 2, [Session::Am, Session::Pm][session % 2] as i32);
    let date = format!("2026-{:02}-{:02}", 9 + day / 30, 1 + day % 30);
    Mark { session: half, ..mark(placement, &date, "L") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_the_process_and_the_retry_is_stored_once() {
    let sandbox = Sandbox::new().with_frequent_checkpoints();
    let mut session = 0;
    for (file, when) in [(WAL, 1), (WAL, 2), (WAL, 7), (DATABASE, 1), (ANCHOR, 1), (ANCHOR, 2)] {
        sandbox.remove_wal();
        let path = sandbox.path().join(file);
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
        let strace = ["-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", &inject];
        let server = Process::serve_under_strace(sandbox.path(), &strace);
        let client = sandbox.client("provider-a").await;
        let mut sent = Vec::new();
        // strace counts calls per thread, and any thread may write the anchor.
        for _ in 0..100 {
            session += 1;
            let request = submission(vec![late_mark(&sandbox.placement, session)]);
            let answer = submit(&client, &request).await;
            let stopped = answer.is_err();
            sent.push((request, answer.ok().map(|reply| reply.message)));
            if stopped {
                break;
            }
        }
        let (failed, given) = sent.last().unwrap();
        assert_eq!(*given, None, "{file} {when}");
        submit(&client, failed).await.unwrap_err();
        assert_eq!(server.wait_for_exit().code(), Some(70));
        let server = Process::serve(sandbox.path());
        let client = sandbox.client("provider-a").await;
        for (request, given) in sent {
            let again = submit(&client, &request).await.unwrap().message;
            assert_eq!(again.stored, 1);
            assert!(given.is_none_or(|given| given == again));
        }
        drop(server);
    }
    sandbox.assert_log_verifies().await;
}

/// Checks that a kill happens before or after the commit, never in between; the retry shows which.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_or_sync_leaves_a_return_stored_once_or_not_at_all() {
    let sandbox = Sandbox::new();
    let mut session = 0;
    let calls = [(WAL, "pwrite64"), (WAL, "fdatasync"), (ANCHOR, "pwrite64"), (ANCHOR, "fdatasync")];
    for (file, call) in calls {
        let path = sandbox.path().join(file);
        sandbox.remove_wal();
        let mut kills = 0;
        for when in 1..100 {
            let inject = format!("inject={call}:signal=KILL:when={when}");
            let strace = ["-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", &inject];
            let server = Process::serve_under_strace(sandbox.path(), &strace);
            session += 1;
            let request = submission(vec![late_mark(&sandbox.placement, session)]);
            let survived = submit(&sandbox.client("provider-a").await, &request).await.is_ok();
            drop(server);
            if survived {
                break;
            }
            kills += 1;
            let server = Process::serve(sandbox.path());
            let again = submit(&sandbox.client("provider-a").await, &request).await.unwrap().message;
            assert_eq!(again.stored, 1, "{file} {call} {when}");
            assert_eq!(server.terminate().code(), Some(0));
            sandbox.assert_log_verifies().await;
            let marks = sandbox.query("SELECT COUNT(*) AS count FROM marks").await;
            assert_eq!(
                marks[0].get::<i64>("count").unwrap(),
                i64::try_from(session).unwrap(),
                "{file} {call} {when}"
            );
        }
        assert!(kills > 0, "no {call} of {file} was met");
    }
}
