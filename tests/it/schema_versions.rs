//! The schemas that a binary serves, on both databases: its own, and the next one if that step is additive.

use std::path::Path;

use ap_gateway::cli::{profile, sandbox};
use ap_gateway::store::{Database, DatabaseLocation};
use tempfile::TempDir;

use super::exchange_semantics::{get_attendance, mark, submission, submit};
use super::limits::output;
use super::process::Process;
use super::support::{Postgres, gateway};

/// Records a migration after the newest one, as sqlx does for a file `NNNN_additive_future.sql`.
const RECORD_ADDITIVE_STEP: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     SELECT version + 1, 'additive future', success, checksum, 0 FROM _sqlx_migrations \
     WHERE version = (SELECT MAX(version) AS version FROM _sqlx_migrations)";
const FORGET_NEWEST_STEP: &str =
    "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) AS version FROM _sqlx_migrations)";

/// A sandbox that no process serves, and its database.
struct Stopped {
    dir: TempDir,
    location: DatabaseLocation,
    /// The version of this binary's schema.
    version: i64,
}

impl Stopped {
    async fn new(postgres: Option<&Postgres>) -> Self {
        let dir = TempDir::new().unwrap();
        let (location, options) = match postgres {
            None => (DatabaseLocation::Sqlite(dir.path().join("gateway.sqlite")), Vec::new()),
            Some(postgres) => (
                DatabaseLocation::Postgres(postgres.url()),
                [Path::new("--postgres-url-file"), &postgres.url_file].map(Path::as_os_str).to_vec(),
            ),
        };
        drop(Process::start(gateway(), dir.path(), &options));
        let mut stopped = Self { dir, location, version: 0 };
        stopped.version = stopped.newest_version().await;
        stopped
    }

    async fn newest_version(&self) -> i64 {
        let database = Database::open(&self.location).await.unwrap();
        let sql = "SELECT MAX(version) AS version FROM _sqlx_migrations";
        let row = database.reader().await.unwrap().fetch_one(sql, vec![]).await.unwrap().unwrap();
        database.close().await;
        row.get("version").unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        let database = Database::open(&self.location).await.unwrap();
        database.writer().await.unwrap().execute(sql, vec![]).await.unwrap();
        database.close().await;
    }

    /// Runs a verb of the operator, and returns its exit code and the lines on standard error.
    fn run(&self, verb: &str) -> (Option<i32>, Vec<String>) {
        let config = self.dir.path().join("gateway.toml");
        let output = output(gateway().arg(verb).arg("--config").arg(config));
        let lines = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
        (output.status.code(), lines)
    }

    /// Asserts that `migrate --plan` prints these lines, and leaves the database as it was.
    fn assert_plan(&self, postgres: Option<&Postgres>, lines: &[&str]) {
        let state = || match postgres {
            // Each dump has a random word that psql must meet again.
            Some(postgres) => {
                let dump = postgres.dump();
                let lines = dump.lines().filter(|line| !line.contains("restrict "));
                lines.collect::<Vec<_>>().join("\n").into_bytes()
            }
            None => ["gateway.sqlite", "gateway.sqlite-wal"]
                .map(|file| std::fs::read(self.dir.path().join(file)).unwrap_or_default())
                .concat(),
        };
        let before = state();
        let config = self.dir.path().join("gateway.toml");
        let output = output(gateway().args(["migrate", "--plan", "--config"]).arg(config));
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{printed}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for line in lines {
            assert!(printed.lines().any(|found| words(found) == words(line)), "{line:?} is not in {printed}");
        }
        assert!(state() == before, "the plan changed the database");
    }

    /// Asserts that the schema is refused in one line that names both versions and contains the advice.
    fn assert_refused(&self, database: i64, advice: &str) {
        self.assert_verb_refused("check", 78, database, advice);
    }

    /// Asserts that the schema, of a newer release, is neither served nor migrated.
    fn assert_not_migrated(&self, database: i64) {
        let advice = "start the release that migrated it";
        self.assert_refused(database, advice);
        self.assert_verb_refused("migrate", 1, database, advice);
    }

    fn assert_verb_refused(&self, verb: &str, expected: i32, database: i64, advice: &str) {
        let (code, lines) = self.run(verb);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(code, Some(expected), "{line}");
        for part in [format!("version {database} "), format!("version {}", self.version), advice.to_owned()] {
            assert!(line.contains(&part), "{part:?} is not in: {line}");
        }
    }

    /// Serves the database and stores a mark in it.
    async fn assert_served(&self, day: &str) {
        let served = Process::serve(self.dir.path());
        let client = async |name: &str| {
            profile::connect(&sandbox::profile_path(self.dir.path(), name)).await.unwrap().without_retries()
        };
        let placed = sandbox::world::load(self.dir.path()).unwrap().placements.into_iter();
        let placement = placed
            .filter(|placed| placed.commissioner == "la-a" && placed.provider == "provider-a")
            .map(|placed| placed.placement_id)
            .next()
            .unwrap();
        let sent = submit(&client("provider-a").await, &submission(vec![mark(&placement, day, "/")])).await;
        assert_eq!(sent.unwrap().message.stored, 1);
        let marks = get_attendance(&client("la-a").await, &placement).await.unwrap().marks;
        assert!(marks.iter().any(|found| found.mark.as_ref().unwrap().date == day));
        drop(served);
    }
}

async fn one_additive_step_more_is_served(postgres: Option<&Postgres>) {
    let stopped = Stopped::new(postgres).await;
    let version = stopped.version;
    stopped.assert_served("2026-11-02").await;

    stopped.assert_plan(postgres, &["the schema is up to date: migrate would change nothing"]);
    stopped.execute("ALTER TABLE marks ADD COLUMN future TEXT").await;
    stopped.execute(RECORD_ADDITIVE_STEP).await;
    assert_eq!(stopped.run("check"), (Some(0), Vec::new()));
    stopped.assert_served("2026-11-03").await;

    stopped.execute(RECORD_ADDITIVE_STEP).await;
    stopped.assert_not_migrated(version + 2);

    stopped.execute(FORGET_NEWEST_STEP).await;
    stopped
        .execute("UPDATE _sqlx_migrations SET description = 'future' WHERE description = 'additive future'")
        .await;
    stopped.assert_not_migrated(version + 1);

    stopped.execute(FORGET_NEWEST_STEP).await;
    stopped.assert_served("2026-11-04").await;
    stopped.execute(FORGET_NEWEST_STEP).await;
    stopped.assert_refused(version - 1, "run migrate");

    // The plan tells of every step that is missing, here of those from the alerts on.
    stopped.execute("DELETE FROM _sqlx_migrations WHERE version > 12").await;
    let waits = if postgres.is_some() {
        ["writes to the table", "nothing", "reads and writes of the table"]
    } else {
        ["writes to the database"; 3]
    };
    let count =
        format!("{} migrations would be applied, each in one transaction; nothing was changed", version - 12);
    let stop = if postgres.is_some() {
        "stop every node first: nodes of the release before cannot serve what comes of it"
    } else {
        "stop the node first"
    };
    stopped.assert_plan(
        postgres,
        &[
            &format!("13 alerts no CREATE INDEX parties_alerts parties {}", waits[0]),
            &format!("13 alerts no CREATE TABLE alerts {}", waits[1]),
            &format!("13 alerts no CREATE INDEX alerts_id alerts {}", waits[1]),
            &format!("14 void_parts no ALTER TABLE ADD COLUMN part voids {}", waits[2]),
            &count,
            stop,
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_additive_step_more_is_served_on_sqlite() {
    one_additive_step_more_is_served(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_additive_step_more_is_served_on_postgresql() {
    let postgres = Postgres::start();
    one_additive_step_more_is_served(Some(&postgres)).await;
}
