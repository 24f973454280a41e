//! A database in which a child was disposed of verifies and is served. Deletions that no entry announced are found.

use ap_gateway::audit::verify::{VerifyOptions, verify_database};
use ap_gateway::gateway;
use ap_gateway::proto::v1::{GetPlacementRequest, ListPlacementsRequest, placement_service};
use ap_gateway::store::{Database, DatabaseLocation};
use uuid::Uuid;

use super::super::edits::copies::{EditedCopy, Statement};
use super::super::edits::filled::FilledDatabase;
use super::super::exchange_semantics::{mark, submission, submit};
use super::super::support::{Postgres, World, deliveries};
use super::disposal::{self, Disposal};
use super::{execute, findings, options, small, verify};

#[tokio::test(flavor = "multi_thread")]
async fn a_disposed_child_verifies_on_sqlite() {
    Box::pin(a_disposed_child_verifies(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disposed_child_verifies_on_postgresql() {
    Box::pin(a_disposed_child_verifies(Some(Postgres::start()))).await;
}

/// A child and an entry with a stored reply, to be disposed of, and another child that is not.
pub struct Subjects {
    pub child: Uuid,
    pub replied: i64,
    pub other: Uuid,
    other_placement: Uuid,
}

impl Subjects {
    /// Takes the child of the example placement.
    pub async fn find(made: &FilledDatabase) -> Self {
        let database = Database::open(&small::location(made)).await.unwrap();
        let mut conn = database.reader().await.unwrap();
        let active = Uuid::parse_str(&made.names["active"]).unwrap();
        let sql = "SELECT child FROM placements WHERE id = $1 LIMIT 1";
        let row = conn.fetch_one(sql, vec![active.into()]).await.unwrap().unwrap();
        let child: Uuid = row.get("child").unwrap();
        let sql = "SELECT p.id, p.child FROM marks m JOIN placements p ON p.id = m.placement \
                   WHERE p.child <> $1 AND p.provider = 'provider/riverside' ORDER BY m.idx DESC LIMIT 1";
        let row = conn.fetch_one(sql, vec![child.into()]).await.unwrap().unwrap();
        let sql = "SELECT idx FROM entries WHERE reply IS NOT NULL AND idx > 20 ORDER BY idx LIMIT 1";
        let replied = conn.fetch_one(sql, vec![]).await.unwrap().unwrap();
        let found = Self {
            child,
            replied: replied.get("idx").unwrap(),
            other: row.get("child").unwrap(),
            other_placement: row.get("id").unwrap(),
        };
        drop(conn);
        database.close().await;
        found
    }
}

/// What a copy of the database is made of and must be found to be.
struct Attack {
    what: &'static str,
    statements: Vec<Statement>,
    /// Texts that findings must contain.
    found: Vec<&'static str>,
}

async fn a_disposed_child_verifies(postgres: Option<Postgres>) {
    let made = small::create(b"a disposed child", postgres).await;
    let (dir, location) = (made.dir.path(), small::location(&made));
    let tables = gateway::tables();
    let untouched = verify(dir, &location, &tables).await;
    assert_eq!(findings(&untouched), [""; 0]);
    let subjects = Subjects::find(&made).await;
    let disposal = disposal::plan(&location, dir, subjects.child, subjects.replied).await;
    let of_other = disposal::plan(&location, dir, subjects.other, subjects.replied).await;
    assert_deletes_much(&disposal);
    let without_entry = Attack {
        what: "the rows are deleted without an entry",
        statements: disposal.deletions_except(|_| false),
        found: vec!["child_keys, entry", "marks, entry", "placements, entry", "its salts, its request id"],
    };
    assert_found(&made, "without_entry", without_entry).await;

    disposal::commit(dir, disposal.records).await;
    let all: Vec<Statement> = disposal.deletions.iter().map(|(_, statement)| statement.clone()).collect();
    let except = |kept: &str| disposal_except(&disposal.deletions, kept);
    let attacks = [
        ("nothing_deleted", "nothing is deleted", vec![], vec!["is there, although it was disposed of"]),
        (
            "other_deleted",
            "another child's rows are deleted",
            of_other.deletions_except(|table| table == "entries"),
            vec!["child_keys, entry", "marks, entry"],
        ),
        ("key_back", "the key is put back", except("child_keys"), vec!["child_keys, entry"]),
        ("mark_back", "marks are put back", except("marks"), vec!["marks, entry"]),
        ("placement_back", "the placement is put back", except("placements"), vec!["placements, entry"]),
        ("reply_back", "the reply is put back", except("entries"), vec!["entries, entry"]),
        ("version_back", "the versions are put back", except("current_versions"), vec!["current_versions"]),
        (
            "mark_deleted",
            "a mark of another child is deleted too",
            [all.clone(), last_mark_of(&location, subjects.other_placement).await].concat(),
            vec!["marks, entry"],
        ),
    ];
    for (name, what, statements, found) in attacks {
        assert_found(&made, name, Attack { what, statements, found }).await;
    }

    execute(&location, &all).await;
    let report = verify(dir, &location, &tables).await;
    assert_eq!(findings(&report), [""; 0]);
    assert_eq!(report.unchecked, [""; 0]);
    assert!(report.checked.iter().any(|line| line.contains("disposed of")), "{:?}", report.checked);
    // Somebody without the secrets can tell a disposed child from removed rows.
    let without_keys = VerifyOptions { key_ring: None, commitment_key: None, ..options(dir, &location) };
    let report = verify_database(&without_keys, &tables).await.unwrap();
    assert_eq!((findings(&report), report.unchecked.len()), (Vec::new(), 2));
    serve_others(made, &subjects).await;
}

/// Returns the deletions except those in a table.
fn disposal_except(deletions: &[(&'static str, Statement)], kept: &str) -> Vec<Statement> {
    let others = deletions.iter().filter(|(table, _)| *table != kept);
    let statements: Vec<Statement> = others.map(|(_, statement)| statement.clone()).collect();
    assert!(statements.len() < deletions.len(), "no row of {kept} is deleted");
    statements
}

/// Asserts that the child has rows of every kind.
fn assert_deletes_much(disposal: &Disposal) {
    for table in ["child_keys", "children", "placements", "marks", "plans", "passport_blocks", "statements"] {
        assert!(disposal.deletions.iter().any(|(name, _)| *name == table), "the child has no row of {table}");
    }
}

async fn assert_found(made: &FilledDatabase, name: &str, attack: Attack) {
    let copy = EditedCopy::create(made, name).await;
    if !attack.statements.is_empty() {
        copy.apply(&attack.statements).await.unwrap();
    }
    let found = findings(&verify(made.dir.path(), &copy.location, &gateway::tables()).await);
    for expected in attack.found {
        assert!(found.iter().any(|one| one.contains(expected)), "{}: {expected}: {found:#?}", attack.what);
    }
}

/// Returns the statements that delete the newest mark of a placement with its current version.
async fn last_mark_of(location: &DatabaseLocation, placement: Uuid) -> Vec<Statement> {
    let database = Database::open(location).await.unwrap();
    let sql = "SELECT idx, ordinal FROM marks WHERE placement = $1 ORDER BY idx DESC LIMIT 1";
    let row = database.reader().await.unwrap().fetch_one(sql, vec![placement.into()]).await.unwrap().unwrap();
    let (index, ordinal): (i64, i64) = (row.get("idx").unwrap(), row.get("ordinal").unwrap());
    database.close().await;
    ["marks", "current_versions"]
        .map(|table| {
            let sql = format!("DELETE FROM {table} WHERE idx = $1 AND ordinal = $2");
            (sql, vec![index.into(), ordinal.into()])
        })
        .to_vec()
}

/// Serves the database: the other children's records are answered, and the disposed child's are not there.
async fn serve_others(made: FilledDatabase, subjects: &Subjects) {
    let disposed = made.names["active"].clone();
    let location = small::location(&made);
    let world = World::serve_database(made.dir, made.postgres).await;
    let (la, riverside) = (world.client("la-a").await, world.client("provider-a").await);
    let other = subjects.other_placement.hyphenated().to_string();
    for client in [&la, &riverside] {
        let request = GetPlacementRequest { placement_id: other.clone() };
        client.call(placement_service::GET_PLACEMENT, &request).await.unwrap();
        let request = GetPlacementRequest { placement_id: disposed.clone() };
        client.call(placement_service::GET_PLACEMENT, &request).await.unwrap_err();
        let placed =
            client.call(placement_service::LIST_PLACEMENTS, &ListPlacementsRequest::default()).await.unwrap();
        let ids: Vec<_> =
            placed.message.placements.iter().map(|placed| placed.placement_id.as_str()).collect();
        assert!(ids.contains(&other.as_str()) && !ids.contains(&disposed.as_str()), "{ids:?}");
        assert!(!deliveries(client).await.is_empty());
    }
    submit(&riverside, &submission(vec![mark(&other, "2026-11-12", "/")])).await.unwrap();
    let refused = submit(&riverside, &submission(vec![mark(&disposed, "2026-11-12", "/")])).await;
    refused.unwrap_err();
    let (dir, postgres) = world.stop_serving().await;
    let report = verify(dir.path(), &location, &gateway::tables()).await;
    assert_eq!(findings(&report), [""; 0]);
    drop(postgres);
}
