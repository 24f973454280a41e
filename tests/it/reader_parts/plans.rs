//! The plan of the query for a page of the exchanges about a placement.

use ap_gateway::audit::SELECT_OF_PLACEMENT;
use ap_gateway::store::Value;
use uuid::Uuid;

use super::super::support::World;

/// Returns the plan of the query without filters.
async fn query_plan(
    world: World,
    explain: &str,
    setting: Option<&'static str>,
    column: &'static str,
) -> String {
    let database = world.database().await;
    let mut conn = database.reader().await.unwrap();
    if let Some(setting) = setting {
        conn.command(setting).await.unwrap();
    }
    let no_text = || Value::from(None::<String>);
    let arguments = vec![
        Uuid::from_u128(7).into(),
        0_i64.into(),
        7_i64.into(),
        no_text(),
        no_text(),
        None::<i32>.into(),
        7_i64.into(),
        "la/330".into(),
    ];
    let rows = conn.fetch(format!("{explain} {SELECT_OF_PLACEMENT}").leak(), arguments).await.unwrap();
    let lines: Vec<_> = rows.iter().map(|row| row.get::<String>(column).unwrap()).collect();
    drop(conn);
    database.close().await;
    world.stop().await;
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_along_the_index_on_sqlite() {
    let plan = query_plan(World::sqlite().await, "EXPLAIN QUERY PLAN", None, "detail").await;
    assert!(plan.contains("SEARCH a USING PRIMARY KEY (placement=? AND idx>? AND idx<?)"), "{plan}");
    assert!(plan.contains("SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_along_the_index_on_postgresql() {
    // What PostgreSQL would prefer for the small tables of the sandbox is disabled.
    let small = Some(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; \
         SET enable_mergejoin = off",
    );
    let plan = query_plan(World::postgres().await, "EXPLAIN", small, "QUERY PLAN").await;
    assert!(plan.contains("Backward using placement_entries_pkey"), "{plan}");
    assert!(plan.contains("using parties_pkey on parties"), "{plan}");
    assert!(plan.contains("(organisation = 'la/330'::text) AND (idx = a.idx)"), "{plan}");
    assert!(!plan.contains("Sort") && !plan.contains("Seq Scan") && !plan.contains("hashed"), "{plan}");
}
