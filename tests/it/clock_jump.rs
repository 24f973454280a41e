//! A system clock that jumps: nothing is appended until it is right again, and no entry has the time of the jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::clock::{Clock, ClockGuard, Instant, Randomness, SystemClock};
use ap_gateway::config::Config;
use ap_gateway::gateway::{Environment, Node};
use ap_gateway::store::{Database, DatabaseLocation};

use super::disk_full::{NOT_SERVING, SERVING, wait_for_health};
use super::ended_rights::get_riverside;
use super::faults::assert_unavailable;
use super::node_in_process::NodeInProcess;
use super::serve_process::ServeFolder;

/// The system clock with an error, in microseconds.
#[derive(Default)]
struct WrongClock(AtomicI64);

impl WrongClock {
    fn jump(&self, by: Duration) {
        self.0.store(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for WrongClock {
    fn now(&self) -> Instant {
        Instant::from_micros(SystemClock.now().micros() + self.0.load(Ordering::SeqCst)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_clock_has_jumped_nothing_is_appended() {
    let folder = ServeFolder::new();
    let config = Config::load(&folder.file_path("gateway.toml")).unwrap();
    let wrong = Arc::new(WrongClock::default());
    let max_jump = Duration::from_secs(config.log.clock_jump_seconds);
    let clock: Arc<dyn Clock> = Arc::new(ClockGuard::new(Arc::clone(&wrong) as Arc<dyn Clock>, max_jump));
    let environment =
        Environment { clock: Arc::clone(&clock), system_clock: clock, random: Randomness::system() };
    let node = Node::open(config, environment).await.unwrap();
    let served = NodeInProcess::serve(node, folder.path()).await;
    let path = sandbox::profile_path(folder.path(), "provider-a");
    let riverside = profile::connect(&path).await.unwrap().without_retries();
    get_riverside(&riverside).await.unwrap();
    wrong.jump(Duration::from_secs(30));
    get_riverside(&riverside).await.unwrap();
    wrong.jump(Duration::from_hours(80 * 24));
    for _ in 0..3 {
        assert_unavailable(get_riverside(&riverside).await);
    }
    wait_for_health(folder.path(), served.address, NOT_SERVING).await;
    wrong.jump(Duration::ZERO);
    get_riverside(&riverside).await.unwrap();
    wait_for_health(folder.path(), served.address, SERVING).await;
    get_riverside(&riverside).await.unwrap();
    served.stop().await;
    let location = DatabaseLocation::Sqlite(folder.file_path("gateway.sqlite"));
    let database = Database::open(&location).await.unwrap();
    let rows = database.reader().await.unwrap().fetch("SELECT MAX(time) AS time FROM entries", vec![]).await;
    let newest: Instant = rows.unwrap()[0].get("time").unwrap();
    database.close().await;
    assert!(newest < SystemClock.now().plus(Duration::from_mins(1)), "{newest} is the time of the jump");
}
