//! Edits that change an answer and whose values are computed: by somebody who holds the database, and by somebody who
//! holds the key ring too.

use std::path::Path;

use ap_gateway::clock::Randomness;
use ap_gateway::proto::v1::EntryOpenings;
use ap_gateway::seal::{ChildKey, ColumnAddress, KeyRing, OrganisationKey, WrappedKey};
use ap_gateway::store::sql::Conn;
use ap_gateway::store::version_key::{KeyFamily, VersionKey};
use ap_gateway::store::{ColumnType, Database, DatabaseLocation, Row, Value};
use prost::Message;
use uuid::Uuid;

use super::copies::Statement;
use super::generate::Edit;

/// Returns the edits of a database, with the ring in a folder.
pub async fn prepared_edits(location: &DatabaseLocation, dir: &Path) -> Vec<Edit> {
    let ring = KeyRing::load(&dir.join("key-ring")).unwrap();
    let database = Database::open(location).await.unwrap();
    let mut conn = database.reader().await.unwrap();
    let edits = vec![
        moved_request(&mut conn).await,
        added_acknowledgement(&mut conn).await,
        removed_mark(&mut conn).await,
        removed_delivery(&mut conn).await,
        replaced_key(&mut conn, &ring).await,
        resealed_reason(&mut conn, &ring).await,
    ];
    drop(conn);
    database.close().await;
    edits
}

/// Returns the statements that wrap every key of a child anew under the ring's active key, as an operator may. It is no
/// fault.
pub async fn rewrapped_keys(location: &DatabaseLocation, dir: &Path) -> Vec<Statement> {
    let ring = KeyRing::load(&dir.join("key-ring")).unwrap();
    let random = Randomness::system();
    let database = Database::open(location).await.unwrap();
    let sql = "SELECT idx, ordinal, sender, child, kek_id, wrapped FROM child_keys";
    let rows = database.reader().await.unwrap().fetch(sql, vec![]).await.unwrap();
    database.close().await;
    let mut statements = Vec::new();
    for row in &rows {
        let stored =
            WrappedKey::from_row(row.get("kek_id").unwrap(), row.get_bytes("wrapped").unwrap()).unwrap();
        let child: Uuid = row.get("child").unwrap();
        let sender = row.get_str("sender").unwrap();
        let fill = |bytes: &mut [u8]| random.fill(bytes);
        if let Some(wrapped) = stored.rewrap(&ring, sender, child.as_bytes(), &fill).unwrap() {
            statements.push(replace_key(row, &wrapped));
        }
    }
    assert!(!statements.is_empty(), "every key is wrapped by the active key");
    statements
}

/// A retry of a stored request is refused as another request was: its id is moved to that request's entry.
async fn moved_request(conn: &mut Conn) -> Edit {
    let stored = "SELECT idx, caller, request_id, request_mac, reply FROM entries \
                  WHERE request_id IS NOT NULL AND method LIKE '%SubmitAttendance' ORDER BY idx DESC LIMIT 1";
    let stored = one(conn, stored, vec![]).await;
    let refused = "SELECT idx FROM entries WHERE request_id IS NULL AND caller = $1 \
                   AND method LIKE '%SubmitAttendance' ORDER BY idx DESC LIMIT 1";
    let refused = one(conn, refused, vec![stored.get_str("caller").unwrap().into()]).await;
    let take = "UPDATE entries SET request_id = NULL, request_mac = NULL, reply = NULL WHERE idx = $1";
    let give = "UPDATE entries SET request_id = $1, request_mac = $2, reply = $3 WHERE idx = $4";
    let bytes = |column| Value::from(stored.get_bytes(column).unwrap());
    let moved =
        vec![bytes("request_id"), bytes("request_mac"), bytes("reply"), value::<i64>(&refused, "idx")];
    edit(
        "a retry gets the reply of another exchange: the request id is moved to another entry",
        "entries",
        vec![(take.to_owned(), vec![value::<i64>(&stored, "idx")]), (give.to_owned(), moved)],
    )
}

/// A sender reads that a recipient acted on a delivery: an acknowledgement is added, with its current version.
async fn added_acknowledgement(conn: &mut Conn) -> Edit {
    let acted = 4;
    let sql = "SELECT p.organisation, p.idx, p.ordinal FROM parties p WHERE p.kind > 0 AND NOT EXISTS \
               (SELECT 1 FROM acknowledgements a WHERE a.delivery_idx = p.idx \
               AND a.delivery_ordinal = p.ordinal) ORDER BY p.idx DESC LIMIT 1";
    let delivery = one(conn, sql, vec![]).await;
    let (index, ordinal): (i64, i64) = (delivery.get("idx").unwrap(), delivery.get("ordinal").unwrap());
    let organisation = delivery.get_str("organisation").unwrap();
    let key = VersionKey::new(KeyFamily::Acknowledgement)
        .text(organisation)
        .bytes(&index.to_be_bytes())
        .bytes(&ordinal.to_be_bytes())
        .bytes(&i32::to_be_bytes(acted));
    let row = "INSERT INTO acknowledgements (idx, ordinal, organisation, delivery_idx, delivery_ordinal, stage, \
               time, officer) SELECT idx, 702, $1, $2, $3, $4, time, officer FROM acknowledgements \
               WHERE officer IS NOT NULL ORDER BY idx DESC LIMIT 1";
    let current = "INSERT INTO current_versions (key, version, idx, ordinal) SELECT $1, 1, idx, ordinal \
                   FROM acknowledgements WHERE ordinal = 702";
    let arguments = vec![organisation.into(), index.into(), ordinal.into(), acted.into()];
    edit(
        "a recipient acted on a delivery that it never opened",
        "acknowledgements",
        vec![(row.to_owned(), arguments), (current.to_owned(), vec![Value::from(key.as_bytes())])],
    )
}

/// A mark was never sent: it is deleted with its return and their current versions, and what is kept beside the entry
/// lists neither its leaf nor a row.
async fn removed_mark(conn: &mut Conn) -> Edit {
    let entry =
        one(conn, "SELECT idx, openings FROM entries WHERE idx = (SELECT MAX(idx) FROM marks)", vec![]).await;
    let mut openings = EntryOpenings::decode(entry.get_bytes("openings").unwrap()).unwrap();
    openings.leaves.clear();
    openings.rows.retain(|row| row.ordinal < 0);
    for party in &mut openings.parties {
        party.leaves.clear();
        party.deliveries.clear();
    }
    let index = || vec![value::<i64>(&entry, "idx")];
    let mut statements = vec![replace_openings(&entry, &openings)];
    for sql in [
        "DELETE FROM current_versions WHERE ordinal >= 0 AND idx = $1",
        "DELETE FROM returns WHERE idx = $1",
        "DELETE FROM marks WHERE idx = $1",
        "DELETE FROM parties WHERE idx = $1 AND kind > 0",
    ] {
        statements.push((sql.to_owned(), index()));
    }
    edit(
        "a mark was never sent: it is deleted, and what is kept beside the entry lists it no more",
        "marks",
        statements,
    )
}

/// A delivery was never made: its row is deleted, and what is kept beside the entry lists it no more.
async fn removed_delivery(conn: &mut Conn) -> Edit {
    let sql = "SELECT idx, openings FROM entries WHERE idx = (SELECT MAX(idx) FROM parties WHERE kind = 20)";
    let entry = one(conn, sql, vec![]).await;
    let mut openings = EntryOpenings::decode(entry.get_bytes("openings").unwrap()).unwrap();
    openings.parties.clear();
    let delete = "DELETE FROM parties WHERE idx = $1".to_owned();
    edit(
        "a passport was never delivered: the delivery is gone, also beside the entry",
        "entries",
        vec![replace_openings(&entry, &openings), (delete, vec![value::<i64>(&entry, "idx")])],
    )
}

fn replace_openings(entry: &Row, openings: &EntryOpenings) -> Statement {
    let sql = "UPDATE entries SET openings = $1 WHERE idx = $2";
    (sql.to_owned(), vec![openings.encode_to_vec().into(), value::<i64>(entry, "idx")])
}

/// A child's records cannot be opened, as if the key had been destroyed: with the ring another key is wrapped.
async fn replaced_key(conn: &mut Conn, ring: &KeyRing) -> Edit {
    let sql = "SELECT idx, ordinal, sender, child FROM child_keys ORDER BY idx LIMIT 1";
    let row = one(conn, sql, vec![]).await;
    let random = Randomness::system();
    let fill = |bytes: &mut [u8]| random.fill(bytes);
    let (sender, child): (&str, Uuid) = (row.get_str("sender").unwrap(), row.get("child").unwrap());
    let key = ChildKey::new(&fill);
    let wrapped = key.wrap(ring, sender, child.as_bytes(), &fill).unwrap();
    let check = "UPDATE child_keys SET check_value = $1 WHERE idx = $2 AND ordinal = $3";
    let place = [value::<i64>(&row, "idx"), value::<i64>(&row, "ordinal")];
    let check = (check.to_owned(), [vec![key.check_value().into()], place.to_vec()].concat());
    let statements = vec![replace_key(&row, &wrapped), check];
    edit("a child has another key, which the ring opens and the check value fits", "child_keys", statements)
}

/// A return was withdrawn for another reason: with the ring another reason is sealed.
async fn resealed_reason(conn: &mut Conn, ring: &KeyRing) -> Edit {
    let row =
        one(conn, "SELECT idx, ordinal, return_id, provider FROM voids ORDER BY idx LIMIT 1", vec![]).await;
    let random = Randomness::system();
    let id: Uuid = row.get("return_id").unwrap();
    let address = ColumnAddress { table: "voids", row: id.as_bytes(), column: "reason" };
    let key = OrganisationKey::derive(ring, row.get_str("provider").unwrap()).unwrap();
    let sealed =
        key.seal(address, b"the family asked for it", &|bytes: &mut [u8]| random.fill(bytes)).unwrap();
    let sql = "UPDATE voids SET reason = $1 WHERE idx = $2 AND ordinal = $3";
    let arguments = vec![sealed.into(), value::<i64>(&row, "idx"), value::<i64>(&row, "ordinal")];
    edit("a return was withdrawn for another reason", "voids", vec![(sql.to_owned(), arguments)])
}

fn replace_key(row: &Row, wrapped: &WrappedKey) -> Statement {
    let sql = "UPDATE child_keys SET kek_id = $1, wrapped = $2 WHERE idx = $3 AND ordinal = $4";
    let place = [value::<i64>(row, "idx"), value::<i64>(row, "ordinal")];
    (sql.to_owned(), [vec![wrapped.kek_id.into(), wrapped.bytes.to_vec().into()], place.to_vec()].concat())
}

async fn one(conn: &mut Conn, sql: &'static str, arguments: Vec<Value>) -> Row {
    conn.fetch_one(sql, arguments).await.unwrap().unwrap_or_else(|| panic!("no row: {sql}"))
}

fn value<T: ColumnType>(row: &Row, column: &'static str) -> Value {
    row.get::<T>(column).unwrap().to_value()
}

fn edit(what: &str, table: &str, statements: Vec<Statement>) -> Edit {
    let entries = std::collections::BTreeSet::new();
    Edit { table: table.to_owned(), what: what.to_owned(), column: String::new(), statements, entries }
}
