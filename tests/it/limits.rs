//! Time limits for tests: a watchdog that names and ends a hanging test, and bounds on the waits of the harness.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Time limit of a test that sets none of its own; far more than any test needs on a busy machine.
const TEST_TIME_LIMIT: Duration = Duration::from_mins(15);
/// Time limit of a command that a test runs to its end.
const COMMAND_TIME_LIMIT: Duration = Duration::from_mins(5);

/// Running tests by thread, each with its name and its deadline.
static RUNNING: LazyLock<Mutex<HashMap<ThreadId, (String, Instant)>>> = LazyLock::new(|| {
    std::thread::spawn(watchdog);
    Mutex::default()
});

thread_local! {
    static TEST_OF_THIS_THREAD: Registered = Registered::new();
}

/// The registration of a running test. It is removed when the test's thread ends.
struct Registered;

impl Registered {
    fn new() -> Self {
        allow(TEST_TIME_LIMIT);
        Self
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        RUNNING.lock().unwrap().remove(&std::thread::current().id());
    }
}

/// Registers the test of this thread with the default limit. The harness calls it, so tests need not.
pub fn watch() {
    TEST_OF_THIS_THREAD.with(|_| ());
}

/// Sets a new limit for the test of this thread, counted from now.
pub fn allow(limit: Duration) {
    let thread = std::thread::current();
    // The test harness names a test's thread after the test. Worker threads of a runtime have other names and may
    // outlive the test.
    if let Some(name) = thread.name().filter(|name| name.contains("::")) {
        RUNNING.lock().unwrap().insert(thread.id(), (name.to_owned(), Instant::now() + limit));
    }
}

fn watchdog() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let running = RUNNING.lock().unwrap();
        if let Some((name, _)) = running.values().find(|(_, end)| *end < Instant::now()) {
            writeln!(std::io::stderr(), "test {name} hangs: it has exceeded its time limit").ok();
            std::process::exit(101);
        }
    }
}

/// Waits for a future and panics when it exceeds the limit.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(limit, future).await;
    assert!(done.is_ok(), "{what}: not within {limit:?}");
    done.unwrap()
}

/// Runs a command to its end and returns its output. A command that exceeds its limit is killed.
pub fn output(command: &mut Command) -> Output {
    watch();
    let (out, err) = (Stdio::piped(), Stdio::piped());
    let mut child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let readers = (std::thread::spawn(|| read(out)), std::thread::spawn(|| read(err)));
    let end = Instant::now() + COMMAND_TIME_LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let is_late = Instant::now() > end;
        if is_late {
            child.kill().ok();
        }
        assert!(!is_late, "{command:?} has not ended within {COMMAND_TIME_LIMIT:?}");
        std::thread::sleep(Duration::from_millis(2));
    };
    Output { status, stdout: readers.0.join().unwrap(), stderr: readers.1.join().unwrap() }
}

fn read(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_test_of_the_harness_is_watched_until_it_ends() {
    let name = "limits::a_thread_of_this_test";
    let running = || RUNNING.lock().unwrap().values().any(|(running, _)| running == name);
    let (to, from) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        watch();
        ready.send(()).unwrap();
        from.recv().unwrap();
    });
    is_ready.recv().unwrap();
    assert!(running());
    to.send(()).unwrap();
    thread.unwrap().join().unwrap();
    assert!(!running());
}
