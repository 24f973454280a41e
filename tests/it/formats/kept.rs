//! The database kept from each format in `tests/data`. Every later release verifies it after its migrations, on both
//! databases. Its secrets are not kept: the tests make them again from the seed.

use std::path::{Path, PathBuf};

use ap_gateway::clock::Randomness;
use ap_gateway::gateway;
use ap_gateway::seal::{CommitmentKey, KeyRing};
use ap_gateway::store::{Database, DatabaseLocation};
use jiff::civil::date;
use tempfile::TempDir;

use super::super::edits::filled::count_rows;
use super::super::edits::schema::read_tables;
use super::super::support::Postgres;
use super::disposed_child::Subjects;
use super::{disposal, execute, findings, small, verify};

/// Formats of which a database is kept.
const FORMATS: [u32; 1] = [1];
/// Seed of the gateway whose database is kept.
const SEED: &[u8] = b"the kept database";
/// Maximum size of the file.
const MAX_BYTES: u64 = 2 << 20;
/// Files beside the database.
const PUBLIC_FILES: [&str; 2] = ["log-key", "anchor"];
const DATABASE: &str = "gateway.sqlite";

/// Returns the folder of a format.
fn kept_folder(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/format-{format}"))
}

/// A copy of the kept database of a format, migrated, with the secrets.
pub struct KeptDatabase {
    /// The folder with the keys and the anchor.
    pub dir: TempDir,
    /// Where the database is.
    pub location: DatabaseLocation,
}

impl KeptDatabase {
    /// Copies it to a folder of its own, or to a server, into the schema that the migrations make.
    pub async fn open(format: u32, postgres: Option<&Postgres>) -> Self {
        let dir = TempDir::new().unwrap();
        for file in PUBLIC_FILES.into_iter().chain([DATABASE]) {
            std::fs::copy(kept_folder(format).join(file), dir.path().join(file)).unwrap();
        }
        create_secrets(dir.path());
        let sqlite = DatabaseLocation::Sqlite(dir.path().join(DATABASE));
        let copied = Database::open(&sqlite).await.unwrap();
        copied.migrate().await.unwrap();
        let location = match postgres {
            Some(postgres) => {
                let location = DatabaseLocation::Postgres(postgres.url());
                let database = Database::create(&location).await.unwrap();
                database.migrate().await.unwrap();
                copy_rows(&copied, &database).await;
                database.close().await;
                location
            }
            None => sqlite,
        };
        copied.close().await;
        Self { dir, location }
    }
}

/// Makes the key ring and the commitment key of the kept database again, in the order in which a gateway is created.
fn create_secrets(dir: &Path) {
    let (first, second) = (Randomness::seeded(SEED), Randomness::seeded(small::SECOND_KEY_SEED));
    let (ring, fill) = (dir.join("key-ring"), |bytes: &mut [u8]| first.fill(bytes));
    // The seed of the log's signing key comes first, and is not needed.
    fill(&mut [0; 32]);
    KeyRing::create(&ring, date(2026, 8, 20), &fill).unwrap();
    CommitmentKey::create(&dir.join("commitment-key"), &fill).unwrap();
    KeyRing::rotate(&ring, small::SECOND_KEY_CREATED, &|bytes| second.fill(bytes)).unwrap();
    KeyRing::activate(&ring).unwrap();
}

/// Copies the rows of every table except that of sqlx.
async fn copy_rows(from: &Database, to: &Database) {
    let mut conn = to.writer().await.unwrap();
    conn.command("BEGIN").await.unwrap();
    for table in read_tables(from).await {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let places: Vec<String> = (1..=names.len()).map(|number| format!("${number}")).collect();
        let sql = format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), places.join(", "));
        let sql: &'static str = sql.leak();
        for row in table.rows {
            conn.execute(sql, row).await.unwrap();
        }
    }
    conn.commit().await.unwrap();
}

/// Makes the database that is kept of the newest format, and checks that it verifies and is small. With
/// `AP_GATEWAY_KEEP_DATABASE=1` it is written to `tests/data`: do so once for each format, before the format is released.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_to_keep_is_made() {
    let made = small::create(SEED, None).await;
    let (dir, location) = (made.dir.path(), small::location(&made));
    let subjects = Subjects::find(&made).await;
    let disposal = disposal::plan(&location, dir, subjects.other, subjects.replied).await;
    let deletions = disposal.deletions_except(|_| false);
    disposal::commit(dir, disposal.records).await;
    execute(&location, &deletions).await;
    let database = Database::open(&location).await.unwrap();
    database.writer().await.unwrap().command("VACUUM").await.unwrap();
    database.close().await;
    super::super::log_verification::assert_verifies(dir).await;
    if std::env::var_os("AP_GATEWAY_KEEP_DATABASE").is_none() {
        return;
    }
    let to = kept_folder(ap_gateway::store::canonical::ENTRY_FORMAT);
    std::fs::create_dir_all(&to).unwrap();
    for file in PUBLIC_FILES.into_iter().chain([DATABASE]) {
        std::fs::copy(dir.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn a_database_of_every_format_is_kept_and_small() {
    assert_eq!(FORMATS.last(), Some(&ap_gateway::store::canonical::ENTRY_FORMAT));
    for format in FORMATS {
        let size = std::fs::metadata(kept_folder(format).join(DATABASE)).unwrap().len();
        assert!(size <= MAX_BYTES, "format {format}: {size} bytes");
        let mut files: Vec<_> =
            std::fs::read_dir(kept_folder(format)).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["anchor", DATABASE, "log-key"], "no secret is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kept_database_verifies_on_sqlite() {
    for format in FORMATS {
        assert_verifies(&KeptDatabase::open(format, None).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kept_database_verifies_on_postgresql() {
    for format in FORMATS {
        let postgres = Postgres::start();
        assert_verifies(&KeptDatabase::open(format, Some(&postgres)).await).await;
    }
}

async fn assert_verifies(kept: &KeptDatabase) {
    let database = Database::open(&kept.location).await.unwrap();
    for table in gateway::tables() {
        assert!(count_rows(&database, table.name).await > 0, "{} has no row", table.name);
    }
    database.close().await;
    let report = verify(kept.dir.path(), &kept.location, &gateway::tables()).await;
    assert_eq!(findings(&report), [""; 0]);
    assert_eq!(report.unchecked, [""; 0]);
    assert!(report.entries > 300 && report.rows > 1_000, "{} entries, {} rows", report.entries, report.rows);
    // A changed row is found, so the keys are those of the database.
    let sql = "UPDATE marks SET received = received + 1 WHERE idx = (SELECT MAX(idx) FROM marks)";
    execute(&kept.location, &[(sql.to_owned(), Vec::new())]).await;
    let report = verify(kept.dir.path(), &kept.location, &gateway::tables()).await;
    assert!(
        findings(&report).iter().any(|finding| finding.starts_with("marks, entry")),
        "{:?}",
        report.findings
    );
}
